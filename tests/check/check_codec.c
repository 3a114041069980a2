/* check_codec.c - every kernel of every instruction set against kernels_c*.c, in buffers
 * that touch an unmapped page; with --bench, their speed.  --cpu=avx2 limits the set,
 * --quick does half of the rounds (for emulators). */
#define _DEFAULT_SOURCE
#include "codec/kernels.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "codec/f16.h"
#include "codec/layout.h"
#include "cpu/cpu.h"

static const struct tq_kernels *ref, *new;
static const char *isa_name;
static int failures;

/* ---- buffers ---- */

static struct {
    char *base;
    size_t bytes;
} maps[64];
static int n_maps, placement;

/* `bytes` that end at an unmapped page or, in other rounds, start after one or start at
 * an even address that is no multiple of 4. */
static void *guarded(size_t bytes)
{
    const size_t page = 4096, size = (bytes + 2 + page - 1) / page * page;
    char *p = mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || n_maps == 64)
        abort();
    mprotect(p, page, PROT_NONE);
    mprotect(p + page + size, page, PROT_NONE);
    maps[n_maps].base = p;
    maps[n_maps++].bytes = size + 2 * page;
    memset(p + page, 0xA5, size);
    return placement % 2 ? p + page : p + page + size - bytes;
}

/* A page, codes or scales: also at odd multiples of two. */
static void *guarded_page(size_t bytes)
{
    char *p = guarded(bytes + 2);
    return placement % 4 < 2 ? p + (placement % 2 ? 0 : 2) : p + (placement % 2 ? 2 : 0);
}

static void release_buffers(void)
{
    for (; n_maps; n_maps--)
        munmap(maps[n_maps - 1].base, maps[n_maps - 1].bytes);
}

/* ---- data ---- */

static uint64_t rng = 0x9e3779b97f4a7c15u;

static uint32_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32);
}

static float uniform(void)
{
    return (float)(int32_t)rnd() * 0x1p-31f;
}

static float gaussian(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += uniform();
    return sum * 0.5f;
}

static void *random_bytes(size_t n)
{
    uint8_t *p = guarded_page(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)rnd();
    return p;
}

static float *random_floats(size_t n)
{
    float *p = guarded(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = gaussian();
    return p;
}

static void *copy_of(const void *from, size_t bytes)
{
    return memcpy(guarded(bytes), from, bytes);
}

/* Scales as encoders write them, and a few that none does. */
static uint16_t *random_scales(void)
{
    uint16_t *p = guarded_page(2 * TQ_PAGE_TOKENS);
    for (int i = 0; i < TQ_PAGE_TOKENS; i++)
        p[i] = rnd() % 8 ? tq_f32_to_f16(fabsf(uniform())) : (uint16_t)rnd();
    static const uint16_t edge[] = {0x7bff, 0x7c00, 0x8000, 0x0001};
    for (int i = 0; i < 4; i++)
        p[rnd() % TQ_PAGE_TOKENS] = edge[i];
    return p;
}

/* Columns of halves: ordinary, tiny, huge, zero, and with one odd value. */
static uint16_t *random_columns(int d)
{
    uint16_t *x = guarded_page((size_t)d * 2 * TQ_PAGE_TOKENS);
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        const float size = j % 8 == 1   ? 1e-7f
                           : j % 8 == 2 ? 2e4f
                           : j % 8 == 3 ? 0.0f
                                        : 1.0f;
        for (int i = 0; i < d; i++)
            x[i * TQ_PAGE_TOKENS + j] = tq_f32_to_f16(size * gaussian());
        static const uint16_t odd[] = {0x7c00, 0xfc00, 0x7e00, 0x7bff, 0x0001, 0x8000};
        if (j % 8 >= 6)
            x[(int)(rnd() % (unsigned)d) * TQ_PAGE_TOKENS + j] = odd[rnd() % 6];
    }
    return x;
}

static void check_failed(const char *kernel, int d, const char *what)
{
    fprintf(stderr, "FAIL %s_%s d=%d: %s\n", kernel, isa_name, d, what);
    failures++;
}

static void same(const char *kernel, int d, const void *a, const void *b, size_t bytes)
{
    if (memcmp(a, b, bytes))
        check_failed(kernel, d, "bytes differ");
}

static const int code_bits[] = {2, 3, 4, 8};

static size_t code_bytes(int bits, int d)
{
    return (size_t)(8 * bits * d);
}

/* Kernels of exact pages see heads of 576 whole, others only their parts (parts.h). */
static int whole(int d)
{
    return d == 512 && rnd() % 2 ? TQ_DIM_MAX : d;
}

/* ---- one check a kernel ---- */

static void check_rotate(int d)
{
    const size_t n = 3 * (size_t)d;
    float *a = random_floats(n), *b = copy_of(a, 4 * n);
    ref->rotate(a, d, 3);
    new->rotate(b, d, 3);
    same("rotate", d, a, b, 4 * n);
}

static void check_unrotate(int d)
{
    const size_t n = 3 * (size_t)d;
    float *a = random_floats(n), *b = copy_of(a, 4 * n);
    ref->unrotate(a, d, 3);
    new->unrotate(b, d, 3);
    same("unrotate", d, a, b, 4 * n);
}

