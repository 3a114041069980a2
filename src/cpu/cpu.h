/* cpu.h - which instruction set the kernels may use.
 *
 * A level stands for a whole set of extensions, so that a kernel file has one target
 * and a test can run every level the machine has.  Higher levels include lower ones. */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdbool.h>

enum cpu_isa {
    CPU_ISA_C,
    CPU_ISA_AVX2,   // AVX2, FMA, F16C, BMI2
    CPU_ISA_AVX512, // AVX-512 F BW DQ VL, VNNI, VBMI
    CPU_ISA_COUNT
};

/* The best level of this machine. */
enum cpu_isa cpu_detect(void);

const char *cpu_isa_name(enum cpu_isa isa);
/* false if the name is unknown. */
bool cpu_isa_parse(enum cpu_isa *out, const char *name);

#endif
