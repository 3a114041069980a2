/* kernels.h - inner loops of the tensor layer, one table for each instruction set.
 *
 * kernels.def lists them: table field, check and benchmark come from that list. */
#ifndef TENSOR_KERNELS_H
#define TENSOR_KERNELS_H

#include "cpu/cpu.h"

struct tensor_kernels;

/* The table of the best level at or below limit that this CPU has. */
const struct tensor_kernels *tensor_kernels_for(enum cpu_isa limit);

#endif