static void check_to_f16(int d)
{
    const int n = whole(d) - (int)(rnd() % 16);
    float *x = random_floats((size_t)n);
    for (int i = 0; i < n; i++)
        if (rnd() % 2)
            x[i] = tq_from_bits(rnd());
    static const float edge[] = {INFINITY, -INFINITY, 65519.996f, 65520.0f, 0x1p-25f};
    for (int i = 0; i < 5; i++)
        x[rnd() % (unsigned)n] = edge[i];
    uint16_t *a = guarded_page(2 * (size_t)n), *b = guarded_page(2 * (size_t)n);
    ref->to_f16(a, x, n);
    new->to_f16(b, x, n);
    same("to_f16", d, a, b, 2 * (size_t)n);
}

static void check_transpose(int d)
{
    d = whole(d);
    const size_t bytes = (size_t)d * 2 * TQ_PAGE_TOKENS;
    uint16_t *x = random_bytes(bytes), *a = guarded(bytes), *b = guarded(bytes);
    ref->transpose(a, x, d);
    new->transpose(b, x, d);
    same("transpose", d, a, b, bytes);
}

static void check_energies(int d)
{
    const uint16_t *x = random_columns(d);
    float *a = guarded(4 * TQ_LANES), *b = guarded(4 * TQ_LANES);
    ref->energies(a, x, d);
    new->energies(b, x, d);
    for (int j = 0; j < TQ_LANES; j++) /* NaN has many encodings */
        if (a[j] == a[j] ? a[j] != b[j] : b[j] == b[j])
            check_failed("energies", d, "they differ");
}

static void check_normalise(int d)
{
    const uint16_t *x = random_columns(d);
    const size_t bytes = (size_t)d * 2 * TQ_LANES;
    int16_t *a = guarded(bytes), *b = guarded(bytes);
    float *energy = guarded(4 * TQ_LANES);
    ref->energies(energy, x, d);
    ref->normalise(a, x, energy, d, 8192.0f);
    new->normalise(b, x, energy, d, 8192.0f);
    same("normalise", d, a, b, bytes);
}

static void check_viterbi(int d)
{
    const size_t n = (size_t)d;
    int16_t *x = guarded(n * 2 * TQ_LANES);
    uint16_t *order = guarded(2 * n);
    const bool wild = rnd() % 4 == 0;
    for (int i = 0; i < d * TQ_LANES; i++)
        x[i] = wild ? (int16_t)((int)(rnd() % 65535) - 32767)
                    : (int16_t)fmaxf(-32767, fminf(32767, 8192 * gaussian()));
    for (int k = 0; k < 3; k++) {
        for (int t = 0; t < d; t++)
            order[t] = (uint16_t)tq_dim_of_time(TQ_KEY, code_bits[k], d, t);
        uint8_t *a = guarded(n * TQ_LANES), *b = guarded(n * TQ_LANES);
        int32_t *ea = guarded(4 * TQ_LANES), *eb = guarded(4 * TQ_LANES);
        int32_t *ca = guarded(4 * TQ_LANES), *cb = guarded(4 * TQ_LANES);
        uint16_t *path = guarded((n + TQ_WARMUP) * 2 * TQ_LANES);
        ref->viterbi(a, ea, ca, x, order, code_bits[k], d, path);
        new->viterbi(b, eb, cb, x, order, code_bits[k], d, path);
        same("viterbi", d, a, b, n * TQ_LANES);
        same("viterbi", d, ea, eb, 4 * TQ_LANES);
        same("viterbi", d, ca, cb, 4 * TQ_LANES);
    }
}

static void check_quantise8(int d)
{
    const uint16_t *x = random_columns(d);
    const size_t bytes = (size_t)d * TQ_PAGE_TOKENS;
    int8_t *a = guarded(bytes), *b = guarded(bytes);
    uint16_t *sa = guarded(2 * TQ_PAGE_TOKENS), *sb = guarded(2 * TQ_PAGE_TOKENS);
    float *ea = guarded(4 * TQ_PAGE_TOKENS), *eb = guarded(4 * TQ_PAGE_TOKENS);
    ref->quantise8(a, sa, ea, x, d);
    new->quantise8(b, sb, eb, x, d);
    same("quantise8", d, a, b, bytes);
    same("quantise8", d, sa, sb, 2 * TQ_PAGE_TOKENS);
}

typedef void pack_fn(uint8_t *, const uint8_t *, int, int);

static void check_pack(const char *name, pack_fn *by_ref, pack_fn *by_new, int d)
{
    for (int k = 0; k < 4; k++) {
        const int bits = code_bits[k];
        uint8_t *code = random_bytes((size_t)d * TQ_PAGE_TOKENS);
        for (int i = 0; i < d * TQ_PAGE_TOKENS; i++)
            code[i] &= (uint8_t)((1 << bits) - 1);
        const size_t bytes = code_bytes(bits, d);
        uint8_t *a = guarded_page(bytes), *b = guarded_page(bytes);
        by_ref(a, code, bits, d);
        by_new(b, code, bits, d);
        same(name, d, a, b, bytes);
    }
}

static void check_pack_k(int d)
{
    check_pack("pack_k", ref->pack_k, new->pack_k, d);
}

static void check_pack_v(int d)
{
    check_pack("pack_v", ref->pack_v, new->pack_v, d);
}

