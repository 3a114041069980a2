/* kernels_linear.h - the kernels of linear.h over the vectors of a level, written once.
 * The file that includes it has these first, all CPU_INLINE:
 *
 *   vec, LANES                        a register of floats
 *   ROWS                              rows of a state at a time: registers for
 *                                     2 ROWS sums, ROWS deltas and four others
 *   load(p), store(p, x)
 *   load_first(p, n), store_first(p, x, n)          n < LANES lanes, the others zero
 *   all(x), mul(a, b), mul_add(a, b, c)             a b + c, rounded once
 *   lane_sums(float sum[ROWS], const vec x[ROWS])   in one order for every row
 *   squares(x, n), silu(x)
 *   sigmoid_mul(x, gate), gelu_mul(gate, up)        of a register
 *   LEVEL(name)                       the kernel's name at this level */
#ifndef TENSOR_KERNELS_LINEAR_H
#define TENSOR_KERNELS_LINEAR_H

#include <math.h>

#include "tensor/kernels.h"

/* n is the constant LANES, or less for what is left at the end. */
CPU_INLINE vec load_lanes(const float *p, size_t n)
{
    return n == LANES ? load(p) : load_first(p, n);
}

CPU_INLINE void store_lanes(float *p, vec x, size_t n)
{
    if (n == LANES)
        store(p, x);
    else
        store_first(p, x, n);
}

/* ---- the delta rule ----
 *
 * With the decayed row D of the state the new one is S = D + delta k, so both sums come
 * from D:
 *
 *   delta = beta (v - D . k),  S . q = D . q + delta (k . q)
 *
 * One loop takes the sums of a few rows and updates the rows before them, whose delta is
 * known by then and which are still in the first-level cache.  Chains of additions alone
 * would wait for each other; updates fill the time, and share the loads of k and decay.
 */

struct delta {
    const float *q, *k, *decay;
    float beta, kq; // kq = k . q
    size_t d_k;
    int by_channel; // there are d_k decays; a constant, like n_row and parts below
};

enum { SUMS = 1, UPDATE = 2 };

struct rows {
    float *next, *last; // sums are of the one, updates of the other
    int parts, n_row;
    vec sum_k[ROWS], sum_q[ROWS], delta[ROWS];
};

/* Columns c .. c + n - 1. */
CPU_INLINE void columns(struct rows *x, const struct delta d, size_t c, size_t n)
{
    const vec k = load_lanes(d.k + c, n);
    const vec decay = d.by_channel ? load_lanes(d.decay + c, n) : all(*d.decay);
    const vec q = x->parts & SUMS ? load_lanes(d.q + c, n) : k;
#pragma GCC unroll 8
    for (size_t r = 0; r < (size_t)x->n_row; r++) {
        if (x->parts & SUMS) {
            vec s = load_lanes(x->next + r * d.d_k + c, n);
            if (d.by_channel)
                s = mul(s, decay);
            x->sum_k[r] = mul_add(s, k, x->sum_k[r]);
            x->sum_q[r] = mul_add(s, q, x->sum_q[r]);
        }
        if (x->parts & UPDATE) {
            float *at = x->last + r * d.d_k + c;
            const vec s = mul(load_lanes(at, n), decay);
            store_lanes(at, mul_add(x->delta[r], k, s), n);
        }
    }
}

/* Update n_row rows at last by their deltas, and put those of the rows at next in their
 * place, for whose outputs and values there are out and v. */
CPU_INLINE void pass(float by[ROWS], float *next, float *last, float *out, const float *v,
                     const struct delta d, const int parts, const int n_row)
{
    struct rows x = {.next = next, .last = last, .parts = parts, .n_row = n_row};
    size_t c = 0;
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        x.sum_k[r] = x.sum_q[r] = all(0);
        x.delta[r] = all(by[r]);
    }
    for (; c + LANES <= d.d_k; c += LANES) {
        /* The rows after the next ones: from memory they would come too late, and a
         * processor does not see that rows side by side are one stream. */
        if (parts == (SUMS | UPDATE))
#pragma GCC unroll 8
            for (size_t at = 0; at < ROWS * LANES; at += 64 / sizeof *next)
                __builtin_prefetch(next + ROWS * (2 * d.d_k + c) + at);
        columns(&x, d, c, LANES);
    }
    if (c < d.d_k)
        columns(&x, d, c, d.d_k - c);
    if (parts & SUMS) {
        const float decay = d.by_channel ? 1 : *d.decay;
        float dot_k[ROWS], dot_q[ROWS];
        lane_sums(dot_k, x.sum_k);
        lane_sums(dot_q, x.sum_q);
#pragma GCC unroll 8
        for (int r = 0; r < n_row; r++) {
            by[r] = d.beta * (v[r] - decay * dot_k[r]);
            out[r] = decay * dot_q[r] + by[r] * d.kq;
        }
    }
}

