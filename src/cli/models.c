#include "cli/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/model_params.h"

/* ---- the folders ---- */

/* A variable without the blanks and quotes around it, as Ollama reads them; false if it
 * is not set or empty. */
static bool variable(char out[STORE_PATH_BYTES], const char *name)
{
    const char *v = getenv(name);
    static const char around[] = " \t\r\n\"'";
    if (!v)
        return false;
    v += strspn(v, around);
    size_t n = strlen(v);
    while (n > 0 && strchr(around, v[n - 1]))
        n--;
    if (n == 0 || n >= STORE_PATH_BYTES)
        return false;
    memcpy(out, v, n);
    out[n] = 0;
    return true;
}

static bool in_folder(char out[STORE_PATH_BYTES], const char *name, const char *rest)
{
    const char *v = getenv(name);
    return v && *v == '/' &&
           snprintf(out, STORE_PATH_BYTES, "%s/%s", v, rest) < STORE_PATH_BYTES;
}

enum status models_open(struct store **out, struct error *err)
{
    char own[STORE_PATH_BYTES], ollama[STORE_PATH_BYTES], home[STORE_PATH_BYTES];
    const char *others[3];
    int n = 0;
    const bool is_set = variable(own, "TURBINE_MODELS");
    const bool has_ollama = variable(ollama, "OLLAMA_MODELS");
    if (!is_set && has_ollama)
        memcpy(own, ollama, sizeof own);
    else if (!is_set && !in_folder(own, "XDG_DATA_HOME", "turbine/models") &&
             !in_folder(own, "HOME", ".local/share/turbine/models"))
        *own = 0;
    if (has_ollama && is_set)
        others[n++] = ollama;
    if (in_folder(home, "HOME", ".ollama/models"))
        others[n++] = home;
    others[n++] = "/usr/share/ollama/.ollama/models"; // of its service
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
    if (c->m.template_kind == STORED_TEMPLATE_GO)
        fprintf(stderr,
                "turbine %s: note: the TEMPLATE of %s is Go's; the chat template of its "
                "GGUF is used\n",
                command, c->name);
    return model_param_template(&c->m, e, err);
}
