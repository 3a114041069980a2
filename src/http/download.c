#include "http/download.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/client_fields.h"
#include "http/client_impl.h"

/* Failures are forgotten after so many bytes, so that trying again ends. */
enum { PROGRESS_BYTES = 64 << 10, POLL_MS = 100 };

enum stream_state { STREAM_IDLE, STREAM_WAITING, STREAM_RUNNING };

enum verdict {
    VERDICT_OPEN,    // no byte of the body came yet
    VERDICT_GOOD,    // the answer is the range that was asked for
    VERDICT_IGNORE,  // the body of an error
    VERDICT_CHANGED, // another file than before
    VERDICT_WHOLE,   // the server does not do ranges after all
    VERDICT_WRONG,   // a range that nobody asked for, or an encoding
};

struct stream {
    struct run *run;
    int index;
    CURL *curl;
    enum stream_state state;
    enum verdict verdict;
    uint64_t at, end, started; // offsets; started: where this try began
    int failures;
    uint64_t retry_us;
    bool sink_failed;
    char range[48];
    struct buf fields;
    struct http_hop hop;
};

struct run {
    const struct download *d;
    struct download_source *source;
    CURLM *multi;
    struct stream streams[DOWNLOAD_STREAMS_MAX];
    bool stale; // the place must be asked for again
    bool changed;
    struct error *err;
};

static void take_etag(char out[DOWNLOAD_ETAG_BYTES], const char *fields)
{
    // A weak one says nothing about bytes.
    if (!http_field(out, DOWNLOAD_ETAG_BYTES, fields, "ETag", 0) || *out != '"')
        *out = 0;
}

static bool is_encoded(const char *fields)
{
    char text[64];
    return http_field(text, sizeof text, fields, "Content-Encoding", 0) &&
           strcmp(text, "identity") != 0;
}

enum status download_probe(struct http_session *s, const char *url,
                           struct download_source *source, struct http_answer *a,
                           struct error *err)
{
    const struct http_get g = {url, NULL, true};
    char text[96];
    struct http_range range;
    memset(source, 0, sizeof *source);
    source->size = UINT64_MAX;
    const enum status rc = http_session_get(s, a, &g, err);
    if (rc)
        return rc;
    const char *fields = a->fields.data ? a->fields.data : "";
    if (a->status == 404)
        return http_answer_fail(a, STATUS_NOT_FOUND, err);
    if (a->status != 206 && a->status != 200)
        return http_answer_fail(a, STATUS_IO, err);
    if (is_encoded(fields))
        return fail(err, STATUS_UNSUPPORTED, "%.*s: the server encodes the file",
                    HTTP_SHOWN(a->url.text));
    source->url = a->url;
    source->redirected = strcmp(a->url.text, url) != 0;
    take_etag(source->etag, fields);
    if (a->status == 206) {
        if (!http_field(text, sizeof text, fields, "Content-Range", 0) ||
            !http_range_parse(&range, text) || range.first != 0)
            return fail(err, STATUS_BAD_INPUT, "%.*s: the server's range is malformed",
                        HTTP_SHOWN(a->url.text));
        source->ranges = true;
        source->size = range.total;
    } else if (http_field(text, sizeof text, fields, "Content-Length", 0)) {
        http_number_parse(&source->size, text);
    }
    return STATUS_OK;
}

/* The header has come: is it an answer to what was asked? */
static enum verdict judge(const struct stream *st, long status)
{
    const struct run *r = st->run;
    const char *fields = st->fields.data ? st->fields.data : "";
    char text[96], etag[DOWNLOAD_ETAG_BYTES];
    struct http_range range;
    uint64_t size;
    if (status != 200 && status != 206)
        return VERDICT_IGNORE;
    take_etag(etag, fields);
    const bool other = *etag && *r->source->etag && strcmp(etag, r->source->etag) != 0;
    if (other)
        return VERDICT_CHANGED;
    if (is_encoded(fields))
        return VERDICT_WRONG;
    if (status == 200) {
        if (http_field(text, sizeof text, fields, "Content-Length", 0) &&
            http_number_parse(&size, text) && size != r->d->size)
            return VERDICT_CHANGED;
        return st->at == 0 && st->end == r->d->size ? VERDICT_GOOD : VERDICT_WHOLE;
    }
    if (!http_field(text, sizeof text, fields, "Content-Range", 0) ||
        !http_range_parse(&range, text) || range.first != st->at || range.last >= st->end)
        return VERDICT_WRONG;
    return range.total == r->d->size ? VERDICT_GOOD : VERDICT_CHANGED;
}

