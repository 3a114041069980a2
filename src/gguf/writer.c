/* writer.c - metadata and tensor declarations collect in two buffers; the first data
 * (or close) writes them, then data stream through.  Before the file gets its name it is
 * opened by the reader, so what cannot be read back never appears. */
#include "gguf/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gguf/internal.h"

struct gguf_writer {
    char *path, *temp;
    FILE *f;
    struct buf kv, info;
    uint64_t n_kv;
    size_t *bytes; // [n_tensors] of each tensor
    size_t n_tensors, tensors_cap;
    size_t align;
    uint64_t offset;  // of the next declared tensor
    size_t at;        // tensor being written
    size_t done;      // its bytes so far
    bool started;     // header and declarations are written
    struct error err; // the first one
};

static void writer_fail_errno(struct gguf_writer *w)
{
    if (!w->err.status)
        (void)!fail(&w->err, STATUS_IO, "%s: %s", w->path, strerror(errno));
}

static void writer_misuse(struct gguf_writer *w, const char *name, const char *what)
{
    if (!w->err.status)
        (void)!fail(&w->err, STATUS_BAD_ARG, "%s: '%s': %s", w->path,
                    gguf_show(name, strlen(name)).s, what);
}

static bool open_temp(struct gguf_writer *w)
{
    /* Unique among the threads of this process; O_EXCL settles the rest. */
    static atomic_uint serial;
    const size_t size = strlen(w->path) + 48;
    w->temp = mem_array(size, 1);
    if (!w->temp)
        return false;
    for (int i = 0; i < 100; i++) {
        snprintf(w->temp, size, "%s.tmp-%ld-%u", w->path, (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        const int fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            w->f = fdopen(fd, "wb");
            if (!w->f) {
                close(fd);
                unlink(w->temp);
            }
            return w->f;
        }
        if (errno != EEXIST)
            return false;
    }
    return false;
}

static void writer_free(struct gguf_writer *w)
{
    if (!w)
        return;
    buf_release(&w->kv);
    buf_release(&w->info);
    mem_free(w->bytes);
    mem_free(w->temp);
    mem_free(w->path);
    mem_free(w);
}

static enum status writer_new(struct gguf_writer **out, const char *path,
                              struct error *err)
{
    *out = NULL;
    struct gguf_writer *w = mem_array(1, sizeof *w);
    if (!w || !(w->path = mem_strdup(path))) {
        writer_free(w);
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    w->align = 32;
    buf_init(&w->kv, GGUF_META_MAX / 2);
    buf_init(&w->info, GGUF_META_MAX / 2);
    *out = w;
    return STATUS_OK;
}

enum status gguf_writer_open(struct gguf_writer **out, const char *path,
                             struct error *err)
{
    struct gguf_writer *w;
    const enum status s = writer_new(&w, path, err);
    *out = NULL;
    if (s)
        return s;
    if (!open_temp(w)) {
        const int saved = errno;
        writer_free(w);
        return fail(err, STATUS_IO, "%s: cannot create: %s", path, strerror(saved));
    }
    *out = w;
    return STATUS_OK;
}

/* ---- declarations ---- */

static void put_le(struct buf *b, uint64_t v, size_t n)
{
    uint8_t p[8];
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    buf_append(b, p, n);
}

static void put_text(struct buf *b, const char *s)
{
    const size_t n = strlen(s);
    put_le(b, n, 8);
    buf_append(b, s, n);
}

static bool put_key(struct gguf_writer *w, const char *key, enum gguf_type t)
{
    if (w->started)
        writer_misuse(w, key, "declared after data were written");
    if (w->err.status)
        return false;
    w->n_kv++;
    put_text(&w->kv, key);
    put_le(&w->kv, t, 4);
    return true;
}

static bool put_array(struct gguf_writer *w, const char *key, enum gguf_type t, size_t n)
{
    if (!put_key(w, key, GGUF_ARR))
        return false;
    put_le(&w->kv, t, 4);
    put_le(&w->kv, n, 8);
    return true;
}

static void put_f32(struct buf *b, float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    put_le(b, u, 4);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    if (!strcmp(key, "general.alignment")) {
        if (v < 8 || v > 65536 || (v & (v - 1)))
            writer_misuse(w, key, "not a power of two from 8 to 65536");
        else if (w->n_tensors)
            writer_misuse(w, key, "must come before the tensors");
        else
            w->align = v;
    }
    if (put_key(w, key, GGUF_U32))
        put_le(&w->kv, v, 4);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
    if (put_key(w, key, GGUF_F32))
        put_f32(&w->kv, v);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, int v)
{
    if (put_key(w, key, GGUF_BOOL))
        put_le(&w->kv, v != 0, 1);
}

void gguf_put_str(struct gguf_writer *w, const char *key, const char *v)
{
    if (put_key(w, key, GGUF_STR))
        put_text(&w->kv, v);
}

void gguf_put_str_array(struct gguf_writer *w, const char *key, const char *const *v,
                        size_t n)
{
    if (put_array(w, key, GGUF_STR, n))
        for (size_t i = 0; i < n; i++)
            put_text(&w->kv, v[i]);
}

void gguf_put_f32_array(struct gguf_writer *w, const char *key, const float *v, size_t n)
{
    if (put_array(w, key, GGUF_F32, n))
        for (size_t i = 0; i < n; i++)
            put_f32(&w->kv, v[i]);
}

void gguf_put_i32_array(struct gguf_writer *w, const char *key, const int32_t *v,
                        size_t n)
{
    if (put_array(w, key, GGUF_I32, n))
        for (size_t i = 0; i < n; i++)
            put_le(&w->kv, (uint32_t)v[i], 4);
}

static size_t pad_to(uint64_t n, size_t align)
{
    return (size_t)((align - n % align) % align);
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype t, int n_dims,
                     const int64_t *ne)
{
    if (w->started)
        writer_misuse(w, name, "declared after data were written");
    if (w->err.status)
        return;
    const struct dtype_traits *tr = dtype_find((uint32_t)t);
    size_t n = tr ? (size_t)tr->block_bytes : 0;
    bool good = tr && n_dims >= 1 && n_dims <= 4;
    for (int d = 0; good && d < n_dims; d++) {
        const int64_t block = d == 0 ? tr->block_elems : 1;
        good = ne[d] > 0 && ne[d] % block == 0 &&
               mem_mul(&n, n, (size_t)(ne[d] / block)) && n <= SIZE_MAX / 4;
    }
    if (!good || n > SIZE_MAX / 4 - w->offset) {
        writer_misuse(w, name, "a shape or type that cannot be");
        return;
    }
    if (w->n_tensors == w->tensors_cap) {
        const size_t cap = w->tensors_cap ? w->tensors_cap * 2 : 64;
        size_t *p = mem_resize(w->bytes, cap, sizeof *p);
        if (!p) {
            (void)!fail(&w->err, STATUS_NO_MEMORY, "%s: out of memory", w->path);
            return;
        }
        w->bytes = p;
        w->tensors_cap = cap;
    }
    w->bytes[w->n_tensors++] = n;
    put_text(&w->info, name);
    put_le(&w->info, (uint64_t)n_dims, 4);
    for (int d = 0; d < n_dims; d++)
        put_le(&w->info, (uint64_t)ne[d], 8);
    put_le(&w->info, (uint32_t)t, 4);
    put_le(&w->info, w->offset, 8);
    w->offset += n + pad_to(n, w->align);
}

/* ---- data ---- */

static void write_bytes(struct gguf_writer *w, const void *p, size_t n)
{
    if (!w->err.status && n && fwrite(p, 1, n, w->f) != n)
        writer_fail_errno(w);
}

static void write_padding(struct gguf_writer *w, uint64_t after)
{
    static const uint8_t zero[64];
    for (size_t left = pad_to(after, w->align); left > 0;) {
        const size_t n = left < sizeof zero ? left : sizeof zero;
        write_bytes(w, zero, n);
        left -= n;
    }
}

static void put_header(struct buf *b, const struct gguf_writer *w)
{
    buf_append(b, "GGUF", 4);
    put_le(b, 3, 4);
    put_le(b, w->n_tensors, 8);
    put_le(b, w->n_kv, 8);
}

static void write_head(struct gguf_writer *w)
{
    if (w->started || w->err.status)
        return;
    w->started = true;
    struct buf head;
    buf_init(&head, 64);
    put_header(&head, w);
    if (head.failed || w->kv.failed || w->info.failed) {
        (void)!fail(&w->err, STATUS_NO_MEMORY,
                    "%s: no memory for the metadata, or more than %d MiB of them",
                    w->path, GGUF_META_MAX >> 20);
    } else {
        write_bytes(w, head.data, head.len);
        write_bytes(w, w->kv.data, w->kv.len);
        write_bytes(w, w->info.data, w->info.len);
        write_padding(w, head.len + w->kv.len + w->info.len);
    }
    buf_release(&head);
}

void gguf_write_data(struct gguf_writer *w, const void *data, size_t bytes)
{
    write_head(w);
    const uint8_t *p = data;
    while (bytes > 0 && !w->err.status) {
        if (w->at == w->n_tensors) {
            writer_misuse(w, "data", "more of them than tensors were declared");
            return;
        }
        const size_t room = w->bytes[w->at] - w->done, n = bytes < room ? bytes : room;
        write_bytes(w, p, n);
        p += n;
        bytes -= n;
        w->done += n;
        if (n == room) {
            write_padding(w, w->bytes[w->at]);
            w->at++;
            w->done = 0;
        }
    }
}

/* ---- close ---- */

static void sync_directory(struct gguf_writer *w)
{
    char *slash = strrchr(w->temp, '/');
    if (slash == w->temp)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    const int fd = open(slash ? w->temp : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot sync a directory; the rename itself has been done. */
    if (fd < 0 || (fsync(fd) && errno != EINVAL))
        writer_fail_errno(w);
    if (fd >= 0)
        close(fd);
}

static void check_readable(struct gguf_writer *w)
{
    struct gguf *g;
    struct error err;
    const enum status st = gguf_open_part(&g, w->temp, &err);
    if (st)
        (void)!fail(&w->err, st, "not written, it could not be read back: %s", err.text);
    else
        gguf_close(g);
}

enum status gguf_writer_close(struct gguf_writer *w, struct error *err)
{
    write_head(w);
    if (!w->err.status && w->at != w->n_tensors)
        (void)!fail(&w->err, STATUS_BAD_ARG, "%s: data of %zu of %zu tensors are missing",
                    w->path, w->n_tensors - w->at, w->n_tensors);
    if (!w->err.status && (fflush(w->f) || fsync(fileno(w->f))))
        writer_fail_errno(w);
    if (fclose(w->f))
        writer_fail_errno(w);
    if (!w->err.status)
        check_readable(w);
    if (!w->err.status && rename(w->temp, w->path))
        writer_fail_errno(w);
    if (w->err.status) {
        unlink(w->temp);
    } else {
        sync_directory(w);
        if (w->err.status)
            unlink(w->path);
    }
    const enum status st = w->err.status;
    if (st && err)
        *err = w->err;
    writer_free(w);
    return st;
}

/* ---- metadata in memory ---- */

enum status gguf_writer_open_memory(struct gguf_writer **out, struct error *err)
{
    return writer_new(out, "memory", err);
}

enum status gguf_writer_close_memory(struct gguf_writer *w, struct buf *b,
                                     struct error *err)
{
    put_header(b, w);
    buf_append(b, w->kv.data, w->kv.len);
    if (w->n_tensors)
        writer_misuse(w, "tensors", "an image in memory has none");
    if (!w->err.status && (w->kv.failed || b->failed))
        (void)!fail(&w->err, STATUS_NO_MEMORY, "no memory for the metadata of a model");
    const enum status st = w->err.status;
    if (st && err)
        *err = w->err;
    writer_free(w);
    return st;
}