static void check_expand_k(int d)
{
    const size_t bytes = (size_t)d * TQ_PAGE_TOKENS;
    for (int k = 0; k < 4; k++) {
        const uint8_t *code = random_bytes(code_bytes(code_bits[k], d));
        uint8_t *a = guarded(bytes), *b = guarded(bytes);
        const int t0 = (int)(rnd() % 4), t1 = t0 + 1 + (int)(rnd() % (unsigned)(4 - t0));
        ref->expand_k(a, code, code_bits[k], d, t0, t1);
        new->expand_k(b, code, code_bits[k], d, t0, t1);
        same("expand_k", d, a, b, bytes);
    }
}

static void check_expand_v(int d)
{
    const size_t bytes = (size_t)d * TQ_PAGE_TOKENS;
    for (int k = 0; k < 4; k++) {
        const uint8_t *code = random_bytes(code_bytes(code_bits[k], d));
        int8_t *a = guarded(bytes), *b = guarded(bytes);
        const int t0 = (int)(rnd() % 4), t1 = t0 + 1 + (int)(rnd() % (unsigned)(4 - t0));
        ref->expand_v(a, code, code_bits[k], d, t0, t1);
        new->expand_v(b, code, code_bits[k], d, t0, t1);
        same("expand_v", d, a, b, bytes);
    }
}

static void check_turn_levels(int d)
{
    const size_t bytes = (size_t)d * TQ_PAGE_TOKENS;
    uint8_t *level = guarded(bytes);
    for (size_t i = 0; i < bytes; i++)
        level[i] = (uint8_t)rnd();
    int8_t *a = guarded(bytes), *b = guarded(bytes);
    const int t0 = (int)(rnd() % 4), t1 = t0 + 1 + (int)(rnd() % (unsigned)(4 - t0));
    ref->turn_levels(a, level, d, t0, t1);
    new->turn_levels(b, level, d, t0, t1);
    same("turn_levels", d, a, b, bytes);
}

/* More than the largest block of a kernel, now and then. */
static int random_queries(void)
{
    return 1 + (int)(rnd() % (rnd() % 4 ? 7 : 32));
}

/* A query set for the score kernels. */
struct set {
    int n, most; // of hi
    float *x, *step;
    int8_t *hi, *lo;
    int32_t *sum_hi, *sum_lo;
};

static struct set random_set(int d)
{
    const int most = rnd() % 2 ? new->query_most : 127;
    const int n = random_queries();
    const size_t m = (size_t)n, row = (size_t)d;
    struct set q = {n,
                    most,
                    guarded(4 * m * row),
                    guarded(4 * m),
                    guarded(m * row),
                    guarded(m * row),
                    guarded(4 * m),
                    guarded(4 * m)};
    float *in = random_floats(m * row);
    for (int i = 0; i < n; i++)
        ref->load_query(q.x + i * d, q.hi + i * d, q.lo + i * d, q.step + i, q.sum_hi + i,
                        q.sum_lo + i, in + i * d, 0.3f, d, most);
    return q;
}

/* With a bias in every other round. */
static struct tq_code_queries code_queries(const struct set *q, int limbs)
{
    return (struct tq_code_queries){
        q->hi,     limbs == 2 ? q->lo : NULL,
        q->step,   q->sum_hi,
        q->sum_lo, placement % 2 ? random_floats((size_t)q->n) : NULL,
        q->most};
}

static void check_load_query(int d)
{
    const int n = d - (int)(rnd() % 16), most = rnd() % 2 ? 127 : 64;
    const size_t m = (size_t)n;
    float *in = random_floats(m);
    if (rnd() % 4 == 0)
        in[rnd() % m] = tq_from_bits(rnd());
    float *x[2], *step[2];
    int8_t *hi[2], *lo[2];
    int32_t *sum_hi[2], *sum_lo[2];
    for (int i = 0; i < 2; i++) {
        x[i] = guarded(4 * m), step[i] = guarded(4), hi[i] = guarded(m),
        lo[i] = guarded(m);
        sum_hi[i] = guarded(4), sum_lo[i] = guarded(4);
        (i ? new : ref)
            ->load_query(x[i], hi[i], lo[i], step[i], sum_hi[i], sum_lo[i], in, 0.088388f,
                         n, most);
    }
    same("load_query", d, step[0], step[1], 4);
    same("load_query", d, hi[0], hi[1], m);
    same("load_query", d, lo[0], lo[1], m);
    same("load_query", d, sum_hi[0], sum_hi[1], 4);
    same("load_query", d, sum_lo[0], sum_lo[1], 4);
    for (int i = 0; i < n; i++)
        if (x[0][i] == x[0][i] && x[0][i] != x[1][i])
            check_failed("load_query", d, "x differs");
}

/* Halves that are finite. */
static uint16_t *finite_columns(int d)
{
    uint16_t *x = random_columns(d);
    for (int i = 0; i < d * TQ_PAGE_TOKENS; i++)
        if ((x[i] & 0x7c00) == 0x7c00)
            x[i] &= 0x83ff;
    return x;
}

static void check_weighted_mean(int d)
{
    const uint16_t *x = finite_columns(d);
    const float *weight = random_floats(TQ_PAGE_TOKENS);
    float *a = guarded(4 * (size_t)d), *b = guarded(4 * (size_t)d);
    ref->weighted_mean(a, x, weight, d);
    new->weighted_mean(b, x, weight, d);
    same("weighted_mean", d, a, b, 4 * (size_t)d);
}

