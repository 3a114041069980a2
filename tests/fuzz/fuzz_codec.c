/* Rows and pages of any bits through encoder, decoder, attention and scores.  The first
 * bytes of the input choose types, dimension, instruction set and ranges; the rest fills
 * an exact page, a page of codes and the queries, over and over. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "turboquant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N = 3, D = TQ_DIM_MAX, TOKENS = TQ_PAGE_TOKENS };

static const int dims[] = {64, 80, 96, 112, 128, 192, 256, 512, 576};
static const enum tq_isa isas[] = {TQ_ISA_C, TQ_ISA_AVX2, TQ_ISA_AVX512, TQ_ISA_BEST};

static _Alignas(64) uint8_t exact[TOKENS * D * 2], kpage[TOKENS * D * 4];
static _Alignas(64) uint8_t vpage[TOKENS * D * 4], scratch[1 << 19];
static _Alignas(64) uint8_t query_mem[N * D * 12 + 1024], attend_mem[1 << 19];
static _Alignas(64) float o[N * D];
static float x[TOKENS * D], queries[N * D], out[N * D], score[N * TOKENS];

static void fill(void *to, size_t bytes, const uint8_t *data, size_t n, size_t at)
{
    uint8_t *p = to;
    for (size_t i = 0; i < bytes; i++)
        p[i] = n ? data[(at + i) % n] : 0;
}

/* Whatever the bytes of a compressed page are, its rows are finite. */
static void check_decode(const struct tq_codec *c, const uint8_t *page)
{
    tq_decode(c, x, page);
    for (int i = 0; i < TOKENS * c->d && tq_type_compressed(c->type); i++)
        if (!isfinite(x[i]))
            abort();
}

/* A page of raw bytes, or the encoding of an exact page of raw bytes. */
static void make_page(const struct tq_codec *c, uint8_t *page, bool encode,
                      const uint8_t *data, size_t n)
{
    if (encode && tq_type_compressed(c->type)) {
        fill(exact, tq_page_bytes(TQ_F16, c->d), data, n, 0);
        const int bad = tq_encode(c, page, exact, scratch);
        if (bad < 0 || bad > TOKENS)
            abort();
    } else {
        fill(page, tq_page_bytes(c->type, c->d), data, n, n / 2);
    }
    check_decode(c, page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct tq_codec k, v;
    if (n < 8)
        return 0;
    const enum tq_isa isa = isas[data[0] % 4];
    const int d = dims[data[1] % (sizeof dims / sizeof *dims)];
    if (!tq_codec_init(&k, (enum tq_type)(data[2] % TQ_TYPE_COUNT), TQ_KEY, d, isa) ||
        !tq_codec_init(&v, (enum tq_type)(data[3] % TQ_TYPE_COUNT), TQ_VALUE, d, isa))
        return 0;
    const bool encode = data[4] & 1;
    const int lo = data[5] % TOKENS;
    const uint8_t hi[N] = {data[6] % (TOKENS + 1), data[7] % (TOKENS + 1), TOKENS};
    make_page(&k, kpage, encode, data + 8, n - 8);
    make_page(&v, vpage, encode, data + 8, n - 8);

    if (tq_query_bytes(d, N) > sizeof query_mem ||
        tq_attend_scratch_bytes(d, N) > sizeof attend_mem)
        abort();
    struct tq_query q;
    fill(queries, sizeof(float) * (size_t)(N * d), data, n, 9);
    tq_query_init(&q, query_mem, d, N);
    tq_query_load(&k, &q, queries, (size_t)d, N, 0.125f);
    float m[N], l[N];
    struct tq_partial p = {m, l, o};
    tq_partial_reset(&p, N, d);
    tq_attend(&k, &v, &p, &q, kpage, vpage, lo, hi, attend_mem);
    tq_finish(&p, out, (size_t)d, N, d);
    tq_score(&k, score, &q, kpage, attend_mem);
    for (int i = 0; i < N; i++) {
        if (hi[i] <= lo && l[i] != 0.0f)
            abort();
        bool broken = !tq_type_compressed(k.type) || !tq_type_compressed(v.type);
        for (int j = 0; j < d; j++) // the product of two huge numbers may overflow
            broken = broken || !(fabsf(q.x[i * d + j]) < 1e25f);
        for (int j = 0; j < d && !broken; j++)
            if (!isfinite(out[i * d + j]))
                abort();
        for (int j = 0; j < TOKENS && !broken; j++)
            if (!isfinite(score[i * TOKENS + j]))
                abort();
    }
    return 0;
}
