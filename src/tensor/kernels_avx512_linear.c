/* kernels_avx512_linear.c - kernels of linear.h for AVX-512. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

#include "tensor/floats_avx512.h"

typedef __m512 vec;
enum { LANES = 16, ROWS = 8 };

CPU_INLINE vec load(const float *p)
{
    return _mm512_loadu_ps(p);
}

CPU_INLINE void store(float *p, vec x)
{
    _mm512_storeu_ps(p, x);
}

CPU_INLINE vec load_first(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(lanes_below(n), p);
}

CPU_INLINE void store_first(float *p, vec x, size_t n)
{
    _mm512_mask_storeu_ps(p, lanes_below(n), x);
}

CPU_INLINE vec all(float x)
{
    return _mm512_set1_ps(x);
}

CPU_INLINE vec mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

CPU_INLINE vec mul_add(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* Of four: lanes as ((0 + 2) + (1 + 3)) in each quarter, quarters as (0 + 2) + (1 + 3).
 */
CPU_INLINE __m128 lane_sums4(const vec x[4])
{
    const vec a =
        _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    const vec b =
        _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    const __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
    const vec quarter = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
                                      _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(quarter),
                                      _mm512_extractf32x8_ps(quarter, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

CPU_INLINE void lane_sums(float sum[ROWS], const vec x[ROWS])
{
    _mm_storeu_ps(sum, lane_sums4(x));
    _mm_storeu_ps(sum + 4, lane_sums4(x + 4));
}

CPU_INLINE vec silu(vec x)
{
    return silu16(x);
}

CPU_INLINE vec sigmoid_mul(vec x, vec gate)
{
    return sigmoid_times16(x, exp_held16(_mm512_sub_ps(_mm512_setzero_ps(), gate)));
}

/* exp(-2 u) of eight values as rest and power, in double: see kernels_avx2_linear.c. */
CPU_INLINE __m256 gelu_rest(__m256i *n, __m256 x)
{
    const __m512d y = _mm512_cvtps_pd(x);
    const __m512d by = _mm512_fmadd_pd(_mm512_mul_pd(y, y),
                                       _mm512_set1_pd(-KERNEL_GELU * KERNEL_GELU_CUBE),
                                       _mm512_set1_pd(-KERNEL_GELU));
    __m512d z = _mm512_mul_pd(y, by);
    z = _mm512_max_pd(_mm512_set1_pd((double)-KERNEL_EXP_MAX), z);
    z = _mm512_min_pd(_mm512_set1_pd((double)KERNEL_EXP_MAX), z);
    *n = _mm512_cvtpd_epi32(_mm512_mul_pd(z, _mm512_set1_pd(KERNEL_LOG2E_DOUBLE)));
    return _mm512_cvtpd_ps(
        _mm512_fnmadd_pd(_mm512_cvtepi32_pd(*n), _mm512_set1_pd(KERNEL_LN2_DOUBLE), z));
}

CPU_INLINE vec gelu_mul(vec x, vec up)
{
    __m256i n[2];
    const __m256 lo = gelu_rest(n, _mm512_castps512_ps256(x));
    const __m256 hi = gelu_rest(n + 1, _mm512_extractf32x8_ps(x, 1));
    const vec rest = _mm512_insertf32x8(_mm512_castps256_ps512(lo), hi, 1);
    const __m512i powers = _mm512_inserti64x4(_mm512_castsi256_si512(n[0]), n[1], 1);
    return mul(sigmoid_times16(x, times_power16(exp_rest16(rest), powers)), up);
}

#define LEVEL(name) name##_avx512
#include "tensor/kernels_linear.h"

CPU_TARGET_END

#endif
