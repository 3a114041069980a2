#include "engine/evaluate.h"

#include <math.h>
#include <stdlib.h>

static size_t index_of_max(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

double eval_log_sum_exp(const float *x, size_t n)
{
    const double max = (double)x[index_of_max(x, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    return max + log(sum);
}

void eval_reference_init(struct eval_reference *r, const float *logits, double *p,
                         size_t n_vocab)
{
    *r = (struct eval_reference){
        .logits = logits,
        .p = p,
        .n_vocab = n_vocab,
        .top = index_of_max(logits, n_vocab),
        .log_sum = eval_log_sum_exp(logits, n_vocab),
    };
    for (size_t i = 0; i < n_vocab; i++)
        p[i] = exp((double)logits[i] - r->log_sum);
}

struct eval_score eval_compare(const struct eval_reference *r, const float *logits,
                               int32_t target)
{
    const double log_sum = eval_log_sum_exp(logits, r->n_vocab);
    double kl = 0;
    for (size_t i = 0; i < r->n_vocab; i++) {
        const double log_p = (double)r->logits[i] - r->log_sum;
        const double log_q = (double)logits[i] - log_sum;
        kl += r->p[i] * (log_p - log_q);
    }
    return (struct eval_score){
        .nll = log_sum - (double)logits[target],
        .kl = kl,
        .same_top = index_of_max(logits, r->n_vocab) == r->top,
    };
}

double eval_mean(const double *x, size_t n)
{
    if (n <= 8) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += x[i];
        return sum / (double)n;
    }
    const size_t half = n / 2, rest = n - half;
    return (eval_mean(x, half) * (double)half +
            eval_mean(x + half, rest) * (double)rest) /
           (double)n;
}

static int order_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void eval_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, order_doubles);
}

double eval_quantile(const double *sorted, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    if (i + 1 >= n)
        return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

struct eval_summary eval_summarise(const struct eval_score *score, double *scratch,
                                   size_t n)
{
    struct eval_summary s = {0};
    for (size_t i = 0; i < n; i++)
        scratch[i] = score[i].nll;
    s.ppl = exp(eval_mean(scratch, n));
    size_t same = 0;
    for (size_t i = 0; i < n; i++) {
        scratch[i] = score[i].kl;
        same += score[i].same_top;
    }
    s.same_top = (double)same / (double)n;
    s.kl_mean = eval_mean(scratch, n);
    eval_sort(scratch, n);
    s.kl_median = eval_quantile(scratch, n, 0.5);
    s.kl_99 = eval_quantile(scratch, n, 0.99);
    s.kl_999 = eval_quantile(scratch, n, 0.999);
    return s;
}
