/* test_tensor.c - block types, packed matrices, products and operators. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/matrix.h"
#include "tensor/ops.h"
#include "tensor/random.h"

#include "../data/dequant.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const enum dtype types[] = {
#define X(NAME) DTYPE_##NAME,
    DEQUANT_VECTORS(X)
#undef X
};
enum { N_TYPE = sizeof types / sizeof *types };

static void test_types(void **state)
{
    (void)state;
    assert_string_equal(dtype_find(12)->name, "Q4_K");
    assert_int_equal(dtype_find(12)->block_elems, 256);
    assert_int_equal(dtype_find(12)->block_bytes, 144);
    assert_int_equal(dtype_find(14)->block_bytes, 210);
    assert_int_equal(dtype_find(39)->block_bytes, 17);
    assert_true(dtype_find(16)->dequant == NULL);
    const uint32_t unknown[] = {4, 5, 9, 15, 31, 33, 36, 38, 43, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_null(dtype_find(unknown[i]));
    assert_true(matrix_supported(DTYPE_Q4_0, 96));
    assert_false(matrix_supported(DTYPE_Q4_0, 80));
    assert_false(matrix_supported(DTYPE_Q4_K, 128));
    assert_false(matrix_supported(DTYPE_IQ2_XXS, 256));
    assert_false(matrix_supported((enum dtype)4, 256));
    assert_false(matrix_supported(DTYPE_F32, 0));
}

/* The value of a finite f16 by its definition. */
static double f16_value(unsigned h)
{
    const int e = (int)(h >> 10 & 31);
    const double m = h & 1023, sign = h >> 15 ? -1 : 1;
    return sign * (e ? ldexp(1024 + m, e - 25) : ldexp(m, -24));
}

static void test_f16(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        const float f = dtype_f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00) {
            assert_true((h & 0x3ff) ? isnan(f) : isinf(f) && (f < 0) == (h >> 15 == 1));
            if (h & 0x3ff)
                assert_int_equal(dtype_f32_to_f16(f), h | 0x200);
            else
                assert_int_equal(dtype_f32_to_f16(f), h);
            continue;
        }
        assert_true((double)f == f16_value(h));
        assert_int_equal(dtype_f32_to_f16(f), h);
        if ((h & 0x7fff) == 0x7bff)
            continue;
        /* Half way to the next value away from zero: to the even one of both. */
        const float half = (float)((f16_value(h) + f16_value(h + 1)) / 2);
        assert_int_equal(dtype_f32_to_f16(half), h + (h & 1));
        const float away = h >> 15 ? -INFINITY : INFINITY;
        assert_int_equal(dtype_f32_to_f16(nextafterf(half, away)), h + 1);
        assert_int_equal(dtype_f32_to_f16(nextafterf(half, 0)), h);
    }
    assert_int_equal(dtype_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(dtype_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(dtype_f32_to_f16(-FLT_MAX), 0xfc00);
    assert_int_equal(dtype_f32_to_f16(0x1p-26f), 0);
}

static void check_vectors(enum dtype t, const uint8_t *in, size_t in_bytes,
                          const uint32_t *want, size_t n)
{
    const struct dtype_traits *traits = dtype_find(t);
    const int64_t n_block = (int64_t)(in_bytes / (size_t)traits->block_bytes);
    float got[1024];
    assert_int_equal(n, (size_t)n_block * (size_t)traits->block_elems);
    traits->dequant(got, in, n_block);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, got + i, sizeof bits);
        if (bits != want[i] && (bits | want[i]) != 0x80000000) // zeros of either sign
            fail_msg("%s element %zu: %08x, not %08x", traits->name, i, bits, want[i]);
    }
}

