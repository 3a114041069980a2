/* client_session.c - credentials, token servers, and documents that fit in memory. */
#include "http/client_session.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "json/parse.h"
#include "base/mem.h"
#include "http/client_fields.h"
#include "http/client_impl.h"

enum { TOKEN_BODY_BYTES = 64 << 10, REASON_BYTES = 200, WORDS_BYTES = 64 << 10 };

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum status http_session_open(struct http_session **out, const struct http_policy *policy,
                              struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct http_session *s = mem_array(1, sizeof *s);
    CURL *curl = curl_easy_init();
    *out = NULL;
    if (!s || !curl) {
        mem_free(s);
        curl_easy_cleanup(curl);
        return fail(err, STATUS_NO_MEMORY, "no memory for a transfer");
    }
    s->policy = *policy;
    s->curl = curl;
    *out = s;
    return STATUS_OK;
}

void http_session_close(struct http_session *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_credential; i++)
        mem_free(s->credentials[i].token);
    curl_easy_cleanup(s->curl);
    mem_free(s);
}

/* What a header can carry (RFC 6750: b64token is a part of it). */
static bool is_token(const char *token)
{
    size_t n = 0;
    for (; token[n]; n++)
        if (token[n] <= ' ' || token[n] >= 0x7f || n == HTTP_TOKEN_BYTES - 1)
            return false;
    return n > 0;
}

static int find_credential(const struct http_session *s, const struct http_url *url)
{
    for (int i = 0; i < s->n_credential; i++)
        if (http_url_same_origin(&s->credentials[i].origin, url))
            return i;
    return -1;
}

static enum status keep_credential(struct http_session *s, const struct http_url *url,
                                   const char *token, bool given, struct error *err)
{
    int i = find_credential(s, url);
    if (i < 0 && s->n_credential == HTTP_CREDENTIALS)
        return fail(err, STATUS_LIMIT, "too many hosts ask for credentials");
    char *copy = mem_strdup(token);
    if (!copy)
        return fail(err, STATUS_NO_MEMORY, "no memory for a token");
    if (i < 0)
        i = s->n_credential++;
    mem_free(s->credentials[i].token);
    s->credentials[i].origin = *url;
    s->credentials[i].token = copy;
    s->credentials[i].given = given;
    return STATUS_OK;
}

enum status http_session_credential(struct http_session *s, const char *url,
                                    const char *token, struct error *err)
{
    struct http_url u;
    enum status rc = http_url_parse(&u, url, err);
    if (!rc && !is_token(token))
        rc = fail(err, STATUS_BAD_ARG,
                  "the token for %s is no token: a space, control character or non-ASCII "
                  "byte is in it, or it is empty or longer than %d bytes",
                  u.host, HTTP_TOKEN_BYTES - 1);
    return rc ? rc : keep_credential(s, &u, token, true, err);
}

enum status http_session_allow(struct http_session *s, const char *host,
                               const char *realm, struct error *err)
{
    if (s->n_realm == HTTP_REALMS)
        return fail(err, STATUS_LIMIT, "too many token servers are allowed");
    const int i = s->n_realm;
    const int a = snprintf(s->realms[i].host, HTTP_HOST_BYTES, "%s", host);
    const int b = snprintf(s->realms[i].realm, HTTP_HOST_BYTES, "%s", realm);
    if (a >= HTTP_HOST_BYTES || b >= HTTP_HOST_BYTES)
        return fail(err, STATUS_BAD_ARG, "a host's name is too long: %.100s", realm);
    s->n_realm++;
    return STATUS_OK;
}

void http_answer_init(struct http_answer *a, size_t body_max)
{
    memset(a, 0, sizeof *a);
    buf_init(&a->fields, HTTP_FIELDS_BYTES);
    buf_init(&a->own_fields, HTTP_FIELDS_BYTES * (HTTP_REDIRECTS + 2));
    buf_init(&a->body, body_max > WORDS_BYTES ? body_max : WORDS_BYTES);
    a->body_max = body_max;
}

void http_answer_release(struct http_answer *a)
{
    buf_release(&a->fields);
    buf_release(&a->own_fields);
    buf_release(&a->body);
}

/* One transfer under way. */
struct document {
    struct http_session *session;
    struct http_answer *answer;
    CURL *curl;
    bool probe, probed;
};

static size_t take_document(char *data, size_t size, size_t n, void *ctx)
{
    struct document *d = ctx;
    long status = 0;
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    if (d->probe && status == 200) {
        d->probed = true;
        return 0;
    }
    struct http_answer *a = d->answer;
    const bool success = status / 100 == 2;
    const size_t room = (success ? a->body_max : WORDS_BYTES) - a->body.len;
    if (success && size * n > room)
        a->body.failed = true;
    else if (buf_append(&a->body, data, size * n < room ? size * n : room))
        return size * n;
    return 0;
}

