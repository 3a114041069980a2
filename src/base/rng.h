/* rng.h - counter-based random numbers: a pure function of (seed, counter), so a
 * sequence that is parked and resumed draws the same numbers. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* 64 random bits.  Source: splitmix64 (Steele, Lea, Flood, OOPSLA 2014), whose state
 * is a counter, mixed twice so that nearby seeds do not share a stream. */
static inline uint64_t rng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t rng_at(uint64_t seed, uint64_t counter)
{
    return rng_mix(rng_mix(seed + 0x9e3779b97f4a7c15u) +
                   0x9e3779b97f4a7c15u * (counter + 1));
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_uniform(uint64_t seed, uint64_t counter)
{
    return (double)(rng_at(seed, counter) >> 11) * 0x1p-53;
}

#endif
