// The kernel with the instructions that every processor of its kind has.
#include "inference.h"

void infer_baseline(const Problem &problem) { infer(problem); }
