/* floats_avx2.h - steps that float kernels for AVX2 share.  Included between
 * CPU_TARGET_BEGIN and CPU_TARGET_END. */
#ifndef TENSOR_FLOATS_AVX2_H
#define TENSOR_FLOATS_AVX2_H

/* exp(r), |r| <= ln 2 / 2; see kernels.h. */
CPU_INLINE __m256 exp_rest8(__m256 r)
{
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    return _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
}

/* x 2^n; the low bits of n are the integer. */
CPU_INLINE __m256 times_power8(__m256 x, __m256i n)
{
    const __m256i exponent = _mm256_add_epi32(n, _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

/* See kernels.h.  min and max return their second operand for NaN. */
CPU_INLINE __m256 exp_held8(__m256 x)
{
    x = _mm256_max_ps(_mm256_set1_ps(-KERNEL_EXP_MAX), x);
    x = _mm256_min_ps(_mm256_set1_ps(KERNEL_EXP_MAX), x);
    const __m256 round = _mm256_set1_ps(KERNEL_ROUND);
    const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(KERNEL_LOG2E), round);
    const __m256 n = _mm256_sub_ps(shifted, round);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(KERNEL_LN2_HI), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(KERNEL_LN2_LO), r);
    return times_power8(exp_rest8(r), _mm256_castps_si256(shifted));
}

/* x sigmoid(g), e = exp(-g) */
CPU_INLINE __m256 sigmoid_times8(__m256 x, __m256 e)
{
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

CPU_INLINE __m256 silu8(__m256 x)
{
    return sigmoid_times8(x, exp_held8(_mm256_sub_ps(_mm256_setzero_ps(), x)));
}

/* Sum of squares, in double. */
CPU_INLINE double squares(const float *x, int n)
{
    __m256d sum4[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    double sum = 0, part[4];
    int i = 0;
    for (; i + 8 <= n; i += 8)
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * h));
            sum4[h] = _mm256_fmadd_pd(v, v, sum4[h]);
        }
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    _mm256_storeu_pd(part, _mm256_add_pd(sum4[0], sum4[1]));
    return sum + ((part[0] + part[1]) + (part[2] + part[3]));
}

#endif
