/* create.c - a model from a Modelfile: layers, config, manifest. */
#include "store/create.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/ollama_api.h"
#include "store/labels.h"
#include "store/stored_model.h"

enum { CREATE_LAYERS = 1024 };

struct creation {
    struct store *store;
    const struct modelfile *f;
    const struct create_options *o;
    struct addition *a;
    struct manifest m; // what becomes of it
    json_t *config, *params;
    /* Of the GGUF. */
    bool has_chat_template;
    int n_ctx_train; // 0: not known
};

static void say(const struct creation *c, const char *what, const struct digest *d)
{
    char text[128], name[DIGEST_TEXT_BYTES] = "";
    if (!c->o->say)
        return;
    if (d)
        digest_print(name, d);
    snprintf(text, sizeof text, "%s%s%s", what, d ? " " : "", name);
    c->o->say(c->o->ctx, text);
}

/* ---- FROM ---- */

static enum status expand_home(char path[STORE_PATH_BYTES], const char *from,
                               const char *home, struct error *err)
{
    const size_t user = strcspn(from + 1, "/");
    char name[256];
    if (user > 0 && user < sizeof name) {
        memcpy(name, from + 1, user);
        name[user] = 0;
        const struct passwd *p = getpwnam(name);
        home = p ? p->pw_dir : NULL;
    }
    if (!home || user >= sizeof name)
        return fail(err, STATUS_NOT_FOUND, "FROM %.200s: no such home folder", from);
    if (snprintf(path, STORE_PATH_BYTES, "%s%s", home, from + 1 + user) >=
        STORE_PATH_BYTES)
        return fail(err, STATUS_LIMIT, "FROM %.100s...: too long a path", from);
    return STATUS_OK;
}

/* The only *.gguf of a folder. */
static enum status find_gguf(char path[STORE_PATH_BYTES], struct error *err)
{
    char found[256] = "";
    int n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(dir));) {
        const size_t len = strlen(e->d_name);
        if (len > 5 && len < sizeof found && e->d_name[0] != '.' &&
            !strcmp(e->d_name + len - 5, ".gguf")) {
            memcpy(found, e->d_name, len + 1);
            n++;
        }
    }
    closedir(dir);
    const size_t at = strlen(path);
    if (n != 1 || snprintf(path + at, STORE_PATH_BYTES - at, "/%s", found) >=
                      (int)(STORE_PATH_BYTES - at))
        return fail(
            err, STATUS_UNSUPPORTED,
            "FROM %.500s: a folder with %d .gguf files; name one file (weights in "
            "safetensors are converted by others)",
            path, n);
    return STATUS_OK;
}

/* Is FROM a file?  Then path is it; else it is empty. */
static enum status from_path(char path[STORE_PATH_BYTES], const struct create_options *o,
                             const char *from, struct error *err)
{
    struct stat st;
    const char *folder = o->folder;
    const bool whole = from[0] == '/' || !folder;
    enum status s = STATUS_OK;
    *path = 0;
    if (folder && !*folder)
        return s;
    if (from[0] == '~')
        s = expand_home(path, from, o->home, err);
    else if (snprintf(path, STORE_PATH_BYTES, "%s%s%s", whole ? "" : folder,
                      whole ? "" : "/", from) >= STORE_PATH_BYTES)
        s = fail(err, STATUS_LIMIT, "FROM %.100s...: too long a path", from);
    if (s)
        return s;
    if (stat(path, &st)) {
        const size_t n = strlen(from);
        if (from[0] == '/' || from[0] == '.' || from[0] == '~' ||
            (n > 5 && !strcmp(from + n - 5, ".gguf")))
            return fail(err, STATUS_NOT_FOUND, "FROM %s: %s", path, strerror(errno));
        *path = 0;
        return STATUS_OK;
    }
    return S_ISDIR(st.st_mode) ? find_gguf(path, err) : STATUS_OK;
}

/* Is the file a blob of the store, as `show --modelfile` names it?  Then it need not be
 * copied. */
static bool is_blob(const struct creation *c, const char *path, struct digest *d,
                    uint64_t *size)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char blob[STORE_PATH_BYTES];
    struct stat a, b;
    if (!digest_parse(d, name, strlen(name)) ||
        store_blob_path(c->store, d, 0, blob, NULL) || stat(path, &a) || stat(blob, &b) ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return false;
    *size = (uint64_t)a.st_size;
    return true;
}

