#define _DEFAULT_SOURCE
#include "store/pull_part.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    CHUNK_LEAST = 256 << 10,
    CHUNK_MOST = 16 << 20,
    CHUNKS_WANTED = 1024,     // more only when chunks are as large as they get
    STRETCH_BYTES = 64 << 20, // that a stream asks for at once, at most
    COMMIT_BYTES = 32 << 20,  // and
    COMMIT_US = 1000000,      // what a kill may cost
    HEADER_BYTES = 8 + 8 + 8 + DOWNLOAD_ETAG_BYTES + 8,
    RECORD_BYTES = 8 + 32 + 8,
    READ_BYTES = 1 << 20,
    WAIT_MS = 200,
};
static const char map_magic[] = "TRBPART1";

enum chunk_state { CHUNK_MISSING, CHUNK_TAKEN, CHUNK_PENDING, CHUNK_DONE };

struct slot {
    uint64_t at, end;
    struct sha256 hash; // of the chunk that `at` is in; open while at is inside one
    bool hashing;
};

struct pull_part {
    int folder, fd, map; // map: -1 until a header is written
    char name[DIGEST_HEX_BYTES + 8], map_name[DIGEST_HEX_BYTES + 16];
    uint64_t size, chunk, n_chunk;
    uint8_t *state;         // [n_chunk] enum chunk_state
    struct digest *digests; // [n_chunk]
    uint64_t header_check, done_bytes, pending_bytes, committed_us;
    char etag[DOWNLOAD_ETAG_BYTES];
    bool whole; // one stream writes all from the start
    struct slot slots[DOWNLOAD_STREAMS_MAX];
    struct http_session *session;
    struct pull_watch watch;
};

static enum status fail_part(const char *what, const char *name, struct error *err)
{
    const enum status s = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    return fail(err, s, "cannot %s %s: %s", what, name, strerror(errno));
}

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t take_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint64_t chunk_bytes(const struct pull_part *p, uint64_t i)
{
    return i + 1 < p->n_chunk ? p->chunk : p->size - i * p->chunk;
}

/* A power of two, a function of the size alone. */
static uint64_t chunk_of(uint64_t size)
{
    uint64_t chunk = CHUNK_LEAST;
    while (chunk < CHUNK_MOST && size / chunk > CHUNKS_WANTED)
        chunk *= 2;
    return chunk;
}

static enum status check_of(uint64_t *check, const uint8_t *p, size_t n,
                            struct error *err)
{
    struct digest d;
    const enum status s = digest_of(&d, p, n, err);
    if (!s)
        *check = take_u64(d.bytes);
    return s;
}

static enum status make_header(struct pull_part *p, uint8_t out[HEADER_BYTES],
                               struct error *err)
{
    memset(out, 0, HEADER_BYTES);
    memcpy(out, map_magic, 8);
    put_u64(out + 8, p->size);
    put_u64(out + 16, p->chunk);
    memcpy(out + 24, p->etag, strlen(p->etag));
    const enum status s = check_of(&p->header_check, out, HEADER_BYTES - 8, err);
    put_u64(out + HEADER_BYTES - 8, p->header_check);
    return s;
}

/* Record of chunk i; what stands before its check is out[0..40). */
static enum status make_record(const struct pull_part *p, uint8_t out[RECORD_BYTES],
                               uint64_t i, const uint8_t digest[32], struct error *err)
{
    uint8_t text[48];
    uint64_t check = 0;
    put_u64(text, i);
    memcpy(text + 8, digest, 32);
    put_u64(text + 40, p->header_check);
    const enum status s = check_of(&check, text, sizeof text, err);
    memcpy(out, text, 40);
    put_u64(out + 40, check);
    return s;
}

static bool write_at(int fd, const void *data, size_t n, uint64_t at)
{
    const uint8_t *p = data;
    while (n) {
        const ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done, n -= (size_t)done, at += (uint64_t)done;
    }
    return true;
}

/* Bytes read: fewer than n at the end of the file or on an error. */
static size_t read_at(int fd, void *data, size_t n, uint64_t at)
{
    size_t got = 0;
    while (got < n) {
        const ssize_t done = pread(fd, (char *)data + got, n - got, (off_t)(at + got));
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        got += (size_t)done;
    }
    return got;
}

static enum status hash_chunk(const struct pull_part *p, uint64_t i, uint8_t *scratch,
                              struct digest *out, struct error *err)
{
    struct sha256 h = {0};
    enum status s = sha256_open(&h, err);
    uint64_t at = i * p->chunk, left = chunk_bytes(p, i);
    while (!s && left) {
        const size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
        const size_t got = read_at(p->fd, scratch, n, at);
        if (got < n) { // a hole is damage, too
            sha256_close(&h);
            memset(out, 0, sizeof *out);
            return STATUS_OK;
        }
        s = sha256_update(&h, scratch, n, err);
        at += n, left -= n;
    }
    s = s ? s : sha256_finish(&h, out, err);
    sha256_close(&h);
    return s;
}

