/* utf8.h - strict UTF-8: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
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

/* Bytes of the white space (the property of Unicode) that s[0..n) starts with. */
static inline size_t utf8_space_bytes(const char *s, size_t n)
{
    size_t i = 0;
    for (size_t len; (len = utf8_char_bytes(s + i, n - i)) > 0; i += len) {
        const unsigned char *p = (const unsigned char *)s + i;
        const unsigned last = p[len - 1];
        const bool space =
            len == 1   ? p[0] == ' ' || (p[0] >= 9 && p[0] <= 13)
            : len == 2 ? p[0] == 0xc2 && (last == 0x85 || last == 0xa0)
            : len == 4 ? false
            : p[0] == 0xe2 && p[1] == 0x80
                ? last <= 0x8a || last == 0xa8 || last == 0xa9 || last == 0xaf
                : (p[0] == 0xe1 && p[1] == 0x9a && last == 0x80) ||
                      (p[0] == 0xe2 && p[1] == 0x81 && last == 0x9f) ||
                      (p[0] == 0xe3 && p[1] == 0x80 && last == 0x80);
        if (!space)
            break;
    }
    return i;
}

#endif
