/* avx2.h - what the AVX2 and AVX-VNNI kernel files share. */
#ifndef CODEC_AVX2_H
#define CODEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "codec/kernels.h"
#include "codec/simd.h"
#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

/* All bits set in the first n lanes of eight. */
CPU_INLINE __m256i tq_first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

CPU_INLINE __m256i tq_four_bytes(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Halves of 16 lanes, then quarters and so on. */
CPU_INLINE float tq_sum_lanes(__m256 lo, __m256 hi)
{
    const __m256 a = _mm256_add_ps(lo, hi);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

CPU_INLINE int32_t tq_sum_integers(__m256i v)
{
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xB1)));
}

/* 8 scales; bits that are no finite positive f16 read as zero. */
CPU_INLINE __m256 tq_load_scales(const uint16_t *scale)
{
    const __m128i h = _mm_loadu_si128((const void *)scale);
    const __m128i ok = _mm_cmpeq_epi16(h, _mm_min_epu16(h, _mm_set1_epi16(0x7bff)));
    return _mm256_cvtph_ps(_mm_and_si128(h, ok));
}

CPU_INLINE __m256 tq_clamp_scores(__m256 s)
{
    /* The second operand is returned if one is NaN. */
    s = _mm256_min_ps(_mm256_set1_ps(TQ_SCORE_MAX), s);
    return _mm256_max_ps(_mm256_set1_ps(-TQ_SCORE_MAX), s);
}

/* Eight scores of query i from dot products over levels + 128: of hi, or 128 times that
 * of hi plus that of lo. */
CPU_INLINE void tq_store_scores(float *s, __m256i dot, const struct tq_code_queries *q,
                                int i, const uint16_t *kscale)
{
    int32_t bias = 128 * q->sum_hi[i];
    float unit = q->step[i];
    if (q->lo) {
        bias = 128 * (bias + q->sum_lo[i]);
        unit *= 0x1p-7f;
    }
    const __m256 v =
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(dot, _mm256_set1_epi32(bias))),
                      _mm256_set1_ps(unit));
    const __m256 scale = tq_load_scales(kscale);
    __m256 score = tq_clamp_scores(_mm256_mul_ps(v, scale));
    if (q->bias) {
        const __m256 any = _mm256_cmp_ps(scale, _mm256_setzero_ps(), _CMP_GT_OQ);
        score = _mm256_add_ps(score, _mm256_and_ps(any, _mm256_set1_ps(q->bias[i])));
    }
    _mm256_storeu_ps(s, score);
}

/* o <- o * c + g * total, eight dimensions. */
CPU_INLINE void tq_add_total(float *o, __m256i total, float g, float c)
{
    const __m256 before = _mm256_mul_ps(_mm256_loadu_ps(o), _mm256_set1_ps(c));
    _mm256_storeu_ps(o, _mm256_add_ps(before, _mm256_mul_ps(_mm256_set1_ps(g),
                                                            _mm256_cvtepi32_ps(total))));
}

CPU_TARGET_END

#endif
