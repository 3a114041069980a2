/* check_tensor.c - every tensor kernel but those of linear.h, of every instruction set
 * against double arithmetic, with inputs and outputs that end at an unmapped page;
 * --bench times them,
 * --quick does a quarter of the rounds (for emulators). */
#define _DEFAULT_SOURCE
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cpu/cpu.h"
#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/matrix.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tensor/tile.h"
#include "harness.h"

static const struct tensor_kernels *ref, *new;

/* ---- dot kernels ---- */

static struct act guarded_act(int n_tok, int n_in)
{
    const size_t n = (size_t)n_tok * (size_t)n_in;
    float *x = guarded(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform();
    return (struct act){
        .n_tok = n_tok,
        .n_in = n_in,
        .x = x,
        .blocks = guarded(n / 32 * sizeof(struct act_block)),
    };
}

/* Small integer activations with scale 1: with integer weights every sum is an integer
 * below 2^24, so the result must be exact. */
static void integer_act(struct act *a)
{
    for (int t = 0; t < a->n_tok; t++)
        for (int b = 0; b < a->n_in / 32; b++) {
            struct act_block *block = act_at(a, t, b);
            float *x = (float *)a->x + (size_t)t * (size_t)a->n_in + 32 * b;
            *block = (struct act_block){.scale = 1};
            for (int i = 0; i < 32; i++) {
                block->q[i] = (int8_t)(rnd() % 7) - 3;
                block->sum[i / 16] += block->q[i];
                x[i] = (float)block->q[i];
            }
            block->sum32 = block->sum[0] + block->sum[1];
            block->mass = (float)block->sum32;
        }
}

static void put_f16(uint8_t *p, float f)
{
    const uint16_t h = dtype_f32_to_f16(f);
    memcpy(p, &h, 2);
}

/* Blocks with integer values only; for `exponent` see check_dot. */
static void integer_block(enum dtype t, uint8_t *block, uint8_t exponent)
{
    const float f = (float)(int)(rnd() % 15) - 7;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    switch (t) {
    case DTYPE_F32:
        memcpy(block, &f, sizeof f);
        break;
    case DTYPE_BF16:
        memcpy(block, (uint16_t[]){(uint16_t)(bits >> 16)}, 2);
        break;
    case DTYPE_Q6_K:
        put_f16(block + 208, 1);
        break;
    case DTYPE_Q2_K:
        put_f16(block + 80, 1);
        put_f16(block + 82, 3);
        break;
    case DTYPE_Q3_K:
        put_f16(block + 108, 1);
        break;
    case DTYPE_F16:
        put_f16(block, f);
        break;
    case DTYPE_Q4_0:
    case DTYPE_Q5_0:
    case DTYPE_Q8_0:
        put_f16(block, -1);
        break;
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS:
        put_f16(block, 1);
        break;
    case DTYPE_Q1_0:
    case DTYPE_Q2_0:
        put_f16(block, 1);
        break;
    case DTYPE_TQ1_0:
        put_f16(block + 52, 1);
        break;
    case DTYPE_TQ2_0:
        put_f16(block + 64, 1);
        break;
    case DTYPE_MXFP4:
        block[0] = exponent;
        break;
    case DTYPE_NVFP4:
        memset(block, 0x40, 4); // 2
        break;
    default:
        put_f16(block, 1);
        put_f16(block + 2, 3);
    }
}

/* Offset of the f16 of mins in a block, 0 if there is none. */
static int min_at(enum dtype t)
{
    return t == DTYPE_Q2_K                                                            ? 82
           : t == DTYPE_Q4_1 || t == DTYPE_Q5_1 || t == DTYPE_Q4_K || t == DTYPE_Q5_K ? 2
                                                                                      : 0;
}

/* Bytes of scales in front of a block (positive) or at its end (negative). */
static int scale_bytes(enum dtype t)
{
    switch (t) {
    case DTYPE_Q3_K:
    case DTYPE_Q6_K:
    case DTYPE_TQ1_0:
    case DTYPE_TQ2_0:
        return -2;
    case DTYPE_Q2_K:
        return -4;
    case DTYPE_MXFP4:
        return 1;
    case DTYPE_NVFP4:
        return 0;
    default:
        return min_at(t) ? 4 : 2;
    }
}

/* Largest codes and sub-scales: sums come closest to the range of their integers. */
static void extreme_block(enum dtype t, uint8_t *block, int fill)
{
    const int scales = scale_bytes(t), codes = dtype_find(t)->block_bytes - abs(scales);
    memset(block + (scales > 0 ? scales : 0), fill, (size_t)codes);
}

/* w [n_in] values of a row, size [n_in] |scale * code| + |min| of each. */
static void row_values(enum dtype t, float *w, float *size, uint8_t *row, int n_in)
{
    const struct dtype_traits *traits = dtype_find(t);
    const int n_block = n_in / traits->block_elems;
    traits->dequant(w, row, n_block);
    if (min_at(t))
        for (int b = 0; b < n_block; b++)
            memset(row + b * traits->block_bytes + min_at(t), 0, 2);
    traits->dequant(size, row, n_block);
    for (int i = 0; i < n_in; i++)
        size[i] = fabsf(size[i]) + fabsf(w[i] - size[i]);
}

/* Of a rotated type, the terms of a block are those of its rotated domain, in sum at most
 * |w| |x|, as a rotation keeps both.  In units of eps / 2 times that, a sum of n columns
 * errs by n for its terms, 5 sqrt(32) for the steps of rotating x and 4 for levels, the
 * factor and w itself: less than 2 (n + 1) from n = 32 on. */
static double rotated_magnitude(const float *w, const float *x, int n_in)
{
    double all = 0;
    for (int b = 0; b < n_in; b += 32) {
        double ww = 0, xx = 0;
        for (int i = b; i < b + 32; i++) {
            ww += (double)w[i] * (double)w[i];
            xx += (double)x[i] * (double)x[i];
        }
        all += sqrt(ww * xx);
    }
    return all;
}

/* A block adds at most three roundings to a sum, and its own terms carry two: an error
 * below (2 n_block + 4) eps sum|term|, n_block of 32 for integer types, n for floats. */
static void compare_row(const char *name, enum dtype type, int exact, const float *got,
                        size_t ld, const float *w, const float *size, const struct act *a,
                        int tok, int n_tok)
{
    const int n_in = a->n_in, is_float = matrix_takes_floats(type);
    const int is_rotated = is_float && dtype_find(type)->block_elems > 1;
    for (int t = 0; t < n_tok; t++) {
        double sum = 0, magnitude = 0;
        for (int i = 0; i < n_in; i++) {
            const struct act_block *block = is_float ? NULL : act_at(a, tok + t, i / 32);
            const double x =
                is_float ? (double)a->x[(size_t)(tok + t) * (size_t)n_in + (size_t)i]
                         : (double)block->scale * block->q[i % 32];
            sum += (double)w[i] * x;
            magnitude += (double)size[i] * fabs(x);
        }
        if (is_rotated)
            magnitude =
                rotated_magnitude(w, a->x + (size_t)(tok + t) * (size_t)n_in, n_in);
        const double n_op = is_float ? n_in : 2 * (n_in / 32) + 3;
        const double bound = exact ? 0 : (n_op + 1) * (double)FLT_EPSILON * magnitude;
        if (!(fabs((double)got[(size_t)t * ld] - sum) <= bound))
            complain(name, exact ? "not exact" : "out of bound", n_in);
    }
}

enum mode { RANDOM, EXACT, EXTREME };

static void check_dot(const char *name, dot_fn *dot, enum dtype t, int n_in,
                      enum mode mode)
{
    static const int fills[] = {0xff, 0x80, 0x00, 0x77};
    const int exact = mode == EXACT, fill = fills[rnd() % 4];
    /* Of halves times a power of two, which keeps sums exact: in MXFP4 a scale that is
     * subnormal, halved or itself, one of the usual ones, a large one. */
    static const uint8_t exponents[] = {0, 1, 2, 128, 240};
    const uint8_t exponent = exponents[rnd() % sizeof exponents];
    const int sign = fill == 0xff || (fill == 0x77 && rnd() % 2) ? 1 : -1;
    const struct dtype_traits *traits = dtype_find(t);
    const int n_block = n_in / traits->block_elems, is_float = matrix_takes_floats(t);
    const size_t bytes = (size_t)traits->block_bytes;
    const int n_row = 1 + (int)(rnd() % TILE_ROWS), n_tok = 1 + (int)(rnd() % ACT_GROUP);
    const int tok =
        (int)(rnd() % 2) * ACT_GROUP + (int)(rnd() % (uint64_t)(ACT_GROUP + 1 - n_tok));
    struct act a = guarded_act(tok + n_tok, n_in);
    for (int i = 0; mode == EXTREME && i < (tok + n_tok) * n_in; i++)
        ((float *)a.x)[i] = rnd() % 64 ? (float)sign : (float)-sign;
    if (exact)
        integer_act(&a);
    else if (!is_float)
        for (int i = 0; i < tok + n_tok; i++)
            ref->quantize(&a, i);
    uint8_t *row = guarded((size_t)n_block * bytes);
    uint8_t *tile = guarded(TILE_ROWS * (size_t)n_block * bytes);
    uint8_t *rows = guarded(TILE_ROWS * (size_t)n_block * bytes);
    dtype_random(t, rows, (int64_t)TILE_ROWS * n_block, rnd(), 1.0f);
    for (int r = 0; r < TILE_ROWS; r++)
        for (int b = 0; b < n_block; b++) {
            uint8_t *block = rows + (size_t)(r * n_block + b) * bytes;
            if (exact)
                integer_block(t, block, exponent);
            if (mode == EXTREME && !is_float)
                extreme_block(t, block, fill);
            tile_put(t, tile + (size_t)b * TILE_ROWS * bytes, block, r);
        }
    const size_t ld = (size_t)n_row + rnd() % 2;
    float *dst = guarded(((size_t)(n_tok - 1) * ld + (size_t)n_row) * sizeof *dst);
    float *w = guarded((size_t)n_in * sizeof *w),
          *size = guarded((size_t)n_in * sizeof *w);
    memset(dst, 0xff, ((size_t)(n_tok - 1) * ld + (size_t)n_row) * sizeof *dst);
    dot(dst, ld, n_row, tile, &a, tok, n_tok);
    for (int r = 0; r < n_row; r++) {
        memcpy(row, rows + (size_t)(r * n_block) * bytes, (size_t)n_block * bytes);
        row_values(t, w, size, row, n_in);
        compare_row(name, t, exact, dst + r, ld, w, size, &a, tok, n_tok);
    }
    for (int i = 0; ld > (size_t)n_row && i < n_tok - 1; i++) {
        uint32_t gap;
        memcpy(&gap, dst + (size_t)i * ld + n_row, sizeof gap);
        if (gap != 0xffffffff)
            complain(name, "wrote beyond n_row", n_in);
    }
    release_all();
}

static void check_dots(const char *name, dot_fn *dot, enum dtype t)
{
    const int unit = dtype_find(t)->block_elems;
    for (int i = 1; i <= 5; i++) {
        /* float types take any number of columns */
        const int n_in = unit == 1 ? 7 * i : unit * i;
        check_dot(name, dot, t, n_in, RANDOM);
        check_dot(name, dot, t, n_in, EXTREME);
        if (unit == 1 || !matrix_takes_floats(t)) // rotated weights are no integers
            check_dot(name, dot, t, unit == 1 ? 32 * i : n_in, EXACT);
    }
}

/* Rows of up to 63 tiles and up to seven groups of tokens, behind one more group and
 * in front of others, the last of them smaller: bit by bit what dot gives. */
static void check_gemm(const char *name, dot_fn *gemm, dot_fn *dot, enum dtype t)
{
    const struct dtype_traits *traits = dtype_find(t);
    const size_t bytes = (size_t)traits->block_bytes;
    const int unit = traits->block_elems, most = unit < 256 ? 768 / unit : 3;
    const int n_in = unit * (1 + (int)(rnd() % (uint64_t)most)), n_block = n_in / unit;
    const int n_row = 1 + (int)(rnd() % (rnd() % 2 ? 40 : 1000));
    const int n_tile = (n_row + TILE_ROWS - 1) / TILE_ROWS;
    const int tok = (int)(rnd() % 2) * ACT_GROUP;
    const int n_tok = (1 + (int)(rnd() % 7)) * ACT_GROUP;
    if (!gemm)
        return;
    const int least = GEMM_GROUPS * ACT_GROUP, last = (int)(rnd() % ACT_GROUP);
    struct act a = guarded_act((tok + n_tok > least ? tok + n_tok : least) + last, n_in);
    const size_t in_blocks = (size_t)n_in / 32, n_group = (size_t)a.n_tok / ACT_GROUP;
    a.blocks = guarded(in_blocks * ((size_t)a.n_tok * sizeof(struct act_block) +
                                    n_group * sizeof(struct act_panel)));
    for (int i = 0; i < a.n_tok; i++)
        act_load_token(&a, new, i);
    const size_t tile_bytes = TILE_ROWS * (size_t)n_block * bytes;
    const size_t n_blocks = (size_t)n_tile * TILE_ROWS * (size_t)n_block;
    uint8_t *rows = guarded(n_blocks * bytes), *tiles = guarded(n_blocks * bytes);
    dtype_random(t, rows, (int64_t)n_blocks, rnd(), 1.0f);
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t row = i / (size_t)n_block, b = i % (size_t)n_block;
        if (rnd() % 8 == 0)
            extreme_block(t, rows + i * bytes, rnd() % 2 ? 0xff : 0x80);
        tile_put(t, tiles + row / TILE_ROWS * tile_bytes + b * TILE_ROWS * bytes,
                 rows + i * bytes, (int)(row % TILE_ROWS));
    }
    const size_t ld = (size_t)n_row + rnd() % 2;
    const size_t n_dst = (size_t)(n_tok - 1) * ld + (size_t)n_row;
    float *got = guarded(n_dst * sizeof *got), *want = guarded(n_dst * sizeof *want);
    memset(got, 0xff, n_dst * sizeof *got);
    memset(want, 0xff, n_dst * sizeof *want);
    gemm(got, ld, n_row, tiles, &a, tok, n_tok);
    for (int i = 0; i < n_tile; i++)
        for (int g = 0; g < n_tok; g += ACT_GROUP) {
            const int rest = n_row - i * TILE_ROWS;
            dot(want + (size_t)g * ld + i * TILE_ROWS, ld,
                rest < TILE_ROWS ? rest : TILE_ROWS, tiles + (size_t)i * tile_bytes, &a,
                tok + g, ACT_GROUP);
        }
    if (memcmp(got, want, n_dst * sizeof *got))
        complain(name, "not the bits of dot", n_in);
    release_all();
}

