/* kernels_probe.c - as many multiply-accumulates of 4-bit by 8-bit integers as each level
 * can do: one weight register at a time meets four of activations, which is the inner
 * loop of every product without what decodes and scales.  Twelve sums hide the latency of
 * the instructions. */
#include <string.h>

#include "cpu/target.h"
#include "tensor/probe.h"

static uint32_t probe_c(const uint8_t w[PROBE_WEIGHTS],
                        const int8_t a[PROBE_TOKENS * PROBE_PERIOD], int n)
{
    uint32_t sum[PROBE_TOKENS] = {0}, all = 0;
    for (int round = 0; round < n; round++)
        for (int i = 0; i < PROBE_WEIGHTS; i += PROBE_PERIOD)
            for (int t = 0; t < PROBE_TOKENS; t++) {
                int32_t part = 0;
                for (int k = 0; k < PROBE_PERIOD; k++)
                    part += w[i + k] * a[t * PROBE_PERIOD + k];
                sum[t] += (uint32_t)part;
            }
    for (int t = 0; t < PROBE_TOKENS; t++)
        all += sum[t];
    return all;
}

/* Weights in three registers at a time: with the sums that leaves one of 16 for the
 * activations, which the compiler reads again and again. */
enum { STREAMS = 3 };

/* A vector as it is now: compilers would add in another order, or keep copies, which
 * takes more registers than there are. */
#if defined(__x86_64__)
#define IN_ORDER(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define IN_ORDER(x) __asm__("" : "+w"(x))
#endif

static inline uint32_t add_words(const void *v, size_t bytes)
{
    uint32_t word[16], sum = 0;
    memcpy(word, v, bytes);
    for (size_t i = 0; i < bytes / sizeof *word; i++)
        sum += word[i];
    return sum;
}

#define EACH(i, n) _Pragma("GCC unroll 8") for (size_t i = 0; i < n; i++)

#define PROBE_HEAD(name)                                 \
    static uint32_t name(const uint8_t w[PROBE_WEIGHTS], \
                         const int8_t a[PROBE_TOKENS * PROBE_PERIOD], int n)

/* A kernel with an instruction that multiplies and adds into 32 bits. */
#define DOT_PROBE(name, vec, zero, load, repeat, dot)                           \
    PROBE_HEAD(name)                                                            \
    {                                                                           \
        vec sum[STREAMS][PROBE_TOKENS], act[PROBE_TOKENS];                      \
        EACH(t, PROBE_TOKENS)                                                   \
        {                                                                       \
            act[t] = repeat(a + t * PROBE_PERIOD);                              \
            EACH(k, STREAMS)                                                    \
            {                                                                   \
                sum[k][t] = zero;                                               \
            }                                                                   \
        }                                                                       \
        for (int round = 0; round < n; round++)                                 \
            for (size_t i = 0; i < PROBE_WEIGHTS; i += STREAMS * sizeof(vec)) { \
                vec x[STREAMS];                                                 \
                EACH(k, STREAMS)                                                \
                {                                                               \
                    x[k] = load(w + i + k * sizeof(vec));                       \
                }                                                               \
                EACH(t, PROBE_TOKENS)                                           \
                EACH(k, STREAMS)                                                \
                {                                                               \
                    sum[k][t] = dot(sum[k][t], x[k], act[t]);                   \
                    IN_ORDER(sum[k][t]);                                        \
                }                                                               \
            }                                                                   \
        uint32_t all = 0;                                                       \
        EACH(t, PROBE_TOKENS)                                                   \
        EACH(k, STREAMS)                                                        \
        {                                                                       \
            const vec v = sum[k][t];                                            \
            all += add_words(&v, sizeof v);                                     \
        }                                                                       \
        return all;                                                             \
    }

/* A kernel whose products go to 16 bits.  Two of them, added by the instruction (`pair`)
 * or not, are at most 2 * 15 * 128, so eight registers fit before `widen` adds them to 32
 * bits. */
