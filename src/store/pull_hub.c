/* pull_hub.c - plain files of a hub: a list, and for each file where its bytes lie.
 *
 *   GET /api/models/USER/REPO?blobs=true        {"siblings":[{"rfilename":..,"size":..,
 *                                               "lfs":{"sha256":..}}]}
 *   GET /USER/REPO/resolve/main/FILE            X-Linked-ETag (the SHA-256),
 *                                               X-Linked-Size, and a redirect */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "json/parse.h"
#include "base/mem.h"
#include "http/client_fields.h"
#include "http/download.h"
#include "store/pull_impl.h"

enum { DESCRIPTION_BYTES = 16 << 20 };

/* A name of a file as part of a URL. */
static void append_path(char *out, size_t cap, const char *name)
{
    size_t n = strlen(out);
    for (; *name && n + 4 < cap; name++) {
        const unsigned char c = (unsigned char)*name;
        if (isalnum(c) || strchr("-._~/", c))
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, 4, "%%%02X", c);
    }
    out[n] = 0;
}

static enum status describe_repository(struct pull *p, const struct pull_source *s,
                                       json_t **out, struct error *err)
{
    char url[HTTP_URL_BYTES + 256];
    struct http_answer a;
    snprintf(url, sizeof url, "%s/api/models/%s/%s?blobs=true", s->base, s->from.space,
             s->from.model);
    const struct http_get g = {url, "application/json", false};
    http_answer_init(&a, DESCRIPTION_BYTES);
    enum status rc = http_session_get(p->session, &a, &g, err);
    if (!rc && a.status == 404)
        rc = fail(err, STATUS_NOT_FOUND, "there is no %s/%s at %.200s", s->from.space,
                  s->from.model, s->base);
    else if (!rc && a.status != 200)
        rc = pull_refused(s, &a, err);
    if (!rc) {
        *out = json_parse(a.body.data ? a.body.data : "", a.body.len, 0, NULL);
        if (!*out)
            rc = fail(err, STATUS_BAD_INPUT, "%.*s: the answer is no JSON",
                      HTTP_SHOWN(a.url.text));
    }
    http_answer_release(&a);
    return rc;
}

/* "\"<64 digits>\"", as the header has it. */
static bool take_digest(struct digest *d, const char *fields, const char *name)
{
    char etag[DOWNLOAD_ETAG_BYTES], text[DIGEST_TEXT_BYTES];
    if (!http_field(etag, sizeof etag, fields, name, 0))
        return false;
    const char *hex = etag + (*etag == '"');
    const size_t n = strcspn(hex, "\"");
    if (n != DIGEST_HEX_BYTES - 1)
        return false;
    snprintf(text, sizeof text, "sha256:%.64s", hex);
    return digest_parse(d, text, strlen(text));
}

/* What the hub says of a file now; it must not contradict its list. */
static enum status ask_file(struct pull *p, const struct pull_source *s, const char *url,
                            const struct pull_file *f, struct layer *l, struct error *err)
{
    struct http_answer a;
    struct download_source source;
    char text[64];
    http_answer_init(&a, HTTP_FIELDS_BYTES);
    enum status rc = download_probe(p->session, url, &source, &a, err);
    if (rc && (a.status == 401 || a.status == 403))
        rc = pull_refused(s, &a, err);
    if (rc)
        goto out;
    const char *own = a.own_fields.data ? a.own_fields.data : "";
    const bool named = take_digest(&l->digest, own, "X-Linked-ETag");
    l->size = source.size;
    if (http_field(text, sizeof text, own, "X-Linked-Size", 0) &&
        !http_number_parse(&l->size, text))
        rc = fail(err, STATUS_BAD_INPUT, "%.*s: the hub's size is no number",
                  HTTP_SHOWN(url));
    else if (named && f->has_digest && !digest_equal(&l->digest, &f->digest))
        rc = fail(err, STATUS_BAD_INPUT,
                  "%.*s: the hub's list and the file have different digests: it is being "
                  "changed; try again",
                  HTTP_SHOWN(url));
    else if (!named && !f->has_digest && !take_digest(&l->digest, own, "ETag"))
        rc =
            fail(err, STATUS_UNSUPPORTED,
                 "%.*s: the hub names no SHA-256 of the file, so what comes could not be "
                 "checked",
                 HTTP_SHOWN(url));
    else if (l->size == UINT64_MAX && (l->size = f->size) == UINT64_MAX)
        rc = fail(err, STATUS_BAD_INPUT, "%.*s: the hub does not say how large it is",
                  HTTP_SHOWN(url));
    if (!rc && !named && f->has_digest)
        l->digest = f->digest;
out:
    http_answer_release(&a);
    return rc;
}

enum status pull_from_hub(struct pull *p, const struct pull_source *s, struct error *err)
{
    char url[HTTP_URL_BYTES + 4 * PULL_FILE_BYTES];
    json_t *description = NULL;
    struct pull_file *files = NULL;
    struct manifest m = {0};
    int n = 0;
    enum status rc = describe_repository(p, s, &description, err);
    rc = rc ? rc : pull_hub_choose(&files, &n, description, s->from.tag, err);
    if (!rc && n > 1)
        http_session_note(p->session,
                          "a model in %d files: the store keeps them, but models of one "
                          "file are all that can be run from it",
                          n);
    for (int i = 0; i < n && !rc; i++) {
        struct layer l = {.kind = LAYER_MODEL};
        snprintf(url, sizeof url, "%s/%s/%s/resolve/main/", s->base, s->from.space,
                 s->from.model);
        append_path(url, sizeof url, files[i].name);
        http_session_note(p->session, "file %s", files[i].name);
        rc = ask_file(p, s, url, &files[i], &l, err);
        rc = rc ? rc : pull_blob(p, url, &l, err);
        rc = rc ? rc : manifest_add(&m, LAYER_MODEL, &l.digest, l.size, err);
    }
    rc = rc ? rc : pull_put_gguf(p, &s->name, &m, err);
    manifest_release(&m);
    mem_free(files);
    json_decref(description);
    return rc;
}