static void read_gguf(struct creation *c, const struct gguf *g)
{
    struct gguf_str s;
    char name[128], arch[64];
    int64_t n;
    c->has_chat_template = !gguf_str(g, "tokenizer.chat_template", &s, NULL) && s.n;
    label_arch(arch, g);
    snprintf(name, sizeof name, "%s.context_length", arch);
    c->n_ctx_train = gguf_int(g, name, 1, INT_MAX, &n, NULL) ? 0 : (int)n;
}

static enum status use_file(struct creation *c, const char *path, struct error *err)
{
    struct gguf *g;
    struct digest d;
    uint64_t size;
    say(c, "gathering model components", NULL);
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    if (gguf_n_files(g) > 1)
        s = fail(err, STATUS_UNSUPPORTED,
                 "%s: a model in %d files; merge them into one first", path,
                 gguf_n_files(g));
    if (!s)
        s = create_config(&c->config, g, err);
    read_gguf(c, g);
    gguf_close(g);
    bool is_there = !s && is_blob(c, path, &d, &size);
    if (is_there)
        s = addition_blob(c->a, &d, size, err);
    else if (!s && !(s = addition_file(c->a, path, &d, &size, err)))
        is_there = addition_was_there(c->a);
    if (!s)
        say(c, is_there ? "using existing layer" : "creating new layer", &d);
    return s ? s : manifest_add(&c->m, LAYER_MODEL, &d, size, err);
}

/* All layers of another model; its parameters and its config as a start. */
static enum status use_model(struct creation *c, const char *from, struct error *err)
{
    struct model_name name;
    struct stored_model base = {0};
    enum status s = model_name_parse(&name, from, strlen(from), err);
    if (s)
        return s;
    s = stored_model_load(&base, c->store, &name, err);
    if (!s && base.manifest.n_layer > CREATE_LAYERS)
        s = fail(err, STATUS_LIMIT, "FROM %.200s: %d layers are more than %d", from,
                 base.manifest.n_layer, CREATE_LAYERS);
    for (int i = 0; !s && i < base.manifest.n_layer; i++) {
        const struct layer *l = &base.manifest.layers[i];
        if (l->kind == LAYER_PARAMS)
            continue; // written again
        s = addition_blob(c->a, &l->digest, l->size, err);
        if (!s && !(s = manifest_add(&c->m, l->kind, &l->digest, l->size, err))) {
            struct layer *last = &c->m.layers[c->m.n_layer - 1];
            memcpy(last->media_type, l->media_type, sizeof last->media_type);
            say(c, "using existing layer", &l->digest);
        }
    }
    struct gguf *g = NULL;
    if (!s && !(s = gguf_open(&g, base.path, err)))
        read_gguf(c, g);
    gguf_close(g);
    if (!s) {
        c->params = json_incref(base.params);
        c->config = base.config ? json_incref(base.config) : json_object();
    }
    stored_model_release(&base);
    return s;
}

static enum status missing_blob(const struct digest *d, struct error *err)
{
    char name[DIGEST_TEXT_BYTES];
    digest_print(name, d);
    return fail(err, STATUS_NOT_FOUND, "blob %s is not in the store: send it first",
                name);
}

static enum status use_from(struct creation *c, const char *from, struct error *err)
{
    char path[STORE_PATH_BYTES];
    const enum status s = from_path(path, c->o, from, err);
    if (s)
        return s;
    return *path ? use_file(c, path, err) : use_model(c, from, err);
}

const char *create_missing(struct store *s, const struct modelfile *f,
                           const struct create_options *o)
{
    const struct modelfile_command *from = modelfile_last(f, MODELFILE_FROM);
    char path[STORE_PATH_BYTES];
    struct model_name name;
    struct manifest m = {0};
    if (o->blob || !from || from_path(path, o, from->value, NULL) || *path ||
        model_name_parse(&name, from->value, strlen(from->value), NULL))
        return NULL;
    const bool missing = store_find(s, &name, &m, NULL, NULL) == STATUS_NOT_FOUND;
    manifest_release(&m);
    return missing ? from->value : NULL;
}

