/* test_codec.c - the public interface of the codec against docs/format.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/kernels.h"
#include "codec/tables.h"
#include "turboquant.h"
#include "draws.h"

/* Exact and trellis types; the others are in test_codec_formats.c. */
enum { N_TYPE = TQ_TURBO2 + 1 };
enum { N_DIM = 9, PAGE_CAP = TQ_PAGE_TOKENS * TQ_DIM_MAX * 4, TOKENS = TQ_PAGE_TOKENS };

static const int dims[N_DIM] = {64, 80, 96, 112, 128, 192, 256, 512, 576};
static const enum tq_type compressed[4] = {TQ_TURBO8, TQ_TURBO4, TQ_TURBO3, TQ_TURBO2};
static const int bits_of[N_TYPE] = {32, 16, 8, 4, 3, 2};
static const enum tq_isa isas[2] = {TQ_ISA_C, TQ_ISA_BEST};

/* Aligned memory that the tests share. */
static _Alignas(64) uint8_t page[PAGE_CAP], other_page[PAGE_CAP], exact[PAGE_CAP];
static _Alignas(64) uint8_t scratch[1 << 19], attend_scratch[1 << 19];
static float rows[TOKENS * TQ_DIM_MAX], decoded[TOKENS * TQ_DIM_MAX];

static struct tq_codec codec(enum tq_type t, enum tq_role role, int d, enum tq_isa isa)
{
    struct tq_codec c;
    assert_true(tq_codec_init(&c, t, role, d, isa));
    return c;
}

static void fill_rows(int d)
{
    for (int i = 0; i < TOKENS * d; i++)
        rows[i] = gaussian();
}

static void put_rows(void *to, enum tq_type t, enum tq_role role, int d)
{
    const struct tq_codec c = codec(t, role, d, TQ_ISA_BEST);
    for (int j = 0; j < TOKENS; j++)
        tq_put(&c, to, j, rows + j * d);
}

/* ---- types and sizes ---- */

/* docs/format.md, sizes: bytes of a row for turbo2, 3, 4 and 8. */
static void test_sizes(void **state)
{
    (void)state;
    static const size_t want[N_DIM][4] = {
        {18, 26, 34, 66},   {22, 32, 42, 82},     {26, 38, 50, 98},
        {30, 44, 58, 114},  {34, 50, 66, 130},    {50, 74, 98, 194},
        {66, 98, 130, 258}, {130, 194, 258, 514}, {148, 220, 292, 580},
    };
    for (int i = 0; i < N_DIM; i++) {
        assert_true(tq_dim_supported(dims[i]));
        assert_int_equal(tq_row_bytes(TQ_TURBO2, dims[i]), want[i][0]);
        assert_int_equal(tq_row_bytes(TQ_TURBO3, dims[i]), want[i][1]);
        assert_int_equal(tq_row_bytes(TQ_TURBO4, dims[i]), want[i][2]);
        assert_int_equal(tq_row_bytes(TQ_TURBO8, dims[i]), want[i][3]);
        assert_int_equal(tq_page_bytes(TQ_TURBO3, dims[i]), 64 * want[i][1]);
        assert_int_equal(tq_row_bytes(TQ_F16, dims[i]), 2 * dims[i]);
        assert_int_equal(tq_row_bytes(TQ_F32, dims[i]), 4 * dims[i]);
    }
    struct tq_codec c;
    assert_false(tq_dim_supported(72));
    assert_false(tq_dim_supported(384));
    assert_false(tq_codec_init(&c, TQ_TURBO4, TQ_KEY, 72, TQ_ISA_BEST));
    assert_true(tq_codec_init(&c, TQ_F16, TQ_KEY, 72, TQ_ISA_BEST));
    assert_false(tq_codec_init(&c, TQ_F16, TQ_KEY, 0, TQ_ISA_BEST));
    assert_false(tq_codec_init(&c, TQ_F32, TQ_KEY, TQ_DIM_MAX + 1, TQ_ISA_BEST));
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < TQ_TYPE_COUNT; i++) {
        enum tq_type t = TQ_TYPE_COUNT;
        assert_true(tq_type_parse(&t, tq_type_name((enum tq_type)i)));
        assert_int_equal(t, i);
    }
    enum tq_type t = TQ_F16;
    assert_true(tq_type_parse(&t, "tbq3"));
    assert_int_equal(t, TQ_TURBO3);
    assert_true(tq_type_parse(&t, "tq4_0"));
    assert_int_equal(t, TQ_TURBO4);
    assert_true(tq_type_parse(&t, "turbo2_tcq"));
    assert_int_equal(t, TQ_TURBO2);
    assert_false(tq_type_parse(&t, "turbo5"));
    assert_int_equal(t, TQ_TURBO2);
}

/* Every half, and the rounding of floats between them. */
static void test_f16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const int e = (int)(h >> 10), m = (int)(h & 1023);
        const double want = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        assert_true(tq_f16_to_f32((uint16_t)h) == (float)want);
        assert_int_equal(tq_f32_to_f16((float)want), h);
        assert_int_equal(tq_f32_to_f16((float)-want), h | 0x8000);
        if (h + 1 == 0x7c00)
            continue;
        const float next = tq_f16_to_f32((uint16_t)(h + 1));
        const float middle = (float)((want + (double)next) / 2);
        assert_int_equal(tq_f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(tq_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(tq_f32_to_f16(nextafterf(middle, 1e9f)), h + 1);
    }
    assert_int_equal(tq_f32_to_f16(1e30f), 0x7bff);
    assert_int_equal(tq_f32_to_f16(-65520.0f), 0xfbff);
    assert_int_equal(tq_f32_to_f16(INFINITY), 0x7c00);
    assert_true(isnan(tq_f16_to_f32(tq_f32_to_f16(NAN))));
}

/* ---- constants, derived again ---- */

static const double positive_levels[3][16] = {
    {.2055, .5914, 1.0756, 1.8738},
    {.1119, .3212, .5522, .7895, 1.0671, 1.3877, 1.8368, 2.5490},
    {.0613, .1841, .3116, .4359, .5681, .7016, .8412, .9832, 1.1369, 1.2946, 1.4723,
     1.6708, 1.9121, 2.2114, 2.6146, 3.2431},
};

