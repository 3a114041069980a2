/* config.c - statements of a router's file, one a line. */
#include "router/config.h"

#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client_url.h"
#include "router/config_words.h"

enum { CONFIG_BYTES = 1 << 20, ARENA_BYTES = 8 << 20, KEY_BYTES = 512 };

struct reading {
    struct config *c;
    const char *path;
    config_lookup *lookup;
    struct config_backend *backend; // that statements belong to; NULL: none yet
    int line;
    uint32_t seen, seen_of_backend; // statements, by their place in the table
    const struct config_words *w;   // of the line; w->word[0] is the statement
    struct error *err;
};

/* Always a failure: "file:line: text". */
#define FAIL_LINE(r, fmt, ...) \
    fail((r)->err, STATUS_BAD_INPUT, "%s:%d: " fmt, (r)->path, (r)->line, __VA_ARGS__)

void config_init(struct config *c)
{
    const struct policy_options *o = &policy_options_default;
    *c = (struct config){.n_queue = o->n_queue,
                         .queue_s = (int)(o->queue_us / 1000000),
                         .retry_percent = o->retry_percent,
                         .connect_s = 5,
                         .first_s = 600,
                         .idle_s = 120,
                         .health_s = (int)(o->health_us / 1000000)};
    arena_init(&c->arena, ARENA_BYTES);
}

void config_release(struct config *c)
{
    mem_free(c->backends);
    arena_release(&c->arena);
    *c = (struct config){0};
}

unsigned config_dialect(const char *name)
{
    return !strcmp(name, "openai")      ? DIALECT_OPENAI
           : !strcmp(name, "anthropic") ? DIALECT_ANTHROPIC
           : !strcmp(name, "ollama")    ? DIALECT_OLLAMA
                                        : 0;
}

/* ---- values ---- */

static const char *keep_word(struct config *c, const char *s)
{
    return arena_strndup(&c->arena, s, strlen(s));
}

static enum status take_int(const struct reading *r, int min, int max, int *out)
{
    const char *text = r->w->word[1];
    char *end;
    const long v = strtol(text, &end, 10);
    if (!*text || *end || v < min || v > max)
        return FAIL_LINE(r, "%s takes a number from %d to %d, not '%.100s'",
                         r->w->word[0], min, max, text);
    *out = (int)v;
    return STATUS_OK;
}

static enum status read_key_text(const struct reading *r, const char *path, char *key)
{
    struct stat st;
    // A pipe without a writer would stop everything.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st)) {
        const int e = errno;
        if (fd >= 0)
            close(fd);
        return FAIL_LINE(r, "%s: %s", path, strerror(e));
    }
    const ssize_t n = S_ISREG(st.st_mode) ? read(fd, key, KEY_BYTES - 1) : -1;
    close(fd);
    if (n < 0)
        return FAIL_LINE(r, "%s: this is no file that can be read", path);
    if (st.st_mode & 077)
        return FAIL_LINE(r, "%s can be read by others: chmod 600 it", path);
    if (n == KEY_BYTES - 1)
        return FAIL_LINE(r, "%s: a key has at most %d bytes", path, KEY_BYTES - 2);
    key[n] = 0;
    return STATUS_OK;
}

/* "file:PATH" or "env:NAME", never the key itself: files are shown to people. */
static enum status take_key(const struct reading *r, const char *where, const char **out)
{
    char key[KEY_BYTES] = "";
    enum status s = STATUS_OK;
    if (!strncmp(where, "file:", 5)) {
        s = read_key_text(r, where + 5, key);
    } else if (!strncmp(where, "env:", 4)) {
        const char *value = r->lookup ? r->lookup(where + 4) : NULL;
        if (!value)
            s = FAIL_LINE(r, "the environment has no %.100s", where + 4);
        else if (strlen(value) >= sizeof key)
            s = FAIL_LINE(r, "the key in %.100s is too long", where + 4);
        else
            memcpy(key, value, strlen(value) + 1);
    } else {
        s = FAIL_LINE(r, "%s takes file:PATH or env:NAME, where the key is",
                      r->w->word[0]);
    }
    if (s)
        return s;
    key[strcspn(key, " \r\n")] = 0;
    for (const char *p = key; *p; p++)
        if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
            return FAIL_LINE(r, "%s: a key is made of visible ASCII", where);
    if (!*key)
        return FAIL_LINE(r, "%s: no key in the first line", where);
    *out = keep_word(r->c, key);
    return *out ? STATUS_OK : FAIL_LINE(r, "%s", "the file has too much text");
}