static void check_subtract(int d)
{
    const size_t bytes = (size_t)d * 2 * TQ_PAGE_TOKENS;
    uint16_t *a = finite_columns(d), *b = guarded_page(bytes);
    memcpy(b, a, bytes);
    float *mean = random_floats((size_t)d);
    for (int i = 0; i < d; i++)
        mean[i] *= i % 8 ? 1.0f : 3e4f;
    ref->subtract(a, mean, d);
    new->subtract(b, mean, d);
    same("subtract", d, a, b, bytes);
}

static void check_key_means(int d)
{
    if (!tq_mean_bits(d))
        return;
    const struct set q = random_set(d);
    const struct tq_code_queries codes = code_queries(&q, 1);
    uint16_t *stored = random_bytes(2 * TQ_PAGE_TOKENS);
    if (rnd() % 4) // a scale that an encoder could write
        for (int j = 10; j < 16; j++)
            stored[j] &= 0x7fff;
    if (rnd() % 4 == 0)
        q.step[0] = 1e36f;
    const size_t n = (size_t)q.n;
    float *a = guarded(4 * n), *b = guarded(4 * n);
    uint16_t *sa = guarded(2 * TQ_PAGE_TOKENS), *sb = guarded(2 * TQ_PAGE_TOKENS);
    ref->key_means(a, sa, stored, &codes, d, q.n);
    new->key_means(b, sb, stored, &codes, d, q.n);
    same("key_means", d, a, b, 4 * n);
    same("key_means", d, sa, sb, 2 * TQ_PAGE_TOKENS);
}

static void check_score_codes(int d)
{
    const struct set q = random_set(d);
    const uint8_t *k = random_bytes((size_t)d * TQ_PAGE_TOKENS);
    const uint16_t *scale = random_scales();
    const size_t bytes = 4 * (size_t)q.n * TQ_PAGE_TOKENS;
    const int t0 = (int)(rnd() % 4), t1 = rnd() % 2 ? 4 : t0 + 1;
    if (rnd() % 4 == 0)
        q.step[0] = 1e30f; // scores beyond TQ_SCORE_MAX
    for (int limbs = 1; limbs <= 2; limbs++) {
        float *a = guarded(bytes), *b = guarded(bytes);
        const struct tq_code_queries codes = code_queries(&q, limbs);
        ref->score_codes(a, k, scale, &codes, d, q.n, t0, t1);
        new->score_codes(b, k, scale, &codes, d, q.n, t0, t1);
        same("score_codes", d, a, b, bytes);
    }
}

static void check_score_packed(int d)
{
    if (!new->score_packed)
        return;
    const struct set q = random_set(d);
    const uint16_t *scale = random_scales();
    const size_t bytes = 4 * (size_t)q.n * TQ_PAGE_TOKENS;
    for (int k = 0; k < 4; k++) {
        const uint8_t *code = random_bytes(code_bytes(code_bits[k], d));
        const struct tq_code_queries codes = code_queries(&q, code_bits[k] == 8 ? 2 : 1);
        const int t0 = (int)(rnd() % 4), t1 = t0 + 1 + (int)(rnd() % (unsigned)(4 - t0));
        float *a = guarded(bytes), *b = guarded(bytes);
        const struct tq_places next = {{code, code}};
        ref->score_packed(a, code, code_bits[k], scale, &codes, d, q.n, t0, t1, next);
        new->score_packed(b, code, code_bits[k], scale, &codes, d, q.n, t0, t1, next);
        same("score_packed", d, a, b, bytes);
    }
}

/* A sum of d products in any order, fused or not, is within (d + 1) eps sum |a b|. */
static void check_score_exact(bool half, int d)
{
    const struct set q = random_set(d);
    const size_t n = (size_t)d * TQ_PAGE_TOKENS;
    uint16_t *h = guarded_page(2 * n);
    float *f = guarded(4 * n), *s = guarded(4 * (size_t)q.n * TQ_PAGE_TOKENS);
    for (size_t i = 0; i < n; i++) {
        h[i] = tq_f32_to_f16(gaussian());
        f[i] = half ? tq_f16_to_f32(h[i]) : gaussian();
    }
    const int t0 = (int)(rnd() % 4), t1 = rnd() % 2 ? 4 : t0 + 1;
    if (half)
        new->score_f16(s, h, q.x, d, q.n, t0, t1);
    else
        new->score_f32(s, f, q.x, d, q.n, t0, t1);
    for (int i = 0; i < q.n; i++)
        for (int j = 16 * t0; j < 16 * t1; j++) {
            double exact = 0, size = 0;
            for (int c = 0; c < d; c++) {
                const double p =
                    (double)q.x[i * d + c] * f[(j / 16 * d + c) * 16 + j % 16];
                exact += p;
                size += fabs(p);
            }
            if (!(fabs(s[i * TQ_PAGE_TOKENS + j] - exact) <=
                  (double)(d + 1) * FLT_EPSILON * size))
                check_failed(half ? "score_f16" : "score_f32", d, "out of bound");
        }
}

static void check_score_f16(int d)
{
    check_score_exact(true, whole(d) - (int)(rnd() % 3));
}