static int level_of(int bits, int index)
{
    const int half = 1 << bits;
    const double *p = positive_levels[bits - 2];
    const int at = index < half ? half - 1 - index : index - half;
    const int magnitude = (int)floor(p[at] * 127 / p[half - 1] + 0.5);
    return index < half ? -magnitude : magnitude;
}

static void test_tables(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int i = 0; i < 2 << bits; i++) {
            assert_int_equal(tq_level[bits - 2][i], level_of(bits, i));
            static const int unit[3] = {60, 136, 175};
            assert_int_equal(tq_level_fixed[bits - 2][i],
                             unit[bits - 2] * level_of(bits, i));
        }
    for (int bits = 2; bits <= 4; bits++)
        for (int z = 0; z < 4; z++)
            for (int cell = 0; cell < 64; cell++) {
                const int x = (cell < 32 ? cell : cell - 64) * 1024 + 512;
                const int16_t *level = tq_level_fixed[bits - 2];
                const int w = tq_nearest[bits - 2][z][cell];
                for (int k = 0; k < 1 << (bits - 1); k++)
                    assert_true(abs(x - level[4 * w + z]) <= abs(x - level[4 * k + z]));
                /* What the AVX2 encoder relies on: one rise among four cells. */
                assert_true(w - tq_nearest[bits - 2][z][cell & ~3] <= 1);
            }
}

/* Legendre symbol. */
static int chi(int a, int q)
{
    a = (a % q + q) % q;
    if (a == 0)
        return 0;
    for (int x = 1; x < q; x++)
        if (x * x % q == a)
            return 1;
    return -1;
}

/* Symmetric Paley I of order q + 1 or Paley II of order 2 (q + 1). */
static int paley(int order, int i, int j)
{
    if (order != 28) {
        const int q = order - 1;
        if (i == 0 || j == 0)
            return 1;
        return (i + j - 2) % q == 0 ? -1 : -chi(i + j - 2, q);
    }
    const int a = i / 2, b = j / 2, odd = i % 2 && j % 2;
    if (a == b) // [1 -1; -1 -1]
        return i % 2 == 0 && j % 2 == 0 ? 1 : -1;
    const int c = a == 0 || b == 0 ? 1 : chi(a - b, 13);
    return odd ? -c : c;
}

static int hadamard_entry(int d, int i, int j)
{
    const int order = d == 80 ? 20 : d == 112 ? 28 : d == 96 || d == 192 ? 12 : 1;
    const int inner = d / order;
    int sign = order == 1 ? 1 : paley(order, i / inner, j / inner);
    for (int both = (i % inner) & (j % inner); both; both &= both - 1)
        sign = -sign;
    return sign;
}

static uint64_t splitmix(uint64_t *s)
{
    uint64_t z = *s += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* The part of a head that starts at channel `at`: 576 is 512 and 64. */
static int part_dim(int d, int at)
{
    return d != 576 ? d : at ? 64 : 512;
}

/* y = H diag(sign) x / sqrt(d), built from its definition, within rounding; returns the
 * L1 norm of x. */
static double check_rotated(const float *y, const float *x, int d, const uint64_t *sign)
{
    double l1 = 0;
    for (int i = 0; i < d; i++)
        l1 += fabs((double)x[i]);
    for (int i = 0; i < d; i++) {
        double want = 0;
        for (int j = 0; j < d; j++)
            want += hadamard_entry(d, i, j) * (double)x[j] *
                    (sign[j / 64] >> (j % 64) & 1 ? -1 : 1);
        assert_true(fabs(want / sqrt(d) - (double)y[i]) <=
                    40 * (double)FLT_EPSILON * l1 / sqrt(d));
    }
    return l1;
}

/* Rows of a head, each part by itself. */
static void test_rotation(void **state)
{
    (void)state;
    uint64_t seed = 0;
    uint64_t sign[8];
    for (int i = 0; i < 8; i++)
        sign[i] = splitmix(&seed);
    for (int k = 0; k < N_DIM; k++)
        for (int isa = 0; isa < 2; isa++) {
            const int d = dims[k];
            const struct tq_codec c = codec(TQ_TURBO4, TQ_KEY, d, isas[isa]);
            float x[2 * TQ_DIM_MAX], y[2 * TQ_DIM_MAX];
            for (int i = 0; i < 2 * d; i++)
                x[i] = y[i] = gaussian();
            tq_rotate(&c, y, 2);
            double l1 = 0;
            for (int row = 0; row < 2 * d; row += d)
                for (int at = 0; at < d; at += part_dim(d, at))
                    l1 = fmax(l1, check_rotated(y + row + at, x + row + at,
                                                part_dim(d, at), sign));
            tq_unrotate(&c, y, 2);
            for (int i = 0; i < 2 * d; i++)
                assert_true(fabsf(x[i] - y[i]) <= 40 * FLT_EPSILON * (float)l1);
        }
}

static void test_hadamard_orthogonal(void **state)
{
    (void)state;
    static int8_t h[TQ_DIM_MAX][TQ_DIM_MAX];
    for (int k = 0; k < N_DIM; k++) {
        const int d = dims[k];
        if (part_dim(d, 0) != d)
            continue;
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++)
                h[i][j] = (int8_t)hadamard_entry(d, i, j);
        for (int i = 0; i < d; i++)
            for (int j = 0; j <= i; j++) {
                int dot = 0;
                for (int c = 0; c < d; c++)
                    dot += h[i][c] * h[j][c];
                assert_int_equal(dot, i == j ? d : 0);
            }
    }
}

/* ---- a second decoder, from docs/format.md ---- */

/* The b-bit field of token j at time t in the array that starts at `a`. */
static int field(const uint8_t *a, enum tq_role role, int d, int b, int j, int t)
{
    if (role == TQ_VALUE) {
        const int rows16 = d / 16, keys = 32 / b;
        const int at = j / keys * 4 * d + t % rows16 * 64 + t / rows16 * 4 + j % 4;
        return a[at] >> (j % keys / 4 * b) & ((1 << b) - 1);
    }
    const int word = b == 1 && d % 32 ? 16 : 32, n_rows = d * b / word;
    const int bit = t / n_rows * b;
    const int at = (t % n_rows * 16 + j % 16) * word / 8 + bit / 8;
    return a[at] >> (bit % 8) & ((1 << b) - 1);
}

