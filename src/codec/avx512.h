/* avx512.h - what the AVX-512 kernel files share. */
#ifndef CODEC_AVX512_H
#define CODEC_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "codec/kernels.h"
#include "codec/simd.h"
#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

CPU_INLINE __m512i tq_four_bytes(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* 16 scales; bits that are no finite positive f16 read as zero. */
CPU_INLINE __m512 tq_load_scales(const uint16_t *scale)
{
    const __m256i h = _mm256_loadu_si256((const void *)scale);
    const __mmask16 ok = _mm256_cmplt_epu16_mask(h, _mm256_set1_epi16(0x7c00));
    return _mm512_cvtph_ps(_mm256_maskz_mov_epi16(ok, h));
}

CPU_INLINE __m512 tq_clamp_scores(__m512 s)
{
    /* The second operand is returned if one is NaN. */
    s = _mm512_min_ps(_mm512_set1_ps(TQ_SCORE_MAX), s);
    return _mm512_max_ps(_mm512_set1_ps(-TQ_SCORE_MAX), s);
}

/* What turns dot products of a query over levels + 128 into scores. */
struct tq_score_terms {
    __m512i start; // of hi, or of 128 times that of hi plus that of lo
    __m512 unit, bias;
};

CPU_INLINE struct tq_score_terms tq_score_terms(const struct tq_code_queries *q, int i)
{
    int32_t sum = 128 * q->sum_hi[i];
    float unit = q->step[i];
    if (q->lo) {
        sum = 128 * (sum + q->sum_lo[i]);
        unit *= 0x1p-7f;
    }
    return (struct tq_score_terms){_mm512_set1_epi32(-sum), _mm512_set1_ps(unit),
                                   _mm512_set1_ps(q->bias ? q->bias[i] : 0.0f)};
}

/* 16 scores, of keys with these scales, from dot products that began at t->start. */
CPU_INLINE void tq_store_scores(float *s, __m512i dot, const struct tq_score_terms *t,
                                __m512 scale, bool has_bias)
{
    const __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), t->unit);
    __m512 score = tq_clamp_scores(_mm512_mul_ps(v, scale));
    if (has_bias) {
        const __mmask16 any = _mm512_cmp_ps_mask(scale, _mm512_setzero_ps(), _CMP_GT_OQ);
        score = _mm512_add_ps(score, _mm512_maskz_mov_ps(any, t->bias));
    }
    _mm512_storeu_ps(s, score);
}

/* o <- o * c + g * total, 16 dimensions. */
CPU_INLINE void tq_add_total(float *o, __m512i total, float g, float c)
{
    const __m512 before = _mm512_mul_ps(_mm512_loadu_ps(o), _mm512_set1_ps(c));
    _mm512_storeu_ps(o, _mm512_add_ps(before, _mm512_mul_ps(_mm512_set1_ps(g),
                                                            _mm512_cvtepi32_ps(total))));
}

CPU_TARGET_END

#define TQ_XOR3 0x96   // ternary logic a ^ b ^ c
#define TQ_SELECT 0xD8 // ternary logic c ? b : a

#endif