static int look_up(void *ctx, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                   curl_off_t ulnow)
{
    (void)dltotal, (void)dlnow, (void)ultotal, (void)ulnow;
    return http_session_stopped(ctx);
}

/* One hop to a->url; *passing: worth another try. */
static enum status get_hop(struct http_session *s, struct http_answer *a,
                           const struct http_get *g, bool *passing, struct error *err)
{
    struct document d = {s, a, s->curl, g->probe, false};
    struct http_hop hop = {.url = &a->url,
                           .accept = g->accept,
                           .range = g->probe ? "0-0" : NULL,
                           .fields = &a->fields};
    *passing = false;
    buf_clear(&a->fields);
    buf_clear(&a->body);
    enum status rc = http_hop_prepare(s, s->curl, &hop, err);
    if (rc)
        return rc;
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, take_document);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, &d);
    curl_easy_setopt(s->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFOFUNCTION, look_up);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFODATA, s);
    const CURLcode code = curl_easy_perform(s->curl);
    long status = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(hop.headers);
    a->status = (int)status;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return fail(err, STATUS_IO, "stopped");
    if (a->fields.failed || a->body.failed)
        return fail(err, STATUS_LIMIT, "%.*s: the answer has more than %zu bytes",
                    HTTP_SHOWN(a->url.text),
                    a->fields.failed ? a->fields.max : a->body_max);
    if (code != CURLE_OK && s->refused_address)
        return http_private_fail(&a->url, err);
    // A name that means nothing is more often wrong than late.
    *passing = code != CURLE_COULDNT_RESOLVE_HOST &&
               http_hop_is_passing(&hop, d.probed ? CURLE_OK : code, status);
    http_hop_explain(&hop, code);
    if (code != CURLE_OK && !d.probed)
        return fail(err, STATUS_IO, "%.*s: %s", HTTP_SHOWN(a->url.text), hop.why);
    return STATUS_OK;
}

/* The last hop, tried again while there is hope.  A status that does not pass is left in
 * the answer. */
static enum status get_patiently(struct http_session *s, struct http_answer *a,
                                 const struct http_get *g, struct error *err)
{
    for (int failures = 0;;) {
        bool passing;
        const enum status rc = get_hop(s, a, g, &passing, err);
        if (!passing || failures++ == s->policy.retries)
            return rc;
        const int ms = http_backoff_ms(failures, http_retry_after(&a->fields));
        if (rc)
            http_session_note(s, "%s; again in %.1f s", err->text, ms / 1000.0);
        else
            http_session_note(s, "%.*s: HTTP status %d; again in %.1f s",
                              HTTP_SHOWN(a->url.text), a->status, ms / 1000.0);
        const enum status waited = http_session_wait(s, ms, err);
        if (waited)
            return waited;
    }
}

/* May a server at `asked` send us to the token server `realm`? */
static enum status check_realm(const struct http_session *s, const struct http_url *asked,
                               const struct http_url *realm, struct error *err)
{
    bool known = !strcmp(asked->host, realm->host);
    for (int i = 0; i < s->n_realm && !known; i++)
        known = !strcasecmp(s->realms[i].realm, realm->host) &&
                (!*s->realms[i].host || !strcmp(s->realms[i].host, asked->host));
    if (!known)
        return fail(err, STATUS_BAD_INPUT,
                    "%s wants a token from %s, which is not known as its token server: "
                    "refused; --auth-host %s allows it",
                    asked->host, realm->host, realm->host);
    if (!realm->tls && (asked->tls || strcmp(asked->host, realm->host)))
        return fail(err, STATUS_BAD_INPUT,
                    "%s wants a token from http://%s: refused, it is not encrypted",
                    asked->host, realm->host);
    return http_url_check(realm, s->policy.insecure, err);
}

static enum status take_token_answer(struct http_session *s, const struct http_url *asked,
                                     const struct http_answer *a, struct error *err)
{
    json_t *root = NULL;
    enum status rc = STATUS_OK;
    if (a->status != 200)
        return http_answer_fail(a, STATUS_IO, err);
    root = json_parse(a->body.data ? a->body.data : "", a->body.len, 0, NULL);
    const char *token = json_string_value(json_object_get(root, "token"));
    if (!token)
        token = json_string_value(json_object_get(root, "access_token"));
    if (!token || !is_token(token))
        rc = fail(err, STATUS_BAD_INPUT, "%.*s: the answer has no usable token",
                  HTTP_SHOWN(a->url.text));
    else
        rc = keep_credential(s, asked, token, false, err);
    json_decref(root);
    return rc;
}

