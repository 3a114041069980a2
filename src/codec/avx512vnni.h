/* avx512vnni.h - what the kernel files for AVX-512 with VNNI share. */
#ifndef CODEC_AVX512VNNI_H
#define CODEC_AVX512VNNI_H

#include "codec/avx512.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

/* acc + sums of four products of unsigned and signed bytes.  Written out because GCC 12
 * surrounds each _mm512_dpbusd_epi32 with register moves: 0.28 against 0.16 ns. */
TQ_INLINE __m512i tq_dpbusd(__m512i acc, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
}

/* The same with the four signed bytes at p for each dword: broadcast by the product
 * itself, for which compilers take an instruction and a register more. */
TQ_INLINE __m512i tq_dpbusd_four(__m512i acc, __m512i u, const int8_t *p)
{
    struct four {
        int8_t s[4];
    };
    __asm__("vpdpbusd %2%{1to16%}, %1, %0"
            : "+v"(acc)
            : "v"(u), "m"(*(const struct four *)(const void *)p));
    return acc;
}

CPU_TARGET_END

#endif
