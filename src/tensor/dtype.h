/* dtype.h - element types of tensors in GGUF files.
 *
 * One line in dtypes.def describes a type; `dequant` is NULL for a type that is known
 * (so that sizes can be checked and printed) but cannot be computed with. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>

/* Values are GGUF's type ids. */
enum dtype {
#define DTYPE(id, NAME, name, elems, bytes, dequant) DTYPE_##NAME = id,
#include "tensor/dtypes.def"
#undef DTYPE
};

struct dtype_traits {
    const char *name; // "Q4_K"
    int block_elems, block_bytes;
    /* dst [n_block * block_elems] <- n_block blocks at src, any alignment. */
    void (*dequant)(float *dst, const uint8_t *src, int64_t n_block);
};

/* NULL if the id is unknown. */
const struct dtype_traits *dtype_find(uint32_t id);

float dtype_f16_to_f32(uint16_t h);
uint16_t dtype_f32_to_f16(float f); // round to nearest even, overflow to infinity

#endif
