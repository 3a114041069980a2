/* fuzz_gguf.c - whatever opens must be consistent and readable to the last byte. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void must(bool cond)
{
    if (!cond)
        abort();
}

static void read_values(const struct gguf *g, int i)
{
    /* Strings are found by walking, so reading all of a long array is quadratic. */
    const uint64_t n = gguf_kv_count(g, i), show = n < 64 ? n : 64;
    int64_t v = 0;
    double f = 0;
    struct gguf_str s;
    for (uint64_t j = 0; j < show; j++) {
        const bool is_int = gguf_kv_elem_int(g, i, j, &v);
        const bool is_str = gguf_kv_elem_str(g, i, j, &s);
        const bool is_f64 = gguf_kv_elem_f64(g, i, j, &f);
        must(is_int || is_f64 || is_str);
        must(!(is_str && (is_int || is_f64)));
        if (is_str && s.n)
            sink += (uint8_t)s.s[0] + (uint8_t)s.s[s.n - 1];
        sink += (uint64_t)v + (f > 0);
    }
    must(!gguf_kv_elem_int(g, i, n, &v) && !gguf_kv_elem_f64(g, i, n, &f) &&
         !gguf_kv_elem_str(g, i, n, &s));
}

static void read_by_key(const struct gguf *g, int i)
{
    const char *key = gguf_kv_key(g, i);
    struct error err;
    int64_t v = 0;
    double f = 0;
    bool b = false;
    struct gguf_str s;
    must(gguf_find(g, key) == i);
    sink += (uint64_t)gguf_int(g, key, INT64_MIN, INT64_MAX, &v, &err);
    sink += (uint64_t)gguf_int_or(g, key, 0, 10, 5, &v, &err);
    sink += (uint64_t)gguf_f64(g, key, -1e300, 1e300, &f, &err);
    sink += (uint64_t)gguf_f64_or(g, key, 0, 1, 0.5, &f, &err);
    sink += (uint64_t)gguf_bool_or(g, key, true, &b, &err);
    if (gguf_str(g, key, &s, &err) == STATUS_OK)
        for (size_t k = 0; k < s.n; k++)
            sink += (uint8_t)s.s[k];
    struct gguf_strings a;
    if (gguf_strings_open(&a, g, key, &err) == STATUS_OK) {
        must(a.n == gguf_kv_count(g, i));
        for (size_t k = 0; k < a.n; k++) {
            s = gguf_strings_at(&a, k);
            if (s.n)
                sink += (uint8_t)s.s[0] + (uint8_t)s.s[s.n - 1];
        }
        gguf_strings_close(&a);
    }
}

static void read_tensor(const struct gguf *g, const struct gguf_tensor *t, int i)
{
    must(gguf_tensor_find(g, t->name) == t && gguf_tensor_index(g, t) == i);
    must(t->n_dims >= 1 && t->n_dims <= 4 && t->bytes > 0);
    const struct dtype_traits *tr = dtype_find((uint32_t)t->dtype);
    must(tr && t->ne[0] % tr->block_elems == 0);
    sink += t->data[0] + t->data[t->bytes - 1];
    gguf_drop(g, t->data, t->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g;
    struct error err;
    const enum status st = gguf_open_memory(&g, data, size, &err);
    if (st) {
        must(!g && err.status == st && err.text[0] && !strchr(err.text, '\n'));
        return 0;
    }
    must(gguf_file_bytes(g) == size && gguf_n_files(g) == 1 && gguf_path(g));
    for (int i = 0; i < gguf_n_kv(g); i++) {
        must(gguf_type_name(gguf_kv_type(g, i)) &&
             gguf_type_name(gguf_kv_elem_type(g, i)));
        read_values(g, i);
        read_by_key(g, i);
    }
    for (int i = 0; i < gguf_n_tensors(g); i++)
        read_tensor(g, gguf_tensor_at(g, i), i);
    gguf_close(g);
    return 0;
}
