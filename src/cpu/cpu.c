#define _GNU_SOURCE // syscall
#include "cpu/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
/* Source: Linux, Documentation/arch/x86/xstate.rst (the request, and that it may be
 * repeated). */
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
#else
    return false;
#endif
}

static bool has_level(enum cpu_isa isa)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2"))
        return isa == CPU_ISA_C;
    if (isa == CPU_ISA_AVXVNNI) {
        unsigned a = 0, b = 0, c = 0, d = 0; // not every compiler knows the name
        return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
    }
    if (isa < CPU_ISA_AVX512)
        return true;
    const bool foundation =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (isa == CPU_ISA_AVX512)
        return foundation;
    if (!foundation || !__builtin_cpu_supports("avx512vnni") ||
        !__builtin_cpu_supports("avx512vbmi"))
        return false;
    if (isa == CPU_ISA_AVX512VNNI)
        return true;
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned tiles = 1u << 24 | 1u << 25; // AMX-TILE and AMX-INT8
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tiles) == tiles &&
           may_use_tiles();
}

enum cpu_isa cpu_best(enum cpu_isa limit)
{
    int isa = (int)limit;
    while (isa > CPU_ISA_C && !has_level((enum cpu_isa)isa))
        isa--;
    return (enum cpu_isa)isa;
}

enum cpu_isa cpu_detect(void)
{
    return cpu_best(CPU_ISA_COUNT - 1);
}
#elif defined(__aarch64__)
enum cpu_isa cpu_detect(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? CPU_ISA_DOTPROD : CPU_ISA_NEON;
#elif defined(__ARM_FEATURE_DOTPROD) // the compiler's baseline, as on macOS
    return CPU_ISA_DOTPROD;
#else
    return CPU_ISA_NEON;
#endif
}
#else
enum cpu_isa cpu_detect(void)
{
    return CPU_ISA_C;
}
#endif

#if !defined(__x86_64__)
enum cpu_isa cpu_best(enum cpu_isa limit)
{
    const enum cpu_isa have = cpu_detect();
    return limit < have ? limit : have;
}
#endif

static const char *const isa_names[CPU_ISA_COUNT] = {
#define X(NAME, name) name,
    CPU_ISA_LIST(X)
#undef X
};

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

const char *cpu_isa_names(void)
{
#define X(NAME, name) "|" name
    return &(CPU_ISA_LIST(X))[1];
#undef X
}
