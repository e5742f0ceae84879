// Mean-field inference in a fully connected CRF with two Gaussian kernels and Potts compatibility (Krähenbühl and Koltun,
// Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NeurIPS 2011, algorithm 1).
//
// Each step is Q <- softmax(-U + sum over kernels of w * n K (n Q)), with n = 1 / sqrt(K 1) at each pixel and K a Gaussian
// filter by the lattice: the symmetric normalisation that pydensecrf takes unless told otherwise. Labels are padded to
// whole vectors; a padded label has an energy so high that its probability is nothing.
//
// What is fast here: slicing, softmax and splatting are one pass over the pixels, so that Q never goes to memory; pixels
// are visited tile by tile, so that the vertices around them stay in the cache; n is part of the lattice's weights.
#pragma once

#include "kernel.h"
#include "lattice.h"
#include "vectors.h"

namespace {

// A pixel of every tile in turn: image[order[p]] is the p-th that is visited.
inline Array<std::uint32_t> in_tiles(std::size_t height, std::size_t width)
{
    constexpr std::size_t TILE = 32;
    Array<std::uint32_t> order(height * width);
    std::size_t end = 0;
    for (std::size_t top = 0; top < height; top += TILE)
        for (std::size_t left = 0; left < width; left += TILE)
            for (std::size_t y = top; y < height && y < top + TILE; ++y)
                for (std::size_t x = left; x < width && x < left + TILE; ++x)
                    order[end++] = static_cast<std::uint32_t>(y * width + x);
    return order;
}

// A value of N vectors for every vertex.
template <class Vec, int N>
struct Row {
    Vec part[N];
};

// The blur along all axes, in place.
template <int D, class Vec, int N>
void blur(const Lattice<D> &lattice, Row<Vec, N> *table)
{
    constexpr std::size_t AHEAD = 12;  // rows that are fetched early, for they lie anywhere
    for (const Array<std::uint32_t> &chain : lattice.chains) {
        const std::size_t size = chain.size();
        if (size == 0) continue;
        Row<Vec, N> half_before{};  // of the vertex before in the chain, as it was; nothing where a chain begins
        Row<Vec, N> *here = table + (chain[0] & ~START);
        Row<Vec, N> value = *here;
        for (std::size_t i = 0; i < size; ++i) {
            const std::uint32_t entry = i + 1 < size ? chain[i + 1] : START;
            const Row<Vec, N> *soon = table + (chain[i + AHEAD < size ? i + AHEAD : i] & ~START);
            for (std::size_t byte = 0; byte < sizeof *soon; byte += 64)
                __builtin_prefetch(reinterpret_cast<const char *>(soon) + byte, 1);
            // Whether the next one is another chain's is hard to foretell: a factor costs less than a wrong guess.
            const float half = entry & START ? 0.0f : 0.5f;
            Row<Vec, N> *there = table + (entry & ~START);
            const Row<Vec, N> next = *there;
            for (int n = 0; n < N; ++n) {
                here->part[n] = value.part[n] + half_before.part[n] + half * next.part[n];
                half_before.part[n] = half * value.part[n];
                value.part[n] = next.part[n];
            }
            here = there;
        }
    }
}

// Gives every pixel's weights its factor 1 / sqrt(K 1), so that the lattice filters Q as n K (n Q) / alpha.
template <int D>
void normalise(Lattice<D> &lattice, std::size_t pixels, float alpha)
{
    constexpr int CORNERS = Lattice<D>::CORNERS;
    Array<Row<float, 1>> table(lattice.vertices);
    table.fill(0);
    for (std::size_t i = 0; i < pixels * CORNERS; ++i) table[lattice.rows[i]].part[0] += lattice.weights[i];
    blur<D>(lattice, table.data());
    for (std::size_t p = 0; p < pixels; ++p) {
        float sum = 0;
        for (int r = 0; r < CORNERS; ++r)
            sum += table[lattice.rows[p * CORNERS + r]].part[0] * lattice.weights[p * CORNERS + r];
        const float factor = 1.0f / __builtin_sqrtf(alpha * sum + 1e-20f);
        for (int r = 0; r < CORNERS; ++r) lattice.weights[p * CORNERS + r] *= factor;
    }
}

// What the lattice multiplies all values with (Adams et al., section 3.3: the sum of the blur's weights).
template <int D>
constexpr float ALPHA = 1.0f / (1.0f + 1.0f / (1 << D));

// A kernel: its lattice, its weight, and the values at its vertices, those being read and those being added up.
template <int D, class Vec, int N>
struct Kernel {
    static constexpr int CORNERS = D + 1;
    // Vectors that are summed at a time, as many as registers hold.
    static constexpr int TOGETHER = N <= 4 ? N : N % 4 == 0 ? 4 : N % 3 == 0 ? 3 : 2;

