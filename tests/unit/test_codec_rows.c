/* test_codec_rows.c - the types that are coded by row (mse, prod, mix, q8_0, q4_0):
 * sizes, bytes against docs/format.md, odd input, attention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/formats.h"
#include "turboquant.h"
#include "draws.h"

enum {
    TOKENS = TQ_PAGE_TOKENS,
    N_DIM = 9,
    N_TYPE = 10,
    PAGE_CAP = TOKENS * TQ_DIM_MAX * 2
};

static const int dims[N_DIM] = {64, 80, 96, 112, 128, 192, 256, 512, 576};
static const enum tq_isa isas[2] = {TQ_ISA_C, TQ_ISA_BEST};
static const struct row_type {
    enum tq_type type;
    int bits[2]; // of the halves of a row
    bool prod, mix, blocks;
    double error; // more than its distortion
} types[N_TYPE] = {
    {TQ_MSE4, {4, 4}, false, false, false, .012},
    {TQ_MSE3, {3, 3}, false, false, false, .04},
    {TQ_MSE2, {2, 2}, false, false, false, .13},
    {TQ_PROD4, {3, 3}, true, false, false, .07},
    {TQ_PROD3, {2, 2}, true, false, false, .22},
    {TQ_PROD2, {1, 1}, true, false, false, .7},
    {TQ_MIX3_5, {4, 3}, false, true, false, .03},
    {TQ_MIX2_5, {3, 2}, false, true, false, .1},
    {TQ_Q8_0, {8, 8}, false, false, true, .0001},
    {TQ_Q4_0, {4, 4}, false, false, true, .01},
};

static _Alignas(64) uint8_t page[PAGE_CAP], other[PAGE_CAP];
static _Alignas(64) uint8_t exact[TOKENS * TQ_DIM_MAX * 2], scratch[1 << 19];
static float rows[TOKENS * TQ_DIM_MAX], decoded[TOKENS * TQ_DIM_MAX];

static bool supported(const struct row_type *t, enum tq_role role, int d)
{
    return !(t->prod && role == TQ_VALUE) && !(t->blocks && d % 32);
}

static void fill_rows(int d)
{
    for (int i = 0; i < TOKENS * d; i++)
        rows[i] = gaussian();
}

static int encode_rows(const struct tq_codec *c, uint8_t *to, void *mem)
{
    struct tq_codec x;
    assert_true(tq_codec_init(&x, TQ_F16, c->role, c->d, TQ_ISA_BEST));
    for (int j = 0; j < TOKENS; j++)
        tq_put(&x, exact, j, rows + j * c->d);
    return tq_encode(c, to, exact, mem);
}

/* The part of a head that channel i is in: 576 is 512 and 64. */
struct part {
    int at, d;
};

static struct part part_of(int d, int i)
{
    if (d != 576)
        return (struct part){0, d};
    return i < 512 ? (struct part){0, 512} : (struct part){512, 64};
}

static const uint8_t *part_page(const uint8_t *p, enum tq_type t, struct part part)
{
    return part.at ? p + tq_page_bytes(t, 512) : p;
}

static void random_bytes(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(uniform() * 256);
}

/* ---- sizes and names ---- */