#define PAIR_PROBE(name, vec, zero, load, repeat, pair, widen)              \
    PROBE_HEAD(name)                                                        \
    {                                                                       \
        enum { RUN = 8 };                                                   \
        vec sum[PROBE_TOKENS], act[PROBE_TOKENS];                           \
        EACH(t, PROBE_TOKENS)                                               \
        {                                                                   \
            act[t] = repeat(a + t * PROBE_PERIOD);                          \
            sum[t] = zero;                                                  \
        }                                                                   \
        for (int round = 0; round < n; round++)                             \
            for (size_t i = 0; i < PROBE_WEIGHTS; i += RUN * sizeof(vec)) { \
                vec part[PROBE_TOKENS];                                     \
                EACH(t, PROBE_TOKENS)                                       \
                {                                                           \
                    part[t] = zero;                                         \
                }                                                           \
                EACH(k, RUN)                                                \
                {                                                           \
                    const vec x = load(w + i + k * sizeof(vec));            \
                    EACH(t, PROBE_TOKENS)                                   \
                    {                                                       \
                        part[t] = pair(part[t], x, act[t]);                 \
                        IN_ORDER(part[t]);                                  \
                    }                                                       \
                }                                                           \
                EACH(t, PROBE_TOKENS)                                       \
                {                                                           \
                    sum[t] = widen(sum[t], part[t]);                        \
                }                                                           \
            }                                                               \
        uint32_t all = 0;                                                   \
        EACH(t, PROBE_TOKENS)                                               \
        {                                                                   \
            const vec v = sum[t];                                           \
            all += add_words(&v, sizeof v);                                 \
        }                                                                   \
        return all;                                                         \
    }

#if defined(__x86_64__)

#include <immintrin.h>

#define LOAD_256(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define REPEAT_256(p) \
    _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define LOAD_512(p) _mm512_loadu_si512(p)
#define REPEAT_512(p) \
    _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(p)))

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)
#define PAIR(sum, x, act) _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, act))
#define WIDEN(sum, part) \
    _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)))
PAIR_PROBE(probe_avx2, __m256i, _mm256_setzero_si256(), LOAD_256, REPEAT_256, PAIR, WIDEN)
#undef PAIR
#undef WIDEN
CPU_TARGET_END

CPU_TARGET_BEGIN(CPU_TARGET_AVXVNNI)
DOT_PROBE(probe_avxvnni, __m256i, _mm256_setzero_si256(), LOAD_256, REPEAT_256,
          _mm256_dpbusd_avx_epi32)
CPU_TARGET_END

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)
#define PAIR(sum, x, act) _mm512_add_epi16(sum, _mm512_maddubs_epi16(x, act))
#define WIDEN(sum, part) \
    _mm512_add_epi32(sum, _mm512_madd_epi16(part, _mm512_set1_epi16(1)))
PAIR_PROBE(probe_avx512, __m512i, _mm512_setzero_si512(), LOAD_512, REPEAT_512, PAIR,
           WIDEN)
#undef PAIR
#undef WIDEN
CPU_TARGET_END

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)
DOT_PROBE(probe_avx512vnni, __m512i, _mm512_setzero_si512(), LOAD_512, REPEAT_512,
          _mm512_dpbusd_epi32)
CPU_TARGET_END

CPU_TARGET_BEGIN(CPU_TARGET_AMX)

#include "cpu/tiles.h"

/* Two rounds of weights are three tiles of 64 columns, and a tile of activations holds
 * all tokens four times: three products are eight rounds.  Four registers of sums take
 * turns. */
