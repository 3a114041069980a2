/* dispatch.c - the kernel table for a CPU. */
#include "codec/kernels.h"

#include "cpu/cpu.h"
#include "cpu/target.h"

static const struct tq_kernels table_c = {
    .query_most = 127,
    .weight_most = 255,
#define K(name, ret, args) .name = tq_##name##_c,
#include "codec/kernels.def"
#undef K
};

#if defined(__x86_64__)
static const struct tq_kernels table_avx2 = {
    .query_most = 64,
    .weight_most = 128,
#define PACKED(name, ret, args) .name = NULL,
#define K(name, ret, args) .name = tq_##name##_avx2,
#include "codec/kernels.def"
#undef K
};

static const struct tq_kernels table_avxvnni = {
    .query_most = 127,
    .weight_most = 255,
#define PACKED(name, ret, args) .name = NULL,
#define K(name, ret, args) .name = tq_##name##_avx2,
#define DOT(name, ret, args) .name = tq_##name##_avxvnni,
#include "codec/kernels.def"
#undef K
};

/* Half of the integer products of AVX-512 without VNNI would go into splitting bytes: no
 * faster than those of AVX2, which are used. */
static const struct tq_kernels table_avx512 = {
    .query_most = 64,
    .weight_most = 128,
#define PACKED(name, ret, args) .name = NULL,
#define LUT(name, ret, args) .name = tq_##name##_avx2,
#define DOT LUT
#define K(name, ret, args) .name = tq_##name##_avx512,
#include "codec/kernels.def"
#undef K
};

static const struct tq_kernels table_avx512vnni = {
    .query_most = 127,
    .weight_most = 255,
#define LUT(name, ret, args) .name = tq_##name##_avx512vnni,
#define DOT LUT
#define PACKED LUT
#define K(name, ret, args) .name = tq_##name##_avx512,
#include "codec/kernels.def"
#undef K
};

_Static_assert((int)TQ_ISA_AVX512VNNI == (int)CPU_ISA_AVX512VNNI,
               "callers convert these");

#elif defined(__aarch64__)
static const struct tq_kernels table_neon = {
    .query_most = 127,
    .weight_most = 255,
#define PACKED(name, ret, args) .name = NULL,
#define K(name, ret, args) .name = tq_##name##_neon,
#include "codec/kernels.def"
#undef K
};

#if defined(CPU_BUILD_DOTPROD)
static const struct tq_kernels table_dotprod = {
    .query_most = 127,
    .weight_most = 255,
#define PACKED(name, ret, args) .name = NULL,
#define K(name, ret, args) .name = tq_##name##_neon,
#define DOT(name, ret, args) .name = tq_##name##_dotprod,
#include "codec/kernels.def"
#undef K
};
#endif

_Static_assert((int)TQ_ISA_DOTPROD == (int)CPU_ISA_DOTPROD, "callers convert these");
#endif

const struct tq_kernels *tq_kernels_for(enum tq_isa limit)
{
#if defined(__x86_64__)
    const int last = CPU_ISA_AVX512VNNI; // no use of tiles, so none are asked for
#else
    const int last = CPU_ISA_COUNT - 1;
#endif
    const int isa = (int)limit < last ? (int)limit : last;
    switch (cpu_best((enum cpu_isa)isa)) {
#if defined(__x86_64__)
    case CPU_ISA_AVX512VNNI:
        return &table_avx512vnni;
    case CPU_ISA_AVX512:
        return &table_avx512;
    case CPU_ISA_AVXVNNI:
        return &table_avxvnni;
    case CPU_ISA_AVX2:
        return &table_avx2;
#elif defined(__aarch64__)
    case CPU_ISA_DOTPROD:
#if defined(CPU_BUILD_DOTPROD)
        return &table_dotprod;
#endif
    case CPU_ISA_NEON:
        return &table_neon;
#endif
    default:
        return &table_c;
    }
}
