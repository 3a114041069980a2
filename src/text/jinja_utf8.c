/* jinja_utf8.c - code points, and what Python's str knows about them. */
#include <string.h>

#include "text/jinja.h"
#include "text/jinja_case.h"

uint32_t jinja_utf8_get(const char *s, size_t n, size_t *len)
{
    const unsigned char *u = (const unsigned char *)s;
    const uint32_t c = u[0];
    const size_t want = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    *len = 1;
    if (want == 1)
        return c;
    if (want == 0 || c > 0xf4 || n < want)
        return 0xfffd;
    uint32_t v = c & (0x7fu >> want);
    for (size_t i = 1; i < want; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0xfffd;
        v = v << 6 | (u[i] & 0x3fu);
    }
    if ((want == 3 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) ||
        (want == 4 && (v < 0x10000 || v > 0x10ffff)))
        return 0xfffd;
    *len = want;
    return v;
}

size_t jinja_utf8_put(char out[4], uint32_t c)
{
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(n == 1 ? c : lead[n] | c);
    return n;
}

bool jinja_utf8_valid(const char *s, size_t n)
{
    size_t len;
    for (size_t i = 0; i < n; i += len)
        if (jinja_utf8_get(s + i, n - i, &len) == 0xfffd && len == 1)
            return false;
    return true;
}

size_t jinja_utf8_len(const char *s, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += (s[i] & 0xc0) != 0x80;
    return k;
}

size_t jinja_utf8_offset(const char *s, size_t n, size_t i)
{
    size_t at = 0;
    while (at < n) {
        if ((s[at] & 0xc0) != 0x80 && i-- == 0)
            break;
        at++;
    }
    return at;
}

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Unassigned code points count as printable, other than in Python: they depend on the
 * version of Unicode. */
bool jinja_is_printable(uint32_t c)
{
    if (c < 0x7f)
        return c >= 0x20;
    return !(c <= 0xa0 || c == 0xad || jinja_is_space(c) || (c >= 0x600 && c <= 0x605) ||
             c == 0x61c || c == 0x6dd || c == 0x70f || c == 0x180e ||
             (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
             (c >= 0x2060 && c <= 0x206f) || (c >= 0xe000 && c <= 0xf8ff) ||
             c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe ||
             c >= 0xe0000);
}

/* Letters with case, and everything above U+02AF that is not space or punctuation of
 * the general block: enough for names of roles and tools. */
bool jinja_is_alpha(uint32_t c)
{
    if (c < 0x80)
        return (c | 32) >= 'a' && (c | 32) <= 'z';
    if (c < 0x2b0)
        return c == 0xaa || c == 0xb5 || c == 0xba ||
               (c >= 0xc0 && c != 0xd7 && c != 0xf7);
    return jinja_is_printable(c) && !(c >= 0x2000 && c < 0x2c00) &&
           !(c >= 0x3000 && c < 0x3005) && !(c >= 0x3008 && c < 0x3021) &&
           !(c >= 0xff00 && c < 0xff21) && c < 0x1f000;
}

static uint32_t case_map(const struct jinja_case *t, size_t n, uint32_t c)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (c < t[mid].first)
            hi = mid;
        else if (c > t[mid].last)
            lo = mid + 1;
        else
            return (c - t[mid].first) % t[mid].stride
                       ? c
                       : (uint32_t)((int32_t)c + t[mid].delta);
    }
    return c;
}

uint32_t jinja_upper(uint32_t c)
{
    if (c < 0x80)
        return c >= 'a' && c <= 'z' ? c - 32 : c;
    return case_map(jinja_upper_map, sizeof jinja_upper_map / sizeof *jinja_upper_map, c);
}

uint32_t jinja_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return case_map(jinja_lower_map, sizeof jinja_lower_map / sizeof *jinja_lower_map, c);
}

static bool strip_hits(const struct jinja_str *set, const char *s, size_t n, uint32_t c)
{
    if (!set)
        return jinja_is_space(c);
    for (size_t i = 0; i + n <= set->n; i++)
        if (!memcmp(set->s + i, s, n))
            return true;
    return false;
}

void jinja_strip(const struct jinja_str *s, const struct jinja_str *set, bool left,
                 bool right, size_t *from, size_t *to)
{
    size_t len;
    while (left && *from < *to) {
        const uint32_t c = jinja_utf8_get(s->s + *from, *to - *from, &len);
        if (!strip_hits(set, s->s + *from, len, c))
            break;
        *from += len;
    }
    while (right && *from < *to) {
        size_t at = *to - 1;
        while (at > *from && (s->s[at] & 0xc0) == 0x80)
            at--;
        const uint32_t c = jinja_utf8_get(s->s + at, *to - at, &len);
        if (at + len != *to)
            break;
        if (!strip_hits(set, s->s + at, len, c))
            break;
        *to = at;
    }
}