static void test_row_sizes(void **state)
{
    (void)state;
    /* Bits per value at d = 128, and bytes of a row at 64 and 80. */
    static const struct {
        const char *name;
        double bits;
        size_t at64, at80;
    } want[N_TYPE] = {{"mse4", 4.125, 34, 42},  {"mse3", 3.125, 26, 32},
                      {"mse2", 2.125, 18, 22},  {"prod4", 4.25, 36, 44},
                      {"prod3", 3.25, 28, 34},  {"prod2", 2.25, 20, 24},
                      {"mix3.5", 3.75, 32, 39}, {"mix2.5", 2.75, 24, 29},
                      {"q8_0", 8.5, 68, 0},     {"q4_0", 4.5, 36, 0}};
    for (int i = 0; i < N_TYPE; i++) {
        const enum tq_type t = types[i].type;
        assert_string_equal(tq_type_name(t), want[i].name);
        assert_true(tq_type_compressed(t));
        assert_true((double)tq_row_bytes(t, 128) * 8 / 128 == want[i].bits);
        assert_int_equal(tq_row_bytes(t, 64), want[i].at64);
        if (want[i].at80)
            assert_int_equal(tq_row_bytes(t, 80), want[i].at80);
        assert_int_equal(tq_page_bytes(t, 128), 64 * tq_row_bytes(t, 128));
        for (int k = 0; k < N_DIM; k++)
            for (int role = 0; role < 2; role++) {
                struct tq_codec c = {.d = -1};
                const bool ok = supported(&types[i], (enum tq_role)role, dims[k]);
                assert_int_equal(tq_type_supported(t, (enum tq_role)role, dims[k]), ok);
                assert_int_equal(
                    tq_codec_init(&c, t, (enum tq_role)role, dims[k], TQ_ISA_BEST), ok);
                assert_int_equal(c.d, ok ? dims[k] : -1);
            }
        assert_false(tq_type_supported(t, TQ_KEY, 160));
    }
    static const struct {
        const char *alias;
        enum tq_type type;
    } aliases[] = {{"tbqp3", TQ_PROD3},      {"tbqp4", TQ_PROD4}, {"mix2_5", TQ_MIX2_5},
                   {"lm3", TQ_MSE3},         {"tbq3", TQ_TURBO3}, {"tq3_0", TQ_TURBO3},
                   {"turbo3_tcq", TQ_TURBO3}};
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        enum tq_type t = TQ_F32;
        assert_true(tq_type_parse(&t, aliases[i].alias));
        assert_int_equal(t, aliases[i].type);
    }
    enum tq_type t = TQ_F32;
    assert_false(tq_type_parse(&t, "mix3"));
    assert_false(tq_type_parse(&t, ""));
}

/* ---- a second decoder, from docs/format.md ---- */

static double half_at(const uint8_t *p, bool is_signed)
{
    int h = p[0] | p[1] << 8;
    const double sign = is_signed && h & 0x8000 ? -1 : 1;
    h = is_signed ? h & 0x7fff : h;
    if (h >= 0x7c00)
        return 0;
    return sign * (h < 0x400 ? ldexp(h, -24) : ldexp(1024 + (h & 1023), h / 1024 - 25));
}

/* Code i of b bits in a string of bits. */
static int code_at(const uint8_t *p, int i, int b)
{
    int code = 0;
    for (int k = 0; k < b; k++)
        code |= (p[(b * i + k) / 8] >> (b * i + k) % 8 & 1) << k;
    return code;
}

static float slow_value(const struct row_type *t, int d, const uint8_t *p, int j, int i)
{
    if (t->blocks) {
        const int bytes = t->bits[0] == 8 ? 34 : 18;
        const uint8_t *block = p + (j * d / 32 + i / 32) * bytes;
        const int k = i % 32;
        const int level = t->bits[0] == 8 ? (block[2 + k] ^ 128) - 128
                          : k < 16        ? (block[2 + k] & 15) - 8
                                          : (block[k - 14] >> 4) - 8;
        return (float)(half_at(block, true) * level);
    }
    const int n = t->mix ? d / 2 : d, part = i / n, b = t->bits[part];
    const int header = t->mix || t->prod ? 4 : 2;
    const int row_bytes = (int)tq_row_bytes(t->type, d) - header;
    const uint8_t *row =
        p + 64 * header + j * row_bytes + (part ? n * t->bits[0] / 8 : 0);
    const int code = code_at(row, i % n, b), half = 1 << (b - 1);
    const float *level = tq_codebook_for(n, b);
    const double v = (double)(code < half ? -level[half - 1 - code] : level[code - half]);
    return (float)(half_at(p + 128 * part + 2 * j, false) * v);
}

/* The estimate of the residual, in double. */
static double slow_residual(int d, const struct row_type *t, const uint8_t *p, int j,
                            int i, uint64_t seed)
{
    const int row_bytes = (int)tq_row_bytes(t->type, d) - 4;
    const uint8_t *signs = p + 256 + j * row_bytes + d * t->bits[0] / 8;
    double sum = 0;
    for (int k = 0; k < d; k++) {
        float s;
        tq_sign_row(&s, seed, d, k, i, 1);
        sum += signs[k / 8] >> k % 8 & 1 ? -(double)s : (double)s;
    }
    return sqrt(3.141592653589793 / 2) / sqrt(d) * half_at(p + 128 + 2 * j, false) * sum;
}

