// What the module and the kernel agree on. The kernel is compiled for several sets of instructions; the module takes the
// best one that the processor has.
#pragma once

#include <cstddef>

struct Problem {
    std::size_t height, width, labels;
    const unsigned char *image;  // [height, width, 3]
    const float *energies;       // [labels, height, width]
    float *probabilities;        // [labels, height, width], the result
    float smooth_xy, smooth_weight;
    float colour_xy, colour_rgb, colour_weight;
    int iterations;
};

void infer_baseline(const Problem &problem);
#if defined(__x86_64__)
#define PCC_HAS_X86 1
void infer_avx2(const Problem &problem);
#endif
