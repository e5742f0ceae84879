// The permutohedral lattice (Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice,
// Eurographics 2010), as far as one image needs it: which vertices its pixels touch, and how they lie to each other.
//
// A point of D features is lifted into the hyperplane of D + 1 coordinates whose sum is zero (section 3.1). There it lies
// in a simplex of D + 1 lattice points; its barycentric weights in it say how its value is shared out among them
// ("splat") and how it is read back ("slice"). In between, values are blurred along each of the D + 1 axes with the
// weights 1/2, 1, 1/2, over those vertices that a pixel has touched.
//
// What is fast here: coordinates are computed for 8 pixels at a time; a vertex is known by one 64-bit number, linear in
// its coordinates, so that a neighbour's is one addition away; and a blur walks chains of neighbours in place, leaving
// out the vertices that have none.
#pragma once

#include <cstdint>

#include "array.h"
#include "vectors.h"

namespace {

// Pixels whose coordinates are computed together.
constexpr int BLOCK = LANES<Float8>;

constexpr std::uint32_t NONE = 0xffffffffu;

// Marks, in a list of chains, the vertex that one begins with.
constexpr std::uint32_t START = 0x80000000u;

// From 64-bit numbers of vertices to their row, which is how many were found before it. Open addressing; at most half full.
class VertexTable {
public:
    explicit VertexTable(std::size_t expected) : keys_(expected)
    {
        while ((std::size_t(1) << bits_) < 2 * expected) ++bits_;
        slots_ = empty(bits_);
    }

    std::size_t count() const { return count_; }
    std::uint64_t key(std::size_t row) const { return keys_[row]; }

    void prefetch(std::uint64_t key) const { __builtin_prefetch(&slots_[slot(key)]); }

    // The row of a vertex, NONE where there is none.
    std::uint32_t find(std::uint64_t key) const
    {
        for (std::size_t i = slot(key);; i = (i + 1) & (slots_.size() - 1))
            if (slots_[i] == NONE || keys_[slots_[i]] == key) return slots_[i];
    }

    // The row of a vertex, a new one where there is none.
    std::uint32_t find_or_add(std::uint64_t key)
    {
        std::size_t i = slot(key);
        for (; slots_[i] != NONE; i = (i + 1) & (slots_.size() - 1))
            if (keys_[slots_[i]] == key) return slots_[i];
        if (count_ == keys_.size()) {
            grow();
            return find_or_add(key);
        }
        if (count_ >= START) throw std::bad_alloc();  // the highest bit is the mark of a chain
        keys_[count_] = key;
        return slots_[i] = static_cast<std::uint32_t>(count_++);
    }

private:
    static Array<std::uint32_t> empty(int bits)
    {
        Array<std::uint32_t> slots(std::size_t(1) << bits);
        slots.fill(0xff);
        return slots;
    }

    std::size_t slot(std::uint64_t key) const { return (key * 0x9e3779b97f4a7c15u) >> (64 - bits_); }

    void grow()
    {
        keys_.resize(2 * keys_.size(), count_);
        slots_ = empty(++bits_);
        for (std::size_t row = 0; row < count_; ++row) {
            std::size_t i = slot(keys_[row]);
            while (slots_[i] != NONE) i = (i + 1) & (slots_.size() - 1);
            slots_[i] = static_cast<std::uint32_t>(row);
        }
    }

    Array<std::uint64_t> keys_;
    Array<std::uint32_t> slots_;
    std::size_t count_ = 0;
    int bits_ = 10;
};

template <int D>
struct Lattice {
    static constexpr int CORNERS = D + 1;

    std::size_t vertices = 0;
    Array<std::uint32_t> rows;           // [pixels, CORNERS] of the vertices around a pixel
    Array<float> weights;                // [pixels, CORNERS], barycentric
    Array<std::uint32_t> chains[CORNERS];  // of neighbours along each axis, one after another; the first marked START

