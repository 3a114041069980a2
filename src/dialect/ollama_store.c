#include "dialect/ollama_store.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "dialect/content.h"
#include "json/print.h"
#include "dialect/ollama_parts.h"

enum { FILES_MAX = 64, TEXTS_MAX = 4000, NAME_MAX_BYTES = 600 };

/* What the tables fill. */
struct body {
    const char *model, *name;
    struct ollama_create create;
    struct ollama_copy copy;
    struct ollama_named named;
    const char *kv_type;
    int kv_tail;
};

#define AT(member) offsetof(struct body, member)
#define N(rows) (int)(sizeof(rows) / sizeof *(rows))
#define STRING(name, member, max, standard, help)                    \
    {                                                                \
        name, FIELD_STRING, AT(member), 0, max, NULL, standard, help \
    }
#define BOOL(name, member, standard, help)                       \
    {                                                            \
        name, FIELD_BOOL, AT(member), 0, 0, NULL, standard, help \
    }
#define JSON(name, standard, help)                      \
    {                                                   \
        name, FIELD_JSON, 0, 0, 0, NULL, standard, help \
    }
#define REFUSED(name, help)                            \
    {                                                  \
        name, FIELD_REFUSED, 0, 0, 0, NULL, NULL, help \
    }
#define IGNORED(name, help)                            \
    {                                                  \
        name, FIELD_IGNORED, 0, 0, 0, NULL, NULL, help \
    }

/* clang-format off */
#define NAMED(help)                                                                    \
    STRING("model", model, NAME_MAX_BYTES, "required", help),                          \
    STRING("name", name, NAME_MAX_BYTES, "`model`", "the same, as old clients say it")

static const struct field create_rows[] = {
    NAMED("name of the new model"),
    STRING("from", create.from, NAME_MAX_BYTES, "`files`",
           "a model of the store that this one is made from; never a path"),
    JSON("files", "`from`", "`{\"model.gguf\": \"sha256:...\"}`: one GGUF file that was "
         "sent to `/api/blobs`"),
    STRING("template", create.template, INT_MAX, "the base's", "TEMPLATE of a Modelfile"),
    STRING("system", create.system, INT_MAX, "the base's", "SYSTEM of a Modelfile"),
    JSON("license", "the base's", "a text, or an array of texts"),
    JSON("parameters", "the base's", "PARAMETERs laid over those of the base, see below"),
    JSON("messages", "the base's", "messages that chats start with: `role` (`system`, "
         "`user`, `assistant`) and `content`"),
    STRING("renderer", create.renderer, 256, "the base's", "kept and shown"),
    STRING("parser", create.parser, 256, "the base's", "kept and shown"),
    STRING("requires", create.requires, 64, "the base's", "a version, kept and shown"),
    BOOL("stream", create.stream, "true", "lines of JSON that say what is done"),
    REFUSED("quantize", "send a GGUF of the type that you want"),
    REFUSED("quantization", "send a GGUF of the type that you want"),
    REFUSED("draft_quantize", "there are no draft models"),
    REFUSED("draft_files", "there are no draft models"),
    REFUSED("adapters", "merge them into the model first"),
    REFUSED("remote_host", "models of other hosts are not served"),
    REFUSED("info", "properties are the GGUF's own"),
    REFUSED("modelfile", "send `from` or `files`, and its commands as fields"),
    REFUSED("path", "files of the server cannot be named: send `from` or `files`"),
};
const struct field_table ollama_create_fields = {"POST /api/create", create_rows,
                                                 N(create_rows)};

static const struct field parameter_rows[] = {
    STRING("kv_cache_type", kv_type, 64, "the server's",
           "type of the cache, as `--kv`; this server's own"),
    {"kv_tail", FIELD_INT, AT(kv_tail), 0, 1 << 20, NULL, "the type's",
     "newest tokens that are kept exact; this server's own"},
    JSON("...", "the base's", "the options of the Ollama API, with their types; a name "
         "that nobody knows is an error"),
};
const struct field_table ollama_parameter_fields = {"parameters of POST /api/create",
                                                    parameter_rows, N(parameter_rows)};

