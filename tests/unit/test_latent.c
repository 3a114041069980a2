/* test_latent.c - values that are the first channels of the keys, read from key pages:
 * against softmax in double over what the pages decode to, and against value pages that
 * hold the same rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turboquant.h"

enum { N_PAGE = 19, N_TOKEN = 64 * N_PAGE - 21, N_QUERY = 37, N_SINK = 5 };
enum { DK_MAX = TQ_DIM_MAX, EXACT_PAGE = N_PAGE - 2, STEPS = 4 };

static uint64_t rng = 0x13198a2e03707344u;

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

/* All rows as key pages of a type, with room for value pages, and as exact pages. */
static struct {
    int dk, dv;
    struct tq_codec k, v, xk, xv;
    size_t stride;
    uint8_t *pool;
    void *kx[N_PAGE], *vx[N_PAGE];
    float x[N_QUERY * DK_MAX];
    struct tq_query query;
    void *scratch;
} h;

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(p);
    return p;
}

static uint8_t *key_page(int p)
{
    return h.pool + h.stride * (size_t)p;
}

static uint8_t *value_page(int p)
{
    return key_page(p) + tq_page_bytes(h.k.type, h.dk);
}

static void fill_page(int p, enum tq_type exact, void *scratch)
{
    h.kx[p] = take(tq_page_bytes(exact, h.dk));
    h.vx[p] = take(tq_page_bytes(exact, h.dv));
    void *half_k = take(tq_page_bytes(TQ_F16, h.dk));
    void *half_v = take(tq_page_bytes(TQ_F16, h.dv));
    struct tq_codec hk, hv;
    assert_true(tq_codec_init(&hk, TQ_F16, TQ_KEY, h.dk, TQ_ISA_C));
    assert_true(tq_codec_init(&hv, TQ_F16, TQ_VALUE, h.dv, TQ_ISA_C));
    const bool compressed = tq_type_compressed(h.k.type);
    for (int j = 0; j < 64; j++) {
        float row[DK_MAX];
        for (int i = 0; i < h.dk; i++)
            row[i] = gaussian();
        tq_put(&h.xk, h.kx[p], j, row);
        tq_put(&h.xv, h.vx[p], j, row);
        tq_put(compressed ? &hk : &h.k, compressed ? half_k : key_page(p), j, row);
        tq_put(compressed ? &hv : &h.v, compressed ? half_v : value_page(p), j, row);
    }
    if (compressed) {
        struct tq_codec fast_k, fast_v; // the bytes are the same
        tq_codec_init(&fast_k, h.k.type, TQ_KEY, h.dk, TQ_ISA_BEST);
        tq_codec_init(&fast_v, h.v.type, TQ_VALUE, h.dv, TQ_ISA_BEST);
        tq_encode(&fast_k, key_page(p), half_k, scratch);
        tq_encode(&fast_v, value_page(p), half_v, scratch);
    }
    free(half_k), free(half_v);
}

static void fill(enum tq_type t, enum tq_type exact, int dk, int dv, enum tq_isa isa)
{
    h.dk = dk, h.dv = dv;
    assert_true(tq_latent_supported(t, dk, dv));
    assert_true(tq_codec_init(&h.k, t, TQ_KEY, dk, isa));
    assert_true(tq_codec_init(&h.v, t, TQ_VALUE, dv, isa));
    assert_true(tq_codec_init(&h.xk, exact, TQ_KEY, dk, isa));
    assert_true(tq_codec_init(&h.xv, exact, TQ_VALUE, dv, isa));
    h.stride = tq_page_bytes(t, dk) + tq_page_bytes(t, dv);
    h.pool = take(h.stride * N_PAGE);
    void *scratch = take(tq_encode_scratch_bytes(dk));
    for (int p = 0; p < N_PAGE; p++)
        fill_page(p, exact, scratch);
    free(scratch);
    for (int i = 0; i < N_QUERY * dk; i++)
        h.x[i] = gaussian();
    tq_query_init(&h.query, take(tq_query_bytes(dk, N_QUERY)), dk, N_QUERY);
    h.scratch = take(tq_attention_scratch_bytes(dk, N_QUERY, N_TOKEN));
}

/* Portable kernels are slow. */
static int many(enum tq_isa isa)
{
    return isa == TQ_ISA_C ? 6 : N_QUERY;
}