static void test_dequant(void **state)
{
    (void)state;
#define X(NAME)                                                              \
    check_vectors(DTYPE_##NAME, dequant_in_##NAME, sizeof dequant_in_##NAME, \
                  dequant_out_##NAME, sizeof dequant_out_##NAME / sizeof(uint32_t));
    DEQUANT_VECTORS(X)
#undef X
}

/* ---- matrices ---- */

struct setup {
    enum dtype t;
    int n_out, n_in, n_tok;
    size_t row_bytes;
    uint8_t *blocks; // as in a file
    struct matrix m;
    void *act_mem;
    struct act act;
    float *x;
};

static void setup_open(struct setup *s, enum dtype t, int n_out, int n_in, int n_tok,
                       struct pool *pool)
{
    const struct dtype_traits *traits = dtype_find(t);
    const int64_t n_block = (int64_t)n_out * (n_in / traits->block_elems);
    *s = (struct setup){.t = t, .n_out = n_out, .n_in = n_in, .n_tok = n_tok};
    s->row_bytes = (size_t)(n_in / traits->block_elems) * (size_t)traits->block_bytes;
    s->blocks = mem_array((size_t)n_block, (size_t)traits->block_bytes);
    dtype_random(t, s->blocks, n_block, 5 + (uint64_t)t, 0.5f);
    s->m = (struct matrix){.dtype = t, .n_out = n_out, .n_in = n_in};
    s->m.tiles = mem_pages(matrix_bytes(t, n_out, n_in));
    matrix_pack(&s->m, s->blocks, pool);
    s->act_mem = mem_array(1, act_bytes(n_tok, n_in));
    act_init(&s->act, s->act_mem, n_tok, n_in);
    s->x = mem_array((size_t)n_tok * (size_t)n_in, sizeof *s->x);
    for (size_t i = 0; i < (size_t)n_tok * (size_t)n_in; i++)
        s->x[i] = (float)(rng_uniform(9, i) - 0.5);
}

static void setup_close(struct setup *s)
{
    mem_free(s->blocks);
    mem_pages_free(s->m.tiles, matrix_bytes(s->t, s->n_out, s->n_in));
    mem_free(s->act_mem);
    mem_free(s->x);
}

static struct pool *open_pool(int n_thread)
{
    struct pool *pool;
    assert_int_equal(pool_open(&pool, n_thread, NULL), STATUS_OK);
    return pool;
}

static void test_rows_survive_packing(void **state)
{
    (void)state;
    struct pool *pool = open_pool(2);
    for (int i = 0; i < N_TYPE; i++) {
        struct setup s;
        float want[512], got[512];
        setup_open(&s, types[i], 37, 512, 1, pool);
        for (int r = 0; r < s.n_out; r++) {
            const uint8_t *row = s.blocks + (size_t)r * s.row_bytes;
            const struct dtype_traits *traits = dtype_find(s.t);
            traits->dequant(want, row, 512 / traits->block_elems);
            matrix_row(&s.m, got, r);
            assert_memory_equal(got, want, sizeof want);
        }
        assert_int_equal(matrix_bytes(s.t, 37, 512), 48 * s.row_bytes);
        setup_close(&s);
    }
    pool_close(pool);
}

/* W x in double, and the sum of magnitudes that bounds its rounding errors.  A value of
 * dtype_random is scale * code + min with both parts at most twice the row's largest. */
static void product(double *sum, double *magnitude, const struct setup *s, int row,
                    int tok, int quantized)
{
    float w[512], largest = 0;
    const struct dtype_traits *traits = dtype_find(s->t);
    traits->dequant(w, s->blocks + (size_t)row * s->row_bytes,
                    s->n_in / traits->block_elems);
    *sum = *magnitude = 0;
    for (int i = 0; i < s->n_in; i++)
        largest = fmaxf(largest, fabsf(w[i]));
    for (int i = 0; i < s->n_in; i++) {
        double x = (double)s->x[(size_t)tok * (size_t)s->n_in + (size_t)i];
        if (quantized) {
            const struct act_block *b = act_at(&s->act, tok, i / 32);
            x = (double)b->scale * b->q[i % 32];
        }
        *sum += (double)w[i] * x;
        *magnitude += 4 * (double)largest * fabs(x);
    }
}

static void check_product(struct setup *s, struct pool *pool,
                          const struct tensor_kernels *k)
{
    const size_t ld = (size_t)s->n_out + 5;
    const bool quantized = !matrix_takes_floats(s->t);
    float *dst = mem_array(ld * (size_t)s->n_tok, sizeof *dst);
    double error = 0, energy = 0;
    act_load(&s->act, k, pool, s->x, s->n_tok, s->n_in);
    matmul(dst, ld, &s->m, &s->act, k, pool);
    for (int t = 0; t < s->n_tok; t++) {
        for (int r = 0; r < s->n_out; r++) {
            double sum, magnitude;
            product(&sum, &magnitude, s, r, t, quantized);
            const double got = (double)dst[(size_t)t * ld + (size_t)r];
            const double n_op = quantized ? 2 * (s->n_in / 32) + 4 : s->n_in + 1;
            if (!(fabs(got - sum) <= n_op * (double)FLT_EPSILON * magnitude))
                fail_msg("%s row %d token %d: %.9g, not %.9g", dtype_find(s->t)->name, r,
                         t, got, sum);
            product(&sum, &magnitude, s, r, t, false);
            error += (got - sum) * (got - sum);
            energy += sum * sum;
        }
        for (size_t r = (size_t)s->n_out; r < ld; r++)
            assert_true(dst[(size_t)t * ld + r] == 0);
    }
    /* int8 with a scale for 32 uniform values: a step of 2/254 of the range, an error of
     * step / sqrt(12) against a deviation of range / sqrt(12). */
    assert_true(sqrt(error / energy) < 1.3 * 2 / 254);
    mem_free(dst);
}

static void test_product(void **state)
{
    (void)state;
    struct pool *pool = open_pool(2);
    for (int isa = 0; isa <= (int)cpu_detect(); isa++)
        for (int i = 0; i < N_TYPE; i++) {
            struct setup s;
            const bool is_float = dtype_find(types[i])->block_elems == 1;
            setup_open(&s, types[i], 37, is_float ? 77 : 256, 19, pool);
            check_product(&s, pool, tensor_kernels_for((enum cpu_isa)isa));
            setup_close(&s);
        }
    pool_close(pool);
}

/* One row at a time on one thread against any batch on any number of threads. */
static void check_independence(enum dtype t, int n_out, int n_tok_max,
                               const struct tensor_kernels *k)
{
    struct pool *pools[3] = {open_pool(1), open_pool(2), open_pool(3)};
    struct setup s;
    setup_open(&s, t, n_out, 512, n_tok_max, pools[2]);
    const size_t ld = (size_t)n_out, n = ld * (size_t)n_tok_max;
    float *want = mem_array(n, sizeof *want), *got = mem_array(n, sizeof *got);
    for (int i = 0; i < n_tok_max; i++) {
        act_load(&s.act, k, pools[0], s.x + (size_t)i * 512, 1, 512);
        matmul(want + (size_t)i * ld, ld, &s.m, &s.act, k, pools[0]);
    }
    for (int n_tok = 1; n_tok <= n_tok_max; n_tok += n_tok < 20 ? 1 : 7) {
        struct pool *pool = pools[n_tok % 3];
        memset(got, 0, n * sizeof *got);
        act_load(&s.act, k, pool, s.x, n_tok, 512);
        matmul(got, ld, &s.m, &s.act, k, pool);
        if (memcmp(got, want, ld * (size_t)n_tok * sizeof *got))
            fail_msg("%s: %d tokens differ from single ones", dtype_find(t)->name, n_tok);
    }
    mem_free(want);
    mem_free(got);
    setup_close(&s);
    for (int i = 0; i < 3; i++)
        pool_close(pools[i]);
}

static void test_batch_independence(void **state)
{
    (void)state;
    const struct tensor_kernels *k = tensor_kernels_for(cpu_detect());
    for (int i = 0; i < N_TYPE; i++)
        check_independence(types[i], 83, 69, k);
    check_independence(DTYPE_Q4_K, 1027, 90, k); // several ranges for each thread
    check_independence(DTYPE_F32, 3, 90, k);     // one tile, ranges of tokens
    check_independence(DTYPE_Q4_K, 20, 20, tensor_kernels_for(CPU_ISA_C));
    check_independence(DTYPE_F16, 20, 20, tensor_kernels_for(CPU_ISA_C));
}

/* Tokens that are gathered from others, as experts get theirs, against those. */
static void test_gathered_tokens(void **state)
{
    (void)state;
    enum { N_IN = 512, N_OUT = 300, N = 69 }; // rows enough for not to split the tokens
    const struct tensor_kernels *k = tensor_kernels_for(cpu_detect());
    struct pool *pool = open_pool(2);
    static float want[N][N_OUT], got[N][N_OUT], x[N * N_IN];
    struct setup s;
    setup_open(&s, DTYPE_Q4_K, N_OUT, N_IN, N, pool);
    act_load(&s.act, k, pool, s.x, N, N_IN);
    matmul(want[0], N_OUT, &s.m, &s.act, k, pool);
    void *mem = mem_array(1, act_bytes(N, N_IN));
    for (int n = 1; n <= N; n += 17) {
        int32_t tok[N];
        for (int i = 0; i < n; i++)
            tok[i] = (7 * i + 5) % N;
        struct act some;
        act_init(&some, mem, N, N_IN);
        act_gather(&some, k, x, &s.act, tok, n);
        matmul(got[0], N_OUT, &s.m, &some, k, pool);
        for (int i = 0; i < n; i++)
            assert_memory_equal(got[i], want[tok[i]], sizeof got[i]);
    }
    mem_free(mem);
    setup_close(&s);
    pool_close(pool);
}

/* Products of all sizes at once, some of nothing, against each by itself. */
static void test_many_products(void **state)
{
    (void)state;
    enum { N = 6 };
    static const struct {
        enum dtype t;
        int n_out, n_tok, used;
    } of[N] = {{DTYPE_Q4_K, 1027, 1, 0}, {DTYPE_Q8_0, 83, 33, 33},
               {DTYPE_Q6_K, 7, 1, 1},    {DTYPE_F16, 20, 2, 0},
               {DTYPE_Q4_K, 1027, 5, 5}, {DTYPE_Q4_K, 16, 19, 0}};
    const struct tensor_kernels *k = tensor_kernels_for(cpu_detect());
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        struct pool *pool = open_pool(n_thread);
        struct setup s[N];
        struct matmul_part parts[N];
        float *want[N], *got[N];
        for (int i = 0; i < N; i++) {
            const size_t n = (size_t)of[i].n_out * (size_t)of[i].n_tok;
            setup_open(&s[i], of[i].t, of[i].n_out, 512, of[i].n_tok, pool);
            act_load(&s[i].act, k, pool, s[i].x, of[i].n_tok, 512);
            s[i].act.n_tok = of[i].used;
            want[i] = mem_array(n, sizeof **want);
            got[i] = mem_array(n, sizeof **got);
            matmul(want[i], (size_t)of[i].n_out, &s[i].m, &s[i].act, k, pool);
            parts[i] = matmul_part(got[i], (size_t)of[i].n_out, &s[i].m, &s[i].act);
        }
        matmul_many(parts, 0, k, pool);
        matmul_many(parts, N, k, pool);
        for (int i = 0; i < N; i++) {
            const size_t n = (size_t)of[i].n_out * (size_t)of[i].n_tok;
            assert_memory_equal(got[i], want[i], n * sizeof **got);
            assert_true((want[i][0] != 0) == (of[i].used > 0));
            mem_free(want[i]);
            mem_free(got[i]);
            setup_close(&s[i]);
        }
        pool_close(pool);
    }
}