static void test_row_decoder(void **state)
{
    (void)state;
    for (int k = 0; k < N_DIM; k++)
        for (int t = 0; t < N_TYPE; t++)
            for (int role = 0; role < 2; role++) {
                const int d = dims[k];
                struct tq_codec c;
                if (!supported(&types[t], (enum tq_role)role, d))
                    continue;
                tq_codec_init(&c, types[t].type, (enum tq_role)role, d, isas[k % 2]);
                random_bytes(page, tq_page_bytes(types[t].type, d));
                page[2 * 7 + 1] = 0x7e; // NaN where there is a scale
                tq_decode(&c, decoded, page);
                for (int i = 0; i < TOKENS * d; i++) {
                    const struct part in = part_of(d, i % d);
                    const uint8_t *p = part_page(page, types[t].type, in);
                    const int j = i / d, at = i % d - in.at;
                    const float want = slow_value(&types[t], in.d, p, j, at);
                    assert_true(isfinite(decoded[i]));
                    if (!types[t].prod)
                        assert_true(decoded[i] == want);
                    else if (i % 37 == 0) {
                        const double r = slow_residual(in.d, &types[t], p, j, at,
                                                       in.at ? UINT64_MAX : 0);
                        const double all = (double)want + r;
                        assert_true(fabs(all - (double)decoded[i]) <=
                                    1e-5 * (fabs((double)want) + 16 * fabs(r)) +
                                        1e-4 * half_at(p + 128 + 2 * j, false));
                    }
                }
            }
}

/* ---- encoding ---- */

static void test_row_isas(void **state)
{
    (void)state;
    for (int t = 0; t < N_TYPE; t++)
        for (int k = 0; k < N_DIM; k++)
            for (int role = 0; role < 2; role++) {
                struct tq_codec a, b;
                const int d = dims[k];
                if (!tq_codec_init(&a, types[t].type, (enum tq_role)role, d, isas[0]))
                    continue;
                tq_codec_init(&b, types[t].type, (enum tq_role)role, d, isas[1]);
                fill_rows(d);
                encode_rows(&a, page, scratch);
                encode_rows(&b, other, scratch + 3);
                assert_memory_equal(page, other, tq_page_bytes(types[t].type, d));
            }
}

/* A page of 576 is one of 512 and one of 64; the sign matrix of the second part has the
 * complement of the seed. */
static void test_row_parts(void **state)
{
    (void)state;
    static float all[TOKENS * 576];
    for (int t = 0; t < N_TYPE; t++) {
        struct tq_codec c, part;
        tq_codec_init(&c, types[t].type, TQ_KEY, 576, TQ_ISA_BEST);
        c.seed = 7;
        fill_rows(576);
        memcpy(all, rows, sizeof all);
        assert_int_equal(encode_rows(&c, page, scratch), 0);
        for (int second = 0; second < 2; second++) {
            const struct part in = part_of(576, 575 * second);
            tq_codec_init(&part, types[t].type, TQ_KEY, in.d, TQ_ISA_BEST);
            part.seed = second ? ~UINT64_C(7) : 7;
            for (int j = 0; j < TOKENS; j++)
                memcpy(rows + j * in.d, all + j * 576 + in.at,
                       (size_t)in.d * sizeof *rows);
            encode_rows(&part, other, scratch);
            assert_memory_equal(part_page(page, c.type, in), other,
                                tq_page_bytes(c.type, in.d));
        }
        assert_int_equal(tq_row_bytes(c.type, 576),
                         tq_row_bytes(c.type, 512) + tq_row_bytes(c.type, 64));
    }
}

static double row_error(int j, int d, double *power)
{
    double e = 0;
    *power = 0;
    for (int i = j * d; i < (j + 1) * d; i++) {
        e += pow((double)rows[i] - (double)decoded[i], 2);
        *power += pow((double)rows[i], 2);
    }
    return e;
}

