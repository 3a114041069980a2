/* avx512.h - what the AVX-512 kernel files share. */
#ifndef CODEC_AVX512_H
#define CODEC_AVX512_H

#include <immintrin.h>

#include "codec/simd.h"
#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

/* acc + sums of four products of unsigned and signed bytes.  Written out because GCC 12
 * surrounds each _mm512_dpbusd_epi32 with register moves: 0.28 against 0.16 ns. */
TQ_INLINE __m512i tq_dpbusd(__m512i acc, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
}

CPU_TARGET_END

#define TQ_XOR3 0x96   // ternary logic a ^ b ^ c
#define TQ_SELECT 0xCA // ternary logic a ? b : c

#endif
