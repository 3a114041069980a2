/* store_upload.c - /api/blobs: a blob on its way from the client to the disk.
 *
 * The job takes pieces as they come and writes them; the connection is read only as fast
 * as it does. */
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "server/store_call.h"
#include "store/blob_writer.h"

/* What uploads leave of the disk for everybody else. */
#define DISK_RESERVE (UINT64_C(256) << 20)

struct upload {
    struct store *store;
    struct http_exchange *x; // outlives the job
    struct digest digest;
    uint64_t size; // or FILE_SIZE_UNKNOWN
};

/* Bytes that may still come. */
static enum status free_bytes(uint64_t *out, int folder, struct error *err)
{
    struct statvfs v;
    if (fstatvfs(folder, &v))
        return fail(err, STATUS_IO, "cannot see how full the disk is");
    const uint64_t free = (uint64_t)v.f_bavail * v.f_frsize;
    *out = free > DISK_RESERVE ? free - DISK_RESERVE : 0;
    return STATUS_OK;
}

static enum status no_room(uint64_t room, struct error *err)
{
    return fail(err, STATUS_IO,
                "no room on the disk of the store: at most %.1f MB may come now",
                (double)room / 1e6);
}

static enum status write_pieces(struct upload *u, struct store_job *j,
                                struct blob_writer *w, uint64_t room, struct error *err)
{
    struct buf piece;
    enum status st = STATUS_OK;
    enum http_body state = HTTP_BODY_WAIT;
    buf_init(&piece, HTTP_PIECE_BYTES);
    while (!st && state != HTTP_BODY_END) {
        state = http_body_read(u->x, &piece);
        if (store_job_stopped(j) || state == HTTP_BODY_CUT)
            st = fail(err, STATUS_IO, "the upload was cut off");
        else if (state == HTTP_BODY_WAIT)
            store_job_wait(j);
        else if (piece.len > room)
            st = no_room(w->file.written + room, err);
        else if (state == HTTP_BODY_PIECE)
            st = blob_writer_write(w, piece.data, piece.len, err);
        room -= st ? 0 : piece.len;
    }
    buf_release(&piece);
    return st;
}

static enum status run_upload(struct store_job *j, void *data, struct error *err)
{
    struct upload *u = data;
    struct addition *a = NULL;
    struct blob_writer w = {0};
    uint64_t room = 0;
    enum status st = addition_open(&a, u->store, err);
    st = st ? st : free_bytes(&room, addition_folder(a), err);
    if (!st && u->size != FILE_SIZE_UNKNOWN && u->size > room)
        st = no_room(room, err);
    st = st ? st : blob_writer_open(&w, a, u->size, err);
    if (!st && !(st = write_pieces(u, j, &w,
                                   u->size == FILE_SIZE_UNKNOWN ? room : u->size, err)))
        st = blob_writer_commit(&w, &u->digest, NULL, err);
    blob_writer_close(&w);
    addition_close(a);
    return st;
}

static bool read_digest(struct call *c, struct digest *d)
{
    const char *text = c->path + strlen("/api/blobs/");
    if (digest_parse(d, text, strlen(text)))
        return true;
    call_fail(
        c, API_ERROR_INVALID,
        "invalid digest: a blob is called sha256: and 64 hexadecimal digits in lower "
        "case");
    return false;
}

static bool find_present(struct call *c, const struct digest *d, bool *present)
{
    struct error err;
    if (!store_refresh_blob(c->server->o.store, d, present, &err))
        return true;
    store_call_fail(c, &err);
    return false;
}

void handle_blob_head(struct call *c)
{
    struct digest d;
    bool present;
    if (!c->server->o.store)
        handle_no_store(c);
    else if (strcmp(http_method(c->x), "HEAD"))
        call_fail(c, API_ERROR_METHOD, "%.100s takes POST, HEAD", c->path);
    else if (read_digest(c, &d) && find_present(c, &d, &present))
        call_reply(c, present ? 200 : 404, NULL, NULL);
}

static bool start_upload(struct call *c, const struct digest *d)
{
    struct upload *u = mem_array(1, sizeof *u);
    const struct store_task t = {
        .work = STORE_UPLOAD, .run = run_upload, .release = mem_free, .data = u};
    if (!u) {
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
        return false;
    }
    *u = (struct upload){c->server->o.store, c->x, *d,
                         http_header(c->x, "content-length") ? http_content_length(c->x)
                                                             : FILE_SIZE_UNKNOWN};
    return store_call_start(c, &t);
}

/* A blob that is there already.  Most clients send it to its end before they look for an
 * answer. */
static void drop_body(struct call *c)
{
    struct buf *piece = &c->store->piece;
    enum http_body state = HTTP_BODY_END;
    if (!http_header(c->x, "expect"))
        state = http_body_read(c->x, piece);
    if (state == HTTP_BODY_PIECE)
        http_wake(c->x);
    else if (state != HTTP_BODY_WAIT)
        call_reply(c, 200, NULL, NULL);
}

static void step_upload(struct call *c)
{
    struct store_call *w = c->store;
    struct error err;
    if (atomic_load(&c->server->ended))
        store_watch_stop(w->watch);
    store_watch_poke(w->watch);
    if (!store_watch_take(w->watch, &w->lines, &err))
        return; // it has the exchange, whatever became of the client
    store_watch_close(w->watch);
    w->watch = NULL;
    if (!err.status)
        call_reply(c, 201, NULL, NULL);
    else if (http_is_gone(c->x))
        call_fail(c, API_ERROR_CANCELLED, "%s", err.text);
    else
        store_call_fail(c, &err);
}

void handle_blob(struct call *c)
{
    struct digest d;
    bool present = false;
    if (c->store && c->store->watch) {
        step_upload(c);
    } else if (c->store) {
        drop_body(c);
    } else if (!c->server->o.store) {
        handle_no_store(c);
    } else if (read_digest(c, &d) && find_present(c, &d, &present) &&
               store_call_open(c)) {
        if (present)
            drop_body(c);
        else
            start_upload(c, &d);
    }
}