static void check_score_f32(int d)
{
    check_score_exact(false, whole(d) - (int)(rnd() % 3));
}

static void check_softmax(int d)
{
    const int n = 1 + (int)(rnd() % 4);
    const size_t bytes = 4 * (size_t)n * TQ_PAGE_TOKENS;
    float *s[2], *m[2], *l[2], *c[2];
    uint8_t *hi = guarded((size_t)n);
    const int lo = (int)(rnd() % 64);
    for (int i = 0; i < n; i++)
        hi[i] = (uint8_t)(lo + 1 + (int)(rnd() % (unsigned)(64 - lo)));
    s[0] = random_floats((size_t)n * TQ_PAGE_TOKENS);
    const float spread = rnd() % 4 ? 4.0f : 1e30f;
    for (int i = 0; i < n * TQ_PAGE_TOKENS; i++)
        s[0][i] = rnd() % 64 ? s[0][i] * spread * 0.125f : -1e30f;
    s[1] = copy_of(s[0], bytes);
    m[0] = random_floats((size_t)n);
    m[0][0] = rnd() % 2 ? -INFINITY : 3.0f;
    m[1] = copy_of(m[0], 4 * (size_t)n);
    l[0] = random_floats((size_t)n);
    l[1] = copy_of(l[0], 4 * (size_t)n);
    for (int i = 0; i < 2; i++) {
        c[i] = guarded(4 * (size_t)n);
        (i ? new : ref)->softmax(s[i], m[i], l[i], c[i], lo, hi, n);
    }
    same("softmax", d, s[0], s[1], bytes);
    same("softmax", d, m[0], m[1], 4 * (size_t)n);
    same("softmax", d, l[0], l[1], 4 * (size_t)n);
    same("softmax", d, c[0], c[1], 4 * (size_t)n);
    for (int i = 0; i < n; i++)
        for (int j = lo; j < hi[i]; j++) {
            const float w = s[1][i * TQ_PAGE_TOKENS + j];
            if (!(w >= 0 && w <= 1))
                check_failed("softmax", d, "weight out of range");
        }
}

static void check_weigh(int d)
{
    const int most = rnd() % 2 ? 255 : 128;
    const int n = 1 + (int)(rnd() % 4);
    float *p = guarded(4 * (size_t)n * TQ_PAGE_TOKENS);
    const float size = rnd() % 4 ? 1.0f : rnd() % 2 ? 1e-32f : 0.0f;
    for (int i = 0; i < n * TQ_PAGE_TOKENS; i++)
        p[i] = rnd() % 4 ? size * fabsf(uniform()) : 0.0f;
    if (rnd() % 4 == 0)
        p[rnd() % 64] = NAN;
    const uint16_t *scale = random_scales();
    for (int limbs = 1; limbs <= 2; limbs++) {
        const size_t bytes = (size_t)(n * limbs * TQ_PAGE_TOKENS);
        uint8_t *a = guarded(bytes), *b = guarded(bytes);
        float *ga = guarded(4 * (size_t)n), *gb = guarded(4 * (size_t)n);
        ref->weigh(a, ga, p, scale, limbs, n, most);
        new->weigh(b, gb, p, scale, limbs, n, most);
        same("weigh", d, a, b, bytes);
        same("weigh", d, ga, gb, 4 * (size_t)n);
    }
}

static void check_sum_codes(int d)
{
    const int n = 1 + (int)(rnd() % 7), t0 = (int)(rnd() % 4),
              t1 = rnd() % 2 ? 4 : t0 + 1;
    const size_t m = (size_t)n;
    const int8_t *v = random_bytes((size_t)d * TQ_PAGE_TOKENS);
    uint8_t *w = random_bytes(2 * m * TQ_PAGE_TOKENS);
    const float *g = random_floats(m), *c = random_floats(m);
    for (int limbs = 2; limbs >= 1; limbs--) {
        for (size_t i = 0; limbs == 1 && i < 2 * m * TQ_PAGE_TOKENS; i++)
            w[i] = (uint8_t)(w[i] <= new->weight_most ? w[i] : new->weight_most);
        float *a = random_floats(m * (size_t)d), *b = copy_of(a, 4 * m * (size_t)d);
        ref->sum_codes(a, v, w, g, c, limbs, d, n, t0, t1);
        new->sum_codes(b, v, w, g, c, limbs, d, n, t0, t1);
        same("sum_codes", d, a, b, 4 * m * (size_t)d);
    }
}

static void check_sum_packed(int d)
{
    if (!new->sum_packed)
        return;
    const int n = 1 + (int)(rnd() % 7);
    const size_t m = (size_t)n;
    const float *g = random_floats(m), *c = random_floats(m);
    for (int k = 0; k < 4; k++) {
        const size_t limbs = code_bits[k] == 8 ? 2 : 1;
        const uint8_t *code = random_bytes(code_bytes(code_bits[k], d));
        const uint8_t *w = random_bytes(m * limbs * TQ_PAGE_TOKENS);
        const int t0 = (int)(rnd() % 4), t1 = t0 + 1 + (int)(rnd() % (unsigned)(4 - t0));
        float *a = random_floats(m * (size_t)d), *b = copy_of(a, 4 * m * (size_t)d);
        const struct tq_places next = {{code, code}};
        ref->sum_packed(a, code, code_bits[k], w, g, c, d, n, t0, t1, next);
        new->sum_packed(b, code, code_bits[k], w, g, c, d, n, t0, t1, next);
        same("sum_packed", d, a, b, 4 * m * (size_t)d);
    }
}