/* Scores of deviation 2. */
static void load(struct tq_query *q, int first, int n)
{
    tq_query_load(&h.k, q, h.x + first * h.dk, (size_t)h.dk, n,
                  2.0f / sqrtf((float)h.dk));
}

static void release(void)
{
    for (int p = 0; p < N_PAGE; p++)
        free(h.kx[p]), free(h.vx[p]);
    free(h.query.x), free(h.pool), free(h.scratch);
}

/* In a latent cache pages of values do not exist. */
static struct tq_cache cache(bool latent, bool with_exact)
{
    struct tq_cache c = {.k = &h.k,
                         .v = &h.v,
                         .base = h.pool,
                         .stride = h.stride,
                         .v_offset = latent ? 0 : tq_page_bytes(h.k.type, h.dk),
                         .latent = latent};
    if (with_exact) {
        c.exact_k = &h.xk, c.exact_v = &h.xv;
        c.n_sink = N_SINK;
        c.sink_k = h.kx[0], c.sink_v = latent ? NULL : h.vx[0];
        c.exact_page = EXACT_PAGE;
        c.exact_kpages = (const void *const *)h.kx + EXACT_PAGE;
        c.exact_vpages = latent ? NULL : (const void *const *)h.vx + EXACT_PAGE;
    }
    return c;
}

/* Softmax in double over tokens [first, n_token) as key pages decode to. */
static void expected(double *out, double *lse, int query, int first, int n_token,
                     bool with_exact)
{
    static float row[64 * DK_MAX];
    static double score[N_TOKEN];
    double top = -INFINITY, sum = 0;
    memset(out, 0, (size_t)h.dv * sizeof *out);
    for (int pass = 0; pass < 2; pass++)
        for (int j = first; j < n_token; j++) {
            const int p = j / 64;
            if (j == first || j % 64 == 0 || j == N_SINK) {
                if (with_exact && (j < N_SINK || p >= EXACT_PAGE))
                    tq_decode(&h.xk, row, h.kx[p]);
                else
                    tq_decode(&h.k, row, key_page(p));
            }
            const float *key = row + j % 64 * h.dk;
            if (pass == 0) {
                score[j] = 0;
                for (int i = 0; i < h.dk; i++)
                    score[j] += (double)h.x[query * h.dk + i] * key[i];
                score[j] *= (double)(2.0f / sqrtf((float)h.dk));
                top = score[j] > top ? score[j] : top;
                continue;
            }
            const double w = exp(score[j] - top);
            sum += w;
            for (int i = 0; i < h.dv; i++)
                out[i] += w * key[i];
        }
    for (int i = 0; i < h.dv; i++)
        out[i] /= sum;
    *lse = top + log(sum);
}

static const int windows[] = {0, 1, 100, 1024};

/* How much one score against turbo4 to turbo2 keys may be off: half a step of the query,
 * (docs/numerics.md, 1.3), times the L1 norm of the key. */
static double score_error(int query, int token)
{
    static float k[64 * DK_MAX];
    double norm = 0, top = 0;
    tq_decode(&h.k, k, key_page(token / 64));
    for (int i = 0; i < h.dk; i++) {
        norm += fabs(k[token % 64 * h.dk + i]);
        top = fmax(top, fabs(h.x[query * h.dk + i]));
    }
    return norm * top * 2 / sqrt(h.dk) / h.query.most / 2;
}

/* Of exact pages only rounding remains.  A query of 512 Gaussian coordinates, the largest
 * of which is 3.2, in N steps is off by 3.2 / N / sqrt(12) of its norm, scores of
 * deviation 2 by twice that, and the output of few effective tokens by about as much.
 * Three times that is allowed; turbo8 has a second limb. */
static double bound(void)
{
    if (h.k.type == TQ_TURBO8)
        return 2e-3;
    if (h.k.type >= TQ_TURBO4 && h.k.type <= TQ_TURBO2)
        return 3 * 2 * 3.2 / h.query.most / sqrt(12);
    return 2e-5;
}

