/* output_json.h - JSON as a model writes it, byte by byte, into valid JSON.
 *
 * What is in `out` can always be completed to valid JSON by output_json_close: commas,
 * member names, numbers and escapes are kept back until it is certain what they are.
 * White space between values is dropped.  Mended are what models get wrong and what means
 * one thing only: control characters and unknown escapes in strings, commas before a
 * bracket closes, True, False and None.  A NUL or half a surrogate pair becomes U+FFFD,
 * because readers of JSON refuse them.  Anything else that is not JSON is an error. */
#ifndef TEXT_OUTPUT_JSON_H
#define TEXT_OUTPUT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    OUTPUT_JSON_DEPTH = 128,
    OUTPUT_JSON_LITERAL = 64, // bytes of a number or a word
};

enum output_json_state {
    OUTPUT_JSON_VALUE,       // one must follow
    OUTPUT_JSON_FIRST,       // behind a bracket that opens: value or name, or it closes
    OUTPUT_JSON_NEXT,        // behind a comma: the same
    OUTPUT_JSON_NAME,        // in the name of a member
    OUTPUT_JSON_COLON,       // behind it
    OUTPUT_JSON_STRING,      // in a string
    OUTPUT_JSON_LITERAL_RUN, // in a number or a word
    OUTPUT_JSON_AFTER,       // behind a value
    OUTPUT_JSON_DONE,        // behind the outermost value
};

struct output_json {
    struct buf *out;  // borrowed
    struct buf wait;  // comma, name, literal: what is kept back
    size_t name_at;   // of the newest name in wait, at its quotation mark
    size_t value_at;  // in out: where the newest value of depth 1 began
    uint64_t list[2]; // a bit a depth: list or object
    int depth;
    enum output_json_state state;
    char escape[12]; // kept back of a string
    int n_escape;
};

/* max bounds what is kept back, of a name. */
void output_json_init(struct output_json *j, struct buf *out, size_t max);
void output_json_release(struct output_json *j);

/* false: the byte cannot come here; nothing was changed by it. */
bool output_json_byte(struct output_json *j, char c);

/* Whether the newest name is this one. */
bool output_json_is_name(const struct output_json *j, const char *name);

/* Append what completes the JSON down to this depth; the scan is over if it is 0. */
void output_json_close(struct output_json *j, int depth);

/* Append text as the inside of a JSON string. */
bool output_json_quote(struct buf *out, const char *s, size_t n);

#endif
