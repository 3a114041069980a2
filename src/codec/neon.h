/* neon.h - what the NEON kernel files share.
 *
 * Lanes of 16 bytes: a quarter of a row of 16 tokens (keys) or of 16 dimensions (values),
 * so most kernels treat the four quarters one after the other. */
#ifndef CODEC_NEON_H
#define CODEC_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <string.h>

#include "codec/simd.h"
#include "cpu/target.h"

/* 4 halves at any even address. */
CPU_INLINE float32x4_t tq_load_half(const void *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* 4 floats at any address. */
CPU_INLINE float32x4_t tq_load_float(const void *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

/* 4 stored scales; bits that are no finite positive f16 read as zero. */
CPU_INLINE float32x4_t tq_load_scales(const uint16_t *scale)
{
    uint16x4_t h = vreinterpret_u16_u8(vld1_u8((const void *)scale));
    h = vand_u16(h, vclt_u16(h, vdup_n_u16(0x7c00)));
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

#endif
