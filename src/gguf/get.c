/* get.c - typed access to metadata.  No accessor hands out raw array pointers: a value
 * is converted, or the caller is told that its type does not fit. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/internal.h"

static const struct {
    const char *name;
    size_t bytes;
} value_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},   [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2}, [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1}, [GGUF_STR] = {"str", 0},
    [GGUF_ARR] = {"arr", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type t)
{
    return value_types[t].name;
}

size_t gguf_type_bytes(enum gguf_type t)
{
    return value_types[t].bytes;
}

/* ---- by position ---- */

int gguf_n_kv(const struct gguf *g)
{
    return g->table.n;
}

const char *gguf_kv_key(const struct gguf *g, int i)
{
    return g->table.kv[i].key;
}

enum gguf_type gguf_kv_type(const struct gguf *g, int i)
{
    return g->table.kv[i].type;
}

enum gguf_type gguf_kv_elem_type(const struct gguf *g, int i)
{
    return g->table.kv[i].elem;
}

uint64_t gguf_kv_count(const struct gguf *g, int i)
{
    return g->table.kv[i].count;
}

static bool value_is_int(enum gguf_type t)
{
    return t != GGUF_F32 && t != GGUF_F64 && t != GGUF_STR && t != GGUF_ARR;
}

/* False if the type is no integer, or a u64 is past the range of int64. */
static bool value_int(const struct gguf_kv *kv, uint64_t j, int64_t *out)
{
    const size_t n = gguf_type_bytes(kv->elem);
    if (!value_is_int(kv->elem) || j >= kv->count)
        return false;
    const uint64_t v = gguf_le(kv->value + j * n, n);
    switch (kv->elem) {
    case GGUF_I8:
        *out = (int8_t)v;
        return true;
    case GGUF_I16:
        *out = (int16_t)v;
        return true;
    case GGUF_I32:
        *out = (int32_t)v;
        return true;
    case GGUF_U64:
        if (v > INT64_MAX)
            return false;
        break;
    default:
        break;
    }
    *out = (int64_t)v;
    return true;
}

static bool value_f64(const struct gguf_kv *kv, uint64_t j, double *out)
{
    if (j >= kv->count)
        return false;
    const uint8_t *p = kv->value + j * gguf_type_bytes(kv->elem);
    if (kv->elem == GGUF_F32) {
        const uint32_t u = (uint32_t)gguf_le(p, 4);
        float f;
        memcpy(&f, &u, sizeof f);
        *out = (double)f;
        return true;
    }
    if (kv->elem == GGUF_F64) {
        const uint64_t u = gguf_le(p, 8);
        memcpy(out, &u, sizeof *out);
        return true;
    }
    if (kv->elem == GGUF_U64) {
        *out = (double)gguf_le(p, 8);
        return true;
    }
    int64_t i;
    if (kv->elem == GGUF_BOOL || !value_int(kv, j, &i))
        return false;
    *out = (double)i;
    return true;
}

static struct gguf_str string_at(const uint8_t *p)
{
    return (struct gguf_str){.s = (const char *)p + 8, .n = (size_t)gguf_le64(p)};
}

bool gguf_kv_elem_int(const struct gguf *g, int i, uint64_t j, int64_t *out)
{
    return value_int(&g->table.kv[i], j, out);
}

bool gguf_kv_elem_f64(const struct gguf *g, int i, uint64_t j, double *out)
{
    return value_f64(&g->table.kv[i], j, out);
}

bool gguf_kv_elem_str(const struct gguf *g, int i, uint64_t j, struct gguf_str *out)
{
    const struct gguf_kv *kv = &g->table.kv[i];
    if (kv->elem != GGUF_STR || j >= kv->count)
        return false;
    const uint8_t *p = kv->value;
    for (; j > 0; j--)
        p += 8 + gguf_le64(p);
    *out = string_at(p);
    return true;
}

/* ---- by key ---- */

