/* dispatch.c - the kernel table for a CPU. */
#include "codec/kernels.h"

#include "cpu/cpu.h"

static const struct tq_kernels table_c = {
#define K(name, ret, args) .name = tq_##name##_c,
#include "codec/kernels.def"
#undef K
};

#if defined(__x86_64__)
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
    if (cpu_best((enum cpu_isa)isa) == CPU_ISA_AVX512)
        return &table_avx512;
#else
    (void)limit;
#endif
    return &table_c;
}
