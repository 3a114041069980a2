/* target.h - compile the functions between CPU_TARGET_BEGIN and CPU_TARGET_END for one
 * instruction set.  It replaces per-file compiler flags, so that a single cc line builds
 * the whole codec. */
#ifndef CPU_TARGET_H
#define CPU_TARGET_H

#define CPU_TARGET_STR_(s) #s
#if defined(__clang__)
#define CPU_TARGET_PUSH_(...) _Pragma(CPU_TARGET_STR_(__VA_ARGS__))
#define CPU_TARGET_BEGIN(isa) \
    CPU_TARGET_PUSH_(         \
        clang attribute push(__attribute__((target(isa))), apply_to = function))
#define CPU_TARGET_END _Pragma("clang attribute pop")
#else
#define CPU_TARGET_PUSH_(...) _Pragma(CPU_TARGET_STR_(__VA_ARGS__))
#define CPU_TARGET_BEGIN(isa) \
    _Pragma("GCC push_options") CPU_TARGET_PUSH_(GCC target(isa))
#define CPU_TARGET_END _Pragma("GCC pop_options")
#endif

/* A function that becomes part of the kernels that call it. */
#define CPU_INLINE static inline __attribute__((always_inline))

#define CPU_TARGET_AVX2 "avx2,fma,f16c,bmi2"
#define CPU_TARGET_AVXVNNI "avx2,fma,f16c,bmi2,avxvnni"
#define CPU_TARGET_AVX512 "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl"
#define CPU_TARGET_AVX512VNNI \
    "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi"
#define CPU_TARGET_AMX                                                             \
    "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi," \
    "amx-tile,amx-int8"

/* Older versions of clang have the intrinsics only if the whole build has the feature. */
#if defined(__aarch64__) && \
    (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))
#define CPU_BUILD_DOTPROD
#if defined(__clang__)
#define CPU_TARGET_DOTPROD "dotprod"
#else
#define CPU_TARGET_DOTPROD "arch=armv8.2-a+dotprod"
#endif
#endif

#endif
