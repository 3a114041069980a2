/* dispatch.c - the kernel table for a CPU. */
#include "codec/kernels.h"

#include "cpu/cpu.h"

static const struct tq_kernels table_c = {
#define K(name, ret, args) .name = tq_##name##_c,
#include "codec/kernels.def"
#undef K
};

#if defined(__x86_64__)
static const struct tq_kernels table_avx2 = {
#define K(name, ret, args) .name = tq_##name##_avx2,
#include "codec/kernels.def"
#undef K
};

/* That of AVX2 with two kernels replaced. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct tq_kernels table_avxvnni = {
#define K(name, ret, args) .name = tq_##name##_avx2,
#include "codec/kernels.def"
#undef K
    .score_codes = tq_score_codes_avxvnni,
    .sum_codes = tq_sum_codes_avxvnni,
};
#pragma GCC diagnostic pop

static const struct tq_kernels table_avx512 = {
#define K(name, ret, args) .name = tq_##name##_avx512,
#include "codec/kernels.def"
#undef K
};
#endif

const struct tq_kernels *tq_kernels_for(enum tq_isa limit)
{
#if defined(__x86_64__)
    const int last = CPU_ISA_COUNT - 1, isa = (int)limit < last ? (int)limit : last;
    switch (cpu_best((enum cpu_isa)isa)) {
    case CPU_ISA_AVX512:
        return &table_avx512;
    case CPU_ISA_AVXVNNI:
        return &table_avxvnni;
    case CPU_ISA_AVX2:
        return &table_avx2;
    default:
        return &table_c;
    }
#else
    (void)limit;
#endif
    return &table_c;
}
