/* test_attention.c - attention over a whole cache: against softmax in double, against the
 * tree written as a recursion, and cut anywhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turboquant.h"

enum { D = 64, DV = 80, N_QUERY = 3, N_PAGE = 21 * 16 + 5, N_TOKEN = 64 * N_PAGE - 11 };
enum { N_SINK = 4, EXACT_PAGE = N_PAGE - 3 };

static uint64_t rng = 0x243f6a8885a308d3u;

static float gaussian(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        sum += (float)(int32_t)(rng >> 32) * 0x1p-31f;
    }
    return sum * 0.5f;
}

/* A head's cache: compressed pages in shuffled order, with all rows also exact. */
static struct {
    struct tq_codec k, v, xk, xv;
    uint8_t *pool;
    int32_t table[N_PAGE];
    void *kx[N_PAGE], *vx[N_PAGE];
    float *krow, *vrow; // [N_TOKEN] as an exact page holds them
    float q[N_QUERY * D];
    struct tq_query query;
    void *scratch;
    float cap, shift[N_QUERY]; // of scores
} h;

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(p);
    return p;
}

static size_t page_stride(void)
{
    return tq_page_bytes(h.k.type, D) + tq_page_bytes(h.v.type, DV);
}

static void fill(enum tq_type kt, enum tq_type vt)
{
    assert_true(tq_codec_init(&h.k, kt, TQ_KEY, D, TQ_ISA_BEST));
    assert_true(tq_codec_init(&h.v, vt, TQ_VALUE, DV, TQ_ISA_BEST));
    assert_true(tq_codec_init(&h.xk, TQ_F16, TQ_KEY, D, TQ_ISA_BEST));
    assert_true(tq_codec_init(&h.xv, TQ_F16, TQ_VALUE, DV, TQ_ISA_BEST));
    h.pool = take(page_stride() * N_PAGE);
    void *scratch = take(tq_encode_scratch_bytes(DV));
    for (int p = 0; p < N_PAGE; p++) {
        h.table[p] = (p * 17 + 3) % N_PAGE; // 341 = 11 * 31: a permutation
        h.kx[p] = take(tq_page_bytes(TQ_F16, D));
        h.vx[p] = take(tq_page_bytes(TQ_F16, DV));
        uint8_t *k_page = h.pool + page_stride() * (size_t)h.table[p];
        uint8_t *v_page = k_page + tq_page_bytes(kt, D);
        for (int j = 0; j < 64; j++) {
            float k[D], v[DV];
            for (int i = 0; i < D; i++)
                k[i] = gaussian();
            for (int i = 0; i < DV; i++)
                v[i] = gaussian();
            tq_put(&h.xk, h.kx[p], j, k);
            tq_put(&h.xv, h.vx[p], j, v);
            if (!tq_type_compressed(kt))
                tq_put(&h.k, k_page, j, k);
            if (!tq_type_compressed(vt))
                tq_put(&h.v, v_page, j, v);
        }
        if (tq_type_compressed(kt))
            tq_encode(&h.k, k_page, h.kx[p], scratch);
        if (tq_type_compressed(vt))
            tq_encode(&h.v, v_page, h.vx[p], scratch);
    }
    free(scratch);
    for (int i = 0; i < N_QUERY * D; i++)
        h.q[i] = gaussian();
    tq_query_init(&h.query, take(tq_query_bytes(D, N_QUERY)), D, N_QUERY);
    tq_query_load(&h.k, &h.query, h.q, D, N_QUERY, 0.25f);
    h.scratch = take(tq_attention_scratch_bytes(DV, N_QUERY, N_TOKEN));
}

static void release(void)
{
    for (int p = 0; p < N_PAGE; p++) {
        free(h.kx[p]);
        free(h.vx[p]);
    }
    free(h.query.x);
    free(h.pool);
    free(h.scratch);
}

