/* ahead_avx512.h - what is asked for from memory while packed codes are read. */
#ifndef CODEC_AHEAD_AVX512_H
#define CODEC_AHEAD_AVX512_H

#include <stddef.h>

#include "codec/avx512.h"
#include "codec/kernels.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

/* What is asked for while code is read. */
struct tq_ask {
    const uint8_t *code;
    struct tq_places next;
};

/* A line of each place for the two from p on, which are being read. */
CPU_INLINE void tq_ask_ahead(const uint8_t *p, struct tq_ask ask, int n)
{
    if (n) {
        const size_t at = (size_t)(p - ask.code) / 2;
        _mm_prefetch((const char *)ask.next.at[0] + at, _MM_HINT_T0);
        _mm_prefetch((const char *)ask.next.at[1] + at, _MM_HINT_T0);
    }
}

CPU_TARGET_END

#endif
