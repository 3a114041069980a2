/* download.h - the bytes of a large file, in several stretches at once.
 *
 * Where the file lies is asked once (a probe follows the redirects); streams then ask
 * that place for ranges, each from where it stands, and go on there after a failure. This
 * module moves bytes; what is wanted, and what becomes of it, is the sink's business.
 * One thread; the sink is called from within download_run only. */
#ifndef HTTP_DOWNLOAD_H
#define HTTP_DOWNLOAD_H

#include <stdint.h>

#include "http/client_session.h"

enum { DOWNLOAD_STREAMS_MAX = 16, DOWNLOAD_ETAG_BYTES = 256 };

/* Where a file is, and what is known of it. */
struct download_source {
    struct http_url url;            // after redirects
    char etag[DOWNLOAD_ETAG_BYTES]; // strong ones alone; else ""
    uint64_t size;                  // UINT64_MAX: the server does not say
    bool ranges;
    bool redirected;
};

/* Ask for the file at url.  answer (its body stays empty) keeps what was said on the way.
 * STATUS_NOT_FOUND for 404, STATUS_IO for another status than 200 and 206. */
enum status download_probe(struct http_session *s, const char *url,
                           struct download_source *source, struct http_answer *answer,
                           struct error *err);

struct download_sink {
    /* A stretch [*first, *end) for the stream, which is not given to another; whole: from
     * 0 to the size.  false: nothing is left that no stream has. */
    bool (*take)(void *ctx, int stream, bool whole, uint64_t *first, uint64_t *end);
    /* The stream's next bytes: they begin where the last ones ended. */
    enum status (*write)(void *ctx, int stream, const void *p, size_t n,
                         struct error *err);
    void (*tick)(void *ctx); // several times a second
};

struct download {
    struct http_session *session;
    const char *url; // asked again when a place that it led to has expired
    uint64_t size;   // what the file must have
    int n_stream;    // 1 .. DOWNLOAD_STREAMS_MAX
    const struct download_sink *sink;
    void *ctx;
};

/* Runs until the sink has nothing left, then STATUS_OK.  *changed (with
 * STATUS_BAD_INPUT): the server has another file now than the source says, nothing of
 * before can be used. Other failures leave what was written. */
enum status download_run(const struct download *d, struct download_source *source,
                         bool *changed, struct error *err);

#endif
