// The kernel for x86 processors since 2013. What is included before the pragma stays free of their instructions.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernel.h"

#if PCC_HAS_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "inference.h"

void infer_avx2(const Problem &problem) { infer(problem); }

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
