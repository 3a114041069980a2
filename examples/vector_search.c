/* vector_search.c - search compressed vectors by inner product.
 *
 * Vectors are stored as keys: rotated, 64 to a page, encoded.  Queries are rotated as
 * well, and tq_score gives the inner products of all of them with the vectors of a page.
 * The data are unit vectors around 64 centres, and so are the queries. */
#include <time.h>

#include <turboquant.h>

#include "example.h"

enum { D = 128, N = 20000, N_QUERY = 200, N_CENTRE = 64, TOP = 10 };
enum { PAGE = TQ_PAGE_TOKENS, N_PAGE = (N + PAGE - 1) / PAGE };

static float vectors[N * D], queries[N_QUERY * D];

struct hits {
    int n, id[TOP]; // the best first
    float score[TOP];
};

static struct hits exact[N_QUERY], found[N_QUERY];

static void make_data(void)
{
    static float centre[N_CENTRE * D];
    for (int i = 0; i < N_CENTRE * D; i++)
        centre[i] = gaussian();
    for (int n = 0; n < N + N_QUERY; n++) {
        float *x = n < N ? vectors + n * D : queries + (n - N) * D, sum = 0;
        for (int i = 0; i < D; i++) {
            x[i] = centre[n % N_CENTRE * D + i] + gaussian();
            sum += x[i] * x[i];
        }
        for (int i = 0; i < D; i++)
            x[i] /= sqrtf(sum);
    }
}

static void add_hit(struct hits *h, int id, float score)
{
    if (h->n == TOP && score <= h->score[TOP - 1])
        return;
    int i = h->n < TOP ? h->n++ : TOP - 1;
    for (; i > 0 && score > h->score[i - 1]; i--)
        h->id[i] = h->id[i - 1], h->score[i] = h->score[i - 1];
    h->id[i] = id, h->score[i] = score;
}

static void search_exact(void)
{
    for (int q = 0; q < N_QUERY; q++)
        for (int id = 0; id < N; id++) {
            float dot = 0;
            for (int i = 0; i < D; i++)
                dot += queries[q * D + i] * vectors[id * D + i];
            add_hit(&exact[q], id, dot);
        }
}

/* pages <- all vectors.  The last page is filled up with zero vectors. */
static void store(const struct tq_codec *c, uint8_t *pages)
{
    struct tq_codec f16;
    tq_codec_init(&f16, TQ_F16, TQ_KEY, D, TQ_ISA_BEST);
    void *page16 = reserve(tq_page_bytes(TQ_F16, D));
    void *scratch = reserve(tq_encode_scratch_bytes(D));
    const size_t page_bytes = tq_page_bytes(c->type, D);
    for (int id = 0; id < N_PAGE * PAGE; id++) {
        float x[D] = {0};
        if (id < N)
            memcpy(x, vectors + id * D, sizeof x);
        tq_rotate(c, x, 1);
        tq_put(&f16, page16, id % PAGE, x);
        if (id % PAGE == PAGE - 1) {
            tq_encode(c, pages, page16, scratch);
            pages += page_bytes;
        }
    }
    free(page16), free(scratch);
}

static void search(const struct tq_codec *c, const uint8_t *pages)
{
    static float rotated[N_QUERY * D], score[N_QUERY * PAGE];
    const size_t page_bytes = tq_page_bytes(c->type, D);
    void *memory = reserve(tq_query_bytes(D, N_QUERY));
    void *scratch = reserve(tq_attend_scratch_bytes(D, N_QUERY));
    memcpy(rotated, queries, sizeof rotated);
    tq_rotate(c, rotated, N_QUERY);
    struct tq_query q;
    tq_query_init(&q, memory, D, N_QUERY);
    tq_query_load(c, &q, rotated, D, N_QUERY, 1.0f);
    memset(found, 0, sizeof found);
    for (int id = 0; id < N; id += PAGE, pages += page_bytes) {
        tq_score(c, score, &q, pages, scratch);
        for (int i = 0; i < N_QUERY; i++)
            for (int j = 0; j < PAGE && id + j < N; j++)
                add_hit(&found[i], id + j, score[i * PAGE + j]);
    }
    free(memory), free(scratch);
}

static double recall(void)
{
    int common = 0;
    for (int q = 0; q < N_QUERY; q++)
        for (int i = 0; i < TOP; i++)
            for (int k = 0; k < TOP; k++)
                common += exact[q].id[i] == found[q].id[k];
    return (double)common / (N_QUERY * TOP);
}

#define ROW "%-8s %10zu %8.4f %10.2f %10.1f\n"

static double us_of(clock_t time, int n)
{
    return 1e6 * (double)time / CLOCKS_PER_SEC / n;
}

int main(void)
{
    static const enum tq_type types[] = {TQ_TURBO8, TQ_TURBO4, TQ_TURBO3, TQ_TURBO2};
    make_data();
    clock_t start = clock();
    search_exact();
    printf("%d vectors of %d, %d queries, recall of the %d largest inner products\n", N,
           D, N_QUERY, TOP);
    puts("type          bytes   recall  us/encode   us/query");
    printf(ROW, "exact", sizeof vectors, 1.0, 0.0, us_of(clock() - start, N_QUERY));
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        struct tq_codec c;
        if (!tq_codec_init(&c, types[t], TQ_KEY, D, TQ_ISA_BEST))
            return 1;
        const size_t bytes = N_PAGE * tq_page_bytes(c.type, D);
        uint8_t *pages = reserve(bytes);
        start = clock();
        store(&c, pages);
        const clock_t stored = clock();
        search(&c, pages);
        printf(ROW, tq_type_name(c.type), bytes, recall(), us_of(stored - start, N),
               us_of(clock() - stored, N_QUERY));
        free(pages);
    }
    return 0;
}
