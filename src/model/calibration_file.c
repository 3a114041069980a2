/* calibration_file.c - calibrations on disk.
 *
 *   8      magic
 *   4 x 8  version, layers, kv heads, head size of keys and of values, instruction set,
 *          tokens, 0
 *   8      digest of the model
 *   8      XXH3 of the tokens, as int32
 *   4 x n  means of keys, then of values, f32
 *   8      XXH3 of all bytes before */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/mem.h"
#include "model/calibration.h"

enum { VERSION = 1, HEAD_BYTES = 8 + 4 * 8 + 8 + 8, PATH_BYTES = 4096 };

static void put_word(uint8_t *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_word(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* The head that a calibration of this model on these tokens has, and no other. */
static void make_head(uint8_t head[HEAD_BYTES], const struct model *m,
                      const int32_t *tokens, int n)
{
    const struct hparams *hp = model_hparams(m);
    const int field[8] = {VERSION,
                          hp->n_layer,
                          hp->n_head_kv,
                          hp->head_dim,
                          hp->head_dim_v,
                          (int)model_isa(m),
                          n,
                          0};
    memcpy(head, "TURBCAL", 8);
    for (int i = 0; i < 8; i++)
        put_word(head + 8 + 4 * i, (uint64_t)field[i], 4);
    put_word(head + 40, model_digest(m), 8);
    put_word(head + 48, XXH3_64bits(tokens, (size_t)n * sizeof *tokens), 8);
}

void calibration_write(struct buf *to, const struct calibration *cal,
                       const struct model *m, const int32_t *tokens, int n)
{
    uint8_t head[HEAD_BYTES], word[8];
    make_head(head, m, tokens, n);
    buf_append(to, head, sizeof head);
    for (size_t i = 0; i < calibration_values(cal); i++) {
        uint32_t bits;
        memcpy(&bits, &cal->k[i], sizeof bits);
        put_word(word, bits, 4);
        buf_append(to, word, 4);
    }
    put_word(word, to->failed ? 0 : XXH3_64bits(to->data, to->len), 8);
    buf_append(to, word, 8);
}

enum status calibration_read(struct calibration **out, const struct model *m,
                             const int32_t *tokens, int n, const void *bytes,
                             size_t n_bytes, struct error *err)
{
    uint8_t head[HEAD_BYTES];
    const uint8_t *p = bytes;
    struct calibration *cal;
    enum status s = calibration_alloc(&cal, m, err);
    if (s)
        return s;
    const size_t n_value = calibration_values(cal);
    make_head(head, m, tokens, n);
    if (n_bytes != HEAD_BYTES + 4 * n_value + 8)
        s = fail(err, STATUS_BAD_FILE, "%zu bytes instead of %zu", n_bytes,
                 HEAD_BYTES + 4 * n_value + 8);
    else if (memcmp(p, head, sizeof head))
        s = fail(err, STATUS_BAD_FILE, "made for another model or by another version");
    else if (XXH3_64bits(p, n_bytes - 8) != get_word(p + n_bytes - 8, 8))
        s = fail(err, STATUS_BAD_FILE, "the checksum is wrong");
    for (size_t i = 0; !s && i < n_value; i++) {
        const uint32_t bits = (uint32_t)get_word(p + HEAD_BYTES + 4 * i, 4);
        memcpy(&cal->k[i], &bits, sizeof bits);
        if (!isfinite(cal->k[i]))
            s = fail(err, STATUS_BAD_FILE, "value %zu is not finite", i);
    }
    if (s)
        calibration_close(cal);
    else
        *out = cal;
    return s;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        const ssize_t r = write(fd, p, n);
        if (r < 0 && errno != EINTR)
            return false;
        p += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return true;
}

static enum status save_bytes(const struct buf *b, const char *path, struct error *err)
{
    char temp[PATH_BYTES];
    if (snprintf(temp, sizeof temp, "%s.XXXXXX", path) >= (int)sizeof temp)
        return fail(err, STATUS_IO, "%.80s...: the path is too long", path);
    const int fd = mkstemp(temp);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    const bool written = write_all(fd, b->data, b->len) && !fsync(fd);
    int saved = errno;
    if (close(fd) == 0 && written && rename(temp, path) == 0)
        return STATUS_OK;
    saved = written ? errno : saved;
    unlink(temp);
    return fail(err, STATUS_IO, "%s: %s", path, strerror(saved));
}

enum status calibration_save(const struct calibration *cal, const struct model *m,
                             const int32_t *tokens, int n, const char *path,
                             struct error *err)
{
    struct buf b;
    buf_init(&b, HEAD_BYTES + 4 * calibration_values(cal) + 16);
    calibration_write(&b, cal, m, tokens, n);
    const enum status s =
        b.failed ? fail(err, STATUS_NO_MEMORY, "%s: no memory to write it", path)
                 : save_bytes(&b, path, err);
    buf_release(&b);
    return s;
}

/* The whole file, at most max bytes of it. */
static enum status read_bytes(struct buf *b, const char *path, size_t max,
                              struct error *err)
{
    struct stat st;
    char part[1 << 14];
    /* O_NONBLOCK: opening a FIFO must not wait. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err,
                    errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO,
                    "%s", strerror(errno));
    enum status s = STATUS_OK;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        s = fail(err, STATUS_BAD_FILE, "not a file");
    ssize_t n = 1;
    while (!s && n && b->len < max) {
        n = read(fd, part, sizeof part);
        if (n < 0 && errno != EINTR)
            s = fail(err, STATUS_IO, "%s", strerror(errno));
        else if (n > 0 && !buf_append(b, part, (size_t)n))
            s = fail(err, STATUS_NO_MEMORY, "no memory to read it");
    }
    close(fd);
    return s;
}

enum status calibration_load(struct calibration **out, const struct model *m,
                             const int32_t *tokens, int n, const char *path,
                             struct error *err)
{
    const struct hparams *hp = model_hparams(m);
    const size_t max = HEAD_BYTES + 8 +
                       4 * (size_t)hp->n_layer * (size_t)hp->n_head_kv *
                           (size_t)(hp->head_dim + hp->head_dim_v);
    struct buf b;
    struct error why;
    buf_init(&b, max + (1 << 15));
    enum status s = read_bytes(&b, path, max + 1, &why);
    if (!s)
        s = calibration_read(out, m, tokens, n, b.data ? b.data : "", b.len, &why);
    buf_release(&b);
    return s ? fail(err, s, "%s: %s", path, why.text) : STATUS_OK;
}