#define K(name, ret, args)
#define DOT(name, TYPE)                                                             \
    static void check_dot_##name(void)                                              \
    {                                                                               \
        check_dots("dot_" #name, new->dot_##name, DTYPE_##TYPE);                    \
    }                                                                               \
    static void check_gemm_##name(void)                                             \
    {                                                                               \
        check_gemm("gemm_" #name, new->gemm_##name, new->dot_##name, DTYPE_##TYPE); \
    }
#include "tensor/kernels.def"
#undef K

/* ---- the others ---- */

static int same_float(float a, float b)
{
    return !memcmp(&a, &b, sizeof a) || (isnan(a) && isnan(b));
}

static void check_block(const struct act_block *block, const float *x)
{
    const double s = (double)block->scale;
    int finite = 1;
    for (int i = 0; i < 32; i++)
        finite &= isfinite(x[i]) != 0;
    if (finite != (isfinite(s) != 0))
        complain("quantize", "non-finite block without a NaN scale", 32);
    for (int i = 0; finite && i < 32; i++)
        if (fabs((double)x[i] - s * block->q[i]) > 0.5001 * s + 0x1p-120)
            complain("quantize", "rounding error above half a step", 32);
}

static void check_quantize(void)
{
    static const float special[] = {INFINITY, -INFINITY, NAN,     1e-40f,  1e-37f,
                                    3e38f,    -3e38f,    FLT_MIN, -1e-35f, 0.0f};
    const int n_in = 32 * (1 + (int)(rnd() % 9)), n_tok = 2;
    const size_t n = (size_t)n_in * (size_t)n_tok;
    struct act a = guarded_act(n_tok, n_in), b = guarded_act(n_tok, n_in);
    float *x = (float *)a.x;
    for (size_t i = 0; i < n / 32; i++) {
        const float by = ldexpf(1, (int)(rnd() % 230) - 130);
        for (size_t j = 32 * i; j < 32 * i + 32; j++)
            x[j] = rnd() % 16 ? x[j] * by : rnd() % 2 ? 0 : (float)(j % 7) * by / 2;
        if (rnd() % 2 == 0)
            x[32 * i + rnd() % 32] = special[rnd() % 10];
    }
    b.x = a.x;
    for (int t = 0; t < n_tok; t++) {
        ref->quantize(&a, t);
        new->quantize(&b, t);
    }
    for (int t = 0; t < n_tok; t++)
        for (int i = 0; i < n_in / 32; i++) {
            const struct act_block *p = act_at(&a, t, i), *q = act_at(&b, t, i);
            if (memcmp(p->q, q->q, sizeof p->q) ||
                memcmp(p->sum, q->sum, sizeof p->sum) || p->sum32 != q->sum32)
                complain("quantize", "integers differ", n_in);
            if (!same_float(p->scale, q->scale) || !same_float(p->mass, q->mass))
                complain("quantize", "scales differ", n_in);
            check_block(q, x + (size_t)t * (size_t)n_in + 32 * i);
        }
    release_all();
}

static void check_rms_norm(void)
{
    const int n = 1 + (int)(rnd() % 100);
    float *x = guarded((size_t)n * sizeof *x), *w = guarded((size_t)n * sizeof *x);
    float *dst = guarded((size_t)n * sizeof *x);
    double sum = 0;
    for (int i = 0; i < n; i++) {
        x[i] = uniform() * 100;
        w[i] = uniform();
        sum += (double)x[i] * (double)x[i];
    }
    const double scale = 1 / sqrt(sum / n + 1e-6);
    new->rms_norm(dst, x, w, n, 1e-6f);
    new->rms_norm(x, x, w, n, 1e-6f); // in place
    for (int i = 0; i < n; i++)
        if (dst[i] != x[i])
            complain("rms_norm", "in place differs", n);
    /* Of x scale w: three roundings of 2^-24 each. */
    for (int i = 0; i < n; i++) {
        const uint64_t at = counter - 2 * (uint64_t)n + 2 * (uint64_t)i;
        const float xi = (float)(2 * rng_uniform(2, at) - 1) * 100;
        const double want = (double)xi * scale * (double)w[i];
        if (fabs((double)dst[i] - want) > 2 * (double)FLT_EPSILON * fabs(want))
            complain("rms_norm", "out of bound", n);
    }
    release_all();
}

static void check_swiglu(void)
{
    const size_t n = 1 + rnd() % 100;
    float *g = guarded(n * sizeof *g), *u = guarded(n * sizeof *g);
    float *dst = guarded(n * sizeof *g);
    for (size_t i = 0; i < n; i++) {
        g[i] = uniform() * (rnd() % 2 ? 4 : 200);
        u[i] = uniform();
    }
    g[rnd() % n] = 0;
    new->swiglu(dst, g, u, n);
    for (size_t i = 0; i < n; i++) {
        const double x = (double)g[i], want = x / (1 + exp(-x)) * (double)u[i];
        if (!(fabs((double)dst[i] - want) <= 1e-6 * fabs(want) + 1e-30))
            complain("swiglu", "out of bound", (int)n);
    }
    const size_t bad = rnd() % n;
    g[bad] = rnd() % 2 ? NAN : INFINITY;
    new->swiglu(u, g, u, n); // in place
    for (size_t i = 0; i < n; i++)
        if (i == bad ? isfinite(u[i]) && u[i] != 0 : u[i] != dst[i])
            complain("swiglu", "in place or not finite", (int)n);
    release_all();
}

/* Does not compile if a kernel is added to kernels.def without a check. */
static const struct {
    const char *name;
    void (*run)(void);
} check[] = {
#define K(name, ret, args) {#name, check_##name},
#define LINEAR(name, ret, args) // check_linear.c
#include "tensor/kernels.def"
#undef K
};

/* ---- benchmark ---- */

static const enum dtype bench_types[] = {
#define K(name, ret, args)
#define DOT(name, TYPE) DTYPE_##TYPE,
#include "tensor/kernels.def"
#undef K
};

struct read_job {
    const uint8_t *p;
    size_t bytes;
    int n_item;
    uint64_t sum[256];
};

/* Vectors of 16 bytes: half of them in flight already outrun memory. */
static void read_item(void *ctx, int item, int thread)
{
    typedef uint64_t vec __attribute__((vector_size(16)));
    struct read_job *job = ctx;
    const size_t unit = job->bytes / 128, lo = unit * (size_t)item / (size_t)job->n_item;
    const size_t hi = unit * (size_t)(item + 1) / (size_t)job->n_item;
    const vec *p = (const vec *)(const void *)job->p;
    vec a = {0}, b = a, c = a, d = a;
    for (size_t i = 8 * lo; i < 8 * hi; i += 8) {
        a += p[i] ^ p[i + 4];
        b += p[i + 1] ^ p[i + 5];
        c += p[i + 2] ^ p[i + 6];
        d += p[i + 3] ^ p[i + 7];
    }
    a += b + c + d;
    job->sum[thread] += a[0] + a[1];
}

struct times {
    double min, max;
};

static void record(struct times *t, uint64_t from)
{
    const double s = (double)(clock_us() - from) * 1e-6;
    t->min = t->min > 0 && t->min < s ? t->min : s;
    t->max = t->max > s ? t->max : s;
}

static void bench_decode(enum dtype t, struct pool *pool, uint8_t *mem, size_t mem_bytes)
{
    enum { N_IN = 2048, ROUNDS = 7 };
    static float x[N_IN], dst[1 << 20];
    static uint64_t act_mem[N_IN];
    struct matrix m = {.dtype = t, .n_in = N_IN, .tiles = mem};
    m.n_out = (int)(mem_bytes / matrix_bytes(t, TILE_ROWS, N_IN)) * TILE_ROWS;
    const size_t bytes = matrix_bytes(t, m.n_out, N_IN);
    struct act a;
    for (int i = 0; i < N_IN; i++)
        x[i] = uniform();
    act_init(&a, act_mem, 1, N_IN);
    act_load(&a, new, pool, x, 1, N_IN);
    struct times read = {0}, decode = {0};
    struct read_job job = {mem, bytes, (int)(bytes >> 20), {0}};
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t from = clock_us();
        pool_run(pool, job.n_item, read_item, &job);
        record(&read, from);
        from = clock_us();
        matmul(dst, (size_t)m.n_out, &m, &a, new, pool);
        record(&decode, from);
    }
    const double gb = (double)bytes * 1e-9;
    printf("%-7s %-5s decode  %d threads  %6.1f GB/s (slowest %5.1f)  plain read %5.1f "
           "(%5.1f)  %3.0f %%\n",
           isa_now, dtype_find(t)->name, pool_threads(pool), gb / decode.min,
           gb / decode.max, gb / read.min, gb / read.max, 100 * read.min / decode.min);
}

static void bench_prefill(enum dtype t, struct pool *pool, uint8_t *mem, int n_tok)
{
    enum { N = 2048, ROUNDS = 15 };
    const size_t n_x = (size_t)n_tok * N;
    float *x = mem_array(n_x, sizeof *x), *dst = mem_array(n_x, sizeof *dst);
    void *act_mem = mem_array(1, act_bytes(n_tok, N));
    struct matrix m = {.dtype = t, .n_in = N, .n_out = N, .tiles = mem};
    struct act a;
    for (size_t i = 0; i < n_x; i++)
        x[i] = uniform();
    act_init(&a, act_mem, n_tok, N);
    struct times time = {0}, load = {0};
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t from = clock_us();
        act_load(&a, new, pool, x, n_tok, N);
        record(&load, from);
        from = clock_us();
        matmul(dst, N, &m, &a, new, pool);
        record(&time, from);
    }
    const double mac = (double)N * N * n_tok * 1e-9;
    printf(
        "%-7s %-5s %3d tok %d threads  %6.1f GMAC/s (slowest %5.1f)  act_load %.2f ms\n",
        isa_now, dtype_find(t)->name, n_tok, pool_threads(pool), mac / time.min,
        mac / time.max, load.min * 1e3);
    mem_free(x);
    mem_free(dst);
    mem_free(act_mem);
}