    // `features(first, count, values)` writes Float8 values[D]: the features of pixels first to first + count - 1.
    template <class Features>
    Lattice(std::size_t pixels, const Features &features) : rows(pixels * CORNERS), weights(pixels * CORNERS)
    {
        // Numbers that are random but for being odd: two vertices of one image having one key is as likely as two
        // hashes of 64 bits being equal, whatever the range of the coordinates.
        constexpr std::uint64_t STRIDES[5] = {0x9f4c2b7d1e83a655u, 0xd1b54a32d192ed03u, 0xaef17502108ef2d9u,
                                              0xf1357aea2e62a9c5u, 0x8cb92ba72f3d8dd7u};
        static_assert(D <= 5, "one stride for each coordinate but the last, which the others decide");
        std::uint64_t stride[CORNERS] = {}, all = 0;
        for (int i = 0; i < D; ++i) all += stride[i] = STRIDES[i];

        VertexTable table(pixels / 2 + 64);
        Array<std::uint32_t> next((pixels / 2 + 64) * CORNERS);  // [vertices, CORNERS], along each axis; NONE: not known
        next.fill(0xff);
        std::uint64_t last_key = 0;
        std::uint32_t last_row = NONE;

        for (std::size_t first = 0; first < pixels; first += BLOCK) {
            const int count = pixels - first < BLOCK ? static_cast<int>(pixels - first) : BLOCK;
            Float8 values[D], weight[CORNERS];
            std::uint64_t keys[CORNERS][BLOCK];
            unsigned char axes[CORNERS][BLOCK];
            features(first, count, values);
            locate(values, stride, all, weight, keys, axes);
            for (int r = 0; r < CORNERS; ++r)
                for (int p = 0; p < count; ++p) table.prefetch(keys[r][p]);
            for (int p = 0; p < count; ++p) {
                if (next.size() < (table.count() + CORNERS) * CORNERS) {
                    const std::size_t known = next.size();
                    next.resize(2 * known, known);
                    std::memset(&next[known], 0xff, known * sizeof next[0]);
                }
                std::uint32_t *corners = &rows[(first + p) * CORNERS];
                if (last_row == NONE || keys[0][p] != last_key) {  // as neighbours often have it
                    last_key = keys[0][p];
                    last_row = table.find_or_add(last_key);
                }
                corners[0] = last_row;
                // The corners of a simplex are each other's successors, in a ring: most are known from other pixels.
                for (int r = 1; r < CORNERS; ++r) {
                    std::uint32_t &link = next[corners[r - 1] * std::size_t(CORNERS) + axes[r - 1][p]];
                    if (link == NONE) link = table.find_or_add(keys[r][p]);
                    corners[r] = link;
                }
                next[corners[D] * std::size_t(CORNERS) + axes[D][p]] = corners[0];
                for (int r = 0; r < CORNERS; ++r) weights[(first + p) * CORNERS + r] = weight[r][p];
            }
        }
        vertices = table.count();
        for (int axis = 0; axis < CORNERS; ++axis)
            chains[axis] = chains_along(table, next.data() + axis, all - CORNERS * stride[axis]);
    }

private:
    // Simplices of 8 points: barycentric weights and keys of their corners (Adams et al., section 3.1 and appendix).
    static void locate(const Float8 (&values)[D], const std::uint64_t (&stride)[CORNERS], std::uint64_t all,
                       Float8 (&weight)[CORNERS], std::uint64_t (&keys)[CORNERS][BLOCK],
                       unsigned char (&axes)[CORNERS][BLOCK])
    {
        Float8 lifted[CORNERS], sum{};
        for (int j = D; j > 0; --j) {
            const Float8 value = values[j - 1] * scale(j);
            lifted[j] = sum - static_cast<float>(j) * value;
            sum += value;
        }
        lifted[0] = sum;
        // The nearest point whose coordinates are all multiples of D + 1, coordinate by coordinate ...
        Float8 remainder[CORNERS];
        Int8 nearest[CORNERS], rank[CORNERS] = {}, surplus{};
        for (int i = 0; i < CORNERS; ++i) {
            nearest[i] = rounded(lifted[i] * (1.0f / CORNERS));
            remainder[i] = lifted[i] - to_float(nearest[i]) * static_cast<float>(CORNERS);
            surplus += nearest[i];
        }
        for (int i = 0; i < CORNERS; ++i)
            for (int j = i + 1; j < CORNERS; ++j) {
                const Int8 less = remainder[i] < remainder[j];  // -1 where true
                rank[i] -= less;
                rank[j] += 1 + less;
            }
        // ... whose sum is brought to zero where the rounding did least.
        for (int i = 0; i < CORNERS; ++i) {
            rank[i] += surplus;
            const Int8 step = (rank[i] > D) - (rank[i] < 0);
            rank[i] += step * CORNERS;
            nearest[i] += step;
            remainder[i] -= to_float(step) * static_cast<float>(CORNERS);
        }
        Float8 sorted[CORNERS];  // remainders, the largest first, as shares of the simplex
        for (int r = 0; r < CORNERS; ++r) {
            sorted[r] = Float8{};
            for (int i = 0; i < CORNERS; ++i) sorted[r] += rank[i] == r ? remainder[i] : Float8{};
            sorted[r] *= 1.0f / CORNERS;
        }
        weight[0] = 1.0f + sorted[D] - sorted[0];
        for (int r = 1; r < CORNERS; ++r) weight[r] = sorted[D - r] - sorted[CORNERS - r];
        // From corner to corner all coordinates go up by 1 and one, those of small remainders first, down by D + 1.
        for (int p = 0; p < BLOCK; ++p) {
            std::uint64_t key = 0;
            for (int i = 0; i < CORNERS; ++i) {
                axes[D - rank[i][p]][p] = static_cast<unsigned char>(i);
                key += static_cast<std::uint64_t>(std::int64_t(nearest[i][p])) * stride[i];
            }
            keys[0][p] = key *= CORNERS;
            for (int r = 1; r < CORNERS; ++r) keys[r][p] = key += all - CORNERS * stride[axes[r - 1][p]];
        }
    }

