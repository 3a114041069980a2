/* probe.h - what the machine can do at most, measured: reading memory, rewriting it, and
 * multiplying small integers or floats with the instructions of a level.  Other work is
 * held against these.
 *
 * All use all threads of a pool at once.  A machine that is shared, or that changes its
 * clock, gives other figures at other times: the best round is the limit, the median says
 * how much of it there usually is. */
#ifndef TENSOR_PROBE_H
#define TENSOR_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "cpu/cpu.h"

/* Rounds of a probe, and how many are kept. */
enum { PROBE_ROUNDS = 5, PROBE_ROUNDS_MAX = 4 * PROBE_ROUNDS };

/* Rates of the rounds so far, a second; starts zeroed. */
struct probe {
    int n;
    double rate[PROBE_ROUNDS_MAX];
};

double probe_best(const struct probe *p);   // 0 without rounds
double probe_median(const struct probe *p); // the same

/* Add rounds of reading PROBE_READ_BYTES of private memory in long contiguous ranges:
 * bytes a second.  Without that much memory (STATUS_NO_MEMORY) nothing is added. */
enum { PROBE_READ_BYTES = 512 << 20 };
enum status probe_read(struct probe *p, struct pool *pool, struct error *err);

/* Add one round of reading memory of the caller's, aligned to 16 bytes. */
void probe_read_memory(struct probe *p, struct pool *pool, const void *mem, size_t bytes);

/* Add rounds of multiplying 4-bit by 8-bit integers from the first-level cache, with the
 * best instructions at or below limit: multiply-accumulates a second. */
void probe_int8(struct probe *p, struct pool *pool, enum cpu_isa limit);
/* The same with tiles, which only some levels have: nothing is added at the others. */
void probe_tiles(struct probe *p, struct pool *pool, enum cpu_isa limit);

/* Add rounds of changing every float of private memory, `bytes` of each thread (a
 * multiple of PROBE_UPDATE_BLOCK) in blocks one after the other: bytes read plus bytes
 * written a second.  How much there is decides which cache it comes from. */
enum { PROBE_UPDATE_BLOCK = 64 << 10 };
enum status probe_update(struct probe *p, struct pool *pool, size_t bytes,
                         enum cpu_isa limit, struct error *err);

/* Add rounds of multiplying and adding f32 in registers: multiply-accumulates a second.
 */
void probe_f32(struct probe *p, struct pool *pool, enum cpu_isa limit);

/* ---- the kernels of probe_update and probe_f32 ---- */

/* x [n] <- -x, n % 64 == 0 */
typedef void probe_update_fn(float *x, size_t n);
/* PROBE_F32_WORK chains x <- x a + b, n times each; returns the sum of all x. */
enum { PROBE_F32_WORK = 192 };
typedef float probe_f32_fn(float x, float a, float b, int n);

struct probe_float {
    probe_update_fn *update;
    probe_f32_fn *f32;
};

struct probe_float probe_float_kernels(enum cpu_isa limit);

/* ---- the kernels of probe_int8 and probe_tiles ---- */

/* A block of weights and four activations of period 16, in registers all the time. */
enum { PROBE_WEIGHTS = 1536, PROBE_TOKENS = 4, PROBE_PERIOD = 16 };

/* The sum, modulo 2^32, over n rounds, all weights i and tokens t of w[i] * a[16 t + i %
 * 16]; w in [0, 15].  PROBE_WEIGHTS * PROBE_TOKENS multiply-accumulates a round. */
typedef uint32_t probe_fn(const uint8_t w[PROBE_WEIGHTS],
                          const int8_t a[PROBE_TOKENS * PROBE_PERIOD], int n);

/* The one of the best level at or below limit that this CPU has. */
probe_fn *probe_kernel(enum cpu_isa limit);
/* The one with tiles, or NULL. */
probe_fn *probe_tile_kernel(enum cpu_isa limit);

#endif
