/* polar.c - the recursive polar transform. */
#include "codec/polar.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/tables_scalar.h"

enum { N = TQ_POLAR_VALUES };

/* One step of the angles of pairs of values, which are uniform. */
#define STEP 0.39269908f // 2 pi / 16

/* Code of the angle of (x, y): 16 cells of a circle for values, the nearest of four for
 * radii of level 2 to 4. */
static uint8_t angle_code(float x, float y, int level)
{
    const float a = atan2f(y, x);
    if (level == 1)
        return (uint8_t)((int)floorf(a / STEP) & 15);
    const float *c = tq_polar_angle[level - 2];
    int k = 0;
    while (k < 3 && a > (c[k] + c[k + 1]) * 0.5f)
        k++;
    return (uint8_t)k;
}

static float code_angle(uint8_t code, int level)
{
    return level == 1 ? ((float)(code & 15) + 0.5f) * STEP
                      : tq_polar_angle[level - 2][code & 3];
}

void tq_polar_encode(uint16_t *radius, uint8_t *angle, const float *x, int d)
{
    for (int at = 0; at < d; at += N, radius++) {
        float r[N];
        bool finite = true;
        for (int i = 0; i < N; i++)
            finite = finite && fabsf(x[at + i]) <= FLT_MAX;
        if (finite)
            memcpy(r, x + at, sizeof r);
        else
            memset(r, 0, sizeof r);
        for (int level = 1, n = N / 2; n; level++, n /= 2)
            for (int i = 0; i < n; i++) {
                *angle++ = angle_code(r[2 * i], r[2 * i + 1], level);
                r[i] = hypotf(r[2 * i], r[2 * i + 1]);
            }
        *radius = tq_f32_to_f16(r[0]);
    }
}

void tq_polar_decode(float *x, const uint16_t *radius, const uint8_t *angle, int d)
{
    for (int at = 0; at < d; at += N, radius++, angle += N - 1) {
        float r[N];
        r[0] = tq_scale_to_f32(*radius);
        /* The angles of a level stand behind those of the levels below it. */
        for (int level = 4, n = 1; n < N; level--, n *= 2)
            for (int i = n - 1; i >= 0; i--) {
                const float a = code_angle(angle[N - 2 * n + i], level), radius_i = r[i];
                r[2 * i] = radius_i * cosf(a);
                r[2 * i + 1] = radius_i * sinf(a);
            }
        memcpy(x + at, r, sizeof r);
    }
}
