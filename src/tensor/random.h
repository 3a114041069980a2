/* random.h - random weights for synthetic models. */
#ifndef TENSOR_RANDOM_H
#define TENSOR_RANDOM_H

#include <stdint.h>

#include "tensor/dtype.h"

/* Fill n_block blocks of a type that can be computed with: codes uniform, values of mean
 * zero and standard deviation sigma (within 5 percent).  A pure function of its
 * arguments, and of (seed, block index) for a block. */
void dtype_random(enum dtype t, uint8_t *dst, int64_t n_block, uint64_t seed,
                  float sigma);

#endif
