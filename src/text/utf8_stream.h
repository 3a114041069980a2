/* utf8_stream.h - bytes that come in pieces to whole characters of UTF-8. */
#ifndef TEXT_UTF8_STREAM_H
#define TEXT_UTF8_STREAM_H

#include <stdbool.h>
#include <stddef.h>

struct utf8_stream {
    char held[4]; // [n_held] bytes of an unfinished character
    size_t n_held;
};

/* Bytes that utf8_stream_put writes at most for n bytes. */
#define UTF8_STREAM_BYTES(n) (3 * ((n) + 4))

/* out <- what is certain of the text with these bytes behind it: whole characters, and
 * U+FFFD for bytes that are none; with `end` also for the start of one that does not go
 * on. Returns the number of bytes; out does not overlap. */
size_t utf8_stream_put(struct utf8_stream *s, char *out, const char *bytes, size_t n,
                       bool end);

#endif
