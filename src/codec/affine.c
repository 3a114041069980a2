/* affine.c - means and scales of channels, taken out before encoding and put back after
 * attention.  Plain C: a few operations a row, beside hundreds for a rotation. */
#include "turboquant.h"

void tq_affine_rows(const struct tq_affine *a, float *x, int n, int d)
{
    for (int i = 0; i < n; i++, x += d) {
        for (int j = 0; a->mean && j < d; j++)
            x[j] -= a->mean[j];
        for (int j = 0; a->scale && j < d; j++)
            x[j] /= a->scale[j];
    }
}

void tq_affine_query(const struct tq_affine *a, float *q, int n, int d)
{
    for (int i = 0; a->scale && i < n; i++, q += d)
        for (int j = 0; j < d; j++)
            q[j] *= a->scale[j];
}

void tq_affine_output(const struct tq_affine *a, float *x, int n, int d)
{
    for (int i = 0; i < n; i++, x += d) {
        for (int j = 0; a->scale && j < d; j++)
            x[j] *= a->scale[j];
        for (int j = 0; a->mean && j < d; j++)
            x[j] += a->mean[j];
    }
}

float tq_affine_shift(const struct tq_affine *a, const float *q, int d)
{
    /* In double: the sum is large against the differences of scores it is added to. */
    double sum = 0;
    for (int j = 0; a->mean && j < d; j++)
        sum += (double)q[j] * (double)a->mean[j];
    return (float)sum;
}
