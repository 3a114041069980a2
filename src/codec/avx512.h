/* avx512.h - what the AVX-512 kernel files share. */
#ifndef CODEC_AVX512_H
#define CODEC_AVX512_H

#include <immintrin.h>

#include "cpu/target.h"

#define TQ_INLINE static inline __attribute__((always_inline))

/* Arrays of vectors stay in registers only if the loops over them vanish. */
#if defined(__clang__)
#define TQ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TQ_UNROLL _Pragma("GCC unroll 32")
#endif

#define TQ_XOR3 0x96   // ternary logic a ^ b ^ c
#define TQ_SELECT 0xCA // ternary logic a ? b : c

#endif