static void test_not_finite_reaches_the_result(void **state)
{
    (void)state;
    struct pool *pool = open_pool(1);
    for (int isa = 0; isa <= (int)cpu_detect(); isa++)
        for (int i = 0; i < N_TYPE; i++) {
            const struct tensor_kernels *k = tensor_kernels_for((enum cpu_isa)isa);
            struct setup s;
            float dst[2 * 16];
            setup_open(&s, types[i], 16, 256, 2, pool);
            s.x[256 + 100] = i % 2 ? INFINITY : NAN;
            act_load(&s.act, k, pool, s.x, 2, 256);
            matmul(dst, 16, &s.m, &s.act, k, pool);
            for (int r = 0; r < 16; r++) {
                assert_true(isfinite(dst[r]));
                assert_true(!isfinite(dst[16 + r]));
            }
            setup_close(&s);
        }
    pool_close(pool);
}

static void test_random_weights(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    static float x[N];
    static uint8_t blocks[N * 4];
    for (int i = 0; i < N_TYPE; i++) {
        const struct dtype_traits *traits = dtype_find(types[i]);
        double sum = 0, square = 0;
        dtype_random(types[i], blocks, N / traits->block_elems, 3, 0.02f);
        traits->dequant(x, blocks, N / traits->block_elems);
        for (int j = 0; j < N; j++) {
            sum += (double)x[j];
            square += (double)x[j] * (double)x[j];
        }
        /* The mean of N independent values has a deviation of sigma / 256; a random sign
         * of a block's -1/2 adds less than that. */
        assert_true(fabs(sum / N) < 5 * 0.02 / 256);
        assert_true(fabs(sqrt(square / N) / 0.02 - 1) < 0.05);
    }
}