static uint32_t probe_amx(const uint8_t w[PROBE_WEIGHTS],
                          const int8_t a[PROBE_TOKENS * PROBE_PERIOD], int n)
{
    enum { K = 64, ROUNDS = 16, TILE = CPU_TILE_ROWS * CPU_TILE_ROW };
    int8_t weights[3][TILE], act[TILE];
    uint32_t all = probe_avx512vnni(w, a, n % ROUNDS), sums[4][TILE / 4];
    for (int i = 0; i < TILE; i++)
        act[i] = a[i / K % PROBE_TOKENS * PROBE_PERIOD + i % K % PROBE_PERIOD];
    for (int i = 0; i < 3 * TILE; i++) {
        const int k = i % K, row = i / K % CPU_TILE_ROWS;
        weights[i / TILE][k / 4 * CPU_TILE_ROW + 4 * row + k % 4] =
            (int8_t)w[i % PROBE_WEIGHTS];
    }
    cpu_tiles_open(K);
    CPU_TILE_LOAD(4, act);
    CPU_TILE_LOAD(5, weights[0]);
    CPU_TILE_LOAD(6, weights[1]);
    CPU_TILE_LOAD(7, weights[2]);
    CPU_TILE_ZERO(0);
    CPU_TILE_ZERO(1);
    CPU_TILE_ZERO(2);
    CPU_TILE_ZERO(3);
    for (; n >= ROUNDS; n -= ROUNDS) {
        CPU_TILE_MULTIPLY(0, 4, 5);
        CPU_TILE_MULTIPLY(1, 4, 6);
        CPU_TILE_MULTIPLY(2, 4, 7);
        CPU_TILE_MULTIPLY(3, 4, 5);
        CPU_TILE_MULTIPLY(0, 4, 6);
        CPU_TILE_MULTIPLY(1, 4, 7);
    }
    CPU_TILE_STORE(sums[0], 0);
    CPU_TILE_STORE(sums[1], 1);
    CPU_TILE_STORE(sums[2], 2);
    CPU_TILE_STORE(sums[3], 3);
    cpu_tiles_close();
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < TILE / 4; k++)
            all += sums[t][k];
    return all;
}

CPU_TARGET_END

#elif defined(__aarch64__)

#include <arm_neon.h>

/* Sums are 16-bit lanes inside a register of 32-bit type, as on x86. */
#define LOAD_128(p) vreinterpretq_s32_u8(vld1q_u8(p))
#define REPEAT_128(p) vreinterpretq_s32_s8(vld1q_s8(p))

static inline int32x4_t pair_neon(int32x4_t sum, int32x4_t x, int32x4_t act)
{
    const int8x16_t w = vreinterpretq_s8_s32(x), a = vreinterpretq_s8_s32(act);
    int16x8_t s = vreinterpretq_s16_s32(sum);
    s = vmlal_s8(s, vget_low_s8(w), vget_low_s8(a));
    return vreinterpretq_s32_s16(vmlal_high_s8(s, w, a));
}

static inline int32x4_t widen_neon(int32x4_t sum, int32x4_t part)
{
    return vpadalq_s16(sum, vreinterpretq_s16_s32(part));
}

PAIR_PROBE(probe_neon, int32x4_t, vdupq_n_s32(0), LOAD_128, REPEAT_128, pair_neon,
           widen_neon)

#if defined(CPU_BUILD_DOTPROD)
CPU_TARGET_BEGIN(CPU_TARGET_DOTPROD)
#define DOT(sum, x, act) \
    vdotq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(act))
DOT_PROBE(probe_dotprod, int32x4_t, vdupq_n_s32(0), LOAD_128, REPEAT_128, DOT)
#undef DOT
CPU_TARGET_END
#endif

#endif

probe_fn *probe_tile_kernel(enum cpu_isa limit)
{
#if defined(__x86_64__)
    if (cpu_best(limit) >= CPU_ISA_AMX)
        return probe_amx;
#endif
    (void)limit;
    return NULL;
}

probe_fn *probe_kernel(enum cpu_isa limit)
{
    switch (cpu_best(limit)) {
#if defined(__x86_64__)
    case CPU_ISA_AVX2:
        return probe_avx2;
    case CPU_ISA_AVXVNNI:
        return probe_avxvnni;
    case CPU_ISA_AVX512:
        return probe_avx512;
    case CPU_ISA_AVX512VNNI:
    case CPU_ISA_AMX:
        return probe_avx512vnni;
#elif defined(__aarch64__)
    case CPU_ISA_DOTPROD:
#if defined(CPU_BUILD_DOTPROD)
        return probe_dotprod;
#endif
    case CPU_ISA_NEON:
        return probe_neon;
#endif
    default:
        return probe_c;
    }
}
