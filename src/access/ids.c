/* ids.c - identifiers that nobody can guess or meet twice. */
#include "access/ids.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/rng.h"

static void random_bytes(uint8_t *out, size_t n)
{
    for (size_t have = 0; have < n;) {
        const ssize_t got = getrandom(out + have, n - have, 0);
        if (got > 0) {
            have += (size_t)got;
        } else { // only before the system's pool is ready, with a signal in between
            const uint64_t z = rng_at(clock_us(), (uint64_t)have);
            memcpy(out + have, &z, n - have < sizeof z ? n - have : sizeof z);
            have += sizeof z;
        }
    }
}

uint64_t id_random(void)
{
    uint64_t z;
    random_bytes((uint8_t *)&z, sizeof z);
    return z;
}

void id_make(char out[ID_BYTES], const char *prefix)
{
    static const char digits[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
        "UVWXYZab";    // the last two twice: 64 of them
    uint8_t bytes[24]; // 6 bits of each: 144
    char text[25];
    random_bytes(bytes, sizeof bytes);
    for (int i = 0; i < 24; i++)
        text[i] = digits[bytes[i] & 63];
    text[24] = 0;
    snprintf(out, ID_BYTES, "%s%s", prefix, text);
}
