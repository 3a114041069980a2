/* charset.h - sets of code points, and the bytes that write them. */
#ifndef GRAMMAR_CHARSET_H
#define GRAMMAR_CHARSET_H

#include "grammar/program.h"

enum { CHAR_MAX = 0x10ffff };

struct char_range {
    uint32_t lo, hi;
};

/* Rising, disjoint, not touching. */
struct charset {
    struct char_range *r;
    uint32_t n;
};

/* From ranges in any order, which are sorted in place; of the builder's arena. */
struct charset charset_make(struct builder *b, struct char_range *r, uint32_t n);
/* All code points (surrogates apart) that s does not have. */
struct charset charset_not(struct builder *b, struct charset s);
struct charset charset_and(struct builder *b, struct charset x, struct charset y);
bool charset_has(struct charset s, uint32_t c);

/* One character of s in UTF-8.  GRAMMAR_NONE if it has none. */
uint32_t build_charset(struct builder *b, struct charset s, uint32_t next);
/* One character of s as a JSON string has it: as it is, or as the one escape without
 * which it cannot be written.  U+0000 is never written. */
uint32_t build_json_charset(struct builder *b, struct charset s, uint32_t next);
/* Any character of a JSON string, with all its spellings but those of U+0000 and of
 * halves of surrogate pairs. */
uint32_t build_json_char(struct builder *b, uint32_t next);

/* The code point at s[0..n) and its bytes; 0 if it is not valid UTF-8. */
size_t utf8_read(const char *s, size_t n, uint32_t *c);
/* dst has 4 bytes; returns how many were written. */
size_t utf8_write(char *dst, uint32_t c);

#endif
