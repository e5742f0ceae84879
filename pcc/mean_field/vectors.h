// Vectors of floats, by the extension that GCC and Clang share; what a processor lacks, the compiler makes of what it has.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

typedef float Float4 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));
typedef std::int32_t Int8 __attribute__((vector_size(32)));

template <class Vec>
constexpr int LANES = sizeof(Vec) / sizeof(float);

inline Float8 to_float(Int8 x) { return __builtin_convertvector(x, Float8); }

// The nearest integers, halves up.
inline Int8 rounded(Float8 x)
{
    x += 0.5f;
    const Int8 towards_zero = __builtin_convertvector(x, Int8);
    return towards_zero + (to_float(towards_zero) > x);  // a comparison is -1 where true
}

// exp(x) for x <= 0, to about 2e-7 of its value; below exp(-60), which no probability needs and whose products would
// become denormal numbers and slow, it is exp(-60).
inline Float8 exponential(Float8 x)
{
    constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693359375f, LN_2_REST = -2.12194440e-4f;
    constexpr float ROUNDER = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const Float8 lowest = Float8{} - 60.0f;
    x = x < lowest ? lowest : x;
    const Float8 shifted = x * LOG2_E + ROUNDER;
    const Float8 power = shifted - ROUNDER;
    const Float8 rest = x - power * LN_2 - power * LN_2_REST;
    Float8 series = rest * 1.9875691500e-4f + 1.3981999507e-3f;  // Cephes' expf
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 5.0000001201e-1f;
    series = series * rest * rest + rest + 1.0f;
    Int8 bits, exponent;
    std::memcpy(&bits, &series, sizeof bits);
    std::memcpy(&exponent, &shifted, sizeof exponent);
    bits += exponent << 23;  // the high bits of the rounder fall out on the left
    std::memcpy(&series, &bits, sizeof bits);
    return series;
}

}  // namespace