/* v (part 0) or w (part 1) of token j at time t. */
static int code_part(const uint8_t *codes, enum tq_role role, int d, int bits, int j,
                     int t, int part)
{
    t = (t + d) % d;
    if (bits == 3) {
        const int group = role == TQ_KEY ? 16 : 32;
        const uint8_t *a = codes + j / group * (group * d * 3 / 8);
        if (part == 1)
            return field(a, role, d, 2, j % group, t);
        return field(a + group * d * 2 / 8, role, d, 1, j % group, t);
    }
    const uint8_t *a = role == TQ_KEY ? codes + j / 16 * 2 * bits * d : codes;
    const int f = field(a, role, d, bits, j, t);
    return part ? f >> 1 : f & 1;
}

static double slow_half(int half)
{
    if (half >= 0x7c00)
        return 0;
    return half < 0x400 ? ldexp(half, -24)
                        : ldexp(1024 + (half & 1023), half / 1024 - 25);
}

static int word_at(const uint8_t *p, int i)
{
    return p[2 * i] | p[2 * i + 1] << 8;
}

/* Whether a page has a mean, which it keeps in bits 0..3 and 15 of its scales. */
static bool has_mean(enum tq_type type, enum tq_role role, int d)
{
    return role == TQ_KEY && type != TQ_TURBO8 && d <= 256;
}

static void slow_mean(double *mean, int d, const uint8_t *p)
{
    int half = 0;
    for (int j = 0; j < 16; j++)
        half |= word_at(p, j) / 0x8000 << j;
    for (int i = 0; i < d; i++) {
        const int word = word_at(p, i % 64), block = i / 64;
        const int level =
            d <= 128 ? 2 * (word >> (2 * block) & 3) - 3 : 2 * (word >> block & 1) - 1;
        mean[i] = slow_half(half) * level;
    }
}

static void slow_decode_part(float *x, int stride, enum tq_type type, enum tq_role role,
                             int d, const uint8_t *p)
{
    const int bits = bits_of[type];
    double mean[256] = {0};
    if (has_mean(type, role, d))
        slow_mean(mean, d, p);
    for (int j = 0; j < TOKENS; j++) {
        const int keep = has_mean(type, role, d) ? 0x7ff0 : 0xffff;
        const double scale = slow_half(word_at(p, j) & keep);
        const uint8_t *codes = p + 128;
        for (int i = 0; i < d; i++) {
            int level, time, at;
            if (type == TQ_TURBO8) {
                at = role == TQ_KEY ? j / 16 * 16 * d + i / 4 * 64 + j % 16 * 4 + i % 4
                                    : (j / 4 * d + i) * 4 + j % 4;
                level = codes[at] < 128 ? codes[at] : codes[at] - 256;
            } else {
                if (role == TQ_VALUE) {
                    time = i % 16 * (d / 16) + i / 16;
                } else {
                    const int per_byte = bits == 4 ? 2 : 4, n_rows = d / (4 * per_byte);
                    const int in_row = i % (4 * per_byte);
                    time = (in_row % 4 * per_byte + in_row / 4) * n_rows +
                           i / (4 * per_byte);
                }
                const int v0 = code_part(codes, role, d, bits, j, time, 0);
                const int z1 = code_part(codes, role, d, bits, j, time + 2, 0) ^
                               code_part(codes, role, d, bits, j, time + 1, 0) ^
                               code_part(codes, role, d, bits, j, time - 1, 0);
                const int w = code_part(codes, role, d, bits, j, time, 1);
                level = level_of(bits, 4 * w + 2 * z1 + v0);
            }
            const double add = scale != 0 && has_mean(type, role, d) ? mean[i] : 0;
            x[j * stride + i] = (float)(scale * level + add);
        }
    }
}

static void slow_decode(float *x, enum tq_type type, enum tq_role role, int d,
                        const uint8_t *p)
{
    for (int at = 0; at < d; at += part_dim(d, at)) {
        const int n = part_dim(d, at);
        slow_decode_part(x + at, d, type, role, n, p);
        p += TOKENS * (2 + n * bits_of[type] / 8);
    }
}

static void test_decoder(void **state)
{
    (void)state;
    static float want[TOKENS * TQ_DIM_MAX];
    for (int k = 0; k < N_DIM; k++)
        for (int t = 0; t < 4; t++)
            for (int role = 0; role < 2; role++)
                for (int isa = 0; isa < 2; isa++) {
                    const int d = dims[k];
                    const size_t bytes = tq_page_bytes(compressed[t], d);
                    for (size_t i = 0; i < bytes; i++)
                        page[i] = (uint8_t)(uniform() * 256);
                    slow_decode(want, compressed[t], (enum tq_role)role, d, page);
                    const struct tq_codec c =
                        codec(compressed[t], (enum tq_role)role, d, isas[isa]);
                    tq_decode(&c, decoded, page);
                    for (int i = 0; i < TOKENS * d; i++) {
                        assert_true(isfinite(decoded[i]));
                        assert_true(decoded[i] == want[i]);
                    }
                }
}

/* ---- distortion ---- */

/* <x, y>, |x|^2 and |y|^2 of row j and its reconstruction. */
struct products {
    double xy, xx, yy;
};

static struct products row_products(int d, int j)
{
    struct products p = {0, 0, 0};
    for (int i = j * d; i < (j + 1) * d; i++) {
        p.xy += (double)rows[i] * (double)decoded[i];
        p.xx += (double)rows[i] * (double)rows[i];
        p.yy += (double)decoded[i] * (double)decoded[i];
    }
    return p;
}

/* With `matched`, of reconstructions that are brought to the norm of their rows. */
static double page_nmse(int d, bool matched)
{
    double sum = 0;
    for (int j = 0; j < TOKENS; j++) {
        const struct products p = row_products(d, j);
        const double f = matched ? sqrt(p.xx / p.yy) : 1;
        sum += (p.xx - 2 * f * p.xy + f * f * p.yy) / p.xx;
    }
    return sum / TOKENS;
}

/* Mean squared error over squared norm of Gaussian rows, keys and values in turn, at the
 * matched norm, which only keys have. */
