/* tiles.h - the tile registers of AMX.  Registers are named in the instructions, so their
 * numbers are constants.  Rows in memory are CPU_TILE_ROW bytes apart, or `stride` ones.
 * Written out because the intrinsics of GCC do not tell it that memory is read.
 *
 * CPU_TILE_MULTIPLY: sums [16][16] of 32 bits += signed bytes act [16][k] times weights,
 * whose row v holds columns 4v .. 4v + 3 of k, of each of 16 rows of weights. */
#ifndef CPU_TILES_H
#define CPU_TILES_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/target.h"

enum { CPU_TILE_ROW = 64, CPU_TILE_ROWS = 16 };

#define CPU_TILE_LOAD_ROWS(tile, p, stride)             \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile \
                     :                                  \
                     : "r"(p), "r"((size_t)(stride))    \
                     : "memory")
#define CPU_TILE_LOAD(tile, p) CPU_TILE_LOAD_ROWS(tile, p, CPU_TILE_ROW)
#define CPU_TILE_STORE(p, tile)                             \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" \
                     :                                      \
                     : "r"(p), "r"((size_t)CPU_TILE_ROW)    \
                     : "memory")
#define CPU_TILE_ZERO(tile) __asm__ volatile("tilezero %tmm" #tile)
#define CPU_TILE_MULTIPLY(sums, act, weights) \
    __asm__ volatile("tdpbssd %tmm" #weights ", %tmm" #act ", %tmm" #sums)

CPU_TARGET_BEGIN(CPU_TARGET_AMX)

/* Source: Intel 64 and IA-32 Architectures Software Developer's Manual, LDTILECFG. */
struct cpu_tile_config {
    uint8_t palette, start_row, unused[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* For products over k <= 64 columns: registers 0 to 3 hold sums, 4 and 5 activations, 6
 * and 7 weights. */
CPU_INLINE void cpu_tiles_open(int k)
{
    struct cpu_tile_config c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? k : CPU_TILE_ROW);
        c.rows[i] = (uint8_t)(i >= 6 ? k / 4 : CPU_TILE_ROWS);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(c));
}

/* Registers that are not in use cost nothing when a thread is interrupted. */
CPU_INLINE void cpu_tiles_close(void)
{
    __asm__ volatile("tilerelease");
}

CPU_TARGET_END

#endif
