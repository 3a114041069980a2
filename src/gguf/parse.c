/* parse.c - from the bytes of one file to checked tables.  The cursor is the only code
 * that reads them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/internal.h"

/* A failed read is sticky: later reads give 0, and `failed` keeps the status. */
struct cursor {
    struct gguf_file *f;
    size_t at, left;
    enum status failed;
    struct error *err;
    const char *what, *name; // what is being read, for errors; NULL: the header
    uint64_t index;          // its number, while its name is not known
};

struct parse {
    struct gguf *g;
    struct cursor c;
    struct gguf_table *table;
    struct error *err;
    const char *path;
    uint64_t n_tensors;
    size_t align;
};

static enum status truncated(const struct cursor *c, uint64_t n)
{
    char where[96] = "";
    if (c->name)
        snprintf(where, sizeof where, "%s '%s': ", c->what,
                 gguf_show(c->name, strlen(c->name)).s);
    else if (c->what)
        snprintf(where, sizeof where, "%s %" PRIu64 ": ", c->what, c->index);
    return fail(c->err, STATUS_BAD_FILE,
                "%s: truncated: %s%" PRIu64 " bytes expected at offset %zu, %zu left",
                c->f->path, where, n, c->at, c->left);
}

static const uint8_t *cursor_take(struct cursor *c, uint64_t n)
{
    if (c->failed)
        return NULL;
    if (n > c->left) {
        c->failed = truncated(c, n);
        return NULL;
    }
    if (c->at + n > c->f->meta_ready) {
        c->failed = gguf_file_fill(c->f, c->at + (size_t)n, c->err);
        if (c->failed)
            return NULL;
    }
    const uint8_t *p = c->f->meta + c->at;
    c->at += (size_t)n;
    c->left -= (size_t)n;
    return p;
}

static uint64_t cursor_int(struct cursor *c, size_t n)
{
    const uint8_t *p = cursor_take(c, n);
    return p ? gguf_le(p, n) : 0;
}

static uint64_t cursor_u64(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 8);
    return p ? gguf_le64(p) : 0;
}

static uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_int(c, 4);
}

struct gguf_shown gguf_show(const char *s, size_t n)
{
    struct gguf_shown out;
    const size_t max = sizeof out.s - 1;
    size_t i = 0;
    for (; i < n && i < max; i++)
        out.s[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    if (n > max)
        memcpy(out.s + max - 3, "...", 3);
    out.s[i] = 0;
    return out;
}

/* A name of 1..max bytes without 0 bytes; a terminated copy. */
static enum status take_name(struct parse *p, const char **out, size_t max,
                             const char *what, uint64_t i)
{
    p->c.what = what;
    p->c.index = i;
    p->c.name = NULL;
    const uint64_t n = cursor_u64(&p->c);
    if (!p->c.failed && (n == 0 || n > max))
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: %s %" PRIu64 ": a name of %" PRIu64
                    " bytes, 1 to %zu are allowed",
                    p->path, what, i, n, max);
    const uint8_t *s = cursor_take(&p->c, n);
    if (!s)
        return p->c.failed;
    if (memchr(s, 0, (size_t)n))
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: %s %" PRIu64 ": a 0 byte in its name '%s'", p->path, what, i,
                    gguf_show((const char *)s, (size_t)n).s);
    p->c.name = *out = arena_strndup(&p->g->arena, (const char *)s, (size_t)n);
    return *out ? STATUS_OK
                : fail(p->err, STATUS_NO_MEMORY, "%s: out of memory", p->path);
}

/* ---- header ---- */