/* Before anything is written: a fetch is an addition of its own. */
static enum status fetch_missing(const struct creation *c, struct error *err)
{
    const char *name = c->o->fetch ? create_missing(c->store, c->f, c->o) : NULL;
    const struct modelfile_command *from = modelfile_last(c->f, MODELFILE_FROM);
    char line[32] = "";
    struct error why;
    enum status s = STATUS_OK;
    if (name && from->line)
        snprintf(line, sizeof line, "(line %d): ", from->line);
    if (name && (s = c->o->fetch(c->o->ctx, name, &why)) == STATUS_STOPPED)
        return fail(err, s, "%s", why.text);
    if (s)
        s = fail(err, s, "%sFROM %.200s is not in the store, and cannot be pulled: %s",
                 line, name, why.text);
    return s;
}

static enum status take_from(struct creation *c, struct error *err)
{
    const struct modelfile_command *from = modelfile_last(c->f, MODELFILE_FROM);
    char path[STORE_PATH_BYTES];
    struct error why;
    if (c->o->blob) {
        const enum status st = store_blob_path(c->store, c->o->blob, 0, path, err);
        if (st == STATUS_NOT_FOUND)
            return missing_blob(c->o->blob, err);
        return st ? st : use_file(c, path, err);
    }
    for (const struct modelfile_command *p = c->f->commands; p != from; p++)
        if (p->keyword == MODELFILE_FROM)
            return fail(err, STATUS_UNSUPPORTED,
                        "(line %d): a second FROM; a model is one GGUF here", from->line);
    if (!from->line) // of a request
        return use_from(c, from->value, err);
    const enum status s = use_from(c, from->value, &why);
    return s ? fail(err, s, "(line %d): %s", from->line, why.text) : s;
}

/* ---- the other commands ---- */

static enum status add_text_layer(struct creation *c, enum blob_kind kind,
                                  const char *text, struct error *err)
{
    struct digest d;
    const size_t n = strlen(text);
    const enum status s = addition_bytes(c->a, text, n, &d, err);
    if (s)
        return s;
    say(c, addition_was_there(c->a) ? "using existing layer" : "creating new layer", &d);
    return manifest_add(&c->m, kind, &d, n, err);
}

static enum status add_json(struct creation *c, enum blob_kind kind, const json_t *j,
                            struct error *err)
{
    struct buf text;
    buf_init(&text, MODELFILE_BYTES);
    enum status s = STATUS_OK;
    if (!manifest_dump(&text, j))
        s = fail(err, STATUS_LIMIT, "a layer of more than %d MiB", MODELFILE_BYTES >> 20);
    else
        s = add_text_layer(c, kind, text.data, err);
    buf_release(&text);
    return s;
}

/* "v0.14.0" or "0.14.0-rc1": three numbers without leading zeros, perhaps more. */
static bool is_version(const char *s)
{
    s += *s == 'v';
    for (int i = 0; i < 3; i++) {
        const size_t n = strspn(s, "0123456789");
        if (n == 0 || n > 9 || (n > 1 && *s == '0'))
            return false;
        s += n;
        if (i < 2 && *s == '.')
            s++;
        else if (i < 2)
            return !*s; // "0.14" stands for "0.14.0"
    }
    if (*s != '-' && *s != '+')
        return !*s;
    return s[1] && !s[strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
                                "UVWXYZ.-+")];
}

bool create_version_newer(const char *a, const char *b)
{
    a += *a == 'v';
    b += *b == 'v';
    for (int i = 0; i < 3; i++) {
        char *a_end, *b_end;
        const long x = strtol(a, &a_end, 10), y = strtol(b, &b_end, 10);
        if (x != y)
            return x > y;
        a = a_end + (*a_end == '.');
        b = b_end + (*b_end == '.');
    }
    return false; // a pre-release of the same three comes before it
}

