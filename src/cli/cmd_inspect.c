/* cmd_inspect.c - what a GGUF file holds: metadata and tensors, as text or JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/inspect_kv.h"
#include "cli/inspect_text.h"
#include "cli/models.h"
#include "cli/planned.h"
#include "gguf/gguf.h"
#include "base/utf8.h"

enum {
    JSON_FULL = 64, // arrays up to this length are whole in JSON
    JSON_FIRST = 8, // of longer ones
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

static enum status inspect_text(const struct gguf *g, struct error *err)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    inspect_put_escaped(&b, gguf_path(g), strlen(gguf_path(g)), 4096);
    buf_printf(&b, ": GGUF v%d, %d file%s, %zu bytes\n", gguf_version(g), gguf_n_files(g),
               gguf_n_files(g) == 1 ? "" : "s", gguf_file_bytes(g));
    inspect_put_metadata(&b, g);
    inspect_put_tensors(&b, g);
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
        *params += inspect_tensor_params(t);
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
