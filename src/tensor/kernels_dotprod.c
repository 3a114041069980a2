/* kernels_dotprod.c - matrix kernels of the integer types with the dot product of bytes
 * of Armv8.2: a register of weights is four columns of four rows, which is what it takes.
 */
#include "tensor/kernels.h"

#include "cpu/target.h"

#if defined(CPU_BUILD_DOTPROD)

#include "tensor/neon_blocks.h"

CPU_TARGET_BEGIN(CPU_TARGET_DOTPROD)

/* acc + words 4i .. 4i + 3 of a sub times 16 activations. */
CPU_INLINE int32x4_t dot16(int32x4_t acc, const struct sub *s, int8x16_t q, int i)
{
    acc = vdotq_laneq_s32(acc, s->w[4 * i], q, 0);
    acc = vdotq_laneq_s32(acc, s->w[4 * i + 1], q, 1);
    acc = vdotq_laneq_s32(acc, s->w[4 * i + 2], q, 2);
    return vdotq_laneq_s32(acc, s->w[4 * i + 3], q, 3);
}

CPU_INLINE void sums_dotprod(const struct format f, int32x4_t sum[2], const struct sub *s,
                             const int8_t *q)
{
    const int8x16_t low = vld1q_s8(q), high = vld1q_s8(q + 16);
    sum[0] = dot16(vdupq_n_s32(0), s, low, 0);
    if (f.n_scale == 2)
        sum[1] = dot16(vdupq_n_s32(0), s, high, 1);
    else
        sum[0] = dot16(sum[0], s, high, 1);
}

#define DOT(...) NEON_DOT(dotprod, sums_dotprod, __VA_ARGS__)
NEON_BLOCK_TYPES(DOT)
#undef DOT

CPU_TARGET_END

void tensor_kernels_init_dotprod(struct tensor_kernels *k)
{
#define DOT(name, ...) k->dot_##name = dot_##name##_dotprod;
    NEON_BLOCK_TYPES(DOT)
#undef DOT
}

#else

void tensor_kernels_init_dotprod(struct tensor_kernels *k)
{
    (void)k;
}

#endif