/* What is wrong with the Modelfile itself, before a large file is copied. */
static enum status check_commands(const struct creation *c, struct error *err)
{
    for (int i = 0; i < c->f->n; i++) {
        const struct modelfile_command *k = &c->f->commands[i];
        if (k->keyword == MODELFILE_ADAPTER)
            return fail(err, STATUS_UNSUPPORTED,
                        "(line %d): ADAPTER is not supported: merge the adapter into the "
                        "model first",
                        k->line);
        if (k->keyword == MODELFILE_DRAFT)
            return fail(err, STATUS_UNSUPPORTED,
                        "(line %d): DRAFT is not supported: there is no speculative "
                        "decoding",
                        k->line);
    }
    const struct modelfile_command *requires = modelfile_last(c->f, MODELFILE_REQUIRES);
    if (requires && !is_version(requires->value))
        return fail(err, STATUS_BAD_INPUT,
                    "(line %d): requires must be a valid semver (e.g. 0.14.0)",
                    requires->line);
    if (requires && c->o->say && create_version_newer(requires->value, OLLAMA_API)) {
        char text[160];
        snprintf(text, sizeof text,
                 "note: REQUIRES Ollama %.40s; this follows the API of " OLLAMA_API,
                 requires->value);
        c->o->say(c->o->ctx, text);
    }
    json_t *params;
    const enum status s = modelfile_params(&params, c->f, NULL, err);
    json_decref(params);
    return s;
}

/* TEMPLATE and SYSTEM: the last one, in place of the base's; "" takes it away. */
static enum status replace_text(struct creation *c, enum modelfile_keyword k,
                                enum blob_kind kind, struct error *err)
{
    const struct modelfile_command *command = modelfile_last(c->f, k);
    if (!command)
        return STATUS_OK;
    manifest_drop(&c->m, kind);
    return *command->value ? add_text_layer(c, kind, command->value, err) : STATUS_OK;
}

static enum status take_licenses(struct creation *c, struct error *err)
{
    enum status s = STATUS_OK;
    if (modelfile_last(c->f, MODELFILE_LICENSE))
        manifest_drop(&c->m, LAYER_LICENSE);
    for (int i = 0; !s && i < c->f->n; i++)
        if (c->f->commands[i].keyword == MODELFILE_LICENSE && *c->f->commands[i].value)
            s = add_text_layer(c, LAYER_LICENSE, c->f->commands[i].value, err);
    return s;
}

static enum status take_messages(struct creation *c, struct error *err)
{
    if (!modelfile_last(c->f, MODELFILE_MESSAGE))
        return STATUS_OK;
    manifest_drop(&c->m, LAYER_MESSAGES);
    json_t *list = json_array();
    for (int i = 0; i < c->f->n; i++) {
        const struct modelfile_command *k = &c->f->commands[i];
        if (k->keyword == MODELFILE_MESSAGE)
            json_array_append_new(
                list, json_pack("{s:s, s:s}", "role", k->name, "content", k->value));
    }
    const enum status s = add_json(c, LAYER_MESSAGES, list, err);
    json_decref(list);
    return s;
}

static enum status take_params(struct creation *c, struct error *err)
{
    json_t *own;
    struct buf notes;
    buf_init(&notes, 1 << 16);
    enum status s = modelfile_params(&own, c->f, &notes, err);
    if (!s && !c->params)
        c->params = json_object();
    if (!s && json_object_update(c->params, own))
        s = fail(err, STATUS_NO_MEMORY, "no memory for parameters");
    for (char *p = notes.data; !s && p && *p && c->o->say;) {
        char *end = strchr(p, '\n');
        *end = 0;
        c->o->say(c->o->ctx, p);
        p = end + 1;
    }
    if (!s && json_object_size(c->params))
        s = add_json(c, LAYER_PARAMS, c->params, err);
    json_decref(own);
    buf_release(&notes);
    return s;
}

/* What Ollama would run of its own; here both come from the chat template. */
static void say_unused(const struct creation *c, enum modelfile_keyword k,
                       const char *value)
{
    char text[240];
    const bool renderer = k == MODELFILE_RENDERER;
    snprintf(text, sizeof text, "note: %s %.60s is kept, but not used: %s",
             renderer ? "RENDERER" : "PARSER", value,
             renderer ? "prompts are made by the chat template"
                      : "answers are read in the format that the chat template has");
    if (c->o->say)
        c->o->say(c->o->ctx, text);
}

