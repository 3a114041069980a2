/* gguf.c - opening: one file or all of a split, then the index of tensors. */
#include "gguf/gguf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/internal.h"

static int order_tensors(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum status index_tensors(struct gguf *g, struct error *err)
{
    g->by_name = mem_array((size_t)g->n_tensors, sizeof *g->by_name);
    if (!g->by_name)
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", g->table.path);
    for (int i = 0; i < g->n_tensors; i++)
        g->by_name[i] = &g->slot[i].t;
    qsort(g->by_name, (size_t)g->n_tensors, sizeof *g->by_name, order_tensors);
    for (int i = 1; i < g->n_tensors; i++) {
        const char *name = g->by_name[i]->name;
        if (!strcmp(g->by_name[i - 1]->name, name))
            return fail(err, STATUS_BAD_FILE, "%s: tensor '%s' occurs twice",
                        g->table.path, gguf_show(name, strlen(name)).s);
    }
    return STATUS_OK;
}

/* ---- split files: <prefix>-00001-of-00003.gguf ---- */

enum { SPLIT_TAIL = sizeof "-00001-of-00003.gguf" - 1 };

/* Bytes of the prefix, or 0 if path has not the form "<prefix>-NNNNN-of-<n>.gguf". */
static size_t split_prefix(const char *path, int64_t n)
{
    const size_t len = strlen(path);
    char want[32];
    if (len <= SPLIT_TAIL)
        return 0;
    const char *tail = path + len - SPLIT_TAIL;
    snprintf(want, sizeof want, "-of-%05d.gguf", (int)n);
    if (tail[0] != '-' || strcmp(tail + 6, want))
        return 0;
    for (int i = 1; i < 6; i++)
        if (!isdigit((unsigned char)tail[i]))
            return 0;
    return len - SPLIT_TAIL;
}

static enum status open_part(struct gguf *g, size_t prefix, int64_t no, int64_t n,
                             struct error *err)
{
    const char *first = g->file[0].path;
    const size_t size = prefix + SPLIT_TAIL + 1;
    char *path = arena_array(&g->arena, size, 1);
    if (!path)
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", first);
    snprintf(path, size, "%.*s-%05d-of-%05d.gguf", (int)prefix, first, (int)no + 1,
             (int)n);
    struct gguf_file *f = &g->file[g->n_files++];
    enum status st = gguf_file_open(f, path, err);
    struct gguf_table table;
    if (!st)
        st = gguf_parse(g, f, &table, err);
    int64_t got_no, got_n;
    if (!st)
        st = gguf_table_int(&table, "split.no", 0, GGUF_SPLIT_MAX - 1, &got_no, err);
    if (!st)
        st = gguf_table_int(&table, "split.count", 1, GGUF_SPLIT_MAX, &got_n, err);
    if (st == STATUS_NOT_FOUND && f->data)
        return fail(err, STATUS_BAD_FILE, "%s: not part %d of a split: no split.* keys",
                    path, (int)no + 1);
    if (!st && (got_no != no || got_n != n))
        return fail(
            err, STATUS_BAD_FILE,
            "%s: says it is part %d of %d, its name and the first part say %d of %d",
            path, (int)got_no + 1, (int)got_n, (int)no + 1, (int)n);
    return st;
}

static enum status open_rest(struct gguf *g, struct error *err)
{
    const char *path = g->file[0].path;
    int64_t n, no, total;
    enum status st = gguf_int_or(g, "split.count", 0, GGUF_SPLIT_MAX, 0, &n, err);
    if (st || n <= 1)
        return st;
    if ((st = gguf_int(g, "split.no", 0, GGUF_SPLIT_MAX - 1, &no, err)))
        return st;
    if (no != 0)
        return fail(
            err, STATUS_BAD_FILE,
            "%s: part %d of %d; open the first part, named ...-00001-of-%05d.gguf", path,
            (int)no + 1, (int)n, (int)n);
    if ((st = gguf_int(g, "split.tensors.count", 0, GGUF_TENSOR_MAX, &total, err)))
        return st;
    const size_t prefix = split_prefix(path, n);
    if (!prefix || strncmp(path + prefix, "-00001-", 7))
        return fail(err, STATUS_BAD_FILE,
                    "%s: part 1 of %d must be named <prefix>-00001-of-%05d.gguf", path,
                    (int)n, (int)n);
    struct gguf_file *file = mem_resize(g->file, (size_t)n, sizeof *file);
    if (!file)
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    g->file = file;
    for (int64_t i = 1; i < n && !st; i++)
        st = open_part(g, prefix, i, n, err);
    if (!st && g->n_tensors != total)
        return fail(err, STATUS_BAD_FILE,
                    "%s: %d tensors in %d files, key 'split.tensors.count' says %d", path,
                    g->n_tensors, (int)n, (int)total);
    return st;
}

/* ---- open, close ---- */

static enum status gguf_new(struct gguf **out, struct error *err)
{
    struct gguf *g = mem_array(1, sizeof *g);
    struct gguf_file *file = mem_array(1, sizeof *file);
    if (!g || !file) {
        mem_free(g);
        mem_free(file);
        return fail(err, STATUS_NO_MEMORY, "out of memory");
    }
    arena_init(&g->arena, GGUF_ARENA_MAX);
    g->file = file;
    g->n_files = 1;
    *out = g;
    return STATUS_OK;
}

/* f is open (or st says why not); follow: open the other files of a split, too. */
static enum status open_finish(struct gguf **out, struct gguf *g, enum status st,
                               bool follow, struct error *err)
{
    if (!st)
        st = gguf_parse(g, &g->file[0], &g->table, err);
    if (!st && follow)
        st = open_rest(g, err);
    if (!st)
        st = index_tensors(g, err);
    if (st)
        gguf_close(g);
    else
        *out = g;
    return st;
}

static enum status open_path(struct gguf **out, const char *path, bool follow,
                             struct error *err)
{
    struct gguf *g = NULL;
    *out = NULL;
    const enum status st = gguf_new(&g, err);
    if (st)
        return st;
    return open_finish(out, g, gguf_file_open(&g->file[0], path, err), follow, err);
}

enum status gguf_open(struct gguf **out, const char *path, struct error *err)
{
    return open_path(out, path, true, err);
}

enum status gguf_open_part(struct gguf **out, const char *path, struct error *err)
{
    return open_path(out, path, false, err);
}

enum status gguf_open_memory(struct gguf **out, const void *data, size_t n,
                             struct error *err)
{
    struct gguf *g = NULL;
    *out = NULL;
    const enum status st = gguf_new(&g, err);
    if (st)
        return st;
    return open_finish(out, g, gguf_file_memory(&g->file[0], data, n, err), false, err);
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_files; i++)
        gguf_file_close(&g->file[i]);
    mem_free(g->file);
    mem_free(g->slot);
    mem_free(g->by_name);
    arena_release(&g->arena);
    mem_free(g);
}

