#include "store/modelfile_text.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

static enum status bad_character(const struct buf *so_far, const char *what,
                                 struct error *err)
{
    int line = 1;
    for (size_t i = 0; i < so_far->len; i++)
        line += so_far->data[i] == '\n';
    return fail(err, STATUS_BAD_INPUT, "(line %d): %s", line, what);
}

static void put_utf8(struct buf *out, uint32_t c)
{
    char b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (char)c;
    } else if (c < 0x800) {
        b[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        b[n++] = (char)(0xe0 | c >> 12);
        b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        b[n++] = (char)(0xf0 | c >> 18);
        b[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        b[n++] = (char)(0x80 | (c & 0x3f));
    buf_append(out, b, n);
}

static enum status decode_utf16(struct buf *out, const unsigned char *s, size_t n,
                                bool big, struct error *err)
{
    uint32_t high = 0;
    if (n % 2)
        return fail(err, STATUS_BAD_INPUT, "UTF-16 with an odd number of bytes");
    for (size_t i = 0; i < n; i += 2) {
        const uint32_t u =
            big ? (uint32_t)s[i] << 8 | s[i + 1] : (uint32_t)s[i + 1] << 8 | s[i];
        const bool is_high = u >= 0xd800 && u < 0xdc00,
                   is_low = u >= 0xdc00 && u < 0xe000;
        if ((high != 0) != is_low || u == 0)
            return bad_character(out, "no valid UTF-16", err);
        if (is_high)
            high = u;
        else
            put_utf8(out, is_low ? 0x10000 + ((high - 0xd800) << 10) + (u - 0xdc00) : u);
        if (!is_high)
            high = 0;
    }
    return high ? bad_character(out, "no valid UTF-16", err) : STATUS_OK;
}

enum status modelfile_decode(struct buf *out, const char *s, size_t n, struct error *err)
{
    enum status st = STATUS_OK;
    const unsigned char *u = (const unsigned char *)s;
    if (n >= 2 && ((u[0] == 0xff && u[1] == 0xfe) || (u[0] == 0xfe && u[1] == 0xff))) {
        st = decode_utf16(out, u + 2, n - 2, u[0] == 0xfe, err);
    } else {
        if (n >= 3 && !memcmp(s, "\xef\xbb\xbf", 3)) {
            s += 3;
            n -= 3;
        }
        size_t good = utf8_valid_bytes(s, n);
        const char *zero = good ? memchr(s, 0, good) : NULL;
        if (zero)
            good = (size_t)(zero - s);
        buf_append(out, s, good);
        if (good < n && !out->failed)
            st = bad_character(out, "no valid UTF-8", err);
    }
    if (!st && out->failed)
        st = fail(err, STATUS_LIMIT, "the Modelfile is too long");
    return st;
}

/* s[0..n), trimmed, without its quotes; false if they have not ended yet. */
static bool unquoted(const char *s, size_t n, const char **value, size_t *value_n)
{
    const size_t q = n >= 3 && !memcmp(s, "\"\"\"", 3) ? 3
                     : n >= 1 && s[0] == '"'           ? 1
                                                       : 0;
    if (n < 2 * q || memcmp(s + n - q, "\"\"\"", q))
        return false;
    *value = s + q;
    *value_n = n - 2 * q;
    return true;
}

/* The first line end of s[0..n), n if there is none. */
static size_t line_end(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] != '\n' && s[i] != '\r')
        i++;
    return i;
}

size_t modelfile_value(const char *s, size_t n, const char **value, size_t *value_n)
{
    const size_t start = utf8_space_bytes(s, n);
    size_t end = start; // behind the last character that is no white space
    for (size_t i = 0; i < n;) {
        const size_t blank = utf8_space_bytes(s + i, n - i);
        const size_t line = line_end(s + i, blank);
        if (line < blank && unquoted(s + start, end - start, value, value_n))
            return i + line;
        const size_t len = utf8_char_bytes(s + i, n - i);
        i += blank ? blank : len ? len : 1;
        if (!blank)
            end = i;
    }
    return unquoted(s + start, end - start, value, value_n) ? n : SIZE_MAX;
}
