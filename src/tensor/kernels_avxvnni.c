/* kernels_avxvnni.c - products of quantised weights with AVX-VNNI; the other kernels are
 * those of AVX2. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "cpu/byte_products.h"
#include "cpu/target.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVXVNNI)

#define DOT_VNNI
#include "tensor/blocks_avx2.h"

#define DOT(name, bytes, n_sub, n_scale, offset, n_min, n_add, signs, levels, factors)  \
    static void dot_##name##_avxvnni(float *dst, size_t ld, int n_row,                  \
                                     const uint8_t *tile, const struct act *a, int tok, \
                                     int n_tok)                                         \
    {                                                                                   \
        const struct format f = {                                                       \
            n_sub,   n_scale,           offset,       n_min, n_add, signs, levels,      \
            factors, TILE_ROWS * bytes, decode_##name};                                 \
        dot_any(f, dst, ld, n_row, tile, a, tok, n_tok);                                \
    }
DOT_FORMATS(DOT)
#undef DOT

CPU_TARGET_END

void tensor_kernels_init_avxvnni(struct tensor_kernels *k)
{
#define DOT(name, ...) k->dot_##name = dot_##name##_avxvnni;
    DOT_FORMATS(DOT)
#undef DOT
}

#else

void tensor_kernels_init_avxvnni(struct tensor_kernels *k)
{
    (void)k;
}

#endif