static int bench(const char *only)
{
    const size_t mem_bytes = (size_t)256 << 20;
    const size_t part = (size_t)8 << 20;
    uint8_t *mem = mem_pages(mem_bytes);
    if (!mem)
        return 1;
    for (size_t i = 0; i < sizeof bench_types / sizeof *bench_types; i++) {
        const enum dtype t = bench_types[i];
        if (only && strcmp(only, dtype_find(t)->name))
            continue;
        /* Random bytes in tile order are random codes; scales come from real blocks. */
        const size_t tile_block = (size_t)dtype_find(t)->block_bytes * TILE_ROWS;
        uint8_t block[256];
        for (size_t b = 0; b < part / tile_block; b++)
            for (int r = 0; r < TILE_ROWS; r++) {
                dtype_random(t, block, 1, rnd(), 0.02f);
                tile_put(t, mem + b * tile_block, block, r);
            }
        const size_t unit = part / tile_block * tile_block;
        for (size_t at = unit; at < mem_bytes; at += unit)
            memcpy(mem + at, mem, mem_bytes - at < unit ? mem_bytes - at : unit);
        for (int n_thread = 1; n_thread <= 2; n_thread++) {
            struct pool *pool;
            if (pool_open(&pool, n_thread, NULL))
                return 1;
            bench_decode(t, pool, mem, mem_bytes);
            bench_prefill(t, pool, mem, 4);
            bench_prefill(t, pool, mem, 512);
            pool_close(pool);
        }
    }
    mem_pages_free(mem, mem_bytes);
    return 0;
}