    // Scales coordinate `j` so that the three steps together blur with a standard deviation of one feature.
    static constexpr float scale(int j)
    {
        constexpr float INVERSE_ROOTS[6] = {0, 0.70710678f, 0.40824829f, 0.28867513f, 0.22360680f, 0.18257419f};
        return INVERSE_ROOTS[j] * 0.81649658f * CORNERS;  // 1 / sqrt(j (j + 1)), sqrt(2 / 3)
    }

    // Chains of at least two vertices, each vertex's successor at the key that lies `step` further. `known` successors,
    // CORNERS apart, were neighbours in some simplex; the others are looked for.
    static Array<std::uint32_t> chains_along(const VertexTable &table, const std::uint32_t *known, std::uint64_t step)
    {
        const std::size_t count = table.count();
        Array<std::uint32_t> next(count);
        Array<unsigned char> follows(count);
        follows.fill(0);
        std::size_t linked = 0;
        constexpr std::size_t SOUGHT = 64;  // at a time, so that their slots arrive together
        for (std::size_t first = 0; first < count; first += SOUGHT) {
            const std::size_t end = first + SOUGHT < count ? first + SOUGHT : count;
            for (std::size_t v = first; v < end; ++v)
                table.prefetch(table.key(v) + step);
            for (std::size_t v = first; v < end; ++v) {
                const std::uint32_t found = known[v * CORNERS];
                next[v] = found != NONE ? found : table.find(table.key(v) + step);
                if (next[v] != NONE) {
                    follows[next[v]] = 1;
                    ++linked;
                }
            }
        }
        Array<std::uint32_t> beginnings(count);
        std::size_t starts = 0;
        for (std::size_t v = 0; v < count; ++v) {
            beginnings[starts] = static_cast<std::uint32_t>(v);
            starts += next[v] != NONE && !follows[v];
        }
        Array<std::uint32_t> chains(linked + starts);
        std::size_t end = 0;
        for (std::size_t i = 0; i < starts; ++i) {
            chains[end++] = beginnings[i] | START;
            for (std::uint32_t v = next[beginnings[i]]; v != NONE; v = next[v]) chains[end++] = v;
        }
        if (end != chains.size()) chains.resize(end, end);  // two vertices with one key might have made a ring
        return chains;
    }
};

}  // namespace
