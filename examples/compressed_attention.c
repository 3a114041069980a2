/* compressed_attention.c - attention from a compressed cache, beside exact attention.
 *
 * The cache of one kv head: tokens arrive one at a time and stay f16 in an open page; a
 * page is encoded when the next one begins.  The query heads of the group attend to all
 * pages together.  Rows live in the rotated basis; only the output is turned back.
 *
 * Keys, values and queries are random, so nothing averages out in favour of the codec:
 * with d the distortion of a type (docs/numerics.md, 1.7), values are off by sqrt(d) of
 * their size, and so are weights, which makes about sqrt(2 d) of the output.  The log of
 * the sum of exp(score), lse, is off by about sqrt(e d / N_TOKEN). */
#include <turboquant.h>

#include "example.h"

enum { D = 128, N_TOKEN = 4096, N_HEAD = 8, PAGE = TQ_PAGE_TOKENS };
enum { N_PAGE = N_TOKEN / PAGE };

static float keys[N_TOKEN * D], values[N_TOKEN * D], queries[N_HEAD * D];

/* N_PAGE - 1 encoded pages, each of keys and then values, and the open one. */
struct store {
    struct tq_codec k, v, f16_k, f16_v;
    size_t k_bytes, stride;
    uint8_t *pages, *open_k, *open_v;
};

static void codec_init(struct tq_codec *c, enum tq_type type, enum tq_role role)
{
    if (!tq_codec_init(c, type, role, D, TQ_ISA_BEST))
        exit(1);
}

static void store_init(struct store *s, enum tq_type k, enum tq_type v)
{
    codec_init(&s->k, k, TQ_KEY), codec_init(&s->f16_k, TQ_F16, TQ_KEY);
    codec_init(&s->v, v, TQ_VALUE), codec_init(&s->f16_v, TQ_F16, TQ_VALUE);
    s->k_bytes = tq_page_bytes(k, D);
    s->stride = s->k_bytes + tq_page_bytes(v, D);
    s->pages = reserve((N_PAGE - 1) * s->stride);
    s->open_k = reserve(tq_page_bytes(TQ_F16, D));
    s->open_v = reserve(tq_page_bytes(TQ_F16, D));
}

static void store_append(struct store *s, int token, const float *key, const float *value,
                         void *scratch)
{
    if (token % PAGE == 0 && token > 0) {
        uint8_t *page = s->pages + (token / PAGE - 1) * s->stride;
        tq_encode(&s->k, page, s->open_k, scratch);
        tq_encode(&s->v, page + s->k_bytes, s->open_v, scratch);
    }
    float x[D], y[D];
    memcpy(x, key, sizeof x), memcpy(y, value, sizeof y);
    tq_rotate(&s->k, x, 1), tq_rotate(&s->v, y, 1);
    tq_put(&s->f16_k, s->open_k, token % PAGE, x);
    tq_put(&s->f16_v, s->open_v, token % PAGE, y);
}

/* out [N_HEAD][D], lse [N_HEAD] <- attention of all query heads to all tokens. */
static void attend(const struct store *s, float *out, float *lse)
{
    static float rotated[N_HEAD * D];
    void *memory = reserve(tq_query_bytes(D, N_HEAD));
    void *scratch = reserve(tq_attention_scratch_bytes(D, N_HEAD, N_TOKEN));
    memcpy(rotated, queries, sizeof rotated);
    tq_rotate(&s->k, rotated, N_HEAD);
    struct tq_query q;
    tq_query_init(&q, memory, D, N_HEAD);
    tq_query_load(&s->k, &q, rotated, D, N_HEAD, 1.0f / sqrtf(D));

    const void *open_k = s->open_k, *open_v = s->open_v;
    const struct tq_cache cache = {.k = &s->k,
                                   .v = &s->v,
                                   .base = s->pages,
                                   .stride = s->stride,
                                   .v_offset = s->k_bytes,
                                   .exact_k = &s->f16_k,
                                   .exact_v = &s->f16_v,
                                   .exact_page = N_PAGE - 1,
                                   .exact_kpages = &open_k,
                                   .exact_vpages = &open_v};
    tq_attention_decode(&cache, out, D, lse, &q, N_TOKEN, scratch);
    tq_unrotate(&s->v, out, N_HEAD);
    free(memory), free(scratch);
}

static void attend_exact(double *out, double *lse)
{
    for (int h = 0; h < N_HEAD; h++) {
        double sum = 0;
        for (int t = 0; t < N_TOKEN; t++) {
            double score = 0;
            for (int i = 0; i < D; i++)
                score += (double)queries[h * D + i] * keys[t * D + i];
            const double weight = exp(score / sqrt(D)); // scores here are small
            sum += weight;
            for (int i = 0; i < D; i++)
                out[h * D + i] += weight * values[t * D + i];
        }
        for (int i = 0; i < D; i++)
            out[h * D + i] /= sum;
        lse[h] = log(sum);
    }
}

static double relative_error(const float *x, const double *want, int n)
{
    double error = 0, size = 0;
    for (int i = 0; i < n; i++) {
        error += pow(x[i] - want[i], 2);
        size += pow(want[i], 2);
    }
    return sqrt(error / size);
}

static double largest_difference(const float *x, const double *want, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(x[i] - want[i]));
    return most;
}

int main(void)
{
    static const enum tq_type types[] = {TQ_TURBO8, TQ_TURBO4, TQ_TURBO3, TQ_TURBO2};
    static double exact[N_HEAD * D], exact_lse[N_HEAD];
    static float out[N_HEAD * D], lse[N_HEAD];
    const size_t f16_bytes = 2 * tq_page_bytes(TQ_F16, D);
    void *scratch = reserve(tq_encode_scratch_bytes(D));
    for (int i = 0; i < N_TOKEN * D; i++)
        keys[i] = gaussian(), values[i] = gaussian();
    for (int i = 0; i < N_HEAD * D; i++)
        queries[i] = gaussian();
    attend_exact(exact, exact_lse);
    printf("%d tokens of one kv head of %d, %d query heads\n", N_TOKEN, D, N_HEAD);
    printf("type          bytes    error      lse\nf16      %10zu\n", N_PAGE * f16_bytes);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        struct store s;
        store_init(&s, types[t], types[t]);
        for (int i = 0; i < N_TOKEN; i++)
            store_append(&s, i, keys + i * D, values + i * D, scratch);
        attend(&s, out, lse);
        printf("%-8s %10zu %8.5f %8.5f\n", tq_type_name(types[t]),
               (N_PAGE - 1) * s.stride + f16_bytes,
               relative_error(out, exact, N_HEAD * D),
               largest_difference(lse, exact_lse, N_HEAD));
        free(s.pages), free(s.open_k), free(s.open_v);
    }
    free(scratch);
    return 0;
}
