/* store_create.c - a request of /api/create as the commands of a Modelfile. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/ollama_store.h"
#include "server/model_params.h"
#include "server/store_call.h"
#include "store/create.h"

enum { COMMANDS_BYTES = 8 << 20 };

struct create_job {
    struct server *server;
    struct store_job *job;
    json_t *body; // has the texts
    struct model_name name;
    struct modelfile file;
    bool has_blob;
    struct digest blob;
};

static void add_command(struct modelfile *f, enum modelfile_keyword k, const char *name,
                        const char *value)
{
    if (value)
        f->commands[f->n++] =
            (struct modelfile_command){.keyword = k, .name = name, .value = value};
}

/* How many there may be. */
static size_t count_commands(const struct ollama_create *r)
{
    const char *name;
    json_t *v;
    size_t n = 16 + json_array_size(r->messages) + json_array_size(r->license);
    json_object_foreach((json_t *)(uintptr_t)r->parameters, name, v) n +=
        1 + json_array_size(v);
    return n;
}

/* A value as a Modelfile says it; NULL: it cannot. */
static const char *value_text(struct arena *a, const json_t *v)
{
    char text[64];
    int n = 0;
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_integer(v))
        n = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        n = snprintf(text, sizeof text, "%.17g", json_real_value(v));
    else if (json_is_boolean(v))
        n = snprintf(text, sizeof text, "%s", json_is_true(v) ? "true" : "false");
    return n > 0 ? arena_strndup(a, text, (size_t)n) : NULL;
}

static enum status add_parameters(struct modelfile *f, const json_t *parameters,
                                  struct error *err)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)parameters, name, v)
    {
        const size_t n = json_is_array(v) ? json_array_size(v) : 1;
        if (json_is_null(v))
            continue;
        if (json_is_array(v) && strcmp(name, "stop"))
            return fail(err, STATUS_BAD_INPUT,
                        "parameters.%.60s must be one value, not an array", name);
        for (size_t i = 0; i < n; i++) {
            const char *text =
                value_text(&f->arena, json_is_array(v) ? json_array_get(v, i) : v);
            if (!text)
                return fail(err, STATUS_BAD_INPUT,
                            "parameters.%.60s must be a number, a string or a boolean",
                            name);
            add_command(f, MODELFILE_PARAMETER, name, text);
        }
    }
    return STATUS_OK;
}

static enum status make_commands(struct modelfile *f, const struct ollama_create *r,
                                 struct error *err)
{
    size_t i;
    const json_t *v;
    arena_init(&f->arena, COMMANDS_BYTES);
    f->commands = arena_array(&f->arena, count_commands(r), sizeof *f->commands);
    if (!f->commands)
        return fail(err, STATUS_LIMIT, "too many parameters, messages or licenses");
    add_command(f, MODELFILE_FROM, NULL, r->from);
    add_command(f, MODELFILE_TEMPLATE, NULL, r->template);
    add_command(f, MODELFILE_SYSTEM, NULL, r->system);
    add_command(f, MODELFILE_RENDERER, NULL, r->renderer);
    add_command(f, MODELFILE_PARSER, NULL, r->parser);
    add_command(f, MODELFILE_REQUIRES, NULL, r->requires);
    add_command(f, MODELFILE_LICENSE, NULL, json_string_value(r->license));
    json_array_foreach(r->license, i, v)
        add_command(f, MODELFILE_LICENSE, NULL, json_string_value(v));
    json_array_foreach(r->messages, i, v)
        add_command(f, MODELFILE_MESSAGE, json_string_value(json_object_get(v, "role")),
                    json_string_value(json_object_get(v, "content")));
    return add_parameters(f, r->parameters, err);
}

static enum status find_blob(struct create_job *j, const json_t *files, struct error *err)
{
    const char *name;
    json_t *v;
    if (json_object_size(files) > 1)
        return fail(err, STATUS_UNSUPPORTED,
                    "files has %zu members: a model is one GGUF file here",
                    json_object_size(files));
    json_object_foreach((json_t *)(uintptr_t)files, name, v)
    {
        j->has_blob = digest_parse(&j->blob, json_string_value(v), json_string_length(v));
        if (!j->has_blob)
            return fail(err, STATUS_BAD_INPUT,
                        "files: the digest of %.100s must be sha256: and 64 hexadecimal "
                        "digits in lower case",
                        name);
    }
    return STATUS_OK;
}

struct create_job *create_job_open(struct server *s, json_t *body,
                                   const struct ollama_create *r, struct error *err)
{
    struct create_job *j = mem_array(1, sizeof *j);
    enum status st = STATUS_OK;
    if (!j) {
        json_decref(body);
        st = fail(err, STATUS_NO_MEMORY, "no memory for a model");
        return NULL;
    }
    j->server = s;
    j->body = body;
    st = model_name_parse(&j->name, r->model, strlen(r->model), err);
    st = st ? st : find_blob(j, r->files, err);
    st = st ? st : make_commands(&j->file, r, err);
    st = st ? st : model_param_check(&j->file, err);
    if (!st)
        return j;
    create_job_release(j);
    return NULL;
}

static void say_line(void *ctx, const char *text)
{
    const struct create_job *j = ctx;
    store_say(j->job, text);
}

static enum status pull_base(void *ctx, const char *model, struct error *err)
{
    const struct create_job *j = ctx;
    return pull_within(j->server, j->job, model, err);
}

static struct create_options job_options(const struct create_job *j)
{
    return (struct create_options){
        .folder = "",
        .blob = j->has_blob ? &j->blob : NULL,
        .say = say_line,
        .fetch = j->server->o.pull ? pull_base : NULL,
        .ctx = (void *)(uintptr_t)j,
    };
}

bool create_job_pulls(const struct create_job *j)
{
    const struct create_options o = job_options(j);
    return o.fetch && create_missing(j->server->o.store, &j->file, &o);
}

enum status create_job_run(struct store_job *job, void *data, struct error *err)
{
    struct create_job *j = data;
    j->job = job;
    const struct create_options o = job_options(j);
    return store_create(j->server->o.store, &j->name, &j->file, &o, err);
}

void create_job_release(void *data)
{
    struct create_job *j = data;
    arena_release(&j->file.arena);
    json_decref(j->body);
    mem_free(j);
}