static void test_odd_rows(void **state)
{
    (void)state;
    for (int i0 = 0; i0 < 2 * N_TYPE; i0++) {
        const int t = i0 / 2, d = i0 % 2 ? 576 : 96; // broken in one of the two parts
        const bool large = types[t].bits[0] == 8;    // its steps end below f16 subnormals
        struct tq_codec c;
        tq_codec_init(&c, types[t].type, TQ_KEY, d, TQ_ISA_BEST);
        fill_rows(d);
        for (int i = 0; i < d; i++) {
            rows[0 * d + i] = 0.0f;
            rows[5 * d + i] *= large ? 1e-3f : 1e-5f;
            rows[6 * d + i] *= 1e30f; // saturates at 65504
            rows[7 * d + i] = i == 9 ? 60000.0f : 0.0f;
            rows[8 * d + i] = 0x1p-24f; // the least f16
            rows[9 * d + i] = 3.0f;
        }
        rows[1 * d + 3] = NAN;
        rows[2 * d] = INFINITY;
        rows[3 * d + d - 1] = -INFINITY;
        rows[4 * d + 7] = -NAN;
        assert_int_equal(encode_rows(&c, page, scratch), 4);
        tq_decode(&c, decoded, page);
        for (int i = 0; i < 5 * d; i++)
            assert_true(decoded[i] == 0.0f);
        for (int i = 5 * d; i < TOKENS * d; i++)
            assert_true(isfinite(decoded[i]));
        for (int j = 10; j < TOKENS; j++) {
            double power;
            const double e = row_error(j, d, &power);
            assert_true(e < 3 * types[t].error * power);
        }
        for (int i = 6 * d; i < 7 * d; i++)
            rows[i] = copysignf(65504.0f, rows[i]);
        double power, e = row_error(6, d, &power);
        assert_true(e < (types[t].prod ? 1.0 : 0.35) * power);
        e = row_error(5, d, &power);
        assert_true(e < (types[t].prod ? 1.0 : 0.35) * power);
    }
}

/* ---- the rotation of mix ---- */

/* The channel at position i without an order, and which half of which part that is. */
static int upper_first(int d, int i)
{
    const struct part in = part_of(d, i);
    return in.at + (i - in.at + in.d / 2) % in.d;
}

static int half_of(int d, int i)
{
    const struct part in = part_of(d, i);
    return in.at + (i - in.at >= in.d / 2);
}

static void test_mix_rotation(void **state)
{
    (void)state;
    for (int k = 0; k < N_DIM; k++) {
        const int d = dims[k];
        struct tq_codec c;
        uint16_t order[TQ_DIM_MAX];
        float energy[TQ_DIM_MAX];
        tq_codec_init(&c, TQ_MIX2_5, TQ_KEY, d, TQ_ISA_BEST);
        for (int i = 0; i < d; i++)
            energy[i] = (float)uniform();
        energy[3] = NAN;
        tq_order_by_energy(order, energy, d);
        assert_int_equal(order[part_of(d, 3).d - 1], 3);
        for (int i = 0; i < d; i++) {
            const struct part in = part_of(d, i);
            assert_int_equal(part_of(d, order[i]).at, in.at);
            if (i > in.at && order[i] != 3)
                assert_true(energy[order[i - 1]] >= energy[order[i]]);
        }
        for (int with = 0; with < 2; with++) {
            if (with)
                assert_true(tq_codec_set_order(&c, order));
            /* Unit vectors: orthonormal images that stay in their half. */
            static float image[TQ_DIM_MAX * TQ_DIM_MAX];
            memset(image, 0, sizeof image);
            for (int i = 0; i < d; i++)
                image[i * d + (with ? order[i] : upper_first(d, i))] = 1.0f;
            tq_rotate(&c, image, d);
            for (int i = 0; i < d; i++)
                for (int j = 0; j < d; j++) {
                    double dot = 0;
                    for (int e = 0; e < d; e++)
                        dot += (double)image[i * d + e] * (double)image[j * d + e];
                    assert_true(fabs(dot - (i == j)) < 1e-5);
                    const bool same = half_of(d, i) == half_of(d, j);
                    const double size = same ? 1 / sqrt(part_of(d, i).d / 2) : 0;
                    assert_true(fabs(fabs((double)image[i * d + j]) - size) < 1e-5);
                }
            tq_unrotate(&c, image, d);
            for (int i = 0; i < d * d; i++) {
                const int channel = with ? order[i / d] : upper_first(d, i / d);
                assert_true(fabs((double)image[i] - (i % d == channel)) < 1e-5);
            }
        }
        if (d == 576) { // a channel of each part in the other
            uint16_t swapped[576];
            memcpy(swapped, order, sizeof swapped);
            swapped[0] = order[575];
            swapped[575] = order[0];
            assert_false(tq_codec_set_order(&c, swapped));
        }
        order[1] = order[0];
        assert_false(tq_codec_set_order(&c, order));
        order[1] = (uint16_t)d;
        assert_false(tq_codec_set_order(&c, order));
        c.type = TQ_MSE4;
        assert_false(tq_codec_set_order(&c, order));
    }
}