static double distortion(enum tq_type type, int d, int pages)
{
    const struct tq_codec c[2] = {codec(type, TQ_KEY, d, TQ_ISA_BEST),
                                  codec(type, TQ_VALUE, d, TQ_ISA_BEST)};
    double sum = 0;
    for (int i = 0; i < pages; i++) {
        const int role = i % 2;
        fill_rows(d);
        put_rows(exact, TQ_F16, (enum tq_role)role, d);
        assert_int_equal(tq_encode(&c[role], page, exact, scratch), 0);
        tq_decode(&c[role], decoded, page);
        sum += page_nmse(d, role == TQ_VALUE && type != TQ_TURBO8) / pages;
    }
    return sum;
}

/* The goals of the format with 3 %.  At d = 128 less than the goals is asked for; a
 * longer row gains less from the choice of its gain. */
static void test_distortion(void **state)
{
    (void)state;
    static const double goal[4] = {.00005, .00650, .0236, .0870};
    static const double at128[4] = {.00005, .00560, .0220, .0860};
    enum { PAGES = 60 };
    for (int k = 0; k < N_DIM; k++)
        for (int t = 0; t < 4; t++) {
            const int d = dims[k];
            if (d > 256 && compressed[t] == TQ_TURBO8)
                continue; // its expected maximum grows with d
            const double got = distortion(compressed[t], d, d == 128 ? PAGES : PAGES / 3);
            assert_true(got <= (d == 128 ? at128[t] : goal[t] * 1.03));
            assert_true(got >= goal[t] * 0.6);
        }
}

/* E max |x|^2 of d normal numbers: the integral of 2 x P(max > x). */
static double mean_square_of_maximum(int d)
{
    double sum = 0;
    for (double x = .0005; x < 12; x += .001)
        sum += 2 * x * (1 - pow(erf(x / sqrt(2)), d)) * .001;
    return sum;
}

/* turbo8 has uniform errors in steps of a 127th of the maximum. */
static void test_turbo8_of_512(void **state)
{
    (void)state;
    const double steps = mean_square_of_maximum(512) / (127 * 127 * 12);
    assert_true(fabs(distortion(TQ_TURBO8, 512, 20) / steps - 1) <= .02);
}

/* Rows of `from` from channel `at` on, d of `stride`, to rows. */
static void take_channels(const float *from, int stride, int at, int d)
{
    for (int j = 0; j < TOKENS; j++)
        memcpy(rows + j * d, from + j * stride + at, (size_t)d * sizeof *rows);
}

/* A page of 576 is one of 512 and one of 64, so its distortion is theirs. */
static void test_parts(void **state)
{
    (void)state;
    static float all[TOKENS * 576];
    for (int t = 0; t < 4; t++)
        for (int role = 0; role < 2; role++)
            for (int isa = 0; isa < 2; isa++) {
                const enum tq_type type = compressed[t];
                struct tq_codec c = codec(type, (enum tq_role)role, 576, isas[isa]);
                fill_rows(576);
                memcpy(all, rows, sizeof all);
                put_rows(exact, TQ_F16, (enum tq_role)role, 576);
                assert_int_equal(tq_encode(&c, page, exact, scratch), 0);
                size_t before = 0;
                for (int at = 0; at < 576; at += part_dim(576, at)) {
                    const int d = part_dim(576, at);
                    take_channels(all, 576, at, d);
                    put_rows(exact, TQ_F16, (enum tq_role)role, d);
                    c = codec(type, (enum tq_role)role, d, isas[isa]);
                    tq_encode(&c, other_page, exact, scratch);
                    assert_memory_equal(page + before, other_page,
                                        tq_page_bytes(type, d));
                    before += tq_page_bytes(type, d);
                }
                assert_int_equal(before, tq_page_bytes(type, 576));
            }
}

/* The decoded row has the norm of the row (trellis types; f16 scale: half an ulp). */
/* Keys less the mean of their page keep their norm, as far as a scale of seven bits goes;
 * values have <x, y> = |x|^2, as far as the costs of the encoder, which are rounded and
 * looked up by cells, tell the angle. */
static void test_scales(void **state)
{
    (void)state;
    for (int t = 1; t < 4; t++)
        for (int role = 0; role < 2; role++) {
            const struct tq_codec c =
                codec(compressed[t], (enum tq_role)role, 128, TQ_ISA_BEST);
            fill_rows(128);
            for (int i = 0; i < TOKENS * 128; i++)
                rows[i] += role == TQ_KEY && i % 3 == 0 ? 2.0f : 0.0f;
            put_rows(exact, TQ_F16, (enum tq_role)role, 128);
            tq_encode(&c, page, exact, scratch);
            tq_decode(&c, decoded, page);
            double mean[128] = {0};
            if (role == TQ_KEY)
                slow_mean(mean, 128, page);
            for (int i = 0; i < TOKENS * 128; i++) {
                rows[i] -= (float)mean[i % 128];
                decoded[i] -= (float)mean[i % 128];
            }
            for (int j = 0; j < TOKENS; j++) {
                const struct products p = row_products(128, j);
                if (role == TQ_KEY)
                    assert_true(fabs(sqrt(p.yy / p.xx) - 1) < 0x1p-7 + 0x1p-9);
                else
                    assert_true(fabs(p.xy / p.xx - 1) < 2e-3);
            }
        }
}

/* Keys around a mean: what the code of the mean leaves of it is what a quantiser of four
 * uniform levels leaves of a Gaussian, .1188, or one of two, .3634; and the rows without
 * the decoded mean are coded as well as any, by the limits of test_distortion. */
static void test_page_mean(void **state)
{
    (void)state;
    enum { PAGES = 32 };
    static const double goal[4] = {0, .00650, .0236, .0870};
    for (int t = 1; t < 4; t++)
        for (int k = 0; k < N_DIM && dims[k] <= 256; k++) {
            const int d = dims[k];
            const struct tq_codec c = codec(compressed[t], TQ_KEY, d, TQ_ISA_BEST);
            double energy = 0, left = 0, residual = 0, error = 0;
            for (int p = 0; p < PAGES; p++) {
                float mean[256];
                double coded[256];
                fill_rows(d);
                for (int i = 0; i < d; i++)
                    mean[i] = 1.5f * gaussian();
                for (int i = 0; i < TOKENS * d; i++)
                    rows[i] += mean[i % d];
                put_rows(exact, TQ_F16, TQ_KEY, d);
                tq_encode(&c, page, exact, scratch);
                tq_decode(&c, decoded, page);
                slow_mean(coded, d, page);
                for (int i = 0; i < d; i++) {
                    double m = 0;
                    for (int j = 0; j < TOKENS; j++) {
                        m += (double)rows[j * d + i] / TOKENS;
                        residual += pow((double)rows[j * d + i] - coded[i], 2);
                        error += pow((double)(rows[j * d + i] - decoded[j * d + i]), 2);
                    }
                    energy += m * m;
                    left += pow(m - coded[i], 2);
                }
            }
            assert_true(fabs(left / energy / (d <= 128 ? .1188 : .3634) - 1) <= .1);
            assert_true(error <= goal[t] * (d == 128 ? 1.0 : 1.03) * residual);
        }
}