static size_t take_range(char *data, size_t size, size_t n, void *ctx)
{
    struct stream *st = ctx;
    n *= size;
    if (st->verdict == VERDICT_OPEN) {
        long status = 0;
        curl_easy_getinfo(st->curl, CURLINFO_RESPONSE_CODE, &status);
        st->verdict = judge(st, status);
    }
    if (st->verdict == VERDICT_IGNORE)
        return n;
    if (st->verdict != VERDICT_GOOD || n > st->end - st->at)
        return 0;
    const struct download *d = st->run->d;
    if (d->sink->write(d->ctx, st->index, data, n, st->run->err)) {
        st->sink_failed = true;
        return 0;
    }
    st->at += n;
    return n;
}

static enum status start_stream(struct stream *st)
{
    struct run *r = st->run;
    snprintf(st->range, sizeof st->range, "%" PRIu64 "-%" PRIu64, st->at, st->end - 1);
    st->hop = (struct http_hop){
        .url = &r->source->url,
        .range = r->source->ranges ? st->range : NULL,
        .if_range = r->source->etag,
        .fields = &st->fields,
    };
    buf_clear(&st->fields);
    const enum status rc = http_hop_prepare(r->d->session, st->curl, &st->hop, r->err);
    if (rc)
        return rc;
    // One connection a stream: that is what streams are for.
    curl_easy_setopt(st->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(st->curl, CURLOPT_WRITEFUNCTION, take_range);
    curl_easy_setopt(st->curl, CURLOPT_WRITEDATA, st);
    curl_easy_setopt(st->curl, CURLOPT_PRIVATE, st);
    st->verdict = VERDICT_OPEN;
    st->started = st->at;
    if (curl_multi_add_handle(r->multi, st->curl) != CURLM_OK)
        return fail(r->err, STATUS_NO_MEMORY, "no memory for a transfer");
    st->state = STREAM_RUNNING;
    return STATUS_OK;
}

/* The place has expired: ask where the file is now. */
static enum status ask_again(struct run *r)
{
    struct download_source now;
    struct http_answer a;
    http_answer_init(&a, HTTP_FIELDS_BYTES);
    const enum status rc = download_probe(r->d->session, r->d->url, &now, &a, r->err);
    http_answer_release(&a);
    if (rc)
        return rc;
    const bool etag_differs =
        *now.etag && *r->source->etag && strcmp(now.etag, r->source->etag) != 0;
    if (etag_differs || (now.size != UINT64_MAX && now.size != r->d->size)) {
        r->changed = true;
        return fail(r->err, STATUS_BAD_INPUT, "%.*s: the file changed on the server",
                    HTTP_SHOWN(r->d->url));
    }
    r->source->url = now.url;
    r->source->redirected = now.redirected;
    r->stale = false;
    return STATUS_OK;
}

/* What failed is in err; the stream tries again later, or that was all. */
static enum status fail_stream(struct stream *st)
{
    struct run *r = st->run;
    const struct http_policy *policy = &r->d->session->policy;
    if (r->source->ranges && st->at - st->started >= PROGRESS_BYTES)
        st->failures = 0;
    if (st->failures++ == policy->retries)
        return r->err->status;
    const int ms = http_backoff_ms(st->failures, http_retry_after(&st->fields));
    http_session_note(r->d->session, "%s; again in %.1f s", r->err->text, ms / 1000.0);
    st->retry_us = clock_us() + (uint64_t)ms * 1000;
    st->state = STREAM_WAITING;
    return STATUS_OK;
}

/* A stream ended without all of its stretch. */
static enum status end_short(struct stream *st, CURLcode code, long status)
{
    struct run *r = st->run;
    const char *url = r->source->url.text;
    const bool passing = http_hop_is_passing(&st->hop, code, code ? 0 : status);
    http_hop_explain(&st->hop, code);
    switch (st->verdict) {
    case VERDICT_CHANGED:
        r->changed = true;
        return fail(r->err, STATUS_BAD_INPUT, "%.*s: the file changed on the server",
                    HTTP_SHOWN(url));
    case VERDICT_WHOLE:
        r->source->ranges = false;
        return STATUS_OK; // the caller starts over without ranges
    case VERDICT_WRONG:
        (void)!fail(r->err, STATUS_BAD_INPUT,
                    "%.*s: the server sent another range than %s, or encoded it",
                    HTTP_SHOWN(url), st->range);
        return fail_stream(st);
    default:
        break;
    }
    if (st->verdict == VERDICT_GOOD && code == CURLE_WRITE_ERROR)
        (void)!fail(r->err, STATUS_BAD_INPUT,
                    "%.*s: the server sent more than the range %s", HTTP_SHOWN(url),
                    st->range);
    else if (code != CURLE_OK)
        (void)!fail(r->err, STATUS_IO, "%.*s: %s", HTTP_SHOWN(url), st->hop.why);
    else if (status == 206 || status == 200)
        (void)!fail(r->err, STATUS_IO, "%.*s: the server sent less than the range %s",
                    HTTP_SHOWN(url), st->range);
    else
        (void)!fail(r->err, STATUS_IO, "%.*s: HTTP status %ld", HTTP_SHOWN(url), status);
    const bool answered = code == CURLE_OK && status >= 300;
    if (answered && !passing) {
        const bool expired = status == 401 || status == 416 || status < 400 ||
                             (r->source->redirected && (status == 400 || status == 403 ||
                                                        status == 404 || status == 410));
        if (!expired)
            return r->err->status;
        r->stale = true;
    } else if (code != CURLE_OK && code != CURLE_WRITE_ERROR && !passing) {
        return r->err->status;
    }
    return fail_stream(st);
}

static enum status close_stream(struct stream *st, CURLcode code)
{
    struct run *r = st->run;
    long status = 0;
    curl_easy_getinfo(st->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(r->multi, st->curl);
    curl_slist_free_all(st->hop.headers);
    st->hop.headers = NULL;
    st->state = STREAM_IDLE;
    if (st->sink_failed)
        return r->err->status;
    if (st->at == st->end) {
        st->failures = 0;
        return STATUS_OK;
    }
    return end_short(st, code, status);
}

static enum status start_waiting(struct run *r, int *n_busy)
{
    const struct download *d = r->d;
    const int n = r->source->ranges ? d->n_stream : 1;
    *n_busy = 0;
    for (int i = 0; i < n; i++) {
        struct stream *st = &r->streams[i];
        enum status rc = STATUS_OK;
        if (st->state == STREAM_IDLE &&
            d->sink->take(d->ctx, i, !r->source->ranges, &st->at, &st->end))
            rc = start_stream(st);
        else if (st->state == STREAM_WAITING && clock_us() >= st->retry_us) {
            rc = r->stale ? ask_again(r) : STATUS_OK;
            if (!rc && !r->source->ranges)
                d->sink->take(d->ctx, i, true, &st->at, &st->end);
            rc = rc ? rc : start_stream(st);
        }
        if (rc)
            return rc;
        *n_busy += st->state != STREAM_IDLE;
    }
    return STATUS_OK;
}

static enum status end_ready(struct run *r)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(r->multi, &left));) {
        struct stream *st = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &st);
        const enum status rc = close_stream(st, m->data.result);
        if (rc)
            return rc;
    }
    return STATUS_OK;
}