static const struct field copy_rows[] = {
    STRING("source", copy.source, NAME_MAX_BYTES, "required", "name of a model"),
    STRING("destination", copy.destination, NAME_MAX_BYTES, "required",
           "its second name; a model of that name is replaced"),
};
const struct field_table ollama_copy_fields = {"POST /api/copy", copy_rows, N(copy_rows)};

static const struct field pull_rows[] = {
    NAMED("`NAME[:TAG]`, `SPACE/NAME[:TAG]`, `HOST/SPACE/NAME[:TAG]` or "
          "`hf.co/USER/REPO[:QUANT]`"),
    BOOL("stream", named.stream, "true", "lines of JSON that say how far it is"),
    BOOL("insecure", named.insecure, "false",
         "a host in the name may be asked without encryption"),
    IGNORED("username", "credentials are the server's"),
    IGNORED("password", "credentials are the server's"),
};
const struct field_table ollama_pull_fields = {"POST /api/pull", pull_rows, N(pull_rows)};

static const struct field delete_rows[] = {NAMED("name of a model")};
const struct field_table ollama_delete_fields = {"DELETE /api/delete", delete_rows,
                                                 N(delete_rows)};
/* clang-format on */

static enum status missing(const char *what, struct api_error *err)
{
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, what, "%s is required",
                    what);
}

/* *out <- model, or name where old clients say that. */
static enum status read_named(struct body *b, const struct field_table *t,
                              const json_t *json, const char **out, struct api_error *err)
{
    const enum status s = fields_read(t, json, b, "", err);
    if (s)
        return s;
    *out = b->model && *b->model ? b->model : b->name;
    return *out && **out ? STATUS_OK : missing("model", err);
}

/* Absent, null and empty values are none. */
static const json_t *said_member(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);
    return json_is_null(v) ? NULL : v;
}

/* ---- create ---- */

/* "a/b.gguf": no way out of a folder. */
static bool is_relative(const char *path)
{
    for (const char *at = path;; at++) {
        const size_t n = strcspn(at, "/");
        if (!n || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        at += n;
        if (!*at)
            return !strchr(path, '\\');
    }
}

static enum status read_files(struct ollama_create *c, const json_t *body,
                              struct api_error *err)
{
    const char *name;
    json_t *v;
    c->files = said_member(body, "files");
    if (c->files && !json_is_object(c->files))
        return content_wrong(c->files, "files", "an object", err);
    if (!json_object_size(c->files))
        c->files = NULL;
    if (json_object_size(c->files) > FILES_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "files",
                        "files has more than %d members", FILES_MAX);
    json_object_foreach((json_t *)(uintptr_t)c->files, name, v)
    {
        if (!is_relative(name))
            return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "files",
                            "files: file paths must be relative, not '%.80s'", name);
        if (!json_is_string(v))
            return content_wrong(v, content_at("files.%s", name).text, "a string", err);
    }
    if (c->from && !*c->from)
        c->from = NULL;
    if (!c->from && !c->files)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "from",
                        "neither 'from' or 'files' was specified");
    if (c->from && c->files)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "files",
                        "both 'from' and 'files' were specified");
    return STATUS_OK;
}

static enum status read_license(struct ollama_create *c, const json_t *body,
                                struct api_error *err)
{
    size_t i;
    const json_t *v;
    c->license = said_member(body, "license");
    if (!c->license || json_is_string(c->license))
        return STATUS_OK;
    if (!json_is_array(c->license))
        return content_wrong(c->license, "license", "a string or an array", err);
    if (json_array_size(c->license) > TEXTS_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "license",
                        "license has more than %d texts", TEXTS_MAX);
    json_array_foreach(c->license, i, v)
    {
        if (!json_is_string(v))
            return content_wrong(v, content_at("license[%zu]", i).text, "a string", err);
    }
    return STATUS_OK;
}