/* ---- statements of a backend ---- */

static enum status add_backend(struct config *c, const char *url,
                               struct config_backend **out, struct error *err)
{
    struct http_url u;
    const enum status s = http_url_parse(&u, url, err);
    if (s)
        return s;
    size_t n = strlen(u.text);
    if (n >= CONFIG_URL_BYTES || strchr(u.text, '?'))
        return fail(err, STATUS_BAD_INPUT,
                    "the address of a backend is too long, or "
                    "has a query");
    while (n && u.text[n - 1] == '/')
        n--;
    if (c->n_backend == CONFIG_BACKENDS_MAX)
        return fail(err, STATUS_LIMIT, "more than %d backends", CONFIG_BACKENDS_MAX);
    if (!c->backends)
        c->backends = mem_array(CONFIG_BACKENDS_MAX, sizeof *c->backends);
    const char *kept = arena_strndup(&c->arena, u.text, n);
    if (!c->backends || !kept)
        return fail(err, STATUS_NO_MEMORY, "no memory for backends");
    *out = &c->backends[c->n_backend++];
    **out = (struct config_backend){.url = kept, .weight = 10};
    return STATUS_OK;
}

enum status config_add(struct config *c, const char *url, enum policy_class class,
                       struct error *err)
{
    struct config_backend *b;
    const enum status s = add_backend(c, url, &b, err);
    if (!s)
        b->class = class;
    return s;
}

static enum status on_backend(struct reading *r)
{
    struct error why;
    if (add_backend(r->c, r->w->word[1], &r->backend, &why))
        return FAIL_LINE(r, "%s", why.text);
    r->backend->line = r->line;
    r->seen_of_backend = 0;
    return STATUS_OK;
}

static enum status on_class(struct reading *r)
{
    const char *w = r->w->word[1];
    if (!strcmp(w, "short"))
        r->backend->class = POLICY_CLASS_SHORT;
    else if (!strcmp(w, "long"))
        r->backend->class = POLICY_CLASS_LONG;
    else if (!strcmp(w, "any"))
        r->backend->class = POLICY_CLASS_ANY;
    else
        return FAIL_LINE(r, "class is short, long or any, not '%.100s'", w);
    return STATUS_OK;
}

static enum status on_dialects(struct reading *r)
{
    r->backend->dialects = 0;
    for (int i = 1; i < r->w->n; i++) {
        const unsigned bit = config_dialect(r->w->word[i]);
        if (!bit)
            return FAIL_LINE(r, "dialects are openai, anthropic and ollama, not '%.100s'",
                             r->w->word[i]);
        r->backend->dialects |= bit;
    }
    return STATUS_OK;
}

static enum status on_model(struct reading *r)
{
    struct config_backend *b = r->backend;
    if (b->n_model == CONFIG_MODELS_MAX)
        return FAIL_LINE(r, "a backend has at most %d models", CONFIG_MODELS_MAX);
    for (int i = 1; i < r->w->n; i++)
        if (strlen(r->w->word[i]) >= POLICY_NAME_MAX)
            return FAIL_LINE(r, "the name of a model has at most %d bytes",
                             POLICY_NAME_MAX - 1);
    for (int i = 0; i < b->n_model; i++)
        if (!strcmp(b->models[i].name, r->w->word[1]))
            return FAIL_LINE(r, "model %.100s is there twice", r->w->word[1]);
    b->models[b->n_model].name = keep_word(r->c, r->w->word[1]);
    b->models[b->n_model].served = r->w->n > 2 ? keep_word(r->c, r->w->word[2]) : NULL;
    if (!b->models[b->n_model].name || (r->w->n > 2 && !b->models[b->n_model].served))
        return FAIL_LINE(r, "%s", "the file has too much text");
    b->n_model++;
    return STATUS_OK;
}