/* ---- operators ---- */

static void test_norm_and_activation(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)cpu_detect(); isa++) {
        const struct tensor_kernels *k = tensor_kernels_for((enum cpu_isa)isa);
        /* mean square (9 + 16 + 0 + 0 + 0) / 5 = 5 */
        const float x[5] = {3, -4, 0, 0, 0}, w[5] = {1, 2, 1, 1, 1};
        float dst[5];
        op_rms_norm(k, dst, x, w, 5, 0);
        assert_true(fabsf(dst[0] - 1.3416408f) < 3e-7f); // 3 / sqrt(5)
        assert_true(fabsf(dst[1] + 3.5777088f) < 6e-7f);
        assert_true(dst[2] == 0);
        op_rms_norm(k, dst, x, w, 5, 20);
        assert_true(fabsf(dst[0] - 0.6f) < 2e-7f);
        /* silu(1) and silu(-2) */
        const float gate[3] = {1, -2, 0}, up[3] = {1, 10, 5};
        op_swiglu(k, dst, gate, up, 3);
        assert_true(fabsf(dst[0] - 0.73105858f) < 2e-7f);
        assert_true(fabsf(dst[1] + 2.38405844f) < 6e-7f);
        assert_true(dst[2] == 0);
    }
    float a[21], b[21];
    for (int i = 0; i < 21; i++) {
        a[i] = (float)i;
        b[i] = 100;
    }
    op_add(a, b, 21);
    for (int i = 0; i < 21; i++)
        assert_true(a[i] == (float)(100 + i));
}

