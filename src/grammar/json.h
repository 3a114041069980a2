/* json.h - JSON texts: rules that all schemas share, values, and ranges of numbers. */
#ifndef GRAMMAR_JSON_H
#define GRAMMAR_JSON_H

#include <jansson.h>

#include "grammar/program.h"

/* White space that may stand behind { [ , : and in front of } ]: nothing, one space, or a
 * line's end and its indentation. */
enum { JSON_INDENT_SPACES = 64, JSON_INDENT_TABS = 16 };

/* Digits of numbers without bounds: what any reader of JSON takes. */
enum { JSON_DIGITS = 18, JSON_EXPONENT_DIGITS = 2, JSON_FRACTION = 10 };

struct json_rules {
    uint32_t space, string, integer, number, array, object, value;
};
void json_rules_build(struct builder *b, struct json_rules *r);

/* text, then white space as above. */
uint32_t build_json_punct(struct builder *b, const struct json_rules *r, const char *text,
                          uint32_t next);
/* White space, then text. */
uint32_t build_json_close(struct builder *b, const struct json_rules *r, const char *text,
                          uint32_t next);
/* s [n] as a string of JSON in its shortest form. */
uint32_t build_json_string(struct builder *b, const char *s, size_t n, uint32_t next);
/* The one value v. */
uint32_t build_json_const(struct builder *b, const struct json_rules *r, const json_t *v,
                          uint32_t next);
/* One of the strings in values [n], as a tree of their beginnings. */
uint32_t build_json_strings(struct builder *b, json_t *const *values, size_t n,
                            uint32_t next);

struct number_range {
    const json_t *lo, *hi; // numbers; NULL: no bound
    bool lo_open, hi_open; // the bound itself is left out
    bool integer;
};
/* The numbers of a range: digits, and a fraction of at most JSON_FRACTION digits, without
 * an exponent.  GRAMMAR_NONE: there is none. */
uint32_t build_json_range(struct builder *b, const struct number_range *r, uint32_t next);

#endif