static enum status on_start(struct reading *r)
{
    struct config_backend *b = r->backend;
    b->n_start = r->w->n - 1;
    b->start = arena_array(&r->c->arena, (size_t)r->w->n, sizeof *b->start);
    for (int i = 0; b->start && i < b->n_start; i++)
        if (!(b->start[i] = keep_word(r->c, r->w->word[i + 1])))
            b->start = NULL;
    return b->start ? STATUS_OK : FAIL_LINE(r, "%s", "the file has too much text");
}

static enum status on_check_memory(struct reading *r)
{
    const char *w = r->w->word[1];
    if (strcmp(w, "yes") && strcmp(w, "no"))
        return FAIL_LINE(r, "check-memory is yes or no, not '%.100s'", w);
    r->backend->any_memory = !strcmp(w, "no");
    return STATUS_OK;
}

static enum status keep_text(const struct reading *r, const char **out)
{
    *out = keep_word(r->c, r->w->word[1]);
    return *out ? STATUS_OK : FAIL_LINE(r, "%s", "the file has too much text");
}

static enum status on_ca(struct reading *r)
{
    const char *path = r->w->word[1];
    if (access(path, R_OK))
        return FAIL_LINE(r, "%s: %s", path, strerror(errno));
    return keep_text(r, &r->backend->ca_file);
}

static enum status on_proxy(struct reading *r)
{
    static const char *const schemes[] = {"http",    "https",  "socks4",
                                          "socks4a", "socks5", "socks5h"};
    const char *url = r->w->word[1], *end = strstr(url, "://");
    bool known = !end; // http://
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes && !known; i++)
        known = strlen(schemes[i]) == (size_t)(end - url) &&
                !strncasecmp(url, schemes[i], (size_t)(end - url));
    if (!known)
        return FAIL_LINE(r, "a proxy is http, https or one of socks, not '%.100s'", url);
    return keep_text(r, &r->backend->proxy);
}

/* ---- statements of the router ---- */

static enum status on_threshold(struct reading *r)
{
    struct config *c = r->c;
    struct config_words w = *r->w;
    struct reading shifted = *r;
    if (r->w->n == 2)
        return take_int(r, 1, 1 << 30, &c->threshold);
    if (c->n_threshold == CONFIG_MODELS_MAX)
        return FAIL_LINE(r, "at most %d thresholds of models", CONFIG_MODELS_MAX);
    struct policy_threshold *t = &c->thresholds[c->n_threshold];
    w.word[1] = w.word[2];
    shifted.w = &w;
    const enum status s = take_int(&shifted, 1, 1 << 30, &t->tokens);
    if (s)
        return s;
    for (int i = 0; i < c->n_threshold; i++)
        if (!strcmp(c->thresholds[i].model, r->w->word[1]))
            return FAIL_LINE(r, "model %.100s has two thresholds", r->w->word[1]);
    c->n_threshold++;
    return keep_text(r, &t->model);
}

static enum status on_client_key(struct reading *r)
{
    struct config *c = r->c;
    if (c->n_key == CONFIG_KEYS_MAX)
        return FAIL_LINE(r, "at most %d keys of clients", CONFIG_KEYS_MAX);
    struct config_key *k = &c->keys[c->n_key];
    for (int i = 0; i < c->n_key; i++)
        if (!strcmp(c->keys[i].name, r->w->word[1]))
            return FAIL_LINE(r, "client %.100s has two keys", r->w->word[1]);
    const enum status s = take_key(r, r->w->word[2], &k->key);
    if (s)
        return s;
    c->n_key++;
    return keep_text(r, &k->name);
}

struct statement {
    const char *word;
    int min, max; // words behind it
    bool of_backend;
    const char *usage;
};