/* A token for the origin of `asked`, as its answer a demands.  *got is false where it
 * demands none that we can fetch. */
static enum status authorize(struct http_session *s, const struct http_url *asked,
                             const struct http_answer *a, bool *got, struct error *err)
{
    char text[4096];
    struct http_challenge challenge = {0};
    struct http_url realm;
    const int known = find_credential(s, asked);
    *got = false;
    if (known >= 0 && s->credentials[known].given)
        return STATUS_OK;
    enum status rc = STATUS_NOT_FOUND;
    for (int i = 0; rc == STATUS_NOT_FOUND &&
                    http_field(text, sizeof text, a->fields.data ? a->fields.data : "",
                               "WWW-Authenticate", i);
         i++)
        rc = http_challenge_parse(&challenge, text, strlen(text), err);
    // A realm that is no address is a text for people.
    if (rc == STATUS_NOT_FOUND || (!rc && !strstr(challenge.realm, "://")))
        return STATUS_OK;
    if (!rc)
        rc = http_url_parse(&realm, challenge.realm, err);
    if (!rc)
        rc = check_realm(s, asked, &realm, err);
    if (rc)
        return rc;
    if ((*challenge.service && !http_url_add(&realm, "service", challenge.service)) ||
        (*challenge.scope && !http_url_add(&realm, "scope", challenge.scope)))
        return fail(err, STATUS_LIMIT, "the address of %s's token server is too long",
                    asked->host);
    // The token server's own answer: no redirects, no credentials of another origin.
    struct http_answer token;
    const struct http_get g = {realm.text, "application/json", false};
    http_answer_init(&token, TOKEN_BODY_BYTES);
    token.url = realm;
    rc = get_patiently(s, &token, &g, err);
    if (!rc)
        rc = take_token_answer(s, asked, &token, err);
    *got = !rc;
    http_answer_release(&token);
    return rc;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 ||
           status == 308;
}

enum status http_session_get(struct http_session *s, struct http_answer *a,
                             const struct http_get *g, struct error *err)
{
    struct http_url asked, next;
    bool authorized = false;
    enum status rc = http_url_parse(&asked, g->url, err);
    if (rc)
        return rc;
    a->url = asked;
    buf_clear(&a->own_fields);
    for (int redirects = 0;;) {
        char location[HTTP_URL_BYTES];
        if ((rc = get_patiently(s, a, g, err)))
            return rc;
        const char *fields = a->fields.data ? a->fields.data : "";
        const bool own = http_url_same_origin(&a->url, &asked);
        if (own && !buf_puts(&a->own_fields, fields))
            return fail(err, STATUS_LIMIT, "%.*s: too many header fields",
                        HTTP_SHOWN(g->url));
        if (a->status == 401 && own && !authorized) {
            if ((rc = authorize(s, &asked, a, &authorized, err)))
                return rc;
            if (authorized)
                continue;
        }
        if (!is_redirect(a->status))
            return STATUS_OK;
        if (redirects++ == HTTP_REDIRECTS)
            return fail(err, STATUS_LIMIT, "%.*s: more than %d redirects",
                        HTTP_SHOWN(g->url), HTTP_REDIRECTS);
        if (!http_field(location, sizeof location, fields, "Location", 0))
            return fail(err, STATUS_BAD_INPUT, "%.*s: a redirect (%d) to nowhere",
                        HTTP_SHOWN(a->url.text), a->status);
        if ((rc = http_url_redirect(&next, &a->url, location, s->policy.insecure, err)))
            return rc;
        a->url = next;
    }
}

/* The message of a registry's or hub's error, or nothing. */
static void take_reason(char *out, size_t n, const struct http_answer *a)
{
    json_t *root = json_parse(a->body.data ? a->body.data : "", a->body.len, 0, NULL);
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *text = json_string_value(json_object_get(first, "message"));
    if (!text)
        text = json_string_value(json_object_get(root, "error"));
    snprintf(out, n, "%s%s", text ? ": " : "", text ? text : "");
    json_decref(root);
}

enum status http_answer_fail(const struct http_answer *a, enum status s,
                             struct error *err)
{
    char reason[REASON_BYTES];
    take_reason(reason, sizeof reason, a);
    return fail(err, s, "%.*s: HTTP status %d%s", HTTP_SHOWN(a->url.text), a->status,
                reason);
}
