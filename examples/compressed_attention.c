/* compressed_attention.c - attention from a compressed cache, beside exact attention.
 *
 * The cache of one kv head: tokens arrive one at a time and stay f16 in an open page; a
 * page is encoded when the next one begins.  The query heads of the group attend to all
 * pages together.  Rows live in the rotated basis; only the output is turned back.
 *
 * Keys, values and queries are random, so nothing averages out in favour of the codec:
 * with d the distortion of a type (docs/numerics.md, 1.7), values are off by sqrt(d) of
 * their size, and so are weights, which makes about sqrt(2 d) of the output. */
#include <turboquant.h>

#include "example.h"

enum { D = 128, N_TOKEN = 4096, N_HEAD = 8, PAGE = TQ_PAGE_TOKENS };
enum { N_PAGE = N_TOKEN / PAGE };

static float keys[N_TOKEN * D], values[N_TOKEN * D], queries[N_HEAD * D];

/* Keys or values: N_PAGE - 1 encoded pages and the open one. */
struct store {
    struct tq_codec code, f16;
    size_t page_bytes;
    uint8_t *pages, *open;
};

static void store_init(struct store *s, enum tq_type type, enum tq_role role)
{
    if (!tq_codec_init(&s->code, type, role, D, TQ_ISA_BEST) ||
        !tq_codec_init(&s->f16, TQ_F16, role, D, TQ_ISA_BEST))
        exit(1);
    s->page_bytes = tq_page_bytes(type, D);
    s->pages = reserve((N_PAGE - 1) * s->page_bytes);
    s->open = reserve(tq_page_bytes(TQ_F16, D));
}

static void store_append(struct store *s, int token, const float *row, void *scratch)
{
    if (token % PAGE == 0 && token > 0)
        tq_encode(&s->code, s->pages + (token / PAGE - 1) * s->page_bytes, s->open,
                  scratch);
    float x[D];
    memcpy(x, row, sizeof x);
    tq_rotate(&s->code, x, 1);
    tq_put(&s->f16, s->open, token % PAGE, x);
}

/* out [N_HEAD][D] <- attention of all query heads to all tokens. */
static void attend(const struct store *k, const struct store *v, float *out)
{
    static _Alignas(64) float m[N_HEAD], l[N_HEAD], o[N_HEAD * D];
    static float rotated[N_HEAD * D];
    uint8_t hi[N_HEAD];
    void *memory = reserve(tq_query_bytes(D, N_HEAD));
    void *scratch = reserve(tq_attend_scratch_bytes(D, N_HEAD));
    memcpy(rotated, queries, sizeof rotated);
    memset(hi, PAGE, sizeof hi); // every query sees whole pages
    tq_rotate(&k->code, rotated, N_HEAD);
    struct tq_query q;
    tq_query_init(&q, memory, D, N_HEAD);
    tq_query_load(&k->code, &q, rotated, D, N_HEAD, 1.0f / sqrtf(D));

    struct tq_partial p = {m, l, o};
    tq_partial_reset(&p, N_HEAD, D);
    for (int i = 0; i < N_PAGE - 1; i++)
        tq_attend(&k->code, &v->code, &p, &q, k->pages + i * k->page_bytes,
                  v->pages + i * v->page_bytes, 0, hi, scratch);
    tq_attend(&k->f16, &v->f16, &p, &q, k->open, v->open, 0, hi, scratch);
    tq_finish(&p, out, D, N_HEAD, D);
    tq_unrotate(&v->code, out, N_HEAD);
    free(memory), free(scratch);
}

static void attend_exact(double *out)
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

int main(void)
{
    static const enum tq_type types[] = {TQ_TURBO8, TQ_TURBO4, TQ_TURBO3, TQ_TURBO2};
    static double exact[N_HEAD * D];
    static float out[N_HEAD * D];
    const size_t f16_bytes = tq_page_bytes(TQ_F16, D);
    void *scratch = reserve(tq_encode_scratch_bytes(D));
    for (int i = 0; i < N_TOKEN * D; i++)
        keys[i] = gaussian(), values[i] = gaussian();
    for (int i = 0; i < N_HEAD * D; i++)
        queries[i] = gaussian();
    attend_exact(exact);
    printf("%d tokens of one kv head of %d, %d query heads\n", N_TOKEN, D, N_HEAD);
    printf("type          bytes    error\nf16      %10zu\n", 2 * N_PAGE * f16_bytes);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        struct store k, v;
        store_init(&k, types[t], TQ_KEY);
        store_init(&v, types[t], TQ_VALUE);
        for (int i = 0; i < N_TOKEN; i++) {
            store_append(&k, i, keys + i * D, scratch);
            store_append(&v, i, values + i * D, scratch);
        }
        attend(&k, &v, out);
        printf("%-8s %10zu %8.5f\n", tq_type_name(types[t]),
               2 * ((N_PAGE - 1) * k.page_bytes + f16_bytes),
               relative_error(out, exact, N_HEAD * D));
        free(k.pages), free(k.open), free(v.pages), free(v.open);
    }
    free(scratch);
    return 0;
}