/* A row's sums have the same order whatever its neighbours. */
CPU_INLINE void all_rows(float *state, float *out, const float *v, const struct delta d,
                         int d_v)
{
    const size_t some = ROWS * d.d_k;
    float by[ROWS] = {0};
    int r = 0;
    if (d_v >= ROWS) {
        pass(by, state, NULL, out, v, d, SUMS, ROWS);
        for (r = ROWS, state += some; r + ROWS <= d_v; r += ROWS, state += some)
            pass(by, state, state - some, out + r, v + r, d, SUMS | UPDATE, ROWS);
        pass(by, NULL, state - some, out, v, d, UPDATE, ROWS);
    }
    for (; r < d_v; r++, state += d.d_k) {
        pass(by, state, NULL, out + r, v + r, d, SUMS, 1);
        pass(by, NULL, state, out, v, d, UPDATE, 1);
    }
}

CPU_INLINE float dot(const float *x, const float *y, size_t n)
{
    vec sum[ROWS];
    float all_sums[ROWS];
    size_t i = 0;
    for (int r = 0; r < ROWS; r++)
        sum[r] = all(0);
    for (; i + LANES <= n; i += LANES)
        sum[0] = mul_add(load(x + i), load(y + i), sum[0]);
    if (i < n)
        sum[0] = mul_add(load_first(x + i, n - i), load_first(y + i, n - i), sum[0]);
    lane_sums(all_sums, sum);
    return all_sums[0];
}

void LEVEL(delta_step)(float *state, float *out, const float *q, const float *k,
                       const float *v, const float *decay, int n_decay, float beta,
                       int d_k, int d_v)
{
    struct delta d = {q, k, decay, beta, dot(k, q, (size_t)d_k), (size_t)d_k, 0};
    if (n_decay == 1) {
        all_rows(state, out, v, d, d_v);
    } else {
        d.by_channel = 1;
        all_rows(state, out, v, d, d_v);
    }
}

/* ---- the others ---- */

CPU_INLINE void conv_channels(float *dst, const float *window, size_t stride,
                              const float *weight, int n_tap, size_t n_channel, size_t n)
{
    vec sum = all(0);
    for (size_t t = 0; t < (size_t)n_tap; t++)
        sum = mul_add(load_lanes(weight + t * n_channel, n),
                      load_lanes(window + t * stride, n), sum);
    store_lanes(dst, silu(sum), n);
}

void LEVEL(conv_silu)(float *dst, const float *window, size_t stride, const float *weight,
                      int n_tap, int n)
{
    const size_t n_channel = (size_t)n;
    size_t c = 0;
    for (; c + LANES <= n_channel; c += LANES)
        conv_channels(dst + c, window + c, stride, weight + c, n_tap, n_channel, LANES);
    if (c < n_channel)
        conv_channels(dst + c, window + c, stride, weight + c, n_tap, n_channel,
                      n_channel - c);
}

void LEVEL(l2_norm)(float *dst, const float *x, int n, float eps, float scale)
{
    const float by = (float)((double)scale / sqrt(squares(x, n) + (double)eps));
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, mul(load(x + i), all(by)));
    for (; i < n; i++)
        dst[i] = x[i] * by;
}

typedef vec pair_fn(vec a, vec b);

CPU_INLINE void for_pairs(pair_fn *fn, float *dst, const float *a, const float *b,
                          size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, fn(load(a + i), load(b + i)));
    if (i < n)
        store_first(dst + i, fn(load_first(a + i, n - i), load_first(b + i, n - i)),
                    n - i);
}

void LEVEL(sigmoid_mul)(float *dst, const float *x, const float *gate, size_t n)
{
    for_pairs(sigmoid_mul, dst, x, gate, n);
}

void LEVEL(gelu_mul)(float *dst, const float *gate, const float *up, size_t n)
{
    for_pairs(gelu_mul, dst, gate, up, n);
}

#endif