    Lattice<D> lattice;
    float weight;
    Array<Row<Vec, N>> blurred, sums;

    Kernel(Lattice<D> &&made, std::size_t pixels, float compatibility)
        : lattice(static_cast<Lattice<D> &&>(made)), weight(compatibility * ALPHA<D>), blurred(lattice.vertices),
          sums(lattice.vertices)
    {
        normalise(lattice, pixels, ALPHA<D>);
    }

    void slice(std::size_t pixel, Vec *potential) const
    {
        const std::uint32_t *rows = &lattice.rows[pixel * CORNERS];
        const float *weights = &lattice.weights[pixel * CORNERS];
        for (int from = 0; from < N; from += TOGETHER) {
            Vec sum[TOGETHER] = {};
            for (int r = 0; r < CORNERS; ++r)
                for (int n = 0; n < TOGETHER; ++n) sum[n] += weights[r] * blurred[rows[r]].part[from + n];
            for (int n = 0; n < TOGETHER; ++n) potential[from + n] += weight * sum[n];
        }
    }

    void splat(std::size_t pixel, const Vec *probability)
    {
        const std::uint32_t *rows = &lattice.rows[pixel * CORNERS];
        const float *weights = &lattice.weights[pixel * CORNERS];
        for (int r = 0; r < CORNERS; ++r) {
            Row<Vec, N> &sum = sums[rows[r]];
            for (int n = 0; n < N; ++n) sum.part[n] += weights[r] * probability[n];
        }
    }

    void prepare_sums() { sums.fill(0); }

    void blur_sums()
    {
        blur<D>(lattice, sums.data());
        Array<Row<Vec, N>> before = static_cast<Array<Row<Vec, N>> &&>(blurred);
        blurred = static_cast<Array<Row<Vec, N>> &&>(sums);
        sums = static_cast<Array<Row<Vec, N>> &&>(before);
    }
};

// Softmax of each of PIXELS rows, in place.
template <class Vec, int N, int PIXELS>
void softmax(float (&values)[PIXELS * N * LANES<Vec>])
{
    constexpr int ROW = N * LANES<Vec>;
    static_assert(ROW % 4 == 0 && PIXELS * ROW % 8 == 0, "whole vectors");
    for (int p = 0; p < PIXELS; ++p) {
        Float4 *row = reinterpret_cast<Float4 *>(values + p * ROW);
        Float4 most = row[0];
        for (int i = 1; i < ROW / 4; ++i) most = row[i] > most ? row[i] : most;
        const float left = most[0] > most[1] ? most[0] : most[1], right = most[2] > most[3] ? most[2] : most[3];
        const float highest = left > right ? left : right;
        for (int i = 0; i < ROW / 4; ++i) row[i] -= highest;
    }
    Float8 *all = reinterpret_cast<Float8 *>(values);
    for (int i = 0; i < PIXELS * ROW / 8; ++i) all[i] = exponential(all[i]);
    for (int p = 0; p < PIXELS; ++p) {
        Float4 *row = reinterpret_cast<Float4 *>(values + p * ROW);
        Float4 sum = row[0];
        for (int i = 1; i < ROW / 4; ++i) sum += row[i];
        const float inverse = 1.0f / ((sum[0] + sum[1]) + (sum[2] + sum[3]));
        for (int i = 0; i < ROW / 4; ++i) row[i] *= inverse;
    }
}

template <class Vec, int N>
class MeanField {
    static constexpr int PIXELS = 16;  // sliced, then normalised, then splatted

public:
    static constexpr int ROW = N * LANES<Vec>;

    explicit MeanField(const Problem &problem)
        : problem_(problem), pixels_(problem.height * problem.width), order_(in_tiles(problem.height, problem.width)),
          potentials_(pixels_ * N), smooth_(smooth_lattice(), pixels_, problem.smooth_weight),
          colour_(colour_lattice(), pixels_, problem.colour_weight)
    {
        constexpr float NEVER = -1e30f;  // of a padded label, minus its energy
        float *potentials = reinterpret_cast<float *>(potentials_.data());
        for (std::size_t first = 0; first < pixels_; first += PIXELS) {
            const std::size_t end = first + PIXELS < pixels_ ? first + PIXELS : pixels_;
            for (std::size_t label = 0; label < ROW; ++label)
                for (std::size_t p = first; p < end; ++p)
                    potentials[p * ROW + label] =
                        label < problem.labels ? -problem.energies[label * pixels_ + order_[p]] : NEVER;
        }
    }

