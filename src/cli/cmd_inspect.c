/* cmd_inspect.c - what a GGUF file holds: metadata and tensors, as text or JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/inspect_kv.h"
#include "cli/models.h"
#include "cli/planned.h"
#include "gguf/gguf.h"
#include "base/utf8.h"

enum {
    SHOW_CHARS = 60, // of a string in text
    SHOW_ELEMS = 6,  // of an array in text
    JSON_FULL = 64,  // arrays up to this length are whole in JSON
    JSON_FIRST = 8,  // of longer ones
    TEXT_MAX = 1 << 26,
};

static bool inspect_json;
static const char *inspect_types;
static const struct cli_option inspect_options[] = {
    {"--kv", CLI_STRING, &inspect_types, 0, 0,
     "K[/V]  instead: how a cache of this type keeps each layer, and in how many bytes"},
    {"--json", CLI_FLAG, &inspect_json, 0, 0, "one JSON object"},
    {NULL, CLI_FLAG, NULL, 0, 0, NULL},
};
static const struct cli_command inspect_command = {
    "inspect",
    "MODEL [--kv K[/V]]",
    "metadata and tensors of a GGUF file, or the cache of a model: store, types and size "
    "of each layer.\n" PLANNED_HELP,
    inspect_options,
    1,
    1,
};

/* ---- text ---- */

/* One line: control characters (C1 ones, too) and wrong bytes escaped, cut at `max`. */
static void put_escaped(struct buf *b, const char *s, size_t n, size_t max)
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
        put_escaped(b, s.s, s.n, SHOW_CHARS);
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

static void put_metadata(struct buf *b, const struct gguf *g)
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
        put_escaped(b, gguf_kv_key(g, i), n_key, 2 * SHOW_CHARS);
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

static double tensor_params(const struct gguf_tensor *t)
{
    return (double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3];
}

static void put_tensors(struct buf *b, const struct gguf *g)
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
        put_escaped(b, t->name, strlen(t->name), 2 * SHOW_CHARS);
        while (!b->failed && b->len - from < (size_t)width + 2)
            buf_puts(b, " ");
        buf_printf(b, "  %-20s  %-8s  %zu\n", shape, dtype_find(t->dtype)->name,
                   t->bytes);
        params += tensor_params(t);
        bytes += (double)t->bytes;
    }
    buf_printf(b, "\n%.0f parameters", params);
    if (params > 0)
        buf_printf(b, ", %.4g bits per weight", bytes * 8 / params);
    buf_puts(b, "\n");
}

static enum status inspect_text(const struct gguf *g, struct error *err)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    put_escaped(&b, gguf_path(g), strlen(gguf_path(g)), 4096);
    buf_printf(&b, ": GGUF v%d, %d file%s, %zu bytes\n", gguf_version(g), gguf_n_files(g),
               gguf_n_files(g) == 1 ? "" : "s", gguf_file_bytes(g));
    put_metadata(&b, g);
    put_tensors(&b, g);
    enum status st = STATUS_OK;
    if (b.failed)
        st = fail(err, STATUS_LIMIT, "%s: too much to print", gguf_path(g));
    else
        fwrite(b.data, 1, b.len, stdout);
    buf_release(&b);
    return st;
}

/* ---- JSON ---- */

/* Valid UTF-8 as it is; U+FFFD for each wrong byte. */
static json_t *json_text(const char *s, size_t n)
{
    struct buf b;
    buf_init(&b, n * 3 + 1);
    buf_puts(&b, "");
    for (size_t i = 0; i < n;) {
        const size_t len = utf8_char_bytes(s + i, n - i);
        if (len)
            buf_append(&b, s + i, len);
        else
            buf_puts(&b, "\xef\xbf\xbd");
        i += len ? len : 1;
    }
    json_t *j = b.failed ? NULL : json_stringn(b.data ? b.data : "", b.len);
    buf_release(&b);
    return j;
}