static const struct statement statements[] = {
    {"backend", 1, 1, false, "backend URL"},
    {"threshold", 1, 2, false, "threshold [MODEL] TOKENS"},
    {"client-key", 2, 2, false, "client-key NAME file:PATH|env:NAME"},
    {"queue", 1, 1, false, "queue REQUESTS"},
    {"queue-timeout", 1, 1, false, "queue-timeout SECONDS"},
    {"retry-percent", 1, 1, false, "retry-percent N"},
    {"connect-timeout", 1, 1, false, "connect-timeout SECONDS"},
    {"first-timeout", 1, 1, false, "first-timeout SECONDS"},
    {"idle-timeout", 1, 1, false, "idle-timeout SECONDS"},
    {"health-interval", 1, 1, false, "health-interval SECONDS"},
    {"class", 1, 1, true, "class short|long|any"},
    {"dialects", 1, 3, true, "dialects openai|anthropic|ollama ..."},
    {"model", 1, 2, true, "model NAME [NAME AT THE BACKEND]"},
    {"context", 1, 1, true, "context TOKENS"},
    {"weight", 1, 1, true, "weight 1..100"},
    {"concurrency", 1, 1, true, "concurrency REQUESTS"},
    {"key", 1, 1, true, "key file:PATH|env:NAME"},
    {"proxy", 1, 1, true, "proxy URL"},
    {"ca", 1, 1, true, "ca FILE"},
    {"start", 1, CONFIG_ARGS_MAX - 1, true, "start PROGRAM ARGUMENTS ..."},
    {"check-memory", 1, 1, true, "check-memory yes|no"},
    {"idle-stop", 1, 1, true, "idle-stop SECONDS"},
};

static enum status take_of_router(struct reading *r)
{
    struct config *c = r->c;
    const char *w = r->w->word[0];
    if (!strcmp(w, "backend"))
        return on_backend(r);
    if (!strcmp(w, "threshold"))
        return on_threshold(r);
    if (!strcmp(w, "client-key"))
        return on_client_key(r);
    if (!strcmp(w, "queue"))
        return take_int(r, 1, 1 << 20, &c->n_queue);
    if (!strcmp(w, "queue-timeout"))
        return take_int(r, 1, 86400, &c->queue_s);
    if (!strcmp(w, "retry-percent"))
        return take_int(r, 0, 100, &c->retry_percent);
    if (!strcmp(w, "connect-timeout"))
        return take_int(r, 1, 600, &c->connect_s);
    if (!strcmp(w, "first-timeout"))
        return take_int(r, 1, 86400, &c->first_s);
    if (!strcmp(w, "idle-timeout"))
        return take_int(r, 1, 86400, &c->idle_s);
    return take_int(r, 1, 3600, &c->health_s);
}

static enum status take_of_backend(struct reading *r)
{
    struct config_backend *b = r->backend;
    const char *w = r->w->word[0];
    if (!strcmp(w, "class"))
        return on_class(r);
    if (!strcmp(w, "dialects"))
        return on_dialects(r);
    if (!strcmp(w, "model"))
        return on_model(r);
    if (!strcmp(w, "context"))
        return take_int(r, 64, 1 << 30, &b->n_ctx);
    if (!strcmp(w, "weight"))
        return take_int(r, 1, 100, &b->weight);
    if (!strcmp(w, "concurrency"))
        return take_int(r, 1, 1 << 20, &b->limit);
    if (!strcmp(w, "key"))
        return take_key(r, r->w->word[1], &b->key);
    if (!strcmp(w, "proxy"))
        return on_proxy(r);
    if (!strcmp(w, "ca"))
        return on_ca(r);
    if (!strcmp(w, "start"))
        return on_start(r);
    if (!strcmp(w, "check-memory"))
        return on_check_memory(r);
    return take_int(r, 1, 1 << 24, &b->idle_stop_s);
}

/* The last of two would silently win. */
static bool is_second(struct reading *r, const struct statement *s)
{
    static const char *const often[] = {"backend", "client-key", "model"};
    for (size_t i = 0; i < sizeof often / sizeof *often; i++)
        if (!strcmp(s->word, often[i]))
            return false;
    if (!strcmp(s->word, "threshold") && r->w->n > 2) // of a model
        return false;
    uint32_t *seen = s->of_backend ? &r->seen_of_backend : &r->seen;
    const uint32_t bit = (uint32_t)1 << (s - statements);
    const bool second = *seen & bit;
    *seen |= bit;
    return second;
}