static enum status read_start_messages(struct ollama_create *c, const json_t *body,
                                       struct api_error *err)
{
    size_t i;
    const json_t *m;
    c->messages = said_member(body, "messages");
    if (c->messages && !json_is_array(c->messages))
        return content_wrong(c->messages, "messages", "an array", err);
    if (json_array_size(c->messages) > TEXTS_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "messages",
                        "there are more than %d messages", TEXTS_MAX);
    json_array_foreach(c->messages, i, m)
    {
        const json_t *role = json_object_get(m, "role");
        const json_t *text = json_object_get(m, "content");
        const char *r = json_string_value(role);
        if (!r || (strcmp(r, "system") && strcmp(r, "user") && strcmp(r, "assistant")))
            return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID,
                            content_at("messages[%zu].role", i).text,
                            "messages[%zu].role must be system, user or assistant", i);
        if (!json_is_string(text))
            return content_wrong(text, content_at("messages[%zu].content", i).text,
                                 "a string", err);
    }
    return STATUS_OK;
}

static enum status read_parameters(struct body *b, const json_t *body,
                                   struct api_error *err)
{
    struct ollama_create *c = &b->create;
    c->parameters = said_member(body, "parameters");
    if (!c->parameters)
        return STATUS_OK;
    if (!json_is_object(c->parameters))
        return content_wrong(c->parameters, "parameters", "an object", err);
    if (json_object_size(c->parameters) > TEXTS_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "parameters",
                        "parameters has more than %d members", TEXTS_MAX);
    const enum status s = ollama_check_options(c->parameters, err);
    return s ? s
             : fields_read(&ollama_parameter_fields, c->parameters, b, "parameters.",
                           err);
}

enum status ollama_read_create(struct ollama_create *out, const json_t *body,
                               struct api_error *err)
{
    struct body b = {.create.stream = true};
    const char *model = NULL;
    enum status s = read_named(&b, &ollama_create_fields, body, &model, err);
    b.create.model = model;
    s = s ? s : read_files(&b.create, body, err);
    s = s ? s : read_license(&b.create, body, err);
    s = s ? s : read_parameters(&b, body, err);
    s = s ? s : read_start_messages(&b.create, body, err);
    *out = b.create;
    return s;
}

/* ---- the others ---- */

enum status ollama_read_copy(struct ollama_copy *out, const json_t *body,
                             struct api_error *err)
{
    struct body b = {.model = NULL};
    const enum status s = fields_read(&ollama_copy_fields, body, &b, "", err);
    *out = b.copy;
    if (!s && (!out->source || !*out->source))
        return missing("source", err);
    if (!s && (!out->destination || !*out->destination))
        return missing("destination", err);
    return s;
}

enum status ollama_read_pull(struct ollama_named *out, const json_t *body,
                             struct api_error *err)
{
    struct body b = {.named.stream = true};
    const char *model = NULL;
    const enum status s = read_named(&b, &ollama_pull_fields, body, &model, err);
    *out = b.named;
    out->model = model;
    return s;
}

enum status ollama_read_delete(struct ollama_named *out, const json_t *body,
                               struct api_error *err)
{
    struct body b = {.model = NULL};
    const char *model = NULL;
    const enum status s = read_named(&b, &ollama_delete_fields, body, &model, err);
    *out = b.named;
    out->model = model;
    return s;
}

/* ---- lines ---- */

void ollama_print_status(struct buf *out, const char *status)
{
    buf_puts(out, "{\"status\":");
    json_print_string(out, status);
    buf_puts(out, "}");
}

void ollama_print_transfer(struct buf *out, const char *status, const char *digest,
                           uint64_t total, uint64_t completed)
{
    buf_puts(out, "{\"status\":");
    json_print_string(out, status);
    buf_puts(out, ",\"digest\":");
    json_print_string(out, digest);
    buf_printf(out, ",\"total\":%llu", (unsigned long long)total);
    if (completed)
        buf_printf(out, ",\"completed\":%llu", (unsigned long long)completed);
    buf_puts(out, "}");
}
