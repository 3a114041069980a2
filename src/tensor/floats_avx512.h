/* floats_avx512.h - steps that float kernels for AVX-512 share.  Included between
 * CPU_TARGET_BEGIN and CPU_TARGET_END. */
#ifndef TENSOR_FLOATS_AVX512_H
#define TENSOR_FLOATS_AVX512_H

/* Lanes below rest, all from 16 on. */
CPU_INLINE __mmask16 lanes_below(size_t rest)
{
    return (__mmask16)(rest < 16 ? (1u << rest) - 1 : 0xffff);
}

/* exp(r), |r| <= ln 2 / 2; see kernels.h. */
CPU_INLINE __m512 exp_rest16(__m512 r)
{
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
}

/* x 2^n; the low bits of n are the integer. */
CPU_INLINE __m512 times_power16(__m512 x, __m512i n)
{
    const __m512i exponent = _mm512_add_epi32(n, _mm512_set1_epi32(127));
    return _mm512_mul_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23)));
}

/* See kernels.h.  min and max return their second operand for NaN. */
CPU_INLINE __m512 exp_held16(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-KERNEL_EXP_MAX), x);
    x = _mm512_min_ps(_mm512_set1_ps(KERNEL_EXP_MAX), x);
    const __m512 round = _mm512_set1_ps(KERNEL_ROUND);
    const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(KERNEL_LOG2E), round);
    const __m512 n = _mm512_sub_ps(shifted, round);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(KERNEL_LN2_HI), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(KERNEL_LN2_LO), r);
    return times_power16(exp_rest16(r), _mm512_castps_si512(shifted));
}

/* x sigmoid(g), e = exp(-g) */
CPU_INLINE __m512 sigmoid_times16(__m512 x, __m512 e)
{
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

CPU_INLINE __m512 silu16(__m512 x)
{
    return sigmoid_times16(x, exp_held16(_mm512_sub_ps(_mm512_setzero_ps(), x)));
}

/* Sum of squares, in double. */
CPU_INLINE double squares(const float *x, int n)
{
    __m512d sum0 = _mm512_setzero_pd(), sum1 = sum0;
    for (int i = 0; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(lanes_below((size_t)(n - i)), x + i);
        const __m512d lo = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
        const __m512d hi = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
        sum0 = _mm512_fmadd_pd(lo, lo, sum0);
        sum1 = _mm512_fmadd_pd(hi, hi, sum1);
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(sum0, sum1));
}

#endif