static enum status run_streams(struct run *r)
{
    const struct download *d = r->d;
    const bool ranges = r->source->ranges;
    int n_busy, n_running;
    for (;;) {
        enum status rc = start_waiting(r, &n_busy);
        if (rc || !n_busy)
            return rc;
        if (http_session_stopped(d->session))
            return fail(r->err, STATUS_IO, "stopped");
        if (curl_multi_perform(r->multi, &n_running) != CURLM_OK)
            return fail(r->err, STATUS_IO, "a transfer cannot go on");
        rc = end_ready(r);
        if (rc || ranges != r->source->ranges)
            return rc;
        d->sink->tick(d->ctx);
        curl_multi_poll(r->multi, NULL, 0, POLL_MS, NULL);
    }
}

static void stop_streams(struct run *r)
{
    for (int i = 0; i < r->d->n_stream; i++) {
        struct stream *st = &r->streams[i];
        if (st->state == STREAM_RUNNING)
            curl_multi_remove_handle(r->multi, st->curl);
        curl_slist_free_all(st->hop.headers);
        st->hop.headers = NULL;
        st->state = STREAM_IDLE;
    }
}

enum status download_run(const struct download *d, struct download_source *source,
                         bool *changed, struct error *err)
{
    struct error own;
    enum status rc = STATUS_OK;
    struct run *r = mem_array(1, sizeof *r);
    *changed = false;
    if (!r || !(r->multi = curl_multi_init())) {
        mem_free(r);
        return fail(err, STATUS_NO_MEMORY, "no memory for a transfer");
    }
    r->d = d;
    r->source = source;
    r->err = err ? err : &own;
    for (int i = 0; i < d->n_stream; i++) {
        r->streams[i].run = r;
        r->streams[i].index = i;
        buf_init(&r->streams[i].fields, HTTP_FIELDS_BYTES);
        if (!(r->streams[i].curl = curl_easy_init()))
            rc = fail(err, STATUS_NO_MEMORY, "no memory for a transfer");
    }
    if (!rc) {
        const bool ranges = source->ranges;
        rc = run_streams(r);
        stop_streams(r);
        if (!rc && ranges && !source->ranges)
            rc = run_streams(r); // all in one piece now
        stop_streams(r);
    }
    *changed = r->changed;
    for (int i = 0; i < d->n_stream; i++) {
        curl_easy_cleanup(r->streams[i].curl);
        buf_release(&r->streams[i].fields);
    }
    curl_multi_cleanup(r->multi);
    mem_free(r);
    return rc;
}
