/* cpu.h - which instruction set the kernels may use.
 *
 * A level stands for a whole set of extensions, so that a kernel file has one target
 * and a test can run every level the machine has.  Each architecture has its own list,
 * in ascending order of merit, and CPU_ISA_C is 0 everywhere.  A machine need not have
 * every level below its best: some have AVX-512 without AVX-VNNI.
 *
 * On Linux a process must ask for the registers of AMX, and its signals take more stack
 * from then on: cpu_detect and cpu_best with CPU_ISA_AMX do that. */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdbool.h>

/* X(NAME, "name"), in ascending order. */
#if defined(__x86_64__)
#define CPU_ISA_LIST(X)                                 \
    X(C, "c")                                           \
    X(AVX2, "avx2")             /* FMA, F16C, BMI2 */   \
    X(AVXVNNI, "avxvnni")       /* AVX2 and AVX-VNNI */ \
    X(AVX512, "avx512")         /* F BW DQ VL */        \
    X(AVX512VNNI, "avx512vnni") /* and VNNI, VBMI */    \
    X(AMX, "amx")               /* and tiles: AMX-INT8 */
#elif defined(__aarch64__)
#define CPU_ISA_LIST(X)                                   \
    X(C, "c")                                             \
    X(NEON, "neon")       /* what every 64-bit Arm has */ \
    X(DOTPROD, "dotprod") /* sdot, udot: FEAT_DotProd, Armv8.2 */
#else
#define CPU_ISA_LIST(X) X(C, "c")
#endif

enum cpu_isa {
#define X(NAME, name) CPU_ISA_##NAME,
    CPU_ISA_LIST(X)
#undef X
        CPU_ISA_COUNT
};

/* The best level of this machine, and its best at or below limit. */
enum cpu_isa cpu_detect(void);
enum cpu_isa cpu_best(enum cpu_isa limit);

const char *cpu_isa_name(enum cpu_isa isa);
/* false if the name is unknown. */
bool cpu_isa_parse(enum cpu_isa *out, const char *name);
/* The names of this architecture for a usage text: "c|neon|dotprod". */
const char *cpu_isa_names(void);

#endif