static json_t *json_element(const struct gguf *g, int i, uint64_t j)
{
    const enum gguf_type t = gguf_kv_elem_type(g, i);
    struct gguf_str s;
    int64_t v;
    double f;
    if (gguf_kv_elem_str(g, i, j, &s))
        return json_text(s.s, s.n);
    if (gguf_kv_elem_int(g, i, j, &v))
        return t == GGUF_BOOL ? json_boolean(v) : json_integer(v);
    /* JSON has no NaN or infinity; json_real refuses them. */
    json_t *real = gguf_kv_elem_f64(g, i, j, &f) ? json_real(f) : NULL;
    return real ? real : json_null();
}

static json_t *metadata_json(const struct gguf *g, int i)
{
    if (gguf_kv_type(g, i) != GGUF_ARR)
        return json_element(g, i, 0);
    const uint64_t n = gguf_kv_count(g, i), show = n > JSON_FULL ? JSON_FIRST : n;
    json_t *a = json_array();
    for (uint64_t j = 0; j < show; j++)
        json_array_append_new(a, json_element(g, i, j));
    if (n <= JSON_FULL)
        return a;
    return json_pack("{s:s, s:I, s:o}", "type", gguf_type_name(gguf_kv_elem_type(g, i)),
                     "count", (json_int_t)n, "first", a);
}

static json_t *json_key_value(const struct gguf *g)
{
    json_t *o = json_object();
    for (int i = 0; i < gguf_n_kv(g); i++) {
        const char *key = gguf_kv_key(g, i);
        json_t *name = json_text(key, strlen(key));
        json_object_set_new(o, name ? json_string_value(name) : "", metadata_json(g, i));
        json_decref(name);
    }
    return o;
}

static json_t *json_tensors(const struct gguf *g, double *params)
{
    json_t *all = json_array();
    *params = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        json_t *shape = json_array();
        for (int d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer(t->ne[d]));
        json_array_append_new(all, json_pack("{s:o, s:s, s:o, s:I}", "name",
                                             json_text(t->name, strlen(t->name)), "dtype",
                                             dtype_find(t->dtype)->name, "shape", shape,
                                             "bytes", (json_int_t)t->bytes));
        *params += tensor_params(t);
    }
    return all;
}

/* Tensors may overlap, so a file can claim more values than it has bits. */
static json_int_t json_count(double n)
{
    return n < 0x1p63 ? (json_int_t)n : INT64_MAX;
}

static enum status inspect_print_json(const struct gguf *g, struct error *err)
{
    double params;
    json_t *tensors = json_tensors(g, &params);
    json_t *o =
        json_pack("{s:i, s:i, s:I, s:o, s:o, s:I}", "version", gguf_version(g), "files",
                  gguf_n_files(g), "bytes", (json_int_t)gguf_file_bytes(g), "metadata",
                  json_key_value(g), "tensors", tensors, "n_params", json_count(params));
    const int rc = o ? json_dumpf(o, stdout, JSON_INDENT(1)) : -1;
    json_decref(o);
    if (rc)
        return fail(err, STATUS_NO_MEMORY, "%s: cannot print JSON", gguf_path(g));
    putchar('\n');
    return STATUS_OK;
}

static enum status inspect_file(const char *arg, struct error *err)
{
    struct gguf *g;
    char path[STORE_PATH_BYTES];
    enum status st = models_path(path, arg, err);
    if (!st)
        st = gguf_open(&g, path, err);
    if (st)
        return st;
    st = inspect_json ? inspect_print_json(g, err) : inspect_text(g, err);
    gguf_close(g);
    return st;
}

int cmd_inspect(int argc, char **argv)
{
    const char *path;
    const int rc = cli_parse(&inspect_command, argc, argv, &path);
    if (rc >= 0)
        return rc;
    struct error err;
    enum status st = inspect_types ? inspect_kv(path, inspect_types, inspect_json, &err)
                                   : inspect_file(path, &err);
    if (!st && (fflush(stdout) || ferror(stdout)))
        st = fail(&err, STATUS_IO, "cannot write to standard output");
    return st ? cli_fail(&inspect_command, &err) : CLI_OK;
}
