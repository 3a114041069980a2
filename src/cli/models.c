#include "cli/models.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ollama_api.h"
#include "cli/environment.h"
#include "server/model_params.h"
#include "server/model_template.h"
#include "store/create.h"

/* ---- the folders ---- */

static bool in_folder(char out[STORE_PATH_BYTES], const char *name, const char *rest)
{
    const char *v = environment_folder(name);
    return v && snprintf(out, STORE_PATH_BYTES, "%s/%s", v, rest) < STORE_PATH_BYTES;
}

/* others[3] <- what is only read; home keeps the text of one. */
static int ollama_folders(const char **others, char home[STORE_PATH_BYTES])
{
    int n = 0;
    const char *set = environment_text("MODELS"), *ollama = environment_twin("MODELS");
    if (ollama && strcmp(ollama, set) != 0)
        others[n++] = ollama;
    if (in_folder(home, "HOME", ".ollama/models"))
        others[n++] = home;
    others[n++] = "/usr/share/ollama/.ollama/models"; // of its service
    return n;
}

bool models_closed(char out[STORE_PATH_BYTES])
{
    char home[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
    const char *others[3];
    const int n = ollama_folders(others, home);
    for (int i = 0; i < n; i++)
        if (snprintf(path, sizeof path, "%s/manifests", others[i]) < (int)sizeof path &&
            access(path, R_OK | X_OK) && errno == EACCES) {
            snprintf(out, STORE_PATH_BYTES, "%s", others[i]);
            return true;
        }
    return false;
}

/* A folder that somebody names and that is not there yet is an empty store; one that is
 * something else, or closed, must not look like one.  Nobody has named ours below HOME,
 * which a service may not have. */
static enum status check_own(const char *own, struct error *err)
{
    struct stat st;
    const char *wrong = NULL;
    if (stat(own, &st))
        wrong = *own && errno != ENOENT ? strerror(errno) : NULL;
    else if (!S_ISDIR(st.st_mode))
        wrong = "it is no folder";
    else if (access(own, R_OK | X_OK))
        wrong = strerror(errno);
    if (!wrong)
        return STATUS_OK;
    return fail(err, STATUS_IO, "the store, %s=%.900s: %s", environment_source("MODELS"),
                own, wrong);
}

enum status models_open(struct store **out, struct error *err)
{
    enum status s = models_open_any(out, err);
    if (!s && environment_text("MODELS") && (s = check_own(store_folder(*out, 0), err))) {
        store_close(*out);
        *out = NULL;
    }
    return s;
}

enum status models_open_any(struct store **out, struct error *err)
{
    char own[STORE_PATH_BYTES], home[STORE_PATH_BYTES];
    const char *others[3];
    const char *set = environment_text("MODELS");
    if (set && snprintf(own, sizeof own, "%s", set) >= (int)sizeof own)
        return fail(err, STATUS_LIMIT, "%s: too long a path",
                    environment_source("MODELS"));
    if (!set && !in_folder(own, "XDG_DATA_HOME", "turbine/models") &&
        !in_folder(own, "HOME", ".local/share/turbine/models"))
        *own = 0;
    const int n = ollama_folders(others, home);
    const struct store_folders f = {*own ? own : NULL, others, n};
    return store_open(out, &f, err);
}

/* ---- choosing ---- */

enum status models_name(struct model_name *out, const char *arg, struct error *err)
{
    return model_name_parse(out, arg, strlen(arg), err);
}

bool models_is_path(const char *arg)
{
    struct stat st;
    const size_t n = strlen(arg);
    return n == 0 || strchr("/.~", arg[0]) || (n >= 5 && !strcmp(arg + n - 5, ".gguf")) ||
           (!stat(arg, &st) && S_ISREG(st.st_mode));
}

enum status models_choose(struct model_choice *out, const char *arg, struct error *err)
{
    struct model_name name;
    struct store *s = NULL;
    *out = (struct model_choice){0};
    if (models_is_path(arg)) {
        if (snprintf(out->path, sizeof out->path, "%s", arg) >= (int)sizeof out->path)
            return fail(err, STATUS_LIMIT, "%.100s...: too long a path", arg);
        return STATUS_OK;
    }
    enum status st = models_name(&name, arg, err);
    if (!st)
        st = models_open(&s, err);
    if (!st)
        st = stored_model_load(&out->m, s, &name, err);
    store_close(s);
    if (st == STATUS_NOT_FOUND && !out->m.params) // not one of its blobs
        return fail(err, st,
                    "'%.200s' is no file and no model of the store; 'turbine list' shows "
                    "those that are there",
                    arg);
    if (st)
        return st;
    memcpy(out->path, out->m.path, sizeof out->path);
    model_name_print(out->name, &out->m.entry.name);
    out->stored = true;
    return STATUS_OK;
}

void models_close(struct model_choice *c)
{
    stored_model_release(&c->m);
    *c = (struct model_choice){0};
}

enum status models_path(char path[STORE_PATH_BYTES], const char *arg, struct error *err)
{
    struct model_choice c;
    const enum status s = models_choose(&c, arg, err);
    if (!s)
        memcpy(path, c.path, sizeof c.path);
    models_close(&c);
    return s;
}

/* ---- parameters ---- */

enum status models_number(const struct model_choice *c, const char *name, double min,
                          double max, double *out, struct error *err)
{
    return model_param_number(&c->m, name, min, max, out, err);
}

enum status models_text(const struct model_choice *c, const char *name, const char **out,
                        struct error *err)
{
    return model_param_text(&c->m, name, out, err);
}

enum status models_kv(const struct model_choice *c, const char *kv, int tail,
                      struct kv_types *out, struct error *err)
{
    const struct model_param_defaults d = {.kv = environment_text("KV_CACHE_TYPE"),
                                           .kv_source =
                                               environment_source("KV_CACHE_TYPE")};
    return model_param_kv(&c->m, kv, tail, &d, out, err);
}

enum status models_ctx(const struct model_choice *c, int ctx, int *out, struct error *err)
{
    struct model_param_defaults d = {0};
    environment_count("CONTEXT_LENGTH", &d.n_ctx);
    return model_param_ctx(&c->m, ctx, &d, out, err);
}

enum status models_stops(const struct model_choice *c, const char *out[MODELS_STOP_MAX],
                         int *n, struct error *err)
{
    return model_param_stops(&c->m, out, n, err);
}

enum status models_sampling(const struct model_choice *c, struct sampler_params *out,
                            struct error *err)
{
    return model_param_sampling(&c->m, out, err);
}

enum status models_template(const struct model_choice *c, const char *command,
                            struct engine *e, struct error *err)
{
    const char *requires = json_string_value(json_object_get(c->m.config, "requires"));
    if (requires && create_version_newer(requires, OLLAMA_API))
        fprintf(stderr,
                "turbine %s: note: %s REQUIRES Ollama %.40s; this follows the API of "
                "" OLLAMA_API "\n",
                command, c->name, requires);
    char note[MODEL_NOTE_BYTES];
    const enum status s = model_param_template(&c->m, e, note, err);
    if (*note)
        fprintf(stderr, "turbine %s: note: %s\n", command, note);
    return s;
}

void models_template_words(char *out, size_t n, const struct stored_model *m,
                           const struct gguf *g)
{
    struct model_template t;
    model_template_find(&t, m, g);
    const char *own = t.text.s ? "the GGUF's" : "none";
    if (t.plain)
        snprintf(out, n, "none: " STORED_TEMPLATE_PLAIN_WORDS);
    else if (t.kind != STORED_TEMPLATE_NONE)
        snprintf(out, n, "the model's TEMPLATE (%s)",
                 t.kind == STORED_TEMPLATE_GO ? "Go" : "Jinja");
    else if (t.kept)
        snprintf(out, n, "%s; TEMPLATE is Go's, which is kept only", own);
    else if (t.refused)
        snprintf(out, n, "%s; TEMPLATE is Go's and more than is supported: %s", own,
                 t.why.text);
    else
        snprintf(out, n, "%s", own);
}
