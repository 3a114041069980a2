/* kernels_probe_float.c - rewriting memory, and multiply-adds of floats, as fast as each
 * level can: loads, stores and products of its widest registers, and nothing else. */
#include "cpu/target.h"
#include "tensor/probe.h"

#define EACH(i, n) _Pragma("GCC unroll 12") for (size_t i = 0; i < n; i++)

/* A chain of its own for every lane: 192 hide the latency of twelve registers of AVX-512,
 * and take two or four registers' rounds of narrower ones. */
#define PROBE_FLOAT(level, vec, lanes, load, store, negate, all, fma)         \
    static void update_##level(float *x, size_t n)                            \
    {                                                                         \
        for (float *end = x + n; x < end; x += 4 * lanes)                     \
            EACH(i, 4)                                                        \
            {                                                                 \
                store(x + i * lanes, negate(load(x + i * lanes)));            \
            }                                                                 \
    }                                                                         \
    static float f32_##level(float x, float a, float b, int n)                \
    {                                                                         \
        const vec by = all(a), plus = all(b);                                 \
        float part[lanes], sum = 0;                                           \
        for (int block = 0; block < PROBE_F32_WORK / (12 * lanes); block++) { \
            vec chain[12], total;                                             \
            EACH(i, 12)                                                       \
            {                                                                 \
                chain[i] = all(x);                                            \
            }                                                                 \
            for (int k = 0; k < n; k++)                                       \
                EACH(i, 12)                                                   \
                {                                                             \
                    chain[i] = fma(chain[i], by, plus);                       \
                    IN_ORDER(chain[i]);                                       \
                }                                                             \
            total = chain[0];                                                 \
            EACH(i, 11)                                                       \
            {                                                                 \
                total = fma(chain[i + 1], all(1.0f), total);                  \
            }                                                                 \
            store(part, total);                                               \
            for (size_t i = 0; i < lanes; i++)                                \
                sum += part[i];                                               \
        }                                                                     \
        return sum;                                                           \
    }

/* The compiler may not merge chains that hold the same values. */
#if defined(__x86_64__)
#define IN_ORDER(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define IN_ORDER(x) __asm__("" : "+w"(x))
#else
#define IN_ORDER(x) __asm__("" : "+m"(x))
#endif

#define C_LOAD(p) (*(p))
#define C_STORE(p, x) (*(p) = (x))
#define C_NEGATE(x) (-(x))
#define C_ALL(x) (x)
#define C_FMA(x, a, b) ((x) * (a) + (b))
PROBE_FLOAT(c, float, 1, C_LOAD, C_STORE, C_NEGATE, C_ALL, C_FMA)

#if defined(__x86_64__)

#include <immintrin.h>

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)
#define NEGATE(x) _mm256_xor_ps(x, _mm256_set1_ps(-0.0f))
PROBE_FLOAT(avx2, __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, NEGATE, _mm256_set1_ps,
            _mm256_fmadd_ps)
#undef NEGATE
CPU_TARGET_END

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)
#define NEGATE(x) _mm512_xor_ps(x, _mm512_set1_ps(-0.0f))
PROBE_FLOAT(avx512, __m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, NEGATE, _mm512_set1_ps,
            _mm512_fmadd_ps)
#undef NEGATE
CPU_TARGET_END

#elif defined(__aarch64__)

#include <arm_neon.h>

#define FMA(x, a, b) vfmaq_f32(b, x, a)
PROBE_FLOAT(neon, float32x4_t, 4, vld1q_f32, vst1q_f32, vnegq_f32, vdupq_n_f32, FMA)
#undef FMA

#endif

struct probe_float probe_float_kernels(enum cpu_isa limit)
{
    const enum cpu_isa isa = cpu_best(limit);
#if defined(__x86_64__)
    if (isa >= CPU_ISA_AVX512)
        return (struct probe_float){update_avx512, f32_avx512};
    if (isa >= CPU_ISA_AVX2)
        return (struct probe_float){update_avx2, f32_avx2};
#elif defined(__aarch64__)
    if (isa >= CPU_ISA_NEON)
        return (struct probe_float){update_neon, f32_neon};
#else
    (void)isa;
#endif
    return (struct probe_float){update_c, f32_c};
}
