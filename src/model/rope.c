#include "model/rope.h"

#include <math.h>

/* The pair index at which a rotation turns beta times within the original context. */
static double yarn_corr(const struct rope_params *r, double beta)
{
    const double two_pi = 6.283185307179586;
    return r->n_rot * log(r->n_ctx_orig / (two_pi * beta)) / (2 * log(r->theta));
}

/* 1: the frequency stays (extrapolation); 0: it is divided by the factor. */
static double yarn_ramp(const struct rope_params *r, int pair)
{
    const double lo = fmax(0, floor(yarn_corr(r, r->beta_fast)));
    const double hi = fmin(r->n_rot - 1, ceil(yarn_corr(r, r->beta_slow)));
    const double at = (pair - lo) / fmax(0.001, hi - lo);
    return 1 - fmin(1, fmax(0, at));
}

/* m of YaRN for a factor, weighted as in DeepSeek's models. */
static double yarn_mscale(double factor, double weight)
{
    return 0.1 * weight * log(factor) + 1;
}

void rope_frequencies(double *freq, float *mscale, const struct rope_params *r,
                      const float *divisor)
{
    for (int i = 0; i < r->n_rot / 2; i++) {
        double f = pow(r->theta, -2.0 * i / r->n_rot);
        if (divisor)
            f /= (double)divisor[i];
        if (r->scaling == ROPE_SCALING_LINEAR)
            f /= r->factor;
        if (r->scaling == ROPE_SCALING_YARN) {
            const double keep = yarn_ramp(r, i);
            f *= (1 - keep) / r->factor + keep;
        }
        freq[i] = f;
    }
    double m = r->attn_factor;
    if (r->scaling == ROPE_SCALING_YARN && r->log_multiplier > 0)
        m *= yarn_mscale(r->factor, 1) / yarn_mscale(r->factor, r->log_multiplier);
    else if (r->scaling == ROPE_SCALING_YARN)
        m *= yarn_mscale(r->factor, 1);
    *mscale = (float)m;
}