static void compare(const struct tq_cache *plain, int n_token, int n, bool with_exact)
{
    static float out[N_QUERY * DK_MAX];
    float lse[N_QUERY];
    load(&h.query, 0, n);
    tq_attention_decode(plain, out, (size_t)h.dv, lse, &h.query, n_token, h.scratch);
    const int step = n > 4 ? n - 1 : 1;
    for (int q = 0; q < n; q += step) {
        double want[DK_MAX], want_lse, error = 0, size = 0;
        const int first =
            plain->window && plain->window < n_token ? n_token - plain->window : 0;
        expected(want, &want_lse, q, first, n_token, with_exact);
        for (int i = 0; i < h.dv; i++) {
            error += pow(out[q * h.dv + i] - want[i], 2);
            size += want[i] * want[i];
        }
        assert_true(sqrt(error / size) <= bound());
        const bool single = (n_token == 1 || plain->window == 1) &&
                            h.k.type >= TQ_TURBO4 && h.k.type <= TQ_TURBO2;
        assert_true(fabs(lse[q] - want_lse) <=
                    (single ? score_error(q, n_token - 1) : bound()));
    }
}

static void compare_all(enum tq_type t, enum tq_type exact, int dk, int dv,
                        enum tq_isa isa)
{
    static const int tokens[] = {1, 17, 300, 1025, N_TOKEN};
    fill(t, exact, dk, dv, isa);
    for (int i = 0; i < 2 * 5 * STEPS; i++) {
        struct tq_cache c = cache(true, i % 2);
        c.window = windows[i / 10];
        compare(&c, tokens[i / 2 % 5], i % 3 ? 2 : many(isa), i % 2);
    }
    release();
}

static void test_against_double(void **state)
{
    (void)state;
    static const enum tq_isa isas[] = {TQ_ISA_C, TQ_ISA_BEST};
    for (int i = 0; i < 2; i++) {
        compare_all(TQ_F16, TQ_F16, 576, 512, isas[i]);
        compare_all(TQ_F32, TQ_F32, 40, 32, isas[i]);
        compare_all(TQ_F16, TQ_F32, 7, 7, isas[i]);
        compare_all(TQ_TURBO8, TQ_F16, 576, 512, isas[i]);
        compare_all(TQ_TURBO4, TQ_F32, 576, 512, isas[i]);
        compare_all(TQ_TURBO3, TQ_F16, 576, 512, isas[i]);
        compare_all(TQ_TURBO2, TQ_F16, 576, 512, isas[i]);
    }
    compare_all(TQ_MSE4, TQ_F16, 576, 512, TQ_ISA_BEST);
    compare_all(TQ_MIX2_5, TQ_F16, 576, 512, TQ_ISA_BEST);
    compare_all(TQ_Q8_0, TQ_F16, 576, 512, TQ_ISA_BEST);
}

/* Types that code a row for keys as for values give the bits of separate value pages. */
static void same_as_pages(enum tq_type t, enum tq_type exact, int dk, int dv,
                          enum tq_isa isa)
{
    static float out[N_QUERY * DK_MAX], want[N_QUERY * DK_MAX];
    float lse[N_QUERY], want_lse[N_QUERY];
    int32_t seen[N_QUERY];
    fill(t, exact, dk, dv, isa);
    for (int i = 0; i < 4 * STEPS; i++) {
        const int n = i % 2 ? many(isa) : 3;
        struct tq_cache latent = cache(true, i / 2 % 2), pages = cache(false, i / 2 % 2);
        latent.window = pages.window = windows[i / 4];
        for (int q = 0; q < n; q++)
            seen[q] = N_TOKEN - (i % 3 ? 0 : 1000) - (n - 1 - q) / 2 * (1 + i % 2);
        load(&h.query, 0, n);
        tq_attention_prefill(&latent, out, (size_t)dv, lse, &h.query, seen, h.scratch);
        tq_attention_prefill(&pages, want, (size_t)dv, want_lse, &h.query, seen,
                             h.scratch);
        assert_memory_equal(out, want, sizeof *out * (size_t)(n * dv));
        assert_memory_equal(lse, want_lse, sizeof *lse * (size_t)n);
    }
    release();
}

static void test_same_as_value_pages(void **state)
{
    (void)state;
    static const enum tq_isa isas[] = {TQ_ISA_C, TQ_ISA_BEST};
    for (int i = 0; i < 2; i++) {
        same_as_pages(TQ_F16, TQ_F32, 576, 512, isas[i]);
        same_as_pages(TQ_F32, TQ_F16, 40, 32, isas[i]);
        same_as_pages(TQ_F32, TQ_F32, 128, 64, isas[i]);
        same_as_pages(TQ_F16, TQ_F16, 33, 1, isas[i]);
        same_as_pages(TQ_TURBO8, TQ_F16, 576, 512, isas[i]);
        same_as_pages(TQ_MSE3, TQ_F16, 576, 512, isas[i]);
        same_as_pages(TQ_MIX3_5, TQ_F32, 576, 512, isas[i]);
        same_as_pages(TQ_Q4_0, TQ_F16, 576, 512, isas[i]);
    }
}

