/* kernels_avx512.c - rotation, conversion and the turning of levels for AVX-512. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "codec/avx512.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

/* ---- rotation ---- */

/* Butterfly between lanes i and i ^ half; y is x with these lanes exchanged. */
CPU_INLINE __m512 butterfly(__m512 x, __m512 y, __mmask16 upper)
{
    return _mm512_mask_sub_ps(_mm512_add_ps(x, y), upper, y, x);
}

CPU_INLINE __m512 butterflies_in_lanes(__m512 x, int inner)
{
    x = butterfly(x, _mm512_permute_ps(x, 0xB1), 0xAAAA);
    x = butterfly(x, _mm512_permute_ps(x, 0x4E), 0xCCCC);
    if (inner >= 8)
        x = butterfly(x, _mm512_shuffle_f32x4(x, x, 0xB1), 0xF0F0);
    if (inner >= 16)
        x = butterfly(x, _mm512_shuffle_f32x4(x, x, 0x4E), 0xFF00);
    return x;
}

CPU_INLINE __m512 flip(__m512 x, int vector)
{
    const __mmask16 sign = (__mmask16)(tq_sign[vector / 4] >> (16 * (vector % 4)));
    const __m512i bits = _mm512_castps_si512(x);
    return _mm512_castsi512_ps(
        _mm512_mask_xor_epi32(bits, sign, bits, _mm512_set1_epi32(INT32_MIN)));
}

/* v <- the nv vectors of a row from vector `first` on, after signs, unless `back`, and
 * butterflies over distances 1 .. 8 nv. */
CPU_INLINE void butterflies(__m512 v[16], const float *x, int first, int nv, bool back)
{
    TQ_UNROLL
    for (int i = 0; i < nv; i++) {
        v[i] = _mm512_loadu_ps(x + 16 * (first + i));
        v[i] = butterflies_in_lanes(back ? v[i] : flip(v[i], first + i), 16);
    }
    TQ_UNROLL
    for (int half = 1; half < nv; half *= 2) {
        TQ_UNROLL
        for (int i = 0; i < nv; i++) {
            if (i & half)
                continue;
            const __m512 a = v[i], b = v[i + half];
            v[i] = _mm512_add_ps(a, b);
            v[i + half] = _mm512_sub_ps(a, b);
        }
    }
}

/* d = 16 * nv, a power of two; signs before the transform or after it. */
CPU_INLINE void rotate_pow2(float *x, int nv, bool back)
{
    __m512 v[16];
    butterflies(v, x, 0, nv, back);
    const __m512 norm = _mm512_set1_ps(1.0f / sqrtf(16.0f * (float)nv));
    TQ_UNROLL
    for (int i = 0; i < nv; i++) {
        v[i] = _mm512_mul_ps(v[i], norm);
        _mm512_storeu_ps(x + 16 * i, back ? flip(v[i], i) : v[i]);
    }
}

/* Registers hold half of a row, so distance 256 comes from memory. */
CPU_INLINE void rotate_512(float *x, bool back)
{
    for (int first = 0; first < 32; first += 16) {
        __m512 v[16];
        butterflies(v, x, first, 16, back);
        TQ_UNROLL
        for (int i = 0; i < 16; i++)
            _mm512_storeu_ps(x + 16 * (first + i), v[i]);
    }
    const __m512 norm = _mm512_set1_ps(1.0f / sqrtf(512.0f));
    for (int i = 0; i < 16; i++) {
        const __m512 a = _mm512_loadu_ps(x + 16 * i),
                     b = _mm512_loadu_ps(x + 256 + 16 * i);
        const __m512 sum = _mm512_mul_ps(_mm512_add_ps(a, b), norm);
        const __m512 difference = _mm512_mul_ps(_mm512_sub_ps(a, b), norm);
        _mm512_storeu_ps(x + 16 * i, back ? flip(sum, i) : sum);
        _mm512_storeu_ps(x + 256 + 16 * i, back ? flip(difference, 16 + i) : difference);
    }
}

/* The `inner` floats at x, repeated. */
CPU_INLINE __m512 repeat(const float *x, int inner)
{
    if (inner == 4)
        return _mm512_broadcast_f32x4(_mm_loadu_ps(x));
    if (inner == 8)
        return _mm512_broadcast_f32x8(_mm256_loadu_ps(x));
    return _mm512_loadu_ps(x);
}

/* d = order * inner, inner 4, 8 or 16: lane l of vector i belongs to row
 * (16 i + l) / inner of the base matrix, whose sign bits travel to bit 31. */