/* Keys that are all the same have nothing but the mean, and the least scale, 2^-20; one
 * that is zero stays zero. */
static void test_equal_keys(void **state)
{
    (void)state;
    for (int t = 1; t < 4; t++) {
        const struct tq_codec c = codec(compressed[t], TQ_KEY, 128, TQ_ISA_BEST);
        float row[128];
        for (int i = 0; i < 128; i++)
            row[i] = i % 3 ? 1.5f : -1.5f; // exactly what the mean can be
        for (int j = 0; j < TOKENS; j++)
            for (int i = 0; i < 128; i++)
                rows[j * 128 + i] = j == 5 ? 0.0f : row[i];
        put_rows(exact, TQ_F16, TQ_KEY, 128);
        assert_int_equal(tq_encode(&c, page, exact, scratch), 0);
        tq_decode(&c, decoded, page);
        for (int j = 0; j < TOKENS; j++)
            for (int i = 0; i < 128; i++)
                assert_true(fabsf(decoded[j * 128 + i] - rows[j * 128 + i]) <= 2e-4f);
        for (int i = 0; i < 128; i++)
            assert_true(decoded[5 * 128 + i] == 0.0f);
    }
}

/* A value that no level fits: one channel has everything.  Its scale stays within 25 % of
 * that of the matched norm. */
static void test_scale_of_a_spike(void **state)
{
    (void)state;
    memset(rows, 0, sizeof rows);
    for (int j = 0; j < TOKENS; j++)
        rows[j * 128 + j] = 3.0f;
    put_rows(exact, TQ_F16, TQ_VALUE, 128);
    for (int t = 1; t < 4; t++) {
        const struct tq_codec c = codec(compressed[t], TQ_VALUE, 128, TQ_ISA_BEST);
        tq_encode(&c, page, exact, scratch);
        tq_decode(&c, decoded, page);
        for (int j = 0; j < TOKENS; j++) {
            const struct products p = row_products(128, j);
            const double norm = sqrt(p.yy / p.xx);
            assert_true(norm >= 0.999 && norm <= 1.251);
        }
    }
}

static void test_same_bytes_on_every_isa(void **state)
{
    (void)state;
    for (int k = 0; k < N_DIM; k++)
        for (int t = 0; t < 4; t++)
            for (int role = 0; role < 2; role++) {
                const int d = dims[k];
                const size_t bytes = tq_page_bytes(compressed[t], d);
                fill_rows(d);
                put_rows(exact, TQ_F16, (enum tq_role)role, d);
                const struct tq_codec a =
                    codec(compressed[t], (enum tq_role)role, d, TQ_ISA_C);
                const struct tq_codec b =
                    codec(compressed[t], (enum tq_role)role, d, TQ_ISA_BEST);
                tq_encode(&a, page, exact, scratch);
                tq_encode(&b, other_page, exact, scratch + 3);
                assert_memory_equal(page, other_page, bytes);
            }
}

/* A distortion at the matched norm, 2 - 2 cos, as one of unbiased values, 1 / cos^2 - 1.
 */
#define UNBIASED(x) (1 / ((1 - (x) / 2) * (1 - (x) / 2)) - 1)

/* Rows 0..6 are odd, the rest ordinary; the odd ones do not disturb them. */
static void test_odd_rows(void **state)
{
    (void)state;
    for (int t = 0; t < 4; t++)
        for (int role = 0; role < 2; role++)
            for (int isa = 0; isa < 4; isa++) {
                const int d = isa / 2 ? 576 : 96; // broken in one of the two parts
                fill_rows(d);
                for (int i = 0; i < d; i++) {
                    rows[0 * d + i] = 0.0f;
                    rows[5 * d + i] *= 1e-7f; // f16 subnormals
                    rows[6 * d + i] *= 1e30f; // saturates at 65504
                    rows[7 * d + i] = i == 9 ? 60000.0f : 0.0f;
                }
                rows[1 * d + 3] = NAN;
                rows[2 * d] = INFINITY;
                rows[3 * d + d - 1] = -INFINITY;
                rows[4 * d + 7] = -NAN;
                put_rows(exact, TQ_F16, (enum tq_role)role, d);
                const struct tq_codec c =
                    codec(compressed[t], (enum tq_role)role, d, isas[isa % 2]);
                assert_int_equal(tq_encode(&c, page, exact, scratch), 4);
                tq_decode(&c, decoded, page);
                for (int i = 0; i < 5 * d; i++)
                    assert_true(decoded[i] == 0.0f);
                for (int i = 5 * d; i < TOKENS * d; i++)
                    assert_true(isfinite(decoded[i]));
                for (int j = 8; j < TOKENS; j++) {
                    double e = 0, x2 = 0;
                    for (int i = j * d; i < (j + 1) * d; i++) {
                        e += pow((double)rows[i] - (double)decoded[i], 2);
                        x2 += pow((double)rows[i], 2);
                    }
                    assert_true(e < (role == TQ_KEY ? 0.2 : UNBIASED(0.2)) * x2);
                }
                double e = 0;
                for (int i = 6 * d; i < 7 * d; i++)
                    e += pow(copysign(65504.0, (double)rows[i]) - (double)decoded[i], 2);
                assert_true(e < 0.2 * 65504.0 * 65504.0 * d);
            }
}

/* ---- exact pages ---- */