/* ---- attention ---- */

enum { MAX_N = 40 };

static _Alignas(64) uint8_t kpage[TOKENS * TQ_DIM_MAX * 4];
static _Alignas(64) uint8_t vpage[TOKENS * TQ_DIM_MAX * 4];
static _Alignas(64) uint8_t query_mem[MAX_N * TQ_DIM_MAX * 12], attend_mem[1 << 19];
static _Alignas(64) float part_o[MAX_N * TQ_DIM_MAX], got[MAX_N * TQ_DIM_MAX];
static float part_m[MAX_N], part_l[MAX_N], queries[MAX_N * TQ_DIM_MAX];
static float krows[TOKENS * TQ_DIM_MAX], vrows[TOKENS * TQ_DIM_MAX];

static void make_page(uint8_t *to, const struct tq_codec *c)
{
    fill_rows(c->d);
    if (tq_type_compressed(c->type))
        encode_rows(c, to, scratch);
    else
        for (int j = 0; j < TOKENS; j++)
            tq_put(c, to, j, rows + j * c->d);
}

static void attend(const struct tq_codec *k, const struct tq_codec *v, int i0, int n,
                   int lo, const uint8_t *hi)
{
    struct tq_query q;
    assert_true(tq_query_bytes(k->d, n) <= sizeof query_mem);
    assert_true(tq_attend_scratch_bytes(TQ_DIM_MAX, n) <= sizeof attend_mem);
    tq_query_init(&q, query_mem, k->d, n);
    tq_query_load(k, &q, queries + i0 * k->d, (size_t)k->d, n, 0.25f);
    struct tq_partial p = {part_m + i0, part_l + i0, part_o + i0 * v->d};
    tq_partial_reset(&p, n, v->d);
    tq_attend(k, v, &p, &q, kpage, vpage, lo, hi + i0, attend_mem);
    tq_finish(&p, got + i0 * v->d, (size_t)v->d, n, v->d);
}

/* Softmax attention of query i over the decoded pages in double. */
static void oracle(double *out, const struct tq_codec *k, const struct tq_codec *v, int i,
                   int lo, int hi)
{
    double w[TOKENS], top = -INFINITY, sum = 0;
    for (int j = lo; j < hi; j++) {
        w[j] = 0;
        for (int c = 0; c < k->d; c++)
            w[j] += 0.25 * (double)queries[i * k->d + c] * (double)krows[j * k->d + c];
        top = fmax(top, w[j]);
    }
    memset(out, 0, sizeof *out * (size_t)v->d);
    for (int j = lo; j < hi; j++) {
        sum += exp(w[j] - top);
        for (int c = 0; c < v->d; c++)
            out[c] += exp(w[j] - top) * (double)vrows[j * v->d + c];
    }
    for (int c = 0; c < v->d; c++)
        out[c] = sum > 0 ? out[c] / sum : 0;
}

/* Keys and values of these types are exact once decoded, so the output is that of f32
 * pages; values of turbo4 (the mixed case) weigh in steps of 1 / 255. */
static void check_attend(enum tq_type kt, enum tq_type vt, int d, enum tq_isa isa)
{
    struct tq_codec k, v;
    if (!tq_codec_init(&k, kt, TQ_KEY, d, isa) ||
        !tq_codec_init(&v, vt, TQ_VALUE, d, isa))
        return;
    static const uint8_t hi[3] = {64, 29, 5};
    const int lo = d % 3 * 4;
    make_page(kpage, &k);
    make_page(vpage, &v);
    for (int i = 0; i < 3 * d; i++)
        queries[i] = gaussian();
    tq_decode(&k, krows, kpage);
    tq_decode(&v, vrows, vpage);
    attend(&k, &v, 0, 3, lo, hi);
    for (int i = 0; i < 3; i++) {
        double want[TQ_DIM_MAX];
        oracle(want, &k, &v, i, lo, hi[i]);
        for (int c = 0; c < d; c++) {
            const double tolerance = vt == TQ_TURBO4 ? .1 : 2e-5;
            assert_true(fabs(want[c] - (double)got[i * d + c]) <= tolerance);
        }
    }
}