static void test_rope(void **state)
{
    (void)state;
    const double freq[3] = {1, 0.5235987755982988, 0}; // 1, pi / 6, 0
    float cs[6];
    op_rope_table(cs, freq, 3, 1, 1);
    assert_true(fabsf(cs[0] - 0.54030231f) < 1e-7f && fabsf(cs[1] - 0.84147098f) < 1e-7f);
    assert_true(fabsf(cs[2] - 0.86602540f) < 1e-7f && fabsf(cs[3] - 0.5f) < 1e-7f);
    assert_true(cs[4] == 1 && cs[5] == 0);
    op_rope_table(cs, freq, 3, 1000000, 2); // 1e6 mod 2 pi = 5.9256211
    assert_true(fabsf(cs[0] - 1.87350426f) < 1e-6f && fabsf(cs[1] + 0.69998700f) < 1e-6f);

    /* Quarter, half and no turn. */
    const float turns[6] = {0, 1, -1, 0, 1, 0};
    float norm[8] = {1, 2, 3, 4, 5, 6, 7, 8}, neox[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const float norm_want[8] = {-2, 1, -3, -4, 5, 6, 7, 8};
    const float neox_want[8] = {-4, -2, 3, 1, -5, 6, 7, 8};
    op_rope_norm(norm, turns, 3);
    op_rope_neox(neox, turns, 3);
    for (int i = 0; i < 8; i++) {
        assert_true(norm[i] == norm_want[i]);
        assert_true(neox[i] == neox_want[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_dequant),
        cmocka_unit_test(test_rows_survive_packing),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_batch_independence),
        cmocka_unit_test(test_gathered_tokens),
        cmocka_unit_test(test_many_products),
        cmocka_unit_test(test_not_finite_reaches_the_result),
        cmocka_unit_test(test_random_weights),
        cmocka_unit_test(test_norm_and_activation),
        cmocka_unit_test(test_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