int main(int argc, char **argv)
{
    enum cpu_isa limit = cpu_detect();
    const char *only = NULL;
    int timing = 0, rounds = 8;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            timing = 1;
        else if (!strcmp(argv[i], "--quick"))
            rounds = 2;
        else if (!strncmp(argv[i], "--type=", 7))
            only = argv[i] + 7;
        else if (strncmp(argv[i], "--cpu=", 6) || !cpu_isa_parse(&limit, argv[i] + 6)) {
            fprintf(stderr, "usage: %s [--bench] [--quick] [--cpu=%s] [--type=Q4_K]\n",
                    argv[0], cpu_isa_names());
            return 2;
        }
    }
    ref = tensor_kernels_for(CPU_ISA_C);
    if (timing) {
        new = tensor_kernels_for(limit);
        isa_now = cpu_isa_name(cpu_best(limit));
        return bench(only);
    }
    for (int isa = 0; isa <= (int)limit && isa <= (int)cpu_detect(); isa++) {
        new = tensor_kernels_for((enum cpu_isa)isa);
        if (isa && new == tensor_kernels_for((enum cpu_isa)(isa - 1)))
            continue;
        isa_now = cpu_isa_name((enum cpu_isa)isa);
        for (size_t i = 0; i < sizeof check / sizeof *check; i++)
            for (int round = 0; round < rounds; round++)
                check[i].run();
    }
    printf("check_tensor: %s\n", failures ? "FAILED" : "ok");
    return failures != 0;
}