static struct tq_cache cache(bool with_exact)
{
    struct tq_cache c = {.k = &h.k,
                         .v = &h.v,
                         .base = h.pool,
                         .stride = page_stride(),
                         .table = h.table,
                         .v_offset = tq_page_bytes(h.k.type, D),
                         .softcap = h.cap,
                         .shift = h.cap > 0 ? h.shift : NULL};
    if (with_exact) {
        c.exact_k = &h.xk, c.exact_v = &h.xv;
        c.n_sink = N_SINK;
        c.sink_k = h.kx[0], c.sink_v = h.vx[0];
        c.exact_page = EXACT_PAGE;
        c.exact_kpages = (const void *const *)h.kx + EXACT_PAGE;
        c.exact_vpages = (const void *const *)h.vx + EXACT_PAGE;
    }
    return c;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

/* Softmax in double over the rows that pages decode to, of tokens from `first` on. */
static void expected(double *out, double *lse, int query, int first, int n_token,
                     bool with_exact)
{
    static float k[64 * D], v[64 * DV];
    double *score = malloc(sizeof *score * N_TOKEN), top = -INFINITY, sum = 0;
    memset(out, 0, DV * sizeof *out);
    for (int pass = 0; pass < 2; pass++)
        for (int j = first; j < n_token; j++) {
            const int p = j / 64;
            const bool x = with_exact && (j < N_SINK || p >= EXACT_PAGE);
            const uint8_t *page = h.pool + page_stride() * (size_t)h.table[p];
            if (j == first || j % 64 == 0 || j == N_SINK) {
                tq_decode(x ? &h.xk : &h.k, k, x ? h.kx[p] : (const void *)page);
                tq_decode(x ? &h.xv : &h.v, v,
                          x ? h.vx[p]
                            : (const void *)(page + tq_page_bytes(h.k.type, D)));
            }
            if (pass == 0) {
                double s = 0;
                for (int i = 0; i < D; i++)
                    s += 0.25 * h.q[query * D + i] * k[j % 64 * D + i];
                if (h.cap > 0)
                    s = h.cap * tanh((s + h.shift[query]) / h.cap);
                score[j] = s;
                top = s > top ? s : top;
                continue;
            }
            const double w = exp(score[j] - top);
            sum += w;
            for (int i = 0; i < DV; i++)
                out[i] += w * v[j % 64 * DV + i];
        }
    for (int i = 0; i < DV; i++)
        out[i] /= sum;
    *lse = top + log(sum);
    free(score);
}

/* How much one score against turbo4 to turbo2 keys may be off: half a step of the query,
 * at 64 steps (docs/numerics.md, 1.3), times the L1 norm of the key. */
static double score_error(int query, int token)
{
    static float k[64 * D];
    double norm = 0, top = 0;
    tq_decode(&h.k, k, h.pool + page_stride() * (size_t)h.table[token / 64]);
    for (int i = 0; i < D; i++) {
        norm += fabs(k[token % 64 * D + i]);
        top = fmax(top, fabs(0.25 * h.q[query * D + i]));
    }
    return norm * top / 64 / 2;
}

/* Of exact pages only rounding remains.  With codes, queries and weights are bytes: a
 * query of Gaussian coordinates is off by 2.5 / 127 / sqrt(12) = .6 % of its norm, scores
 * of deviation 2 by .011, weights by that and by 1 / 255 / sqrt(12) of the largest; the
 * output of few effective tokens by about as much.  Three times that is allowed; two
 * limbs divide it by 128 and 256.  The sum of a single weight is as far off as that. */
static void compare(int n_token, int window, bool with_exact, double bound)
{
    struct tq_cache c = cache(with_exact);
    c.window = window;
    float out[N_QUERY * DV], lse[N_QUERY];
    tq_attention_decode(&c, out, DV, lse, &h.query, n_token, h.scratch);
    for (int q = 0; q < N_QUERY; q++) {
        double want[DV], want_lse, error = 0, size = 0;
        expected(want, &want_lse, q, window ? most(n_token - window, 0) : 0, n_token,
                 with_exact);
        for (int i = 0; i < DV; i++) {
            error += pow(out[q * DV + i] - want[i], 2);
            size += want[i] * want[i];
        }
        assert_true(sqrt(error / size) <= bound);
        const bool single = window == 1 && h.k.type >= TQ_TURBO4 && h.k.type <= TQ_TURBO2;
        assert_true(fabs(lse[q] - want_lse) <=
                    (single ? score_error(q, n_token - 1) : bound));
    }
}

static void compare_filled(enum tq_type kt, enum tq_type vt, int n_token, bool with_exact,
                           double bound)
{
    fill(kt, vt);
    compare(n_token, 0, with_exact, bound);
    release();
}

static void test_against_double(void **state)
{
    (void)state;
    compare_filled(TQ_F16, TQ_F16, N_TOKEN, false, 2e-5);
    compare_filled(TQ_F16, TQ_F16, 1, false, 1e-6);
    compare_filled(TQ_TURBO8, TQ_TURBO8, 1500, true, 2e-3);
    compare_filled(TQ_TURBO4, TQ_TURBO4, N_TOKEN, true, 4e-2);
    compare_filled(TQ_TURBO2, TQ_TURBO3, 3000, false, 4e-2);
}

static void test_softcap_against_double(void **state)
{
    (void)state;
    static const float caps[] = {1.5f, 4, 50};
    for (int i = 0; i < 3; i++) {
        h.cap = caps[i];
        for (int q = 0; q < N_QUERY; q++)
            h.shift[q] = (float)(q - 1) * 0.7f;
        compare_filled(TQ_F16, TQ_F16, 3000, false, 2e-5);
        compare_filled(TQ_TURBO8, TQ_TURBO8, 1500, true, 2e-3);
        compare_filled(TQ_TURBO4, TQ_TURBO4, 5000, true, 4e-2);
    }
    h.cap = 0;
}

static const int windows[] = {1, 24, 64, 70, 1000, 1024, 5000};
enum { N_WINDOW = sizeof windows / sizeof *windows };

/* Before a window is full, when it is, and where its lower edge is at, before and behind
 * those of pages and leaves. */
static void compare_windows(enum tq_type kt, enum tq_type vt, bool with_exact,
                            double bound)
{
    fill(kt, vt);
    for (int w = 0; w < N_WINDOW; w++) {
        const int n = windows[w];
        const int tokens[] = {(n + 1) / 2, n,        n + 1,    n + 2,    n + 63, n + 64,
                              n + 65,      n + 1000, n + 1024, n + 1025, N_TOKEN};
        for (size_t k = 0; k < sizeof tokens / sizeof *tokens; k++)
            compare(tokens[k], n, with_exact, bound);
    }
    release();
}

static void test_window_against_double(void **state)
{
    (void)state;
    compare_windows(TQ_F16, TQ_F16, false, 2e-5);
    compare_windows(TQ_F32, TQ_F32, true, 2e-5);
    compare_windows(TQ_TURBO8, TQ_F32, true, 2e-3);
    compare_windows(TQ_TURBO4, TQ_TURBO3, true, 4e-2);
    compare_windows(TQ_MSE3, TQ_MIX3_5, false, 2e-5);
}

/* Node i of level k over n_leaf leaves, as docs/numerics.md defines it. */
static void node(struct tq_partial *p, const struct tq_cache *c, int level, int i,
                 int n_leaf, int n_token)
{
    if (level == 0) {
        struct tq_tree t;
        void *mem = take(tq_tree_bytes(N_QUERY, DV, i, 1));
        tq_tree_init(&t, mem, N_QUERY, DV, i, 1);
        tq_attend_leaves(&t, c, &h.query, n_token, NULL, i + 1, h.scratch);
        memcpy(p->m, t.node[0].partial.m, sizeof(float) * N_QUERY);
        memcpy(p->l, t.node[0].partial.l, sizeof(float) * N_QUERY);
        memcpy(p->o, t.node[0].partial.o, sizeof(float) * N_QUERY * DV);
        free(mem);
        return;
    }
    node(p, c, level - 1, 2 * i, n_leaf, n_token);
    if ((2 * i + 1) << (level - 1) >= n_leaf)
        return;
    float m[N_QUERY], l[N_QUERY], o[N_QUERY * DV];
    struct tq_partial right = {m, l, o};
    node(&right, c, level - 1, 2 * i + 1, n_leaf, n_token);
    tq_merge(p, &right, N_QUERY, DV);
}

static void test_tree(void **state)
{
    (void)state;
    fill(TQ_TURBO4, TQ_TURBO3);
    struct tq_cache c = cache(true);
    static const int tokens[] = {1, 1024, 1025, 5000, 8192, 13 * 1024, N_TOKEN};
    for (size_t k = 0; k < sizeof tokens / sizeof *tokens; k++)
        for (int w = -1; w < N_WINDOW; w++) {
            c.window = w < 0 ? 0 : windows[w];
            const int n_leaf = tq_count_leaves(tokens[k]);
            assert_int_equal(n_leaf, (tokens[k] + 1023) / 1024);
            float m[N_QUERY], l[N_QUERY], o[N_QUERY * DV];
            struct tq_partial root = {m, l, o};
            node(&root, &c, 5, 0, n_leaf, tokens[k]);
            float want[N_QUERY * DV], out[N_QUERY * DV];
            tq_finish(&root, want, DV, N_QUERY, DV);
            tq_attention_decode(&c, out, DV, NULL, &h.query, tokens[k], h.scratch);
            assert_memory_equal(out, want, sizeof out);
        }
    release();
}

/* Pieces of random lengths, each a tree of its own, in two steps: pieces of pieces. */
static void cut_anywhere(const struct tq_cache *c)
{
    const int n_leaf = tq_count_leaves(N_TOKEN);
    float want[N_QUERY * DV], want_lse[N_QUERY];
    tq_attention_decode(c, want, DV, want_lse, &h.query, N_TOKEN, h.scratch);
    for (int round = 0; round < 40; round++) {
        struct tq_tree all, half, piece;
        void *mem[3] = {take(tq_tree_bytes(N_QUERY, DV, 0, n_leaf)),
                        take(tq_tree_bytes(N_QUERY, DV, 1, n_leaf)),
                        take(tq_tree_bytes(N_QUERY, DV, 1, n_leaf))};
        tq_tree_init(&all, mem[0], N_QUERY, DV, 0, n_leaf);
        for (int at = 0; at < n_leaf;) {
            const int cut = at + 1 + (int)(rng % (unsigned)(n_leaf - at));
            tq_tree_init(&half, mem[1], N_QUERY, DV, at, n_leaf);
            while (at < cut) {
                gaussian();
                const int end = at + 1 + (int)(rng % (unsigned)(cut - at));
                tq_tree_init(&piece, mem[2], N_QUERY, DV, at, n_leaf);
                tq_attend_leaves(&piece, c, &h.query, N_TOKEN, NULL, end, h.scratch);
                tq_tree_append(&half, &piece);
                at = end;
            }
            tq_tree_append(&all, &half);
            assert_int_equal(all.next_leaf, at);
        }
        float out[N_QUERY * DV], lse[N_QUERY];
        tq_tree_finish(&all, out, DV, lse);
        assert_memory_equal(out, want, sizeof out);
        assert_memory_equal(lse, want_lse, sizeof lse);
        for (int i = 0; i < 3; i++)
            free(mem[i]);
    }
}

static void test_any_cut(void **state)
{
    (void)state;
    fill(TQ_TURBO3, TQ_TURBO4);
    struct tq_cache c = cache(true);
    cut_anywhere(&c);
    c.window = 1000;
    cut_anywhere(&c);
    c.window = 9 * 1024 + 70;
    cut_anywhere(&c);
    release();
}

/* Queries of a block that see different numbers of tokens, against each by itself. */
static void test_prefill_is_decode(void **state)
{
    (void)state;
    fill(TQ_TURBO4, TQ_TURBO2);
    const struct tq_cache c = cache(false);
    static const int32_t seen[][N_QUERY] = {
        {1, 2, 3}, {63, 64, 65}, {1020, 1024, 1025}, {0, 5000, 300}, {4097, 4097, 64}};
    for (size_t k = 0; k < sizeof seen / sizeof *seen; k++) {
        float out[N_QUERY * DV], lse[N_QUERY];
        tq_attention_prefill(&c, out, DV, lse, &h.query, seen[k], h.scratch);
        struct tq_query one;
        tq_query_init(&one, take(tq_query_bytes(D, 1)), D, 1);
        for (int q = 0; q < N_QUERY; q++) {
            float alone[DV], alone_lse;
            tq_query_load(&h.k, &one, h.q + q * D, D, 1, 0.25f);
            tq_attention_decode(&c, alone, DV, &alone_lse, &one, seen[k][q], h.scratch);
            assert_memory_equal(out + q * DV, alone, sizeof alone);
            assert_memory_equal(lse + q, &alone_lse, sizeof alone_lse);
            if (seen[k][q] == 0) {
                assert_true(alone_lse == -INFINITY);
                for (int i = 0; i < DV; i++)
                    assert_true(alone[i] == 0.0f);
            }
        }
        free(one.x);
    }
    release();
}

enum { N_BLOCK = 75 };

/* A block in which any number of queries have one window, and some see nothing, against
 * each by itself. */
static void window_block(enum tq_type kt, enum tq_type vt, bool with_exact)
{
    fill(kt, vt);
    struct tq_cache c = cache(with_exact);
    static float x[N_BLOCK * D], out[N_BLOCK * DV];
    float lse[N_BLOCK];
    int32_t seen[N_BLOCK];
    struct tq_query block, one;
    void *scratch = take(tq_attention_scratch_bytes(DV, N_BLOCK, N_TOKEN));
    tq_query_init(&block, take(tq_query_bytes(D, N_BLOCK)), D, N_BLOCK);
    tq_query_init(&one, take(tq_query_bytes(D, 1)), D, 1);
    for (int i = 0; i < N_BLOCK * D; i++)
        x[i] = gaussian();
    tq_query_load(&h.k, &block, x, D, N_BLOCK, 0.25f);
    static const int last[] = {70, 1100, 6100, N_TOKEN};
    for (int k = 0; k < 4 * N_WINDOW; k++) {
        c.window = windows[k / 4];
        for (int i = 0; i < N_BLOCK; i++) {
            gaussian();
            const int step = (int)(rng % 8);
            seen[i] = i == 0        ? most(last[k % 4] - 150, 0)
                      : step < 5    ? seen[i - 1]
                      : i % 29 == 7 ? 0
                                    : most(seen[i - 1], seen[0]) + step - 4;
            seen[i] = seen[i] > last[k % 4] ? last[k % 4] : seen[i];
        }
        tq_attention_prefill(&c, out, DV, lse, &block, seen, scratch);
        for (int i = 0; i < N_BLOCK; i++) {
            float alone[DV], alone_lse;
            tq_query_load(&h.k, &one, x + i * D, D, 1, 0.25f);
            tq_attention_decode(&c, alone, DV, &alone_lse, &one, seen[i], scratch);
            assert_memory_equal(out + i * DV, alone, sizeof alone);
            assert_memory_equal(lse + i, &alone_lse, sizeof alone_lse);
            assert_true((alone_lse == -INFINITY) == (seen[i] == 0));
        }
    }
    free(block.x), free(one.x), free(scratch);
    release();
}

static void test_window_block_is_decode(void **state)
{
    (void)state;
    window_block(TQ_TURBO4, TQ_TURBO3, true);
    window_block(TQ_TURBO8, TQ_TURBO8, false);
    window_block(TQ_TURBO2, TQ_F16, true);
    window_block(TQ_F16, TQ_TURBO2, false);
    window_block(TQ_F32, TQ_F32, false);
}

/* What lies before the window does not matter and need not exist: pages of the cache, by
 * a table that leads nowhere; exact pages; rows of the first exact page. */
static void test_before_window(void **state)
{
    (void)state;
    fill(TQ_TURBO4, TQ_TURBO3);
    struct tq_cache c = cache(true);
    for (int w = 0; w < N_WINDOW; w++) {
        c.window = windows[w];
        const int n_token = N_TOKEN - 300, first = n_token - c.window, page = first / 64;
        float want[N_QUERY * DV], out[N_QUERY * DV];
        tq_attention_decode(&c, want, DV, NULL, &h.query, n_token, h.scratch);
        int32_t table[N_PAGE];
        for (int p = 0; p < N_PAGE; p++)
            table[p] = p < page ? INT32_MAX : h.table[p];
        struct tq_cache missing = c;
        missing.table = table;
        missing.sink_k = missing.sink_v = NULL;
        tq_attention_decode(&missing, out, DV, NULL, &h.query, n_token, h.scratch);
        assert_memory_equal(out, want, sizeof out);
    }
    for (int w = N_WINDOW - 1; w >= 0; w--) { // the longest first: rows are broken
        const int n_token = N_TOKEN - 5, first = n_token - windows[w], page = first / 64;
        const void *k[N_PAGE] = {0}, *v[N_PAGE] = {0};
        float want[N_QUERY * DV], out[N_QUERY * DV];
        struct tq_cache exact = {.k = &h.xk,
                                 .v = &h.xv,
                                 .exact_k = &h.xk,
                                 .exact_v = &h.xv,
                                 .exact_kpages = k,
                                 .exact_vpages = v,
                                 .window = windows[w]};
        for (int p = page; p < N_PAGE; p++)
            k[p] = h.kx[p], v[p] = h.vx[p];
        tq_attention_decode(&exact, want, DV, NULL, &h.query, n_token, h.scratch);
        float nan_k[D], nan_v[DV];
        for (int i = 0; i < DV; i++)
            nan_v[i] = nan_k[i < D ? i : 0] = NAN;
        for (int j = 0; j < first % 64; j++) {
            tq_put(&h.xk, h.kx[page], j, nan_k);
            tq_put(&h.xv, h.vx[page], j, nan_v);
        }
        exact.exact_page = page;
        exact.exact_kpages += page, exact.exact_vpages += page;
        tq_attention_decode(&exact, out, DV, NULL, &h.query, n_token, h.scratch);
        assert_memory_equal(out, want, sizeof out);
        for (int i = 0; i < DV; i++)
            assert_true(isfinite(out[i]));
    }
    release();
}

/* A broken query spoils its own output only. */
static void test_nan_query(void **state)
{
    (void)state;
    fill(TQ_TURBO4, TQ_TURBO4);
    const struct tq_cache c = cache(true);
    float want[N_QUERY * DV], out[N_QUERY * DV], lse[N_QUERY];
    tq_attention_decode(&c, want, DV, NULL, &h.query, 2500, h.scratch);
    h.q[D + 7] = NAN;
    tq_query_load(&h.k, &h.query, h.q, D, N_QUERY, 0.25f);
    tq_attention_decode(&c, out, DV, lse, &h.query, 2500, h.scratch);
    assert_memory_equal(out, want, DV * sizeof *out);
    assert_memory_equal(out + 2 * DV, want + 2 * DV, DV * sizeof *out);
    for (int i = 0; i < DV; i++)
        assert_true(isnan(out[DV + i]));
    assert_true(isnan(lse[1]) && !isnan(lse[0]));
    release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_double),
        cmocka_unit_test(test_softcap_against_double),
        cmocka_unit_test(test_window_against_double),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_nan_query),
        cmocka_unit_test(test_prefill_is_decode),
        cmocka_unit_test(test_window_block_is_decode),
        cmocka_unit_test(test_before_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
