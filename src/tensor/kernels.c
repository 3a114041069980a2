#include "tensor/kernels.h"

#include <pthread.h>

static struct tensor_kernels tables[CPU_ISA_COUNT];

static void build_tables(void)
{
    for (int isa = CPU_ISA_C; isa < CPU_ISA_COUNT; isa++) {
        tensor_kernels_init_c(&tables[isa]);
#if defined(__x86_64__)
        if (isa >= CPU_ISA_AVX2)
            tensor_kernels_init_avx2(&tables[isa]);
        if (isa == CPU_ISA_AVXVNNI)
            tensor_kernels_init_avxvnni(&tables[isa]);
        if (isa >= CPU_ISA_AVX512VNNI) {
            tensor_kernels_init_avx512(&tables[isa]);
            tensor_kernels_init_avx512_blocks(&tables[isa]);
        }
        if (isa >= CPU_ISA_AMX)
            tensor_kernels_init_amx(&tables[isa]);
#elif defined(__aarch64__)
        if (isa >= CPU_ISA_NEON)
            tensor_kernels_init_neon(&tables[isa]);
        if (isa >= CPU_ISA_DOTPROD)
            tensor_kernels_init_dotprod(&tables[isa]);
#endif
    }
}

const struct tensor_kernels *tensor_kernels_for(enum cpu_isa limit)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build_tables);
    return &tables[cpu_best(limit)];
}