static void test_row_attention(void **state)
{
    (void)state;
    for (int t = 0; t < N_TYPE; t++)
        for (int k = 0; k < N_DIM; k++)
            for (int isa = 0; isa < 2; isa++) {
                const enum tq_type type = types[t].type;
                check_attend(type, TQ_F32, dims[k], isas[isa]);
                check_attend(TQ_F32, type, dims[k], isas[isa]);
                if (k % 3 == 0) {
                    check_attend(type, types[(t + 1) % N_TYPE].type, dims[k], isas[isa]);
                    check_attend(type, TQ_TURBO4, dims[k], isas[isa]);
                }
            }
}

static void test_row_independent_of_n(void **state)
{
    (void)state;
    static float all[MAX_N * TQ_DIM_MAX];
    for (int t = 0; t < N_TYPE; t++) {
        const int d = dims[t % N_DIM];
        struct tq_codec k, v;
        if (!tq_codec_init(&k, types[t].type, TQ_KEY, d, TQ_ISA_BEST))
            continue;
        tq_codec_init(&v, types[t].prod ? TQ_MSE3 : types[t].type, TQ_VALUE, d,
                      TQ_ISA_BEST);
        make_page(kpage, &k);
        make_page(vpage, &v);
        uint8_t hi[MAX_N];
        for (int i = 0; i < MAX_N; i++)
            hi[i] = (uint8_t)(uniform() * 65);
        for (int i = 0; i < MAX_N * d; i++)
            queries[i] = gaussian();
        const size_t bytes = sizeof(float) * (size_t)(MAX_N * d);
        attend(&k, &v, 0, MAX_N, 0, hi);
        memcpy(all, got, bytes);
        for (int i = 0; i < MAX_N; i++)
            attend(&k, &v, i, 1, 0, hi);
        assert_memory_equal(all, got, bytes);
    }
}

/* Random bytes as pages, huge and broken queries: finite output, or NaN for NaN. */
static void test_row_random_pages(void **state)
{
    (void)state;
    static const uint8_t hi[5] = {64, 64, 64, 64, 64};
    for (int t = 0; t < N_TYPE; t++)
        for (int i0 = 0; i0 < N_DIM; i0++) {
            const int d = dims[i0];
            struct tq_codec k, v;
            if (!tq_codec_init(&k, types[t].type, TQ_KEY, d, TQ_ISA_BEST))
                continue;
            tq_codec_init(&v, types[t].prod ? TQ_MSE2 : types[t].type, TQ_VALUE, d,
                          TQ_ISA_BEST);
            random_bytes(kpage, tq_page_bytes(k.type, d));
            random_bytes(vpage, tq_page_bytes(v.type, d));
            for (int i = 0; i < 5 * d; i++)
                queries[i] = gaussian() * (i < d ? 1e30f : 1.0f);
            queries[4 * d + 5] = NAN;
            attend(&k, &v, 0, 5, 0, hi);
            for (int i = 0; i < 4 * d; i++)
                assert_true(isfinite(got[i]));
            for (int i = 4 * d; i < 5 * d; i++)
                assert_true(isnan(got[i]));
        }
}

/* The projection of a huge query does not overflow. */
static void test_prod_huge_query(void **state)
{
    (void)state;
    static const uint8_t hi[1] = {64};
    for (int d = 256; d <= 512; d *= 2) {
        struct tq_codec k, v;
        tq_codec_init(&k, TQ_PROD2, TQ_KEY, d, TQ_ISA_BEST);
        tq_codec_init(&v, TQ_MSE2, TQ_VALUE, d, TQ_ISA_BEST);
        make_page(vpage, &v);
        random_bytes(kpage, tq_page_bytes(TQ_PROD2, d));
        memset(kpage, 0, 128); // scales of the mse part; residuals stay
        for (int i = 0; i < d; i++)
            queries[i] = copysignf(3e38f, gaussian());
        attend(&k, &v, 0, 1, 0, hi);
        for (int i = 0; i < d; i++)
            assert_true(isfinite(got[i]));
    }
}

int main(void)
{
    rng = 3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_sizes),
        cmocka_unit_test(test_row_decoder),
        cmocka_unit_test(test_row_isas),
        cmocka_unit_test(test_row_parts),
        cmocka_unit_test(test_odd_rows),
        cmocka_unit_test(test_mix_rotation),
        cmocka_unit_test(test_row_attention),
        cmocka_unit_test(test_row_independent_of_n),
        cmocka_unit_test(test_row_random_pages),
        cmocka_unit_test(test_prod_huge_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
