/* utf8.h - strict UTF-8: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at s[0..n), 0 if there is no valid one. */
static inline size_t utf8_char_bytes(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    const size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

/* Bytes of the longest valid prefix of s[0..n). */
static inline size_t utf8_valid_bytes(const char *s, size_t n)
{
    size_t i = 0;
    for (size_t len; (len = utf8_char_bytes(s + i, n - i)) > 0;)
        i += len;
    return i;
}

#endif