static enum status take_properties(struct creation *c, struct error *err)
{
    static const struct {
        enum modelfile_keyword k;
        const char *name;
    } kept[] = {{MODELFILE_RENDERER, "renderer"},
                {MODELFILE_PARSER, "parser"},
                {MODELFILE_REQUIRES, "requires"}};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const struct modelfile_command *p = modelfile_last(c->f, kept[i].k);
        if (!p)
            continue;
        const char *value = p->value;
        if (kept[i].k == MODELFILE_REQUIRES)
            value += *value == 'v';
        else
            say_unused(c, kept[i].k, value);
        if (json_object_set_new(c->config, kept[i].name, json_string(value)))
            return fail(err, STATUS_NO_MEMORY, "no memory for properties");
    }
    return STATUS_OK;
}

/* A TEMPLATE of Go is kept in any case; where the GGUF has a chat template, the config
 * says that this one is meant. */
static enum status mark_template(struct creation *c, struct error *err)
{
    const struct modelfile_command *t = modelfile_last(c->f, MODELFILE_TEMPLATE);
    if (!t)
        return STATUS_OK;
    json_object_del(c->config, STORED_TEMPLATE_OWN);
    if (c->has_chat_template &&
        stored_template_kind(t->value, strlen(t->value)) == STORED_TEMPLATE_GO &&
        json_object_set_new(c->config, STORED_TEMPLATE_OWN, json_true()))
        return fail(err, STATUS_NO_MEMORY, "no memory for properties");
    return STATUS_OK;
}

/* ---- the end ---- */

/* What a person may not expect of the model. */
static void say_notes(const struct creation *c)
{
    const json_int_t n_ctx = json_integer_value(json_object_get(c->params, "num_ctx"));
    char text[240];
    bool template = c->has_chat_template;
    for (int i = 0; i < c->m.n_layer; i++)
        template |= c->m.layers[i].kind == LAYER_TEMPLATE;
    if (!template && c->o->say)
        c->o->say(c->o->ctx, "note: no chat template: " STORED_TEMPLATE_PLAIN_WORDS);
    snprintf(text, sizeof text,
             "note: num_ctx %" JSON_INTEGER_FORMAT ": " STORED_CONTEXT_WORDS, n_ctx,
             c->n_ctx_train);
    if (c->n_ctx_train && n_ctx > c->n_ctx_train && c->o->say)
        c->o->say(c->o->ctx, text);
}

static enum status add_config(struct creation *c, struct error *err)
{
    json_t *ids = json_array();
    for (int i = 0; i < c->m.n_layer; i++) {
        char name[DIGEST_TEXT_BYTES];
        digest_print(name, &c->m.layers[i].digest);
        json_array_append_new(ids, json_string(name));
    }
    json_object_set_new(c->config, "architecture", json_string("amd64"));
    json_object_set_new(c->config, "os", json_string("linux"));
    json_object_set_new(c->config, "rootfs",
                        json_pack("{s:s, s:o}", "type", "layers", "diff_ids", ids));
    enum status s = add_json(c, LAYER_CONFIG, c->config, err);
    if (!s) { // it is no layer of the list
        c->m.config = c->m.layers[--c->m.n_layer];
        c->m.has_config = true;
    }
    return s;
}

/* Layers by kind, so that the same parts make the same manifest whatever way they came.
 */
static void sort_layers(struct manifest *m)
{
    for (int i = 1; i < m->n_layer; i++) {
        const struct layer l = m->layers[i];
        int j = i;
        for (; j > 0 && m->layers[j - 1].kind > l.kind; j--)
            m->layers[j] = m->layers[j - 1];
        m->layers[j] = l;
    }
}

static enum status finish_model(struct creation *c, const struct model_name *name,
                                struct error *err)
{
    struct buf json;
    buf_init(&json, MANIFEST_BYTES);
    sort_layers(&c->m);
    say_notes(c);
    enum status s = add_config(c, err);
    if (!s)
        s = manifest_print(&json, &c->m, err);
    if (!s) {
        say(c, "writing manifest", NULL);
        s = addition_put(c->a, name, json.data, json.len, err);
    }
    buf_release(&json);
    if (!s)
        say(c, "success", NULL);
    return s;
}

