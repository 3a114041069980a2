/* inspect_text.c - what a GGUF file holds, as text. */
#include "cli/inspect_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum {
    SHOW_CHARS = 60, // of a string
    SHOW_ELEMS = 6,  // of an array
};

void inspect_put_escaped(struct buf *b, const char *s, size_t n, size_t max)
{
    size_t shown = 0;
    for (size_t i = 0; i < n; shown++) {
        if (shown == max) {
            buf_puts(b, "...");
            return;
        }
        const size_t len = utf8_char_bytes(s + i, n - i);
        const unsigned char c = (unsigned char)s[i];
        if (c == '\n')
            buf_puts(b, "\\n");
        else if (c == '\t')
            buf_puts(b, "\\t");
        else if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (len == 0 || c < ' ' || c == 0x7f)
            buf_printf(b, "\\x%02x", c);
        else if (len == 2 && c == 0xc2 && (unsigned char)s[i + 1] < 0xa0)
            buf_printf(b, "\\u%04x", (unsigned)(unsigned char)s[i + 1]);
        else
            buf_append(b, s + i, len);
        i += len ? len : 1;
    }
}

static void put_element(struct buf *b, const struct gguf *g, int i, uint64_t j)
{
    const enum gguf_type t = gguf_kv_elem_type(g, i);
    struct gguf_str s;
    int64_t v;
    double f;
    if (gguf_kv_elem_str(g, i, j, &s)) {
        buf_puts(b, "\"");
        inspect_put_escaped(b, s.s, s.n, SHOW_CHARS);
        buf_puts(b, "\"");
    } else if (gguf_kv_elem_int(g, i, j, &v)) {
        if (t == GGUF_BOOL)
            buf_puts(b, v ? "true" : "false");
        else
            buf_printf(b, "%" PRId64, v);
    } else if (gguf_kv_elem_f64(g, i, j, &f)) {
        buf_printf(b, t == GGUF_U64 ? "%.0f" : t == GGUF_F64 ? "%.17g" : "%.9g", f);
    }
}

void inspect_put_metadata(struct buf *b, const struct gguf *g)
{
    int width = 0;
    for (int i = 0; i < gguf_n_kv(g); i++) {
        const size_t n = strlen(gguf_kv_key(g, i));
        width = n > (size_t)width && n <= SHOW_CHARS ? (int)n : width;
    }
    buf_printf(b, "\nmetadata (%d)\n", gguf_n_kv(g));
    for (int i = 0; i < gguf_n_kv(g); i++) {
        const size_t from = b->len, n_key = strlen(gguf_kv_key(g, i));
        buf_puts(b, "  ");
        inspect_put_escaped(b, gguf_kv_key(g, i), n_key, 2 * SHOW_CHARS);
        while (!b->failed && b->len - from < (size_t)width + 2)
            buf_puts(b, " ");
        const enum gguf_type t = gguf_kv_elem_type(g, i);
        if (gguf_kv_type(g, i) != GGUF_ARR) {
            buf_printf(b, "  %-4s  ", gguf_type_name(t));
            put_element(b, g, i, 0);
        } else {
            const uint64_t n = gguf_kv_count(g, i);
            buf_printf(b, "  arr   %s[%" PRIu64 "]", gguf_type_name(t), n);
            for (uint64_t j = 0; j < n && j < SHOW_ELEMS; j++) {
                buf_puts(b, j ? ", " : " ");
                put_element(b, g, i, j);
            }
            if (n > SHOW_ELEMS)
                buf_puts(b, ", ...");
        }
        buf_puts(b, "\n");
    }
}

double inspect_tensor_params(const struct gguf_tensor *t)
{
    return (double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3];
}

void inspect_put_tensors(struct buf *b, const struct gguf *g)
{
    double params = 0, bytes = 0;
    int width = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const int n = (int)strlen(gguf_tensor_at(g, i)->name);
        width = n > width ? n : width;
    }
    buf_printf(b, "\ntensors (%d)\n", gguf_n_tensors(g));
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char shape[96];
        int n = 0;
        for (int d = 0; d < t->n_dims; d++)
            n += snprintf(shape + n, sizeof shape - (size_t)n,
                          d ? " x %" PRId64 : "%" PRId64, t->ne[d]);
        const size_t from = b->len;
        buf_puts(b, "  ");
        inspect_put_escaped(b, t->name, strlen(t->name), 2 * SHOW_CHARS);
        while (!b->failed && b->len - from < (size_t)width + 2)
            buf_puts(b, " ");
        buf_printf(b, "  %-20s  %-8s  %zu\n", shape, dtype_find(t->dtype)->name,
                   t->bytes);
        params += inspect_tensor_params(t);
        bytes += (double)t->bytes;
    }
    buf_printf(b, "\n%.0f parameters", params);
    if (params > 0)
        buf_printf(b, ", %.4g bits per weight", bytes * 8 / params);
    buf_puts(b, "\n");
}
