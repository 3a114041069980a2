#include "cpu/cpu.h"

#include <string.h>

enum cpu_isa cpu_detect(void)
{
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi2");
    const bool avx512 =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    if (avx2 && avx512)
        return CPU_ISA_AVX512;
    if (avx2)
        return CPU_ISA_AVX2;
#endif
    return CPU_ISA_C;
}

static const char *const isa_names[CPU_ISA_COUNT] = {"c", "avx2", "avx512"};

const char *cpu_isa_name(enum cpu_isa isa)
{
    return isa_names[isa];
}

bool cpu_isa_parse(enum cpu_isa *out, const char *name)
{
    for (int i = 0; i < CPU_ISA_COUNT; i++)
        if (!strcmp(name, isa_names[i])) {
            *out = (enum cpu_isa)i;
            return true;
        }
    return false;
}