/* 64 weighted rows and the factor: at most 66 roundings of a part of the magnitude. */
static void check_sum_exact(bool half, int d)
{
    const int n = random_queries(), lo = (int)(rnd() % 64),
              hi = lo + 1 + (int)(rnd() % (unsigned)(64 - lo));
    const size_t m = (size_t)n,
                 size = (size_t)hi * (size_t)d; // rows from hi on do not exist
    uint16_t *h = guarded_page(2 * size);
    float *f = guarded(4 * size), *p = guarded(4 * m * TQ_PAGE_TOKENS);
    for (size_t i = 0; i < size; i++) {
        h[i] = tq_f32_to_f16(gaussian());
        f[i] = half ? tq_f16_to_f32(h[i]) : gaussian();
    }
    for (size_t i = 0; i < m * TQ_PAGE_TOKENS; i++)
        p[i] = fabsf(uniform());
    float *o = random_floats(m * (size_t)d), *before = copy_of(o, 4 * m * (size_t)d);
    const float *c = random_floats(m);
    if (half)
        new->sum_f16(o, h, p, c, d, n, lo, hi);
    else
        new->sum_f32(o, f, p, c, d, n, lo, hi);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d; k++) {
            double exact = (double)before[i * d + k] * c[i], sum = fabs(exact);
            for (int j = lo; j < hi; j++) {
                const double t = (double)p[i * TQ_PAGE_TOKENS + j] * f[j * d + k];
                exact += t;
                sum += fabs(t);
            }
            if (!(fabs(o[i * d + k] - exact) <= 66.0 * FLT_EPSILON * sum))
                check_failed(half ? "sum_f16" : "sum_f32", d, "out of bound");
        }
}

static void check_sum_f16(int d)
{
    check_sum_exact(true, whole(d) - (int)(rnd() % 16));
}

static void check_sum_f32(int d)
{
    check_sum_exact(false, whole(d) - (int)(rnd() % 16));
}

/* A kernel added to kernels.def without a check does not compile. */
static const struct {
    const char *name;
    void (*run)(int d);
} checks[] = {
#define K(name, ret, args) {#name, check_##name},
#include "codec/kernels.def"
#undef K
};

static const int dims[] = {64, 80, 96, 112, 128, 192, 256, 512};

static void check_all(int rounds)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        for (size_t k = 0; k < sizeof dims / sizeof *dims; k++)
            for (placement = 0; placement < rounds; placement++) {
                checks[i].run(dims[k]);
                release_buffers();
            }
}

/* ---- benchmark ---- */

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

enum { PAGES = 16, REPEATS = 15, MAX_QUERIES = 64 };

/* A prepared case: pages of keys and values in L2, and queries. */
struct bench {
    enum tq_isa isa;
    int d, n;
    struct tq_codec k, v, exact_k, exact_v;
    uint8_t *kpages, *vpages;
    uint16_t *rows;
    struct tq_query q;
    struct tq_partial p;
    uint8_t hi[MAX_QUERIES];
    void *scratch;
    float *x;
};

static void bench_init(struct bench *b, enum tq_type type, int d, int n)
{
    b->d = d, b->n = n;
    tq_codec_init(&b->k, type, TQ_KEY, d, b->isa);
    tq_codec_init(&b->v, type, TQ_VALUE, d, b->isa);
    tq_codec_init(&b->exact_k, TQ_F16, TQ_KEY, d, b->isa);
    tq_codec_init(&b->exact_v, TQ_F16, TQ_VALUE, d, b->isa);
    const size_t bytes = tq_page_bytes(type, d), m = (size_t)n, row = (size_t)d;
    b->kpages = guarded(PAGES * bytes), b->vpages = guarded(PAGES * bytes);
    b->rows = guarded(tq_page_bytes(TQ_F16, d));
    b->scratch = guarded(tq_encode_scratch_bytes(d) + tq_attend_scratch_bytes(d, n));
    b->scratch = (void *)(((uintptr_t)b->scratch) / 64 * 64);
    b->x = random_floats(m * row);
    for (size_t i = 0; i < row * TQ_PAGE_TOKENS; i++)
        b->rows[i] = tq_f32_to_f16(gaussian());
    for (size_t i = 0; i < PAGES; i++) {
        if (type == TQ_F16) {
            memcpy(b->kpages + i * bytes, b->rows, bytes);
            memcpy(b->vpages + i * bytes, b->rows, bytes);
        } else {
            tq_encode(&b->k, b->kpages + i * bytes, b->rows, b->scratch);
            tq_encode(&b->v, b->vpages + i * bytes, b->rows, b->scratch);
        }
    }
    tq_query_init(&b->q, guarded(tq_query_bytes(d, n)), d, n);
    tq_query_load(&b->k, &b->q, b->x, row, n, 1.0f / sqrtf((float)d));
    b->p = (struct tq_partial){guarded(4 * m), guarded(4 * m), guarded(4 * m * row)};
    tq_partial_reset(&b->p, n, d);
    memset(b->hi, TQ_PAGE_TOKENS, sizeof b->hi);
}