/* Chunks in a state of at least `least` are hashed: DONE or MISSING afterwards. */
static enum status hash_chunks(struct pull_part *p, enum chunk_state least, int *n_bad,
                               struct error *err)
{
    uint8_t *scratch = mem_array(READ_BYTES, 1);
    enum status s = scratch ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory");
    uint64_t hashed = 0;
    p->done_bytes = 0;
    for (uint64_t i = 0; i < p->n_chunk && !s; i++) {
        struct digest now;
        if (p->state[i] < least) {
            p->state[i] = CHUNK_MISSING;
            continue;
        }
        if (http_session_stopped(p->session))
            s = fail(err, STATUS_IO, "stopped");
        else
            s = hash_chunk(p, i, scratch, &now, err);
        if (s)
            break;
        const bool good = digest_equal(&now, &p->digests[i]);
        p->state[i] = good ? CHUNK_DONE : CHUNK_MISSING;
        p->done_bytes += good ? chunk_bytes(p, i) : 0;
        *n_bad += !good;
        hashed += chunk_bytes(p, i);
        if (p->watch.progress)
            p->watch.progress(p->watch.ctx, hashed, p->size, true);
    }
    mem_free(scratch);
    return s;
}

/* Chunks that the map records become PENDING; false: the map is of no use. */
static enum status read_map(struct pull_part *p, bool *usable, struct error *err)
{
    uint8_t header[HEADER_BYTES], wanted[HEADER_BYTES], record[RECORD_BYTES], again[48];
    *usable = false;
    if (read_at(p->map, header, sizeof header, 0) < sizeof header ||
        !memchr(header + 24, 0, DOWNLOAD_ETAG_BYTES))
        return STATUS_OK;
    memcpy(p->etag, header + 24, sizeof p->etag);
    enum status s = make_header(p, wanted, err);
    if (s || memcmp(header, wanted, sizeof header) != 0)
        return s;
    *usable = true;
    // Records repeat where chunks were fetched again; a file that goes on is not read on.
    const uint64_t most = 4 * p->n_chunk + 64;
    uint64_t at = HEADER_BYTES;
    for (uint64_t i = 0; i < most && !s; i++, at += RECORD_BYTES) {
        if (read_at(p->map, record, sizeof record, at) < sizeof record)
            break;
        const uint64_t n = take_u64(record);
        if (n >= p->n_chunk)
            break;
        s = make_record(p, again, n, record + 8, err);
        if (!s && memcmp(record, again, sizeof record) != 0)
            break; // torn: what follows was never promised
        if (!s) {
            memcpy(p->digests[n].bytes, record + 8, 32);
            p->state[n] = CHUNK_PENDING;
        }
    }
    if (!s && ftruncate(p->map, (off_t)at))
        return fail_part("cut", p->map_name, err);
    return s;
}

