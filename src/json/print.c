#include "json/print.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

/* Bytes at s[0..n), which start no valid character, that one U+FFFD replaces: the longest
 * beginning of a valid character, at least one byte. */
static size_t broken_bytes(const char *s, size_t n)
{
    char c[4];
    size_t best = 1;
    for (size_t have = 1; have < 4 && have <= n; have++) {
        /* A beginning is valid if some continuation completes it.  The second byte is the
         * only one whose range depends on the first, so its extremes are enough. */
        bool whole = false;
        for (size_t len = have + 1; len <= 4 && !whole; len++)
            for (int tail = 0x80; tail <= 0xbf && !whole; tail++) {
                for (size_t i = 0; i < len; i++)
                    c[i] = i < have ? s[i] : (char)tail;
                whole = utf8_char_bytes(c, len) == len;
            }
        if (!whole)
            break;
        best = have;
    }
    return best;
}

void json_print_escaped(struct buf *out, const char *s, size_t n)
{
    size_t plain = 0; // bytes before i that are not written yet begin here
    for (size_t i = 0; i < n;) {
        const unsigned char c = (unsigned char)s[i];
        const size_t len = utf8_char_bytes(s + i, n - i);
        if (len > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += len;
            continue;
        }
        buf_append(out, s + plain, i - plain);
        if (len == 0) {
            buf_puts(out, "\xef\xbf\xbd");
            i += broken_bytes(s + i, n - i);
        } else {
            if (c == '"' || c == '\\')
                buf_printf(out, "\\%c", c);
            else if (c == '\n')
                buf_puts(out, "\\n");
            else if (c == '\r')
                buf_puts(out, "\\r");
            else if (c == '\t')
                buf_puts(out, "\\t");
            else
                buf_printf(out, "\\u%04x", c);
            i++;
        }
        plain = i;
    }
    buf_append(out, s + plain, n - plain);
}

void json_print_text(struct buf *out, const char *s, size_t n)
{
    buf_puts(out, "\"");
    json_print_escaped(out, s, n);
    buf_puts(out, "\"");
}

void json_print_string(struct buf *out, const char *s)
{
    json_print_text(out, s, strlen(s));
}

void json_print_number(struct buf *out, double v, int digits)
{
    if (isfinite(v))
        buf_printf(out, "%.*g", digits, v);
    else
        buf_puts(out, "null");
}

static int append_to_buf(const char *s, size_t n, void *out)
{
    return buf_append(out, s, n) ? 0 : -1;
}

void json_print_value(struct buf *out, const json_t *v)
{
    if (json_dump_callback(v, append_to_buf, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        out->failed = true;
}