static void run_attend(struct bench *b)
{
    for (size_t i = 0; i < PAGES; i++)
        tq_attend(&b->k, &b->v, &b->p, &b->q,
                  b->kpages + i * tq_page_bytes(b->k.type, b->d),
                  b->vpages + i * tq_page_bytes(b->k.type, b->d), 0, b->hi, b->scratch);
}

static void run_encode_k(struct bench *b)
{
    tq_encode(&b->k, b->kpages, b->rows, b->scratch);
}

static void run_encode_v(struct bench *b)
{
    tq_encode(&b->v, b->vpages, b->rows, b->scratch);
}

static void run_rotation(struct bench *b)
{
    tq_rotate(&b->k, b->x, b->n);
    tq_unrotate(&b->k, b->x, b->n);
}

static void run_query(struct bench *b)
{
    tq_query_load(&b->k, &b->q, b->x, (size_t)b->d, b->n, 0.1f);
}

/* Least and median time of a call in ns, over `per`. */
static void bench_row(const char *what, const char *detail, struct bench *b,
                      void (*run)(struct bench *), double per)
{
    double t[REPEATS];
    int inner = 1;
    for (double took = 0; took < 4e-4;) {
        const double t0 = now();
        for (int i = 0; i < inner; i++)
            run(b);
        took = now() - t0;
        inner = took < 4e-4 ? 2 * inner : inner;
    }
    for (int r = 0; r < REPEATS; r++) {
        const double t0 = now();
        for (int i = 0; i < inner; i++)
            run(b);
        t[r] = (now() - t0) * 1e9 / inner / per;
        for (int i = r; i && t[i] < t[i - 1]; i--) {
            const double swap = t[i];
            t[i] = t[i - 1], t[i - 1] = swap;
        }
    }
    printf("%-7s %-10s %-16s d=%-3d %9.2f ns  (median %.2f, max %.2f)\n", isa_name, what,
           detail, b->d, t[0], t[REPEATS / 2], t[REPEATS - 1]);
}

/* Arguments for one call of each kernel: four queries, turbo4. */
static struct {
    float *x, *energy, *s, *m, *l, *c, *o;
    uint16_t *half, *half2, *scale, *path, *order;
    int16_t *fixed;
    uint8_t *code, *page, *level, *w, *hi;
    int32_t *chosen;
    struct set q;
    struct tq_code_queries codes;
} a;

static void kernel_bench_init(int d)
{
    const size_t n = (size_t)d * TQ_PAGE_TOKENS;
    a.x = random_floats(n), a.energy = guarded(256), a.chosen = guarded(256);
    a.half = random_columns(d), a.half2 = guarded(2 * n), a.scale = random_scales();
    a.path = guarded((size_t)(d + TQ_WARMUP) * 2 * TQ_LANES);
    a.fixed = guarded((size_t)d * 2 * TQ_LANES), a.code = guarded(n);
    a.page = random_bytes(n), a.level = guarded(n), a.order = guarded(2 * (size_t)d);
    a.s = random_floats(8 * TQ_PAGE_TOKENS), a.w = random_bytes(8 * TQ_PAGE_TOKENS);
    a.m = random_floats(8), a.l = random_floats(8), a.c = random_floats(8);
    a.o = random_floats(8 * (size_t)d), a.hi = guarded(8);
    memset(a.hi, TQ_PAGE_TOKENS, 8);
    for (int t = 0; t < d; t++)
        a.order[t] = (uint16_t)tq_dim_of_time(TQ_VALUE, 4, d, t);
    do {
        a.q = random_set(d);
    } while (a.q.n < 4);
    a.codes = code_queries(&a.q, 1);
    new->energies(a.energy, a.half, d);
    new->normalise(a.fixed, a.half, a.energy, d, 8192.0f);
}