static enum status parse_header(struct parse *p, uint64_t *n_kv)
{
    struct cursor *c = &p->c;
    const uint8_t *magic = c->left >= 4 ? cursor_take(c, 4) : NULL;
    if (c->failed)
        return c->failed;
    if (!magic)
        return fail(p->err, STATUS_BAD_FILE, "%s: not a GGUF file: only %zu bytes long",
                    p->path, c->left);
    if (memcmp(magic, "GGUF", 4))
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: not a GGUF file: it starts with bytes %02x %02x %02x %02x",
                    p->path, magic[0], magic[1], magic[2], magic[3]);
    const uint32_t version = cursor_u32(c);
    if (c->failed)
        return c->failed;
    if (version && (version & 0xffff) == 0)
        return fail(p->err, STATUS_UNSUPPORTED,
                    "%s: a big-endian file; convert it to little endian", p->path);
    if (version != 2 && version != 3)
        return fail(p->err, STATUS_UNSUPPORTED,
                    "%s: GGUF version %" PRIu32 "; versions 2 and 3 are supported",
                    p->path, version);
    p->g->version = p->g->version ? p->g->version : (int)version;
    p->n_tensors = cursor_u64(c);
    *n_kv = cursor_u64(c);
    if (c->failed)
        return c->failed;
    /* The least a tensor (name of 1) and a pair (key of 1, one byte of value) take. */
    enum { TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, KV_BYTES = 8 + 1 + 4 + 1 };
    if (p->n_tensors > GGUF_TENSOR_MAX || p->n_tensors > c->left / TENSOR_BYTES)
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: truncated or malformed: %" PRIu64
                    " tensors claimed with %zu bytes left (at most %d)",
                    p->path, p->n_tensors, c->left, GGUF_TENSOR_MAX);
    if (*n_kv > GGUF_KV_MAX || *n_kv > c->left / KV_BYTES)
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: truncated or malformed: %" PRIu64
                    " metadata keys claimed with %zu bytes left (at most %d)",
                    p->path, *n_kv, c->left, GGUF_KV_MAX);
    return STATUS_OK;
}

/* ---- metadata ---- */

static enum status parse_strings(struct parse *p, const struct gguf_kv *kv)
{
    for (uint64_t i = 0; i < kv->count; i++) {
        const uint64_t n = cursor_u64(&p->c);
        if (n > GGUF_STR_MAX && !p->c.failed)
            return fail(p->err, STATUS_BAD_FILE,
                        "%s: key '%s': a string of %" PRIu64
                        " bytes, at most %d are allowed",
                        p->path, gguf_show(kv->key, strlen(kv->key)).s, n, GGUF_STR_MAX);
        if (!cursor_take(&p->c, n))
            return p->c.failed;
    }
    return STATUS_OK;
}

static enum status parse_type(struct parse *p, const char *key, enum gguf_type *out)
{
    const uint32_t t = cursor_u32(&p->c);
    if (p->c.failed)
        return p->c.failed;
    if (t >= GGUF_TYPE_COUNT)
        return fail(p->err, STATUS_BAD_FILE, "%s: key '%s': unknown value type %" PRIu32,
                    p->path, gguf_show(key, strlen(key)).s, t);
    *out = (enum gguf_type)t;
    return STATUS_OK;
}

static enum status parse_array(struct parse *p, struct gguf_kv *kv)
{
    const struct gguf_shown key = gguf_show(kv->key, strlen(kv->key));
    const enum status st = parse_type(p, kv->key, &kv->elem);
    if (st)
        return st;
    if (kv->elem == GGUF_ARR)
        return fail(p->err, STATUS_UNSUPPORTED, "%s: key '%s': an array of arrays",
                    p->path, key.s);
    kv->count = cursor_u64(&p->c);
    if (p->c.failed)
        return p->c.failed;
    const size_t least = kv->elem == GGUF_STR ? 8 : gguf_type_bytes(kv->elem);
    if (kv->count > GGUF_ARR_MAX || kv->count > p->c.left / least)
        return fail(
            p->err, STATUS_BAD_FILE,
            "%s: key '%s': %" PRIu64
            " array elements claimed with %zu bytes left (at most %d); truncated or "
            "malformed",
            p->path, key.s, kv->count, p->c.left, GGUF_ARR_MAX);
    return STATUS_OK;
}