CPU_INLINE void rotate_base(float *x, int d, int order, int inner, const uint32_t *matrix,
                            bool back)
{
    const int nv = d / 16;
    _Alignas(64) float t[192];
    for (int i = 0; i < nv; i++) {
        __m512 v = _mm512_loadu_ps(x + 16 * i);
        v = butterflies_in_lanes(back ? v : flip(v, i), inner);
        _mm512_store_ps(t + 16 * i, v);
    }
    const __m512 norm = _mm512_set1_ps(1.0f / sqrtf((float)d));
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const unsigned shift = inner == 4 ? 2 : inner == 8 ? 3 : 4;
    for (int i = 0; i < nv; i++) {
        const __m512i row =
            _mm512_srli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(16 * i)), shift);
        __m512i bits = _mm512_i32gather_epi32(row, (const int *)matrix, 4);
        __m512 sum = _mm512_setzero_ps();
        for (int j = 0; j < order; j++) {
            bits = _mm512_ror_epi32(bits, 1);
            const __m512i v = _mm512_castps_si512(repeat(t + j * inner, inner));
            const __m512i signed_v = _mm512_ternarylogic_epi32(
                v, bits, _mm512_set1_epi32(INT32_MIN), 0x78); // v ^ (bits & sign)
            sum = _mm512_add_ps(sum, _mm512_castsi512_ps(signed_v));
        }
        sum = _mm512_mul_ps(sum, norm);
        _mm512_storeu_ps(x + 16 * i, back ? flip(sum, i) : sum);
    }
}

CPU_INLINE void rotate_rows(float *x, int d, int n, bool back)
{
    for (int i = 0; i < n; i++, x += d)
        switch (d) {
        case 64:
            rotate_pow2(x, 4, back);
            break;
        case 128:
            rotate_pow2(x, 8, back);
            break;
        case 256:
            rotate_pow2(x, 16, back);
            break;
        case 512:
            rotate_512(x, back);
            break;
        case 80:
            rotate_base(x, 80, 20, 4, tq_hadamard20, back);
            break;
        case 96:
            rotate_base(x, 96, 12, 8, tq_hadamard12, back);
            break;
        case 112:
            rotate_base(x, 112, 28, 4, tq_hadamard28, back);
            break;
        default:
            rotate_base(x, 192, 12, 16, tq_hadamard12, back);
        }
}

void tq_rotate_avx512(float *x, int d, int n)
{
    rotate_rows(x, d, n, false);
}

void tq_unrotate_avx512(float *x, int d, int n)
{
    rotate_rows(x, d, n, true);
}

/* ---- conversion ---- */

void tq_to_f16_avx512(uint16_t *out, const float *x, int n)
{
    const __m512 most = _mm512_set1_ps(65504.0f), least = _mm512_set1_ps(-65504.0f);
    for (int i = 0; i < n; i += 16) {
        const __mmask16 in = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffffu);
        const __m512 v = _mm512_maskz_loadu_ps(in, x + i);
        const __mmask16 special = _mm512_fpclass_ps_mask(v, 0x99); // NaN and infinity
        const __m512 finite = _mm512_max_ps(_mm512_min_ps(v, most), least);
        const __m256i h = _mm512_cvtps_ph(_mm512_mask_mov_ps(finite, special, v),
                                          _MM_FROUND_TO_NEAREST_INT);
        _mm256_mask_storeu_epi16(out + i, in, h);
    }
}

/* ---- what 512 bits do not make faster ---- */

void tq_transpose_avx512(uint16_t *out, const uint16_t *rows, int d)
{
    tq_transpose_avx2(out, rows, d);
}

void tq_pack_k_avx512(uint8_t *out, const uint8_t *code, int bits, int d)
{
    tq_pack_k_avx2(out, code, bits, d);
}

void tq_pack_v_avx512(uint8_t *out, const uint8_t *code, int bits, int d)
{
    tq_pack_v_avx2(out, code, bits, d);
}

void tq_weighted_mean_avx512(float *mean, const uint16_t *x, const float *weight, int d)
{
    tq_weighted_mean_avx2(mean, x, weight, d);
}

void tq_subtract_avx512(uint16_t *x, const float *mean, int d)
{
    tq_subtract_avx2(x, mean, d);
}

void tq_turn_levels_avx512(int8_t *out, const uint8_t *in, int d, int tile0, int tile1)
{
    const __m512i by_dim = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i sign = _mm512_set1_epi8(-128);
    for (int tile = tile0; tile < tile1; tile++)
        for (int i = 0; i < d; i += 4) { // 16 keys x 4 dims
            const __m512i keys = _mm512_loadu_si512(in + (tile * d + i) * 16);
            const __m512i dims =
                _mm512_shuffle_epi8(_mm512_xor_si512(keys, sign), by_dim);
            int8_t *to = out + 16 * tile * d + 4 * i;
            _mm_storeu_si128((void *)to, _mm512_castsi512_si128(dims));
            _mm_storeu_si128((void *)(to + 4 * d), _mm512_extracti32x4_epi32(dims, 1));
            _mm_storeu_si128((void *)(to + 8 * d), _mm512_extracti32x4_epi32(dims, 2));
            _mm_storeu_si128((void *)(to + 12 * d), _mm512_extracti32x4_epi32(dims, 3));
        }
}

CPU_TARGET_END

#endif
