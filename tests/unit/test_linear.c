/* test_linear.c - the delta rule over many tokens against its closed form, and softplus.
 */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "tensor/kernels.h"
#include "tensor/linear.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { D_K = 19, D_V = 11, N_TOKEN = 40 };

struct sequence {
    float q[N_TOKEN][D_K], k[N_TOKEN][D_K], v[N_TOKEN][D_V], decay[N_TOKEN][D_K];
    float beta[N_TOKEN];
};

static float uniform(uint64_t stream, uint64_t *at)
{
    return (float)(2 * rng_uniform(stream, (*at)++) - 1);
}

static void fill(struct sequence *s, const struct tensor_kernels *kernels)
{
    uint64_t at = 0;
    for (int t = 0; t < N_TOKEN; t++) {
        for (int c = 0; c < D_K; c++) {
            s->q[t][c] = uniform(5, &at);
            s->k[t][c] = uniform(5, &at);
            s->decay[t][c] = 1 - 0.2f * fabsf(uniform(5, &at));
        }
        for (int r = 0; r < D_V; r++)
            s->v[t][r] = uniform(5, &at);
        s->beta[t] = fabsf(uniform(5, &at));
        op_l2_norm(kernels, s->q[t], s->q[t], D_K, 1e-6f, 1 / sqrtf(D_K));
        op_l2_norm(kernels, s->k[t], s->k[t], D_K, 1e-6f, 1);
    }
}

/* Row r of S_t = S_{t-1} diag(decay) (I - beta k k') + beta v k', in double, as a product
 * of matrices: nothing of the order in which a kernel goes about it. */
static double expected(const struct sequence *s, int n_decay, int token, int r)
{
    double row[D_K] = {0}, next[D_K], out = 0;
    for (int t = 0; t <= token; t++) {
        const double beta = (double)s->beta[t];
        for (int c = 0; c < D_K; c++) {
            next[c] = beta * (double)s->v[t][r] * (double)s->k[t][c];
            for (int j = 0; j < D_K; j++)
                next[c] += row[j] * (double)s->decay[t][n_decay == 1 ? 0 : j] *
                           ((j == c) - beta * (double)s->k[t][j] * (double)s->k[t][c]);
        }
        memcpy(row, next, sizeof row);
    }
    for (int c = 0; c < D_K; c++)
        out += row[c] * (double)s->q[token][c];
    return out;
}

static void check_sequence(const struct tensor_kernels *kernels, int n_decay)
{
    static struct sequence s;
    float state[D_V * D_K] = {0}, out[D_V];
    fill(&s, kernels);
    for (int t = 0; t < N_TOKEN; t++) {
        op_delta_step(kernels, state, out, s.q[t], s.k[t], s.v[t], s.decay[t], n_decay,
                      s.beta[t], D_K, D_V);
        for (int r = 0; r < D_V; r++)
            assert_true(fabs((double)out[r] - expected(&s, n_decay, t, r)) < 1e-6);
    }
}

static void test_delta_rule(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)cpu_detect(); isa++) {
        const struct tensor_kernels *kernels = tensor_kernels_for((enum cpu_isa)isa);
        check_sequence(kernels, 1);
        check_sequence(kernels, D_K);
    }
}

static void test_softplus(void **state)
{
    (void)state;
    for (int i = -870; i <= 3000; i++) {
        const float x = (float)i * 0.1f;
        const long double want = x < 80 ? log1pl(expl((long double)x)) : (long double)x;
        assert_true(fabsl((long double)op_softplus(x) - want) <= 1e-7L * want);
    }
    assert_true(op_softplus(0) == 0.69314718055994530942f);
    assert_true(op_softplus(-INFINITY) == 0 && op_softplus(-1e30f) == 0);
    assert_true(op_softplus(1e30f) == 1e30f && op_softplus(INFINITY) == INFINITY);
    assert_true(isnan(op_softplus(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta_rule),
        cmocka_unit_test(test_softplus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