static enum status parse_kv(struct parse *p, struct gguf_kv *kv, uint64_t i)
{
    enum status st = take_name(p, &kv->key, GGUF_KEY_MAX, "metadata key", i);
    if (!st)
        st = parse_type(p, kv->key, &kv->type);
    if (st)
        return st;
    kv->elem = kv->type;
    kv->count = 1;
    if (kv->type == GGUF_ARR && (st = parse_array(p, kv)))
        return st;
    /* Zero bytes always are at hand, so this gives the place of the first element. */
    kv->value = cursor_take(&p->c, 0);
    if (kv->elem == GGUF_STR)
        return parse_strings(p, kv);
    const uint8_t *v = cursor_take(&p->c, kv->count * gguf_type_bytes(kv->elem));
    if (!v)
        return p->c.failed;
    for (uint64_t j = 0; kv->elem == GGUF_BOOL && j < kv->count; j++)
        if (v[j] > 1)
            return fail(p->err, STATUS_BAD_FILE, "%s: key '%s': a bool of value %d",
                        p->path, gguf_show(kv->key, strlen(kv->key)).s, v[j]);
    return STATUS_OK;
}

static int order_keys(const void *a, const void *b)
{
    const struct gguf_kv *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static enum status parse_table(struct parse *p, uint64_t n_kv)
{
    struct gguf_table *t = p->table;
    *t = (struct gguf_table){.path = p->path, .n = (int)n_kv};
    t->kv = arena_array(&p->g->arena, (size_t)n_kv, sizeof *t->kv);
    t->by_key = arena_array(&p->g->arena, (size_t)n_kv, sizeof *t->by_key);
    if (!t->kv || !t->by_key)
        return fail(p->err, STATUS_NO_MEMORY, "%s: out of memory", p->path);
    for (uint64_t i = 0; i < n_kv; i++) {
        const enum status st = parse_kv(p, &t->kv[i], i);
        if (st)
            return st;
        t->by_key[i] = &t->kv[i];
    }
    qsort(t->by_key, (size_t)n_kv, sizeof *t->by_key, order_keys);
    for (uint64_t i = 1; i < n_kv; i++)
        if (!strcmp(t->by_key[i - 1]->key, t->by_key[i]->key))
            return fail(p->err, STATUS_BAD_FILE, "%s: key '%s' occurs twice", p->path,
                        gguf_show(t->by_key[i]->key, strlen(t->by_key[i]->key)).s);
    return STATUS_OK;
}

static enum status parse_alignment(struct parse *p)
{
    static const char key[] = "general.alignment";
    const struct gguf_kv *kv = gguf_table_find(p->table, key);
    p->align = 32;
    if (!kv)
        return STATUS_OK;
    if (kv->type != GGUF_U32)
        return fail(p->err, STATUS_BAD_FILE, "%s: key '%s': type %s, u32 expected",
                    p->path, key, gguf_type_name(kv->type));
    p->align = (size_t)gguf_le(kv->value, 4);
    if (p->align < 8 || p->align > 65536 || (p->align & (p->align - 1)))
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: key '%s': %zu is not a power of two from 8 to 65536", p->path,
                    key, p->align);
    return STATUS_OK;
}

/* ---- tensors ---- */

/* Shape and type to bytes; every product checked. */
static enum status tensor_size(struct parse *p, struct gguf_tensor *t, uint32_t id)
{
    const struct gguf_shown name = gguf_show(t->name, strlen(t->name));
    const struct dtype_traits *tr = dtype_find(id);
    if (!tr)
        return gguf_foreign_type(p->path, name.s, id, p->err);
    t->dtype = (enum dtype)id;
    if (t->ne[0] % tr->block_elems)
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: tensor '%s': rows of %" PRId64
                    " values, but %s has blocks of %d",
                    p->path, name.s, t->ne[0], tr->name, tr->block_elems);
    size_t n = (size_t)(t->ne[0] / tr->block_elems);
    bool fits = mem_mul(&n, n, (size_t)tr->block_bytes);
    size_t elems = (size_t)t->ne[0];
    for (int d = 1; d < 4; d++) {
        fits = fits && mem_mul(&n, n, (size_t)t->ne[d]);
        fits = fits && mem_mul(&elems, elems, (size_t)t->ne[d]) && elems <= INT64_MAX;
    }
    if (!fits)
        return fail(p->err, STATUS_BAD_FILE, "%s: tensor '%s': its size overflows",
                    p->path, name.s);
    t->bytes = n;
    return STATUS_OK;
}