static enum status take_line(struct reading *r)
{
    const struct statement *s = statements;
    const struct statement *end = s + sizeof statements / sizeof *statements;
    while (s < end && strcmp(s->word, r->w->word[0]))
        s++;
    if (s == end)
        return FAIL_LINE(r, "'%.100s' is no statement", r->w->word[0]);
    if (r->w->n - 1 < s->min || r->w->n - 1 > s->max)
        return FAIL_LINE(r, "it is '%s'", s->usage);
    if (s->of_backend && !r->backend)
        return FAIL_LINE(r, "'%s' belongs to a backend, and none is above", s->word);
    if (is_second(r, s))
        return FAIL_LINE(r, "%s is there already%s", s->word,
                         s->of_backend ? ", for the same backend" : "");
    return s->of_backend ? take_of_backend(r) : take_of_router(r);
}

/* ---- the file ---- */

static enum status load_text(struct buf *text, const char *path, struct error *err)
{
    char piece[4096];
    ssize_t n;
    struct stat st;
    // SIGHUP must not wait for whoever might write into a pipe.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    if (!fstat(fd, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        close(fd);
        return fail(err, STATUS_IO, "%s: this is no file that can be read", path);
    }
    while ((n = read(fd, piece, sizeof piece)) > 0 && buf_append(text, piece, (size_t)n))
        ;
    const int e = errno;
    close(fd);
    if (n < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(e));
    if (text->failed)
        return fail(err, STATUS_LIMIT, "%s: more than %d bytes", path, CONFIG_BYTES);
    return STATUS_OK;
}

static enum status take_lines(struct reading *r, char *text, size_t n)
{
    if (n > CONFIG_BYTES)
        return fail(r->err, STATUS_LIMIT, "%s: more than %d bytes", r->path,
                    CONFIG_BYTES);
    if (memchr(text, 0, n))
        return fail(r->err, STATUS_BAD_INPUT, "%s: not a text", r->path);
    if (!strncmp(text, "\xef\xbb\xbf", 3)) // what some editors begin with
        text += 3;
    for (char *line = text; line && *line;) {
        struct config_words w;
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        r->line++;
        const char *wrong = config_words_split(&w, line);
        if (wrong)
            return FAIL_LINE(r, "%s", wrong);
        r->w = &w;
        const enum status s = w.n ? take_line(r) : STATUS_OK;
        if (s)
            return s;
        line = end ? end + 1 : NULL;
    }
    return STATUS_OK;
}

enum status config_read_text(struct config *c, const char *path, char *text, size_t n,
                             config_lookup *lookup, struct error *err)
{
    struct reading r = {.c = c, .path = path, .lookup = lookup, .err = err};
    const enum status s = take_lines(&r, text, n);
    return s ? s : config_check(c, path, err);
}

enum status config_read_file(struct config *c, const char *path, config_lookup *lookup,
                             struct error *err)
{
    struct buf text;
    char empty[] = "";
    buf_init(&text, CONFIG_BYTES);
    enum status s = load_text(&text, path, err);
    if (!s)
        s = config_read_text(c, path, text.len ? text.data : empty, text.len, lookup,
                             err);
    buf_release(&text);
    return s;
}

enum status config_check(const struct config *c, const char *path, struct error *err)
{
    if (!c->n_backend)
        return fail(err, STATUS_BAD_INPUT, "%s%sno backend", path ? path : "",
                    path ? ": " : "");
    for (int i = 0; i < c->n_backend; i++) {
        const struct config_backend *b = &c->backends[i];
        for (int j = 0; j < i; j++)
            if (strcmp(c->backends[j].url, b->url))
                continue;
            else if (!b->line)
                return fail(err, STATUS_BAD_INPUT, "%s is given twice", b->url);
            else
                return fail(
                    err, STATUS_BAD_INPUT, "%s:%d: %s is there already, in line %d",
                    path ? path : "options", b->line, b->url, c->backends[j].line);
        if (b->idle_stop_s && !b->start)
            return fail(err, STATUS_BAD_INPUT,
                        "%s:%d: idle-stop without start: only what the router started "
                        "is stopped by it",
                        path ? path : "options", b->line);
    }
    return STATUS_OK;
}