enum status store_create(struct store *s, const struct model_name *name,
                         const struct modelfile *f, const struct create_options *o,
                         struct error *err)
{
    struct creation c = {.store = s, .f = f, .o = o};
    enum status st = check_commands(&c, err);
    if (!st)
        st = fetch_missing(&c, err);
    if (!st)
        st = addition_open(&c.a, s, err);
    if (!st && !(st = take_from(&c, err)) &&
        !(st = replace_text(&c, MODELFILE_TEMPLATE, LAYER_TEMPLATE, err)) &&
        !(st = replace_text(&c, MODELFILE_SYSTEM, LAYER_SYSTEM, err)) &&
        !(st = take_licenses(&c, err)) && !(st = take_params(&c, err)) &&
        !(st = take_messages(&c, err)) && !(st = take_properties(&c, err)) &&
        !(st = mark_template(&c, err)))
        st = finish_model(&c, name, err);
    addition_close(c.a);
    manifest_release(&c.m);
    json_decref(c.config);
    json_decref(c.params);
    return st;
}

/* ---- back to a Modelfile ---- */

/* As few digits as give the number back. */
static void print_real(char *out, size_t n, double v)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, n, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

static bool print_param(struct buf *out, const char *name, const json_t *v)
{
    char text[64];
    if (json_is_string(v))
        return modelfile_print(out, MODELFILE_PARAMETER, name, json_string_value(v));
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        print_real(text, sizeof text, json_real_value(v));
    else
        snprintf(text, sizeof text, "%s", json_is_true(v) ? "true" : "false");
    return modelfile_print(out, MODELFILE_PARAMETER, name, text);
}

static bool print_params(struct buf *out, json_t *params)
{
    const char *name;
    json_t *v, *one;
    size_t i;
    bool ok = true;
    json_object_foreach(params, name, v)
    {
        if (!json_is_array(v)) {
            ok = ok && print_param(out, name, v);
            continue;
        }
        json_array_foreach(v, i, one) ok = ok && print_param(out, name, one);
    }
    return ok;
}

static bool print_messages(struct buf *out, json_t *messages)
{
    size_t i;
    json_t *m;
    bool ok = true;
    json_array_foreach(messages, i, m)
    {
        const char *role = json_string_value(json_object_get(m, "role"));
        const char *text = json_string_value(json_object_get(m, "content"));
        if (role && text)
            ok = ok && modelfile_print(out, MODELFILE_MESSAGE, role, text);
    }
    return ok;
}

static bool print_licenses(struct buf *out, json_t *licenses)
{
    size_t i;
    json_t *text;
    bool ok = true;
    json_array_foreach(licenses, i, text) ok =
        ok && modelfile_print(out, MODELFILE_LICENSE, NULL, json_string_value(text));
    return ok;
}

/* A layer of text as one TEMPLATE or SYSTEM; a 0 in it is not text. */
static bool print_text_layer(struct buf *out, enum modelfile_keyword k,
                             const struct buf *text)
{
    return !text->len ||
           (strlen(text->data) == text->len && modelfile_print(out, k, NULL, text->data));
}

enum status create_print_modelfile(struct buf *out, const struct stored_model *m,
                                   const char *from, struct error *err)
{
    char name[MODEL_NAME_BYTES];
    model_name_print(name, &m->entry.name);
    buf_printf(out,
               "# Modelfile generated by \"turbine show\"\n"
               "# To build a new Modelfile based on this, replace FROM with:\n"
               "# FROM %s\n\n",
               name);
    const json_t *c = m->config;
    const char *renderer = json_string_value(json_object_get(c, "renderer"));
    const char *parser = json_string_value(json_object_get(c, "parser"));
    const char *requires = json_string_value(json_object_get(c, "requires"));
    const bool ok =
        modelfile_print(out, MODELFILE_FROM, NULL, from) &&
        print_text_layer(out, MODELFILE_TEMPLATE, &m->template) &&
        (!renderer || modelfile_print(out, MODELFILE_RENDERER, NULL, renderer)) &&
        (!parser || modelfile_print(out, MODELFILE_PARSER, NULL, parser)) &&
        print_text_layer(out, MODELFILE_SYSTEM, &m->system) &&
        print_params(out, m->params) && print_messages(out, m->messages) &&
        print_licenses(out, m->licenses) &&
        (!requires || modelfile_print(out, MODELFILE_REQUIRES, NULL, requires));
    return ok ? STATUS_OK
              : fail(err, STATUS_UNSUPPORTED,
                     "a text of model '%s' has three quotes and needs quotes: no "
                     "Modelfile "
                     "can hold it",
                     name);
}