const struct gguf_kv *gguf_table_find(const struct gguf_table *t, const char *key)
{
    int lo = 0, hi = t->n;
    while (lo < hi) {
        const int mid = lo + (hi - lo) / 2;
        const int c = strcmp(t->by_key[mid]->key, key);
        if (c == 0)
            return t->by_key[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

int gguf_find(const struct gguf *g, const char *key)
{
    const struct gguf_kv *kv = gguf_table_find(&g->table, key);
    return kv ? (int)(kv - g->table.kv) : -1;
}

static enum status key_missing(const struct gguf_table *t, const char *key,
                               struct error *err)
{
    return fail(err, STATUS_NOT_FOUND, "%s: key '%s' is missing", t->path, key);
}

static enum status key_type(const struct gguf_table *t, const struct gguf_kv *kv,
                            const char *want, struct error *err)
{
    const bool array = kv->type == GGUF_ARR;
    return fail(err, STATUS_BAD_FILE, "%s: key '%s': %s expected, the file has %s%s",
                t->path, kv->key, want, array ? "an array of " : "",
                gguf_type_name(kv->elem));
}

enum status gguf_table_int(const struct gguf_table *t, const char *key, int64_t min,
                           int64_t max, int64_t *out, struct error *err)
{
    const struct gguf_kv *kv = gguf_table_find(t, key);
    if (!kv)
        return key_missing(t, key, err);
    if (kv->type == GGUF_ARR || !value_is_int(kv->elem))
        return key_type(t, kv, "an integer", err);
    int64_t v;
    if (!value_int(kv, 0, &v))
        return fail(err, STATUS_BAD_FILE,
                    "%s: key '%s': %" PRIu64 " is outside %" PRId64 "..%" PRId64, t->path,
                    key, gguf_le(kv->value, 8), min, max);
    if (v < min || v > max)
        return fail(err, STATUS_BAD_FILE,
                    "%s: key '%s': %" PRId64 " is outside %" PRId64 "..%" PRId64, t->path,
                    key, v, min, max);
    *out = v;
    return STATUS_OK;
}

enum status gguf_int(const struct gguf *g, const char *key, int64_t min, int64_t max,
                     int64_t *out, struct error *err)
{
    return gguf_table_int(&g->table, key, min, max, out, err);
}

enum status gguf_int_or(const struct gguf *g, const char *key, int64_t min, int64_t max,
                        int64_t def, int64_t *out, struct error *err)
{
    *out = def;
    return gguf_find(g, key) < 0 ? STATUS_OK : gguf_int(g, key, min, max, out, err);
}

enum status gguf_f64(const struct gguf *g, const char *key, double min, double max,
                     double *out, struct error *err)
{
    const struct gguf_kv *kv = gguf_table_find(&g->table, key);
    if (!kv)
        return key_missing(&g->table, key, err);
    double v;
    if (kv->type == GGUF_ARR || !value_f64(kv, 0, &v))
        return key_type(&g->table, kv, "a number", err);
    if (!isfinite(v) || !(v >= min && v <= max))
        return fail(err, STATUS_BAD_FILE, "%s: key '%s': %g is outside %g..%g",
                    g->table.path, key, v, min, max);
    *out = v;
    return STATUS_OK;
}

enum status gguf_f64_or(const struct gguf *g, const char *key, double min, double max,
                        double def, double *out, struct error *err)
{
    *out = def;
    return gguf_find(g, key) < 0 ? STATUS_OK : gguf_f64(g, key, min, max, out, err);
}

enum status gguf_bool_or(const struct gguf *g, const char *key, bool def, bool *out,
                         struct error *err)
{
    int64_t v;
    const enum status st = gguf_int_or(g, key, 0, 1, def, &v, err);
    *out = st ? def : v != 0;
    return st;
}

enum status gguf_str(const struct gguf *g, const char *key, struct gguf_str *out,
                     struct error *err)
{
    const struct gguf_kv *kv = gguf_table_find(&g->table, key);
    if (!kv)
        return key_missing(&g->table, key, err);
    if (kv->type != GGUF_STR)
        return key_type(&g->table, kv, "a string", err);
    *out = string_at(kv->value);
    return STATUS_OK;
}

/* ---- string arrays ---- */

enum status gguf_strings_open(struct gguf_strings *out, const struct gguf *g,
                              const char *key, struct error *err)
{
    *out = (struct gguf_strings){0};
    const struct gguf_kv *kv = gguf_table_find(&g->table, key);
    if (!kv)
        return key_missing(&g->table, key, err);
    if (kv->type != GGUF_ARR || kv->elem != GGUF_STR)
        return key_type(&g->table, kv, "an array of strings", err);
    out->at = mem_array((size_t)kv->count, sizeof *out->at);
    if (!out->at)
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", g->table.path);
    out->n = (size_t)kv->count;
    const uint8_t *p = kv->value;
    for (size_t i = 0; i < out->n; i++) {
        out->at[i] = p;
        p += 8 + gguf_le64(p);
    }
    return STATUS_OK;
}

struct gguf_str gguf_strings_at(const struct gguf_strings *a, size_t i)
{
    return string_at(a->at[i]);
}

void gguf_strings_close(struct gguf_strings *a)
{
    mem_free(a->at);
    *a = (struct gguf_strings){0};
}
