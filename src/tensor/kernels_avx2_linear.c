/* kernels_avx2_linear.c - kernels of linear.h for AVX2. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

#include "tensor/floats_avx2.h"

typedef __m256 vec;
enum { LANES = 8, ROWS = 4 };

CPU_INLINE vec load(const float *p)
{
    return _mm256_loadu_ps(p);
}

CPU_INLINE void store(float *p, vec x)
{
    _mm256_storeu_ps(p, x);
}

/* Lanes below n. */
CPU_INLINE __m256i first_lanes(size_t n)
{
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - n));
}

CPU_INLINE vec load_first(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first_lanes(n));
}

CPU_INLINE void store_first(float *p, vec x, size_t n)
{
    _mm256_maskstore_ps(p, first_lanes(n), x);
}

CPU_INLINE vec all(float x)
{
    return _mm256_set1_ps(x);
}

CPU_INLINE vec mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

CPU_INLINE vec mul_add(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* Each as ((0 + 2) + (1 + 3)) + ((4 + 6) + (5 + 7)). */
CPU_INLINE void lane_sums(float sum[ROWS], const vec x[ROWS])
{
    const vec a =
        _mm256_add_ps(_mm256_unpacklo_ps(x[0], x[1]), _mm256_unpackhi_ps(x[0], x[1]));
    const vec b =
        _mm256_add_ps(_mm256_unpacklo_ps(x[2], x[3]), _mm256_unpackhi_ps(x[2], x[3]));
    const __m256d c = _mm256_castps_pd(a), d = _mm256_castps_pd(b);
    const vec half = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(c, d)),
                                   _mm256_castpd_ps(_mm256_unpackhi_pd(c, d)));
    _mm_storeu_ps(
        sum, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

CPU_INLINE vec silu(vec x)
{
    return silu8(x);
}

CPU_INLINE vec sigmoid_mul(vec x, vec gate)
{
    return sigmoid_times8(x, exp_held8(_mm256_sub_ps(_mm256_setzero_ps(), gate)));
}

/* exp(-2 u) of four values as rest and power, in double: an error of 2 u, which may be
 * 87, is the relative error of its exponential. */
CPU_INLINE __m128 gelu_rest(__m128i *n, __m128 x)
{
    const __m256d y = _mm256_cvtps_pd(x);
    const __m256d by = _mm256_fmadd_pd(_mm256_mul_pd(y, y),
                                       _mm256_set1_pd(-KERNEL_GELU * KERNEL_GELU_CUBE),
                                       _mm256_set1_pd(-KERNEL_GELU));
    __m256d z = _mm256_mul_pd(y, by);
    z = _mm256_max_pd(_mm256_set1_pd((double)-KERNEL_EXP_MAX), z);
    z = _mm256_min_pd(_mm256_set1_pd((double)KERNEL_EXP_MAX), z);
    *n = _mm256_cvtpd_epi32(_mm256_mul_pd(z, _mm256_set1_pd(KERNEL_LOG2E_DOUBLE)));
    return _mm256_cvtpd_ps(
        _mm256_fnmadd_pd(_mm256_cvtepi32_pd(*n), _mm256_set1_pd(KERNEL_LN2_DOUBLE), z));
}

CPU_INLINE vec gelu_mul(vec x, vec up)
{
    __m128i n[2];
    const __m128 lo = gelu_rest(n, _mm256_castps256_ps128(x));
    const __m128 hi = gelu_rest(n + 1, _mm256_extractf128_ps(x, 1));
    const vec e =
        times_power8(exp_rest8(_mm256_set_m128(hi, lo)), _mm256_set_m128i(n[1], n[0]));
    return mul(sigmoid_times8(x, e), up);
}

#define LEVEL(name) name##_avx2
#include "tensor/kernels_linear.h"

CPU_TARGET_END

#endif