static enum status parse_tensor(struct parse *p, struct gguf_slot *s, uint64_t i)
{
    struct cursor *c = &p->c;
    struct gguf_tensor *t = &s->t;
    const enum status st = take_name(p, &t->name, GGUF_NAME_MAX, "tensor", i);
    if (st)
        return st;
    const struct gguf_shown name = gguf_show(t->name, strlen(t->name));
    const uint32_t n_dims = cursor_u32(c);
    if (c->failed)
        return c->failed;
    if (n_dims < 1 || n_dims > 4)
        return fail(p->err, STATUS_BAD_FILE,
                    "%s: tensor '%s': %" PRIu32 " dimensions, 1 to 4 are allowed",
                    p->path, name.s, n_dims);
    t->n_dims = (int)n_dims;
    for (uint32_t d = 0; d < 4; d++) {
        const uint64_t ne = d < n_dims ? cursor_u64(c) : 1;
        if (!c->failed && (ne < 1 || ne > INT64_MAX))
            return fail(p->err, STATUS_BAD_FILE,
                        "%s: tensor '%s': dimension %" PRIu32 " is %" PRIu64, p->path,
                        name.s, d, ne);
        t->ne[d] = (int64_t)ne;
    }
    const uint32_t id = cursor_u32(c);
    s->offset = cursor_u64(c);
    return c->failed ? c->failed : tensor_size(p, t, id);
}

/* The data section starts at the next multiple of the alignment after the infos. */
static enum status place_tensors(struct parse *p, struct gguf_slot *slot)
{
    const struct gguf_file *f = p->c.f;
    const size_t start = (p->c.at + p->align - 1) / p->align * p->align;
    const size_t room = start < f->bytes ? f->bytes - start : 0;
    const enum status st =
        gguf_foreign_42(p->path, slot, (size_t)p->n_tensors, room, p->err);
    if (st)
        return st;
    for (uint64_t i = 0; i < p->n_tensors; i++) {
        struct gguf_tensor *t = &slot[i].t;
        const uint64_t offset = slot[i].offset;
        if (offset % p->align)
            return fail(p->err, STATUS_BAD_FILE,
                        "%s: tensor '%s': offset %" PRIu64 " is not a multiple of %zu",
                        p->path, gguf_show(t->name, strlen(t->name)).s, offset, p->align);
        if (offset > room || t->bytes > room - offset)
            return fail(p->err, STATUS_BAD_FILE,
                        "%s: truncated or malformed: tensor '%s' needs %zu bytes at data "
                        "offset %" PRIu64 ", the data section has %zu",
                        p->path, gguf_show(t->name, strlen(t->name)).s, t->bytes, offset,
                        room);
        t->data = f->data + start + offset;
    }
    return STATUS_OK;
}

static enum status parse_tensors(struct parse *p)
{
    struct gguf *g = p->g;
    if (p->n_tensors > (uint64_t)(GGUF_TENSOR_MAX - g->n_tensors))
        return fail(p->err, STATUS_LIMIT, "%s: more than %d tensors in all files",
                    p->path, GGUF_TENSOR_MAX);
    const size_t n = (size_t)g->n_tensors + (size_t)p->n_tensors;
    struct gguf_slot *slot = mem_resize(g->slot, n, sizeof *slot);
    if (!slot)
        return fail(p->err, STATUS_NO_MEMORY, "%s: out of memory", p->path);
    g->slot = slot;
    slot += g->n_tensors;
    for (uint64_t i = 0; i < p->n_tensors; i++) {
        slot[i] = (struct gguf_slot){0};
        const enum status st = parse_tensor(p, &slot[i], i);
        if (st)
            return st;
    }
    const enum status st = place_tensors(p, slot);
    if (!st)
        g->n_tensors = (int)n;
    return st;
}

enum status gguf_parse(struct gguf *g, struct gguf_file *f, struct gguf_table *table,
                       struct error *err)
{
    struct parse p = {.g = g, .table = table, .err = err, .path = f->path};
    p.c = (struct cursor){.f = f, .left = f->bytes, .err = err};
    uint64_t n_kv = 0;
    enum status st = parse_header(&p, &n_kv);
    if (!st)
        st = parse_table(&p, n_kv);
    if (!st)
        st = parse_alignment(&p);
    if (!st)
        st = parse_tensors(&p);
    f->head = p.c.at;
    gguf_file_trim(f, p.c.at);
    return st;
}