/* CALL(kernel, 128-value units of work, arguments) */
#define CALLS(d)                                                                      \
    CALL(rotate, d / 128.0, (a.x, d, 1))                                              \
    CALL(unrotate, d / 128.0, (a.x, d, 1))                                            \
    CALL(to_f16, d / 128.0, (a.half2, a.x, d))                                        \
    CALL(transpose, d / 2.0, (a.half2, a.half, d))                                    \
    CALL(energies, d / 4.0, (a.energy, a.half, d))                                    \
    CALL(normalise, d / 4.0, (a.fixed, a.half, a.energy, d, 8192.0f))                 \
    CALL(viterbi, d / 4.0,                                                            \
         (a.code, a.chosen, a.chosen + TQ_LANES, a.fixed, a.order, 4, d, a.path))     \
    CALL(quantise8, d / 2.0, ((int8_t *)a.level, a.half2, a.energy, a.half, d))       \
    CALL(pack_k, d / 2.0, (a.level, a.code, 4, d))                                    \
    CALL(pack_v, d / 2.0, (a.level, a.code, 4, d))                                    \
    CALL(expand_k, d / 2.0, (a.level, a.page, 4, d, 0, 4))                            \
    CALL(expand_v, d / 2.0, ((int8_t *)a.level, a.page, 4, d, 0, 4))                  \
    CALL(turn_levels, d / 2.0, ((int8_t *)a.level, a.page, d, 0, 4))                  \
    CALL(load_query, d / 128.0,                                                       \
         (a.q.x, a.q.hi, a.q.lo, a.q.step, a.q.sum_hi, a.q.sum_lo, a.x, 0.1f, d, 64)) \
    CALL(weighted_mean, d / 2.0, (a.x, a.half, a.s, d))                               \
    CALL(subtract, d / 2.0, (a.half2, a.x, d))                                        \
    CALL(key_means, d * 2.0, (a.m, a.half2, a.scale, &a.codes, d, 4))                 \
    CALL(score_codes, d * 2.0, (a.s, a.page, a.scale, &a.codes, d, 4, 0, 4))          \
    CALL(score_packed, d * 2.0,                                                       \
         (a.s, a.page, 4, a.scale, &a.codes, d, 4, 0, 4,                              \
          (struct tq_places){{a.page, a.page}}))                                      \
    CALL(score_f16, d * 2.0, (a.s, a.half, a.q.x, d, 4, 0, 4))                        \
    CALL(score_f32, d * 2.0, (a.s, a.x, a.q.x, d, 4, 0, 4))                           \
    CALL(softmax, d * 2.0, (a.s, a.m, a.l, a.c, 0, a.hi, 4))                          \
    CALL(weigh, d * 2.0, (a.w, a.m, a.s, a.scale, 1, 4, 128))                         \
    CALL(sum_codes, d * 2.0, (a.o, (int8_t *)a.page, a.w, a.m, a.l, 1, d, 4, 0, 4))   \
    CALL(sum_packed, d * 2.0,                                                         \
         (a.o, a.page, 4, a.w, a.m, a.l, d, 4, 0, 4,                                  \
          (struct tq_places){{a.page, a.page}}))                                      \
    CALL(sum_f16, d * 2.0, (a.o, a.half, a.s, a.c, d, 4, 0, 64))                      \
    CALL(sum_f32, d * 2.0, (a.o, a.x, a.s, a.c, d, 4, 0, 64))

#define CALL(kernel, work, args)              \
    static void run_##kernel(struct bench *b) \
    {                                         \
        const int d = b->d;                   \
        new->kernel args;                     \
        (void)d;                              \
    }
CALLS(d)
#undef CALL

static void bench_kernels(int d)
{
    struct bench b = {.d = d};
    kernel_bench_init(d);
    const struct {
        const char *name;
        void (*run)(struct bench *);
        double work;
        bool exists;
    } rows[] = {
#define CALL(kernel, work, args) {#kernel, run_##kernel, work, new->kernel != NULL},
        CALLS(d)
#undef CALL
    };
/* A kernel without a row does not compile. */
#define K(name, ret, args) (void)run_##name;
#include "codec/kernels.def"
#undef K
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].exists)
            bench_row("kernel", rows[i].name, &b, rows[i].run, rows[i].work);
    release_buffers();
}

static void bench_all(enum tq_isa isa)
{
    static const int groups[] = {1, 2, 4, 64};
    struct bench b = {.isa = isa};
    printf("kernels (4 queries, 4 bits), encode, rotate, query: ns per 128 values; "
           "attend: ns per key\n");
    bench_kernels(64);
    bench_kernels(128);
    for (int d = 64; d <= 128; d *= 2)
        for (int type = TQ_F16; type <= TQ_TURBO2; type++) {
            const char *name = tq_type_name((enum tq_type)type);
            for (size_t g = 0; g < 4; g++) {
                char detail[32];
                snprintf(detail, sizeof detail, "%s x%d", name, groups[g]);
                bench_init(&b, (enum tq_type)type, d, groups[g]);
                bench_row("attend", detail, &b, run_attend, PAGES * TQ_PAGE_TOKENS);
                release_buffers();
            }
            bench_init(&b, (enum tq_type)type, d, 1);
            if (type == TQ_F16) {
                bench_row("rotate+un", "", &b, run_rotation, d / 128.0);
                bench_row("query", "", &b, run_query, d / 128.0);
            } else {
                bench_row("encode k", name, &b, run_encode_k, 64 * d / 128.0);
                bench_row("encode v", name, &b, run_encode_v, 64 * d / 128.0);
            }
            release_buffers();
        }
}

int main(int argc, char **argv)
{
    enum cpu_isa limit = CPU_ISA_COUNT - 1;
    bool bench = false, quick = false;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--bench"))
            bench = true;
        else if (!strcmp(argv[i], "--quick"))
            quick = true;
        else if (strncmp(argv[i], "--cpu=", 6) || !cpu_isa_parse(&limit, argv[i] + 6)) {
            fprintf(stderr, "usage: %s [--bench] [--quick] [--cpu=%s]\n", argv[0],
                    cpu_isa_names());
            return 2;
        }
    limit = cpu_best(limit);
    ref = tq_kernels_for(TQ_ISA_C);
    for (int isa = CPU_ISA_C; isa <= (int)limit; isa++) {
        new = tq_kernels_for((enum tq_isa)isa);
        isa_name = cpu_isa_name((enum cpu_isa)isa);
        if (isa != CPU_ISA_C && new == tq_kernels_for((enum tq_isa)(isa - 1)))
            continue;
        if (!bench)
            check_all(isa == CPU_ISA_C ? 2 : quick ? 4 : 8);
    }
    if (bench)
        bench_all((enum tq_isa)limit);
    else
        printf("%s\n", failures ? "FAILED" : "ok");
    return failures != 0;
}