static void test_exact_pages(void **state)
{
    (void)state;
    for (int d = 1; d <= TQ_DIM_MAX; d += 51)
        for (int role = 0; role < 2; role++) {
            fill_rows(d);
            const struct tq_codec f32 = codec(TQ_F32, (enum tq_role)role, d, TQ_ISA_BEST);
            put_rows(page, TQ_F32, (enum tq_role)role, d);
            tq_decode(&f32, decoded, page);
            for (int i = 0; i < TOKENS * d; i++)
                assert_true(decoded[i] == rows[i]);
            const struct tq_codec f16 = codec(TQ_F16, (enum tq_role)role, d, TQ_ISA_BEST);
            put_rows(page, TQ_F16, (enum tq_role)role, d);
            tq_decode(&f16, decoded, page);
            for (int i = 0; i < TOKENS * d; i++)
                assert_true(fabsf(decoded[i] - rows[i]) <=
                            0x1p-11f * fabsf(rows[i]) + 0x1p-25f);
        }
}

/* ---- attention ---- */

enum { MAX_N = 70 };

struct case_ {
    enum tq_type kt, vt;
    int kd, vd, n, lo;
    uint8_t hi[MAX_N];
    float q[MAX_N * TQ_DIM_MAX];
};

static struct case_ tc;
static float part_m[MAX_N], part_l[MAX_N], got[MAX_N * TQ_DIM_MAX];
static _Alignas(64) float part_o[MAX_N * TQ_DIM_MAX];
static float krows[TOKENS * TQ_DIM_MAX], vrows[TOKENS * TQ_DIM_MAX];
static _Alignas(64) uint8_t kpages[2][PAGE_CAP], vpages[2][PAGE_CAP];
static _Alignas(64) uint8_t query_mem[MAX_N * TQ_DIM_MAX * 12];

static void make_page(uint8_t *to, enum tq_type t, enum tq_role role, int d)
{
    fill_rows(d);
    if (!tq_type_compressed(t)) {
        put_rows(to, t, role, d);
        return;
    }
    const struct tq_codec c = codec(t, role, d, TQ_ISA_BEST);
    put_rows(exact, TQ_F16, role, d);
    tq_encode(&c, to, exact, scratch);
}

/* The kernels of the last call. */
static const struct tq_kernels *used_k, *used_v;

/* Two pages, attended by queries i0 .. i0 + n - 1 of tc; results to o, l, m of rows i0...
 */
static void attend_two_pages(int i0, int n, enum tq_isa isa)
{
    const struct tq_codec k = codec(tc.kt, TQ_KEY, tc.kd, isa);
    const struct tq_codec v = codec(tc.vt, TQ_VALUE, tc.vd, isa);
    struct tq_query q;
    used_k = k.kernels;
    used_v = v.kernels;
    assert_true(tq_query_bytes(tc.kd, n) <= sizeof query_mem);
    assert_true(tq_attend_scratch_bytes(TQ_DIM_MAX, n) <= sizeof attend_scratch);
    tq_query_init(&q, query_mem, tc.kd, n);
    tq_query_load(&k, &q, tc.q + i0 * tc.kd, (size_t)tc.kd, n, 0.25f);
    struct tq_partial p = {part_m + i0, part_l + i0, part_o + i0 * tc.vd};
    tq_partial_reset(&p, n, tc.vd);
    tq_attend(&k, &v, &p, &q, kpages[0], vpages[0], tc.lo, tc.hi + i0, attend_scratch);
    tq_attend(&k, &v, &p, &q, kpages[1], vpages[1], tc.lo, tc.hi + i0, attend_scratch);
    tq_finish(&p, got + i0 * tc.vd, (size_t)tc.vd, n, tc.vd);
}

static void make_case(enum tq_type kt, enum tq_type vt, int kd, int vd, int n, bool full)
{
    tc = (struct case_){.kt = kt, .vt = vt, .kd = kd, .vd = vd, .n = n};
    tc.lo = full ? 0 : (int)(uniform() * 40);
    for (int i = 0; i < n; i++)
        tc.hi[i] = full || i % 5 == 0 ? 64 : (uint8_t)(uniform() * 65);
    for (int i = 0; i < n * kd; i++)
        tc.q[i] = gaussian();
    for (int i = 0; i < 2; i++) {
        make_page(kpages[i], kt, TQ_KEY, kd);
        make_page(vpages[i], vt, TQ_VALUE, vd);
    }
}

struct sizes {
    double k1, k2; // largest sum and root of the sum of squares of a key
    double v;      // largest magnitude of a value
};

/* Softmax attention of query i over the decoded pages in double. */
static void oracle(double *out, int i, struct sizes *sizes)
{
    const struct tq_codec k = codec(tc.kt, TQ_KEY, tc.kd, TQ_ISA_C);
    const struct tq_codec v = codec(tc.vt, TQ_VALUE, tc.vd, TQ_ISA_C);
    double score[2][TOKENS], top = -INFINITY, sum = 0;
    *sizes = (struct sizes){0};
    memset(out, 0, sizeof *out * (size_t)tc.vd);
    for (int p = 0; p < 2; p++) {
        tq_decode(&k, krows, kpages[p]);
        for (int j = tc.lo; j < tc.hi[i]; j++) {
            double s = 0, k1 = 0, k2 = 0;
            for (int c = 0; c < tc.kd; c++) {
                const double key = (double)krows[j * tc.kd + c];
                s += 0.25 * (double)tc.q[i * tc.kd + c] * key;
                k1 += fabs(key);
                k2 += key * key;
            }
            score[p][j] = s;
            sizes->k1 = fmax(sizes->k1, k1);
            sizes->k2 = fmax(sizes->k2, sqrt(k2));
            top = fmax(top, s);
        }
    }
    for (int p = 0; p < 2; p++) {
        tq_decode(&v, vrows, vpages[p]);
        for (int j = tc.lo; j < tc.hi[i]; j++) {
            const double w = exp(score[p][j] - top);
            sum += w;
            for (int c = 0; c < tc.vd; c++) {
                out[c] += w * (double)vrows[j * tc.vd + c];
                sizes->v = fmax(sizes->v, fabs((double)vrows[j * tc.vd + c]));
            }
        }
    }
    for (int c = 0; c < tc.vd; c++)
        out[c] = sum > 0 ? out[c] / sum : 0;
}

