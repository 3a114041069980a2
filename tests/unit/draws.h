/* draws.h - the same random numbers every time; a test sets rng where it wants its own.
 */
#ifndef TESTS_UNIT_DRAWS_H
#define TESTS_UNIT_DRAWS_H

#include <math.h>
#include <stdint.h>

static uint64_t rng = 1;

/* In (0, 1): the upper bits of a linear congruential generator modulo 2^64. */
static double uniform(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return ((double)(rng >> 11) + 0.5) * 0x1p-53;
}

/* Of mean 0 and variance 1 (Box and Muller). */
static float gaussian(void)
{
    const double u = uniform();
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * uniform()));
}

#endif
