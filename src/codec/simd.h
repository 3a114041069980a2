/* simd.h - what the kernel files of all instruction sets share. */
#ifndef CODEC_SIMD_H
#define CODEC_SIMD_H

#define TQ_APART __attribute__((noinline))

/* Arrays of vectors stay in registers only if the loops over them vanish. */
#if defined(__clang__)
#define TQ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TQ_UNROLL _Pragma("GCC unroll 32")
#endif

#endif
