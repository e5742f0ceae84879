// Random cases for the kernel, to be built with sanitizers; tests/mean_field/test_fuzz.py builds and runs it.
//
//     fuzz SEED CASES LARGEST_SIDE MOST_LABELS
//
// Sizes from 1 x 1, the first case LARGEST_SIDE x 3/4 of it; 1 to MOST_LABELS labels, images that are constant, random, striped or smooth, standard deviations
// from tiny to huge, weights of either sign. What comes out must be probabilities.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../../pcc/mean_field/kernel.h"

namespace {

std::mt19937 source;

double between(double low, double high) { return std::uniform_real_distribution<double>(low, high)(source); }
double power_between(double low, double high) { return std::exp(between(std::log(low), std::log(high))); }
int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(source); }

std::vector<unsigned char> draw(int kind, std::size_t height, std::size_t width)
{
    std::vector<unsigned char> image(height * width * 3, static_cast<unsigned char>(whole(0, 255)));
    for (std::size_t i = 0; kind != 0 && i < image.size(); ++i) {
        const std::size_t y = i / 3 / width, x = i / 3 % width;
        image[i] = static_cast<unsigned char>(kind == 1 ? whole(0, 255) : kind == 2 ? (x + y) % 2 * 255 : (x + 2 * y + i % 3) / 4);
    }
    return image;
}

}  // namespace

int main(int, char **arguments)
{
    const int seed = std::atoi(arguments[1]), cases = std::atoi(arguments[2]);
    const int side = std::atoi(arguments[3]), most = std::atoi(arguments[4]);
    for (int number = 0; number < cases; ++number) {
        source.seed(seed + number);
        Problem problem{};
        const bool largest = number == 0;
        problem.height = largest ? (3 * side + 3) / 4 : static_cast<std::size_t>(power_between(1, side + 0.99));
        problem.width = largest ? side : static_cast<std::size_t>(power_between(1, side + 0.99));
        problem.labels = static_cast<std::size_t>(power_between(1, most + 0.99));
        const std::size_t size = problem.labels * problem.height * problem.width;
        const std::vector<unsigned char> image = draw(number % 4, problem.height, problem.width);
        std::vector<float> energies(size), probabilities(size, -1.0f);
        for (float &energy : energies) energy = static_cast<float>(between(0, 11.6));
        problem.image = image.data(), problem.energies = energies.data(), problem.probabilities = probabilities.data();
        // The smallest that pcc.mean_field lets through: features up to 2^18.
        const double least = std::max(problem.height, problem.width) / 262144.0;
        problem.smooth_xy = static_cast<float>(power_between(least, 1e6));
        problem.colour_xy = static_cast<float>(power_between(least, 1e6));
        problem.colour_rgb = static_cast<float>(power_between(255 / 262144.0, 1e6));
        problem.smooth_weight = static_cast<float>(between(-5, 20));
        problem.colour_weight = static_cast<float>(between(-5, 20));
        problem.iterations = whole(0, 3);
        for (auto infer : {infer_baseline,
#if PCC_HAS_X86
                           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? infer_avx2 : infer_baseline
#endif
             }) {
            infer(problem);
            for (std::size_t p = 0; p < problem.height * problem.width; ++p) {
                double sum = 0;
                for (std::size_t label = 0; label < problem.labels; ++label)
                    sum += probabilities[label * problem.height * problem.width + p];
                if (!(std::fabs(sum - 1) < 1e-3)) {
                    std::fprintf(stderr, "case %d: %zu x %zu, %zu labels: probabilities of pixel %zu sum to %g\n",
                                 seed + number, problem.height, problem.width, problem.labels, p, sum);
                    return 1;
                }
            }
        }
    }
    return 0;
}
