/* evaluate.h - how far one model's predictions are from another's: the mathematics of
 * `turbine eval`, in double.
 *
 * All logarithms are natural.  Logits must be finite. */
#ifndef ENGINE_EVALUATE_H
#define ENGINE_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ln of the sum of exp(x[i]); x [n], n >= 1.  Exact to a few n ulp for any range. */
double eval_log_sum_exp(const float *x, size_t n);

/* A reference distribution P, prepared once and compared with many others. */
struct eval_reference {
    const float *logits; // [n_vocab]
    double *p;           // [n_vocab], the caller's
    size_t n_vocab, top; // top: the most likely id, the first one of equals
    double log_sum;
};

/* Sets all fields; logits and p must outlive r. */
void eval_reference_init(struct eval_reference *r, const float *logits, double *p,
                         size_t n_vocab);

struct eval_score {
    double nll; // -ln Q(target)
    double kl;  // sum over ids of P ln(P / Q); exactly 0 if the logits are the same bits
    bool same_top;
};

/* Q is softmax(logits [n_vocab]); target is an id that is in range. */
struct eval_score eval_compare(const struct eval_reference *r, const float *logits,
                               int32_t target);

/* Mean in a fixed pairwise order. */
double eval_mean(const double *x, size_t n);

/* The q-quantile, 0 <= q <= 1, of sorted x [n], n >= 1: linear between neighbours, with
 * the smallest value at 0 and the largest at 1. */
double eval_quantile(const double *sorted, size_t n, double q);
void eval_sort(double *x, size_t n);

struct eval_summary {
    double ppl, kl_mean, kl_median, kl_99, kl_999, same_top; // same_top in 0 .. 1
};

/* score [n], n >= 1; scratch [n]. */
struct eval_summary eval_summarise(const struct eval_score *score, double *scratch,
                                   size_t n);

#endif