/* Bounds of docs/numerics.md.  A query limb rounds by at most step / 2 (two limbs:
 * step / 256), so a score is off by at most e = that times sum |k|, a weight by a factor
 * exp(2 e).  Weights of compressed pages are rounded by half a unit, of which the
 * largest of a page has weight_most (two limbs: 65535); 128 tokens share a sum of weights
 * of at least 1.  In the mean square roundings are uniform and independent: step /
 * sqrt(12), and ||k|| for sum |k|.
 */
static double attention_bound(int i, const struct sizes *sizes, double *mean)
{
    double absmax = 0;
    for (int c = 0; c < tc.kd; c++)
        absmax = fmax(absmax, 0.25 * fabs((double)tc.q[i * tc.kd + c]));
    double e = 2e-6 * absmax * sizes->k1, w = 1e-6;
    *mean = 1e-5;
    if (tq_type_compressed(tc.kt)) {
        const double step = absmax / used_k->query_most / (tc.kt == TQ_TURBO8 ? 128 : 1);
        e += step / 2 * sizes->k1;
        *mean += 2 * step / sqrt(12) * sizes->k2;
    }
    if (tq_type_compressed(tc.vt)) {
        const double unit = 1.0 / (tc.vt == TQ_TURBO8 ? 65535 : used_v->weight_most);
        w += 128.0 * unit / 2 * 3; // the scales of a page differ less than threefold
        *mean += sqrt(128) * unit / sqrt(12);
    }
    return sizes->v * (exp(2 * e) - 1 + w);
}

/* tight: 1e-5 up to 256 dimensions of keys.  The bound of a score in f32, (d + 1) eps
 * sum |q k|, grows as d^2. */
static void check_against_oracle(bool tight)
{
    const double d = fmax(tc.kd, 256) / 256, least = 1e-5 * d * d;
    static double want[TQ_DIM_MAX];
    double err = 0, allowed = 0;
    for (int i = 0; i < tc.n; i++) {
        struct sizes sizes;
        double mean;
        oracle(want, i, &sizes);
        const double bound = attention_bound(i, &sizes, &mean);
        for (int c = 0; c < tc.vd; c++) {
            const double e = fabs(want[c] - (double)got[i * tc.vd + c]);
            assert_true(e <= (tight ? least : bound));
            err += e * e;
            allowed += mean * mean * want[c] * want[c];
        }
    }
    assert_true(err <= allowed);
}

static void test_attend(void **state)
{
    (void)state;
    for (int k = 0; k < N_DIM; k++)
        for (int kt = 0; kt < N_TYPE; kt++)
            for (int vt = 0; vt < N_TYPE; vt++)
                for (int isa = 0; isa < 2; isa++) {
                    make_case((enum tq_type)kt, (enum tq_type)vt, dims[k],
                              dims[(k + kt) % N_DIM], 3, (kt + vt) % 2);
                    attend_two_pages(0, tc.n, isas[isa]);
                    check_against_oracle(kt == TQ_F32 && vt == TQ_F32);
                }
}

/* Values of 512 are the first part of those of 576: the same page, the same bits. */
static void test_latent_values(void **state)
{
    (void)state;
    static float all[3 * 576];
    for (int t = 0; t < 4; t++)
        for (int isa = 0; isa < 2; isa++) {
            make_case(compressed[t], compressed[t], 576, 576, 3, t % 2);
            attend_two_pages(0, 3, isas[isa]);
            memcpy(all, got, sizeof all);
            tc.vd = 512;
            attend_two_pages(0, 3, isas[isa]);
            for (int i = 0; i < 3; i++)
                assert_memory_equal(got + i * 512, all + i * 576, 512 * sizeof *got);
        }
}

/* A score of 576 is the clamped sum of the clamped scores of its parts. */
static void test_huge_parts(void **state)
{
    (void)state;
    for (int t = 0; t < 4; t++)
        for (int isa = 0; isa < 2; isa++) {
            make_case(compressed[t], TQ_F32, 576, 64, 4, true);
            for (int i = 0; i < 576; i++) {
                tc.q[i] *= 1e37f;
                tc.q[576 + i] *= i < 512 ? 1.0f : 1e37f;
                tc.q[2 * 576 + i] *= i < 512 ? 1e37f : 1e-38f;
            }
            tc.q[3 * 576 + 575] = NAN;
            attend_two_pages(0, 4, isas[isa]);
            for (int i = 0; i < 3 * 64; i++)
                assert_true(isfinite(got[i]));
            for (int i = 3 * 64; i < 4 * 64; i++)
                assert_true(isnan(got[i]));
        }
}

/* Exact pages of any d. */
static void test_attend_exact_dims(void **state)
{
    (void)state;
    for (int d = 1; d <= TQ_DIM_MAX; d += 15) {
        make_case(TQ_F32, TQ_F32, d, TQ_DIM_MAX + 1 - d, 5, d % 2);
        attend_two_pages(0, tc.n, TQ_ISA_BEST);
        check_against_oracle(true);
        make_case(TQ_F16, TQ_F16, d, TQ_DIM_MAX + 1 - d, 5, d % 2);
        attend_two_pages(0, tc.n, TQ_ISA_BEST);
        check_against_oracle(false);
    }
}

/* Queries one at a time, in threes or all at once: the same bits. */
static void test_independent_of_n(void **state)
{
    (void)state;
    static float o[MAX_N * TQ_DIM_MAX], l[MAX_N], m[MAX_N];
    for (int kt = 0; kt < N_TYPE; kt++)
        for (int vt = 0; vt < N_TYPE; vt++) {
            make_case((enum tq_type)kt, (enum tq_type)vt, dims[(kt + vt) % N_DIM],
                      dims[(kt + 2 * vt) % N_DIM], MAX_N, false);
            const size_t bytes = sizeof(float) * (size_t)(tc.n * tc.vd);
            attend_two_pages(0, tc.n, TQ_ISA_BEST);
            memcpy(o, part_o, bytes);
            memcpy(l, part_l, sizeof l);
            memcpy(m, part_m, sizeof m);
            for (int step = 1; step <= 3; step += 2) {
                for (int i = 0; i < tc.n; i += step)
                    attend_two_pages(i, tc.n - i < step ? tc.n - i : step, TQ_ISA_BEST);
                assert_memory_equal(o, part_o, bytes);
                assert_memory_equal(l, part_l, sizeof l);
                assert_memory_equal(m, part_m, sizeof m);
            }
        }
}

