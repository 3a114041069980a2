#include "text/utf8_stream.h"

#include <string.h>

#include "base/utf8.h"

/* Can more bytes make a character of s[0..n)?  Which bytes may follow depends on the
 * first two, and the smallest or the largest one always may. */
static bool utf8_unfinished(const char *s, size_t n)
{
    char low[4], high[4];
    if (n >= sizeof low)
        return false;
    memset(low, 0x80, sizeof low);
    memset(high, 0xbf, sizeof high);
    memcpy(low, s, n);
    memcpy(high, s, n);
    return utf8_char_bytes(low, sizeof low) > n || utf8_char_bytes(high, sizeof high) > n;
}

/* What the held bytes are for sure: characters, or U+FFFD for the longest start of one
 * that does not go on.  Source: Unicode 15, 3.9, substitution of maximal subparts. */
static size_t settle_held(struct utf8_stream *s, char *out, bool end)
{
    size_t written = 0;
    while (s->n_held && (end || !utf8_unfinished(s->held, s->n_held))) {
        const size_t len = utf8_char_bytes(s->held, s->n_held);
        size_t used = len ? len : 1;
        while (!len && used < s->n_held && utf8_unfinished(s->held, used + 1))
            used++;
        memcpy(out + written, len ? s->held : "\xef\xbf\xbd", len ? len : 3);
        written += len ? len : 3;
        s->n_held -= used;
        memmove(s->held, s->held + used, s->n_held);
    }
    return written;
}

size_t utf8_stream_put(struct utf8_stream *s, char *out, const char *bytes, size_t n,
                       bool end)
{
    size_t i = s->n_held ? 0 : utf8_valid_bytes(bytes, n), written = i;
    if (i)
        memcpy(out, bytes, i);
    for (; i < n; i++) {
        s->held[s->n_held++] = bytes[i];
        written += settle_held(s, out + written, false);
    }
    return written + settle_held(s, out + written, end);
}
