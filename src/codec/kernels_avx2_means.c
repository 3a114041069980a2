/* kernels_avx2_means.c - the mean of a page of keys for AVX2. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include "codec/avx2.h"
#include "codec/f16.h"
#include "codec/layout.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

enum { TOKENS = TQ_PAGE_TOKENS, VECTORS = TOKENS / 8 };

CPU_INLINE __m256 load_half(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)x));
}

void tq_weighted_mean_avx2(float *mean, const uint16_t *x, const float *weight, int d)
{
    for (int c = 0; c < d; c++, x += TOKENS) {
        __m256 v[VECTORS];
        TQ_UNROLL
        for (int t = 0; t < VECTORS; t++)
            v[t] = _mm256_mul_ps(load_half(x + 8 * t), _mm256_loadu_ps(weight + 8 * t));
        const __m256 lo =
            _mm256_add_ps(_mm256_add_ps(v[0], v[2]), _mm256_add_ps(v[4], v[6]));
        const __m256 hi =
            _mm256_add_ps(_mm256_add_ps(v[1], v[3]), _mm256_add_ps(v[5], v[7]));
        mean[c] = tq_sum_lanes(lo, hi);
    }
}

void tq_subtract_avx2(uint16_t *x, const float *mean, int d)
{
    const __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
    for (int c = 0; c < d; c++)
        for (int j = 0; j < TOKENS; j += 8, x += 8) {
            __m256 v = _mm256_sub_ps(load_half(x), _mm256_set1_ps(mean[c]));
            v = _mm256_max_ps(_mm256_min_ps(v, most), least);
            _mm_storeu_si128((void *)x, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
        }
}

/* The b bits of each of 64 scales from bit `at` on, as bytes. */
CPU_INLINE void spare_bits(uint8_t *out, const __m256i h[4], int at, int b)
{
    TQ_UNROLL
    for (int half = 0; half < 2; half++) {
        __m256i v[2];
        TQ_UNROLL
        for (int k = 0; k < 2; k++)
            v[k] =
                _mm256_and_si256(_mm256_srl_epi16(h[2 * half + k], _mm_cvtsi32_si128(at)),
                                 _mm256_set1_epi16((short)((1 << b) - 1)));
        _mm256_store_si256(
            (void *)(out + 32 * half),
            _mm256_permute4x64_epi64(_mm256_packus_epi16(v[0], v[1]), 0xD8));
    }
}

/* <hi, 2 code - top> = 2 <hi, code> - top sum of hi; sums of 16-bit products stay below
 * 16 * 2 * 3 * 127. */
void tq_key_means_avx2(float *bias, uint16_t *scale, const uint16_t *stored,
                       const struct tq_code_queries *q, int d, int n)
{
    _Alignas(32) uint8_t code[4 * TOKENS];
    const int b = tq_mean_bits(d), top = (1 << b) - 1;
    __m256i h[4];
    TQ_UNROLL
    for (int k = 0; k < 4; k++) {
        h[k] = _mm256_loadu_si256((const void *)(stored + 16 * k));
        _mm256_storeu_si256((void *)(scale + 16 * k),
                            _mm256_and_si256(h[k], _mm256_set1_epi16(TQ_SCALE_MASK)));
    }
    for (int k = 0; k < 4 && TOKENS * k < d; k++)
        spare_bits(code + TOKENS * k, h, b * k, b);
    const __m128i signs =
        _mm_packs_epi16(_mm256_castsi256_si128(h[0]), _mm256_extracti128_si256(h[0], 1));
    const float unit = tq_scale_to_f32((uint16_t)_mm_movemask_epi8(signs));
    for (int i = 0; i < n; i++) {
        __m128i sum = _mm_setzero_si128();
        for (int c = 0; c < d; c += 16)
            sum = _mm_add_epi16(
                sum,
                _mm_maddubs_epi16(_mm_load_si128((const void *)(code + c)),
                                  _mm_loadu_si128((const void *)(q->hi + i * d + c))));
        const int32_t dot = tq_sum_integers(_mm256_cvtepi16_epi32(sum));
        bias[i] =
            tq_clamp_score((float)(2 * dot - top * q->sum_hi[i]) * q->step[i] * unit);
    }
}

CPU_TARGET_END

#endif