/* Unused rows of a page may hold anything: NaN there reaches no query that does not see
 * them, alone or beside one that does. */
static void test_unseen_rows(void **state)
{
    (void)state;
    make_case(TQ_F16, TQ_F16, 64, 80, 4, true);
    static const uint8_t hi[4] = {20, 64, 0, 20};
    memcpy(tc.hi, hi, sizeof hi);
    attend_two_pages(0, 4, TQ_ISA_BEST);
    float before[4 * 80];
    memcpy(before, got, sizeof before);
    const struct tq_codec k = codec(TQ_F16, TQ_KEY, 64, TQ_ISA_BEST);
    const struct tq_codec v = codec(TQ_F16, TQ_VALUE, 80, TQ_ISA_BEST);
    float bad[80];
    for (int i = 0; i < 80; i++)
        bad[i] = NAN;
    tq_put(&k, kpages[0], 20, bad);
    tq_put(&v, vpages[0], 20, bad);
    attend_two_pages(0, 4, TQ_ISA_BEST);
    assert_memory_equal(before, got, 80 * sizeof(float));
    assert_true(isnan(got[80]));
    for (int i = 160; i < 240; i++)
        assert_true(got[i] == 0.0f);
    assert_memory_equal(before + 240, got + 240, 80 * sizeof(float));
    assert_true(part_l[2] == 0.0f && part_m[2] == -INFINITY);
}

/* Huge, zero and broken queries. */
static void test_odd_queries(void **state)
{
    (void)state;
    for (int kt = 0; kt < N_TYPE; kt++)
        for (int isa = 0; isa < 2; isa++) {
            make_case((enum tq_type)kt, (enum tq_type)kt, 64, 64, 5, true);
            for (int i = 0; i < 64; i++) {
                tc.q[i] *= 1e37f;    // scores are clamped
                tc.q[64 + i] = 0.0f; // uniform weights
                tc.q[128 + i] *= 1e-38f;
            }
            tc.q[192 + 5] = NAN;
            tc.q[256 + 63] = INFINITY;
            attend_two_pages(0, 5, isas[isa]);
            double want[64];
            struct sizes sizes;
            oracle(want, 1, &sizes);
            for (int i = 0; i < 64; i++) {
                assert_true(isfinite(got[i]));
                assert_true(fabs(want[i] - (double)got[64 + i]) <= 0.01 * sizes.v);
                assert_true(fabs(want[i] - (double)got[128 + i]) <= 0.01 * sizes.v);
                assert_true(isnan(got[192 + i]) && isnan(got[256 + i]));
            }
        }
}

/* Random bytes as pages: finite results, no trap (run with the sanitizers). */
static void test_random_pages(void **state)
{
    (void)state;
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < N_DIM; k++) {
            make_case(compressed[t], compressed[t], dims[k], dims[k], 3, true);
            const size_t bytes = tq_page_bytes(compressed[t], dims[k]);
            for (size_t i = 0; i < bytes; i++) {
                kpages[0][i] = (uint8_t)(uniform() * 256);
                vpages[1][i] = (uint8_t)(uniform() * 256);
            }
            for (int isa = 0; isa < 2; isa++) {
                attend_two_pages(0, 3, isas[isa]);
                for (int i = 0; i < 3 * dims[k]; i++)
                    assert_true(isfinite(got[i]));
            }
        }
}

/* Values that are all zero vectors, and keys far below the running maximum. */
static void test_zero_weights(void **state)
{
    (void)state;
    for (int t = 0; t < 4; t++) {
        make_case(compressed[t], compressed[t], 128, 128, 2, true);
        memset(vpages[1], 0, 128);
        attend_two_pages(0, 2, TQ_ISA_BEST);
        check_against_oracle(false);
        memset(vpages[0], 0, 128);
        attend_two_pages(0, 2, TQ_ISA_BEST);
        for (int i = 0; i < 256; i++)
            assert_true(got[i] == 0.0f);
    }
}

/* Pages attended apart and merged equal pages attended in turn. */
static void test_merge(void **state)
{
    (void)state;
    make_case(TQ_F32, TQ_F32, 64, 64, 3, true);
    tc.hi[2] = 0;
    attend_two_pages(0, 3, TQ_ISA_BEST);
    const struct tq_codec k = codec(TQ_F32, TQ_KEY, 64, TQ_ISA_BEST);
    const struct tq_codec v = codec(TQ_F32, TQ_VALUE, 64, TQ_ISA_BEST);
    struct tq_query q;
    tq_query_init(&q, query_mem, 64, 3);
    tq_query_load(&k, &q, tc.q, 64, 3, 0.25f);
    static _Alignas(64) float o[2][3 * 64], out[3 * 64];
    float m[2][3], l[2][3];
    struct tq_partial p[2];
    for (int i = 0; i < 2; i++) {
        p[i] = (struct tq_partial){m[i], l[i], o[i]};
        tq_partial_reset(&p[i], 3, 64);
        tq_attend(&k, &v, &p[i], &q, kpages[i], vpages[i], 0, tc.hi, attend_scratch);
    }
    tq_merge(&p[0], &p[1], 3, 64);
    tq_finish(&p[0], out, 64, 3, 64);
    for (int i = 0; i < 2 * 64; i++)
        assert_true(fabsf(out[i] - got[i]) <= 1e-6f);
    for (int i = 2 * 64; i < 3 * 64; i++)
        assert_true(out[i] == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_hadamard_orthogonal),
        cmocka_unit_test(test_decoder),
        cmocka_unit_test(test_distortion),
        cmocka_unit_test(test_turbo8_of_512),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_page_mean),
        cmocka_unit_test(test_equal_keys),
        cmocka_unit_test(test_scale_of_a_spike),
        cmocka_unit_test(test_same_bytes_on_every_isa),
        cmocka_unit_test(test_odd_rows),
        cmocka_unit_test(test_exact_pages),
        cmocka_unit_test(test_attend),
        cmocka_unit_test(test_latent_values),
        cmocka_unit_test(test_huge_parts),
        cmocka_unit_test(test_attend_exact_dims),
        cmocka_unit_test(test_independent_of_n),
        cmocka_unit_test(test_unseen_rows),
        cmocka_unit_test(test_odd_queries),
        cmocka_unit_test(test_random_pages),
        cmocka_unit_test(test_zero_weights),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