/* ---- what was opened ---- */

const char *gguf_path(const struct gguf *g)
{
    return g->file[0].path;
}

size_t gguf_file_bytes(const struct gguf *g)
{
    size_t n = 0;
    for (int i = 0; i < g->n_files; i++)
        n += g->file[i].bytes;
    return n;
}

int gguf_version(const struct gguf *g)
{
    return g->version;
}

int gguf_n_files(const struct gguf *g)
{
    return g->n_files;
}

const uint8_t *gguf_head(const struct gguf *g, int file, size_t *n)
{
    *n = g->file[file].head;
    return g->file[file].meta;
}

int gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, int i)
{
    return &g->slot[i].t;
}

int gguf_tensor_index(const struct gguf *g, const struct gguf_tensor *t)
{
    const size_t at = (size_t)((const uint8_t *)t - (const uint8_t *)&g->slot[0].t);
    return (int)(at / sizeof *g->slot);
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name)
{
    int lo = 0, hi = g->n_tensors;
    while (lo < hi) {
        const int mid = lo + (hi - lo) / 2;
        const int c = strcmp(g->by_name[mid]->name, name);
        if (c == 0)
            return g->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

void gguf_drop(const struct gguf *g, const uint8_t *p, size_t n)
{
    for (int i = 0; i < g->n_files; i++)
        gguf_file_drop(&g->file[i], p, n);
}

static enum status guard_check(const struct gguf *g, struct error *err)
{
    for (int i = 0; i < g->n_files; i++)
        if (gguf_file_faulted(&g->file[i]))
            return fail(err, STATUS_IO, "file was truncated or changed while in use: %s",
                        g->file[i].path);
    return STATUS_OK;
}

enum status gguf_guard(struct gguf *g, enum status (*fn)(void *ctx, struct error *err),
                       void *ctx, struct error *err)
{
    enum status st = guard_check(g, err);
    if (st)
        return st;
    gguf_bus_ready();
    st = fn(ctx, err);
    const enum status bus = guard_check(g, err);
    return bus ? bus : st;
}