    void run()
    {
        if (problem_.iterations == 0) return pass<false, false>();
        for (int step = 0; step < problem_.iterations; ++step) {
            smooth_.prepare_sums();
            colour_.prepare_sums();
            if (step == 0)
                pass<false, true>();
            else
                pass<true, true>();
            smooth_.blur_sums();
            colour_.blur_sums();
        }
        pass<true, false>();
    }

private:
    // One visit to every pixel: potentials, with what the kernels say if SLICE; softmax; then to the kernels or the result.
    template <bool SLICE, bool SPLAT>
    void pass()
    {
        alignas(64) float values[PIXELS * ROW];
        for (std::size_t first = 0; first < pixels_; first += PIXELS) {
            const int count = pixels_ - first < PIXELS ? static_cast<int>(pixels_ - first) : PIXELS;
            if (count < PIXELS) std::memset(values, 0, sizeof values);
            Vec *vectors = reinterpret_cast<Vec *>(values);
            for (int p = 0; p < count; ++p) {
                Vec potential[N];
                for (int n = 0; n < N; ++n) potential[n] = potentials_[(first + p) * N + n];
                if (SLICE) {
                    smooth_.slice(first + p, potential);
                    colour_.slice(first + p, potential);
                }
                for (int n = 0; n < N; ++n) vectors[p * N + n] = potential[n];
            }
            softmax<Vec, N, PIXELS>(values);
            if (SPLAT) {
                for (int p = 0; p < count; ++p) {
                    smooth_.splat(first + p, vectors + p * N);
                    colour_.splat(first + p, vectors + p * N);
                }
            } else {
                for (std::size_t label = 0; label < problem_.labels; ++label)
                    for (int p = 0; p < count; ++p)
                        problem_.probabilities[label * pixels_ + order_[first + p]] = values[p * ROW + label];
            }
        }
    }

    Lattice<2> smooth_lattice() const
    {
        const float inverse = 1.0f / problem_.smooth_xy;
        const std::uint32_t width = static_cast<std::uint32_t>(problem_.width);
        return Lattice<2>(pixels_, [&](std::size_t first, int count, Float8 (&values)[2]) {
            for (int p = 0; p < BLOCK; ++p) {
                const std::uint32_t pixel = order_[first + (p < count ? p : 0)];
                values[0][p] = static_cast<float>(pixel % width) * inverse;
                values[1][p] = static_cast<float>(pixel / width) * inverse;
            }
        });
    }

    Lattice<5> colour_lattice() const
    {
        const float inverse_xy = 1.0f / problem_.colour_xy, inverse_rgb = 1.0f / problem_.colour_rgb;
        const std::uint32_t width = static_cast<std::uint32_t>(problem_.width);
        return Lattice<5>(pixels_, [&](std::size_t first, int count, Float8 (&values)[5]) {
            for (int p = 0; p < BLOCK; ++p) {
                const std::uint32_t pixel = order_[first + (p < count ? p : 0)];
                values[0][p] = static_cast<float>(pixel % width) * inverse_xy;
                values[1][p] = static_cast<float>(pixel / width) * inverse_xy;
                for (int c = 0; c < 3; ++c)
                    values[2 + c][p] = static_cast<float>(problem_.image[std::size_t(pixel) * 3 + c]) * inverse_rgb;
            }
        });
    }

    const Problem &problem_;
    const std::size_t pixels_;
    const Array<std::uint32_t> order_;
    Array<Vec> potentials_;  // -U of every pixel in order, N vectors each
    Kernel<2, Vec, N> smooth_;
    Kernel<5, Vec, N> colour_;
};

template <class Vec, int N>
void run(const Problem &problem)
{
    MeanField<Vec, N>(problem).run();
}

// With the smallest padding there is.
inline void infer(const Problem &problem)
{
    const std::size_t labels = problem.labels;
    if (labels <= 4) return run<Float4, 1>(problem);
    if (labels <= 8) return run<Float8, 1>(problem);
    if (labels <= 16) return run<Float8, 2>(problem);
    if (labels <= 24) return run<Float8, 3>(problem);
    if (labels <= 32) return run<Float8, 4>(problem);
    if (labels <= 48) return run<Float8, 6>(problem);
    if (labels <= 64) return run<Float8, 8>(problem);
    if (labels <= 96) return run<Float8, 12>(problem);
    if (labels <= 128) return run<Float8, 16>(problem);
    if (labels <= 192) return run<Float8, 24>(problem);
    return run<Float8, 32>(problem);
}

}  // namespace