static enum status load_map(struct pull_part *p, struct error *err)
{
    bool usable;
    int n_bad = 0;
    p->map = openat(p->folder, p->map_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (p->map < 0)
        return errno == ENOENT ? STATUS_OK : fail_part("open", p->map_name, err);
    enum status s = read_map(p, &usable, err);
    if (s)
        return s;
    if (!usable)
        return pull_part_reset(p, err);
    s = hash_chunks(p, CHUNK_PENDING, &n_bad, err);
    if (!s && n_bad)
        http_session_note(p->session,
                          "%d of the chunks that were here are damaged: fetched again",
                          n_bad);
    return s;
}

/* Opened, locked, and still what the name means. */
static enum status lock_part(struct pull_part *p, struct error *err)
{
    for (bool told = false;;) {
        struct stat mine, named;
        p->fd =
            openat(p->folder, p->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (p->fd < 0)
            return fail_part("open", p->name, err);
        const bool locked = !flock(p->fd, LOCK_EX | LOCK_NB);
        if (!locked && errno != EWOULDBLOCK && errno != EINTR)
            return fail_part("lock", p->name, err);
        if (locked && !fstat(p->fd, &mine) &&
            !fstatat(p->folder, p->name, &named, AT_SYMLINK_NOFOLLOW) &&
            mine.st_ino == named.st_ino && mine.st_dev == named.st_dev)
            return STATUS_OK;
        close(p->fd);
        p->fd = -1;
        if (!told && !locked)
            http_session_note(p->session,
                              "another pull fetches this blob: waiting for it");
        told |= !locked;
        const enum status s = http_session_wait(p->session, locked ? 1 : WAIT_MS, err);
        if (s)
            return s;
    }
}

enum status pull_part_reserve(const struct pull_part *p, struct error *err)
{
    struct statvfs fs;
    const int rc = posix_fallocate(p->fd, 0, (off_t)p->size);
    if (!rc)
        return STATUS_OK;
    errno = rc;
    if (rc != ENOSPC || fstatvfs(p->fd, &fs))
        return fail_part("reserve the space of", p->name, err);
    struct stat st = {0};
    (void)!fstat(p->fd, &st);
    const uint64_t has = (uint64_t)st.st_blocks * 512;
    return fail(
        err, STATUS_IO,
        "no space left for a blob of %.1f MB: %.1f MB more are needed, %.1f MB are "
        "free",
        (double)p->size / 1e6, (double)(p->size > has ? p->size - has : 0) / 1e6,
        (double)fs.f_bavail * (double)fs.f_frsize / 1e6);
}

enum status pull_part_open(struct pull_part **out, int folder, const struct digest *d,
                           uint64_t size, struct http_session *session,
                           const struct pull_watch *watch, struct error *err)
{
    char hex[DIGEST_HEX_BYTES];
    struct pull_part *p = mem_array(1, sizeof *p);
    *out = NULL;
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for a download");
    digest_hex(hex, d);
    snprintf(p->name, sizeof p->name, "%s.part", hex);
    snprintf(p->map_name, sizeof p->map_name, "%s.map", p->name);
    p->folder = folder, p->fd = p->map = -1;
    p->size = size, p->chunk = chunk_of(size);
    p->n_chunk = (size + p->chunk - 1) / p->chunk;
    p->session = session;
    p->watch = *watch;
    p->committed_us = clock_us();
    p->state = mem_array(p->n_chunk, sizeof *p->state);
    p->digests = mem_array(p->n_chunk, sizeof *p->digests);
    enum status s = STATUS_OK;
    if (!p->state || !p->digests)
        s = fail(err, STATUS_NO_MEMORY, "no memory for a download of %" PRIu64 " bytes",
                 size);
    s = s ? s : lock_part(p, err);
    s = s ? s : load_map(p, err);
    if (s)
        pull_part_close(p);
    else
        *out = p;
    return s;
}

void pull_part_close(struct pull_part *p)
{
    if (!p)
        return;
    for (int i = 0; i < DOWNLOAD_STREAMS_MAX; i++)
        sha256_close(&p->slots[i].hash);
    if (p->map >= 0)
        close(p->map);
    if (p->fd >= 0)
        close(p->fd);
    mem_free(p->state);
    mem_free(p->digests);
    mem_free(p);
}

const char *pull_part_name(const struct pull_part *p)
{
    return p->name;
}

bool pull_part_complete(const struct pull_part *p)
{
    return p->done_bytes == p->size;
}

uint64_t pull_part_bytes(const struct pull_part *p)
{
    return p->done_bytes;
}

enum status pull_part_reset(struct pull_part *p, struct error *err)
{
    for (uint64_t i = 0; i < p->n_chunk; i++)
        p->state[i] = CHUNK_MISSING;
    p->done_bytes = p->pending_bytes = 0;
    p->etag[0] = 0;
    if (p->map >= 0)
        close(p->map);
    p->map = -1;
    if (unlinkat(p->folder, p->map_name, 0) && errno != ENOENT)
        return fail_part("remove", p->map_name, err);
    return STATUS_OK;
}

enum status pull_part_bind(struct pull_part *p, const char *etag, struct error *err)
{
    uint8_t header[HEADER_BYTES];
    enum status s = STATUS_OK;
    if (p->map >= 0 && *etag && *p->etag && strcmp(etag, p->etag) != 0) {
        http_session_note(
            p->session,
            "the file changed on the server since it was begun: starting over");
        s = pull_part_reset(p, err);
    }
    if (s || p->map >= 0)
        return s;
    snprintf(p->etag, sizeof p->etag, "%s", etag);
    s = make_header(p, header, err);
    if (s)
        return s;
    p->map = openat(p->folder, p->map_name,
                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (p->map < 0 || !write_at(p->map, header, sizeof header, 0))
        return fail_part("write", p->map_name, err);
    return STATUS_OK;
}

/* The next run of chunks that nobody has. */
static bool take_stretch(void *ctx, int stream, bool whole, uint64_t *first,
                         uint64_t *end)
{
    struct pull_part *p = ctx;
    struct slot *slot = &p->slots[stream];
    uint64_t missing = 0, i = 0, n = 0;
    if (whole) {
        if (p->whole && slot->end == p->size && slot->at == p->size)
            return false;
        p->whole = true;
        *first = slot->at = 0;
        *end = slot->end = p->size;
        slot->hashing = false;
        return true;
    }
    for (uint64_t k = 0; k < p->n_chunk; k++)
        missing += p->state[k] == CHUNK_MISSING;
    if (!missing)
        return false;
    while (p->state[i] != CHUNK_MISSING)
        i++;
    uint64_t most = missing / 8, limit = STRETCH_BYTES / p->chunk;
    most = most > limit ? limit : most ? most : 1;
    while (n < most && i + n < p->n_chunk && p->state[i + n] == CHUNK_MISSING)
        p->state[i + n++] = CHUNK_TAKEN;
    *first = slot->at = i * p->chunk;
    *end = slot->end = i + n < p->n_chunk ? (i + n) * p->chunk : p->size;
    slot->hashing = false;
    return true;
}

static enum status complete_chunk(struct pull_part *p, struct slot *slot, uint64_t i,
                                  struct error *err)
{
    const enum status s = sha256_finish(&slot->hash, &p->digests[i], err);
    sha256_close(&slot->hash);
    slot->hash = (struct sha256){0};
    slot->hashing = false;
    if (s)
        return s;
    if (p->state[i] < CHUNK_PENDING)
        p->done_bytes += chunk_bytes(p, i);
    p->state[i] = CHUNK_PENDING;
    p->pending_bytes += chunk_bytes(p, i);
    if (p->pending_bytes < COMMIT_BYTES && clock_us() - p->committed_us < COMMIT_US)
        return STATUS_OK;
    return pull_part_commit(p, err);
}

static enum status write_chunks(void *ctx, int stream, const void *data, size_t n,
                                struct error *err)
{
    struct pull_part *p = ctx;
    struct slot *slot = &p->slots[stream];
    const uint8_t *from = data;
    enum status s = STATUS_OK;
    while (n && !s) {
        const uint64_t i = slot->at / p->chunk;
        const uint64_t left = i * p->chunk + chunk_bytes(p, i) - slot->at;
        const size_t m = n < left ? n : (size_t)left;
        if (!slot->hashing) {
            sha256_close(&slot->hash);
            slot->hash = (struct sha256){0};
            if ((s = sha256_open(&slot->hash, err)))
                return s;
            slot->hashing = true;
        }
        if (!write_at(p->fd, from, m, slot->at))
            return fail_part("write", p->name, err);
        s = sha256_update(&slot->hash, from, m, err);
        slot->at += m, from += m, n -= m;
        if (!s && m == left)
            s = complete_chunk(p, slot, i, err);
    }
    return s;
}

static void tell_progress(void *ctx)
{
    const struct pull_part *p = ctx;
    uint64_t done = p->done_bytes;
    if (!p->watch.progress)
        return;
    for (int i = 0; i < DOWNLOAD_STREAMS_MAX; i++)
        if (p->slots[i].hashing && p->state[p->slots[i].at / p->chunk] < CHUNK_PENDING)
            done += p->slots[i].at % p->chunk;
    p->watch.progress(p->watch.ctx, p->whole ? p->slots[0].at : done, p->size, false);
}

const struct download_sink pull_part_sink = {take_stretch, write_chunks, tell_progress};

enum status pull_part_commit(struct pull_part *p, struct error *err)
{
    uint8_t record[RECORD_BYTES];
    struct buf records;
    enum status s = STATUS_OK;
    p->committed_us = clock_us();
    if (!p->pending_bytes)
        return STATUS_OK;
    if (fdatasync(p->fd)) {
        // The kernel may have dropped what was written: nothing here can be believed.
        s = fail_part("sync", p->name, err);
        pull_part_remove(p);
        return s;
    }
    buf_init(&records, p->n_chunk * RECORD_BYTES);
    for (uint64_t i = 0; i < p->n_chunk && !s; i++) {
        if (p->state[i] != CHUNK_PENDING)
            continue;
        s = make_record(p, record, i, p->digests[i].bytes, err);
        if (!s && !buf_append(&records, record, sizeof record))
            s = fail(err, STATUS_NO_MEMORY, "no memory for a download");
    }
    const off_t at = lseek(p->map, 0, SEEK_END);
    if (!s && (at < 0 || !write_at(p->map, records.data, records.len, (uint64_t)at)))
        s = fail_part("write", p->map_name, err);
    for (uint64_t i = 0; i < p->n_chunk && !s; i++)
        if (p->state[i] == CHUNK_PENDING)
            p->state[i] = CHUNK_DONE;
    p->pending_bytes = 0;
    buf_release(&records);
    return s;
}

enum status pull_part_recheck(struct pull_part *p, int *n_bad, struct error *err)
{
    *n_bad = 0;
    p->whole = false;
    return hash_chunks(p, CHUNK_PENDING, n_bad, err);
}

void pull_part_remove(struct pull_part *p)
{
    unlinkat(p->folder, p->map_name, 0);
    unlinkat(p->folder, p->name, 0);
}