/* A block of queries and any cut of the leaves give the bits of each query alone. */
static void alone_and_in_pieces(enum tq_type t)
{
    static float out[N_QUERY * DK_MAX], piece_out[N_QUERY * DK_MAX];
    fill(t, TQ_F16, 576, 512, TQ_ISA_BEST);
    struct tq_cache c = cache(true, true);
    int32_t seen[N_QUERY];
    struct tq_query one;
    tq_query_init(&one, take(tq_query_bytes(576, 1)), 576, 1);
    for (int w = 0; w < STEPS; w++) {
        c.window = windows[w];
        for (int q = 0; q < N_QUERY; q++)
            seen[q] = N_TOKEN - 130 + q * 7 / 2;
        load(&h.query, 0, N_QUERY);
        tq_attention_prefill(&c, out, 512, NULL, &h.query, seen, h.scratch);
        struct tq_tree tree[2];
        void *mem[2];
        for (int i = 0; i < 2; i++) {
            mem[i] = take(tq_tree_bytes(N_QUERY, 512, i, 2));
            tq_tree_init(&tree[i], mem[i], N_QUERY, 512, i, 2);
            tq_attend_leaves(&tree[i], &c, &h.query, N_TOKEN, seen, i + 1, h.scratch);
        }
        tq_tree_append(&tree[0], &tree[1]);
        tq_tree_finish(&tree[0], piece_out, 512, NULL);
        assert_memory_equal(piece_out, out, sizeof *out * N_QUERY * 512);
        for (int q = 0; q < N_QUERY; q++) {
            float single[512];
            load(&one, q, 1);
            tq_attention_decode(&c, single, 512, NULL, &one, seen[q], h.scratch);
            assert_memory_equal(single, out + q * 512, sizeof single);
        }
        free(mem[0]), free(mem[1]);
    }
    free(one.x);
    release();
}

static void test_alone_and_in_pieces(void **state)
{
    (void)state;
    alone_and_in_pieces(TQ_TURBO8);
    alone_and_in_pieces(TQ_TURBO3);
    alone_and_in_pieces(TQ_TURBO2);
    alone_and_in_pieces(TQ_F16);
}

/* One page, without a cache. */
static void test_page(void **state)
{
    (void)state;
    fill(TQ_TURBO8, TQ_F16, 576, 512, TQ_ISA_BEST);
    load(&h.query, 0, 3);
    static float o[2][3 * 512];
    float m[3], l[3];
    const uint8_t hi[] = {64, 20, 41};
    for (int i = 0; i < 2; i++) {
        struct tq_partial p = {m, l, o[i]};
        tq_partial_reset(&p, 3, 512);
        tq_attend(&h.k, &h.v, &p, &h.query, key_page(7), i ? NULL : value_page(7), 19, hi,
                  h.scratch);
    }
    assert_memory_equal(o[0], o[1], sizeof o[0]);
    assert_true(o[0][0] != 0.0f);
    release();
}

static void test_supported(void **state)
{
    (void)state;
    for (int i = 0; i < TQ_TYPE_COUNT; i++) {
        const enum tq_type t = (enum tq_type)i;
        const bool exact = t == TQ_F32 || t == TQ_F16;
        const bool prod = t == TQ_PROD4 || t == TQ_PROD3 || t == TQ_PROD2;
        assert_int_equal(tq_latent_supported(t, 576, 512), !prod);
        assert_int_equal(tq_latent_supported(t, 40, 32), exact);
        assert_int_equal(tq_latent_supported(t, 128, 64), exact);
        assert_int_equal(tq_latent_supported(t, 128, 128), exact);
        assert_int_equal(tq_latent_supported(t, 576, 576), exact);
        assert_false(tq_latent_supported(t, 512, 576));
        assert_false(tq_latent_supported(t, 32, 0));
        assert_false(tq_latent_supported(t, 577, 512));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_double),
        cmocka_unit_test(test_same_as_value_pages),
        cmocka_unit_test(test_alone_and_in_pieces),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_supported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
