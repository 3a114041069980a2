/* launch_model.c - the model of a launch, and whether its context is enough. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/environment.h"
#include "cli/launch.h"
#include "cli/models.h"
#include "cli/plan.h"
#include "cli/port_owner.h"

/* ---- names ---- */

/* "a, b and 3 more", as long as it fits. */
static void add_name(struct buf *list, int *left_out, const char *name)
{
    if (list->len + strlen(name) > 500)
        ++*left_out;
    else
        buf_printf(list, "%s%s", list->len ? ", " : "", name);
}

/* list is initialised; a NULL-safe text for a message. */
static const char *end_names(struct buf *list, int left_out)
{
    if (left_out)
        buf_printf(list, " and %d more", left_out);
    return list->data ? list->data : "";
}

/* The names of an array of {"name": ...}. */
static void list_names_of(struct buf *list, const json_t *models)
{
    int left_out = 0;
    size_t i;
    json_t *m;
    json_array_foreach(models, i, m)
    {
        const char *name = json_string_value(json_object_get(m, "name"));
        if (name)
            add_name(list, &left_out, name);
    }
    end_names(list, left_out);
}

enum status launch_choose_stored(struct launch *l, struct error *err)
{
    struct store *store = NULL;
    struct store_entry *entries = NULL;
    struct buf list;
    int n = 0, n_good = 0, left_out = 0;
    char name[MODEL_NAME_BYTES] = "";
    if (l->arg) {
        snprintf(l->model, sizeof l->model, "%s", l->arg);
        return STATUS_OK;
    }
    buf_init(&list, 1 << 12);
    enum status s = models_open(&store, err);
    if (!s)
        s = store_list(store, &entries, &n, err);
    for (int i = 0; !s && i < n; i++) {
        if (entries[i].damaged)
            continue;
        model_name_print(name, &entries[i].name);
        add_name(&list, &left_out, name);
        n_good++;
    }
    if (!s && n_good == 1)
        snprintf(l->model, sizeof l->model, "%s", name);
    else if (!s && n_good == 0)
        s = fail(err, STATUS_NOT_FOUND,
                 "no server runs and the store has no model: 'turbine pull NAME' fetches "
                 "one");
    else if (!s)
        s = fail(err, STATUS_BAD_ARG, "name a model: %s", end_names(&list, left_out));
    mem_free(entries);
    store_close(store);
    buf_release(&list);
    return s;
}

/* ---- what the server has ---- */

/* The array "models" of a path, owned by *root. */
static enum status get_models(const struct launch *l, const char *path, json_t **root,
                              const json_t **models, struct error *err)
{
    *root = NULL;
    const enum status s = server_link_call(l->url, "GET", path, NULL, root, NULL, err);
    *models = json_object_get(*root, "models");
    if (!s && !json_is_array(*models))
        return fail(err, STATUS_BAD_INPUT, "%s%s: no list of models", l->url, path);
    return s;
}

/* The only model of a path's list, else *n of them and their names in list. */
static enum status take_only(struct launch *l, const char *path, int *n, struct buf *list,
                             struct error *err)
{
    json_t *root;
    const json_t *models;
    const enum status s = get_models(l, path, &root, &models, err);
    if (!s) {
        const char *name =
            json_string_value(json_object_get(json_array_get(models, 0), "name"));
        *n = (int)json_array_size(models);
        if (*n == 1 && name)
            snprintf(l->model, sizeof l->model, "%s", name);
        buf_clear(list);
        list_names_of(list, models);
    }
    json_decref(root);
    return s;
}

/* The loaded one, else the only one. */
static enum status choose_running(struct launch *l, struct error *err)
{
    struct buf list;
    int n = 0;
    buf_init(&list, 1 << 12);
    enum status s = take_only(l, "/api/ps", &n, &list, err);
    if (!s && n == 0)
        s = take_only(l, "/api/tags", &n, &list, err);
    if (!s && n != 1)
        s = fail(err, STATUS_BAD_ARG, "%s%s",
                 n ? "name a model: " : "the server has no model: see 'turbine pull'",
                 n && list.data ? list.data : "");
    buf_release(&list);
    return s;
}

/* A file is served under its name. */
static void name_served(char out[STORE_PATH_BYTES], const char *arg)
{
    const char *slash = strrchr(arg, '/');
    size_t n = strlen(arg);
    if (models_is_path(arg)) {
        arg = slash ? slash + 1 : arg;
        n = strlen(arg);
        if (n > 5 && !strcmp(arg + n - 5, ".gguf"))
            n -= 5;
    }
    snprintf(out, STORE_PATH_BYTES, "%.*s", (int)n, arg);
}

static bool can_call(const json_t *shown)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(shown, "capabilities"), i, v)
    {
        const char *text = json_string_value(v);
        if (text && !strcmp(text, "tools"))
            return true;
    }
    return false;
}

/* The number of the line "num_ctx N", which a server of ours gives for the context that a
 * model has or would get; 0: none. */
static int shown_context(const json_t *shown)
{
    static const char name[] = "num_ctx ";
    const char *text = json_string_value(json_object_get(shown, "parameters"));
    for (const char *at = text; at && *at; at += *at == '\n') {
        if (!strncmp(at, name, sizeof name - 1)) {
            const long n = strtol(at + sizeof name - 1, NULL, 10);
            return n > 0 && n <= PLAN_CTX_LARGEST ? (int)n : 0;
        }
        at += strcspn(at, "\n");
    }
    return 0;
}

/* Whether the server knows it; *tools: its template has them; *n_ctx: as shown_context.
 */
static enum status check_known(const struct launch *l, const char *model, bool *tools,
                               int *n_ctx, struct error *err)
{
    json_t *ask = json_pack("{s:s}", "model", model), *shown = NULL;
    struct buf list;
    int status = 0;
    if (!ask)
        return fail(err, STATUS_BAD_ARG, "the name of the model is no UTF-8");
    enum status s =
        server_link_call(l->url, "POST", "/api/show", ask, &shown, &status, err);
    *tools = can_call(shown);
    *n_ctx = shown_context(shown);
    json_decref(ask);
    json_decref(shown);
    if (status != 404)
        return s;
    json_t *root;
    const json_t *models;
    buf_init(&list, 1 << 12);
    if (!get_models(l, "/api/tags", &root, &models, err)) {
        list_names_of(&list, models);
        s = fail(err, STATUS_NOT_FOUND,
                 "the server at %s has no model '%.200s'; it has %s", l->url, model,
                 list.data ? list.data : "none");
    }
    json_decref(root);
    buf_release(&list);
    return s;
}

/* ---- its context ---- */

static bool is_named(const char *a, const char *b)
{
    static const char latest[] = ":latest";
    const size_t n = strlen(a), k = strlen(b);
    const size_t whole = n < k ? n : k;
    return !strncmp(a, b, whole) && (n == k || !strcmp((n < k ? b : a) + whole, latest));
}

/* The entry of the model among those that are loaded; one alone is it: the server has
 * other names for it. */
static const json_t *find_loaded(const json_t *models, const char *model)
{
    size_t i;
    json_t *m;
    json_array_foreach(models, i, m)
    {
        const char *name = json_string_value(json_object_get(m, "name"));
        if (name && is_named(name, model))
            return m;
    }
    return json_array_size(models) == 1 ? json_array_get(models, 0) : NULL;
}

static bool take_line_of_load(void *ctx, const json_t *line)
{
    (void)ctx;
    (void)line;
    return true;
}

static enum status load_asked(const struct launch *l, struct error *err)
{
    static const struct server_link_stream nobody = {take_line_of_load, NULL, NULL};
    json_t *ask = json_pack("{s:s}", "model", l->model);
    const enum status s =
        server_link_stream(l->url, "/api/generate", ask, &nobody, NULL, err);
    json_decref(ask);
    return s;
}

/* l->n_ctx, 0 if it is not loaded; *bytes that it takes. */
static enum status read_context(struct launch *l, size_t *bytes, struct error *err)
{
    json_t *root;
    const json_t *models;
    const enum status s = get_models(l, "/api/ps", &root, &models, err);
    const json_t *m = find_loaded(models, l->model);
    const json_int_t n = json_integer_value(json_object_get(m, "context_length"));
    const json_int_t size = json_integer_value(json_object_get(m, "size"));
    l->n_ctx = n > 0 && n <= PLAN_CTX_LARGEST ? (int)n : 0;
    *bytes = size > 0 ? (size_t)size : 0;
    json_decref(root);
    return s;
}

/* model is quoted for a shell.  fit: NULL if nobody knows what it could have. */
static enum status refuse_context(const struct launch *l, const char *model, int n_ctx,
                                  const struct plan_fit *fit, struct error *err)
{
    const int want = l->program->n_ctx;
    const char *who = l->program->title;
    struct port_owner owner = {0};
    char first[160] = "";
    const bool easy =
        fit && fit->largest >= AGENT_CTX_GOOD && fit->n_train >= AGENT_CTX_GOOD;
    if (fit && fit->n_train > 0 && fit->n_train < want)
        return fail(err, STATUS_LIMIT,
                    "%s was trained for %d tokens of context, and %s needs %d: take "
                    "another model",
                    model, fit->n_train, who, want);
    if (fit && fit->largest < want)
        return fail(err, STATUS_LIMIT,
                    "memory allows %s %d tokens of context now, and %s needs %d: see "
                    "'turbine plan %s'",
                    model, fit->largest, who, want, model);
    if (l->running && !l->started) {
        port_owner_find(&owner, launch_port(l->url));
        if (owner.pid)
            snprintf(first, sizeof first, "kill %ld; ", (long)owner.pid);
    }
    return fail(err, STATUS_LIMIT,
                "%s has %d tokens of context%s%s, and %s needs %d: %s%sturbine serve %s "
                "--ctx %d",
                model, n_ctx, l->running ? " at " : "", l->running ? l->url : "", who,
                want,
                l->running && !l->started && !*first ? "end that server, then " : "",
                first, model, easy ? AGENT_CTX_GOOD : want);
}

/* Whether a model can have the context, and has it unless it is asked for (n_ctx 0: by
 * its own parameters).  more: bytes that will be free. */
static enum status check_context(const struct launch *l, const char *model, int n_ctx,
                                 size_t more, struct error *err)
{
    struct plan_fit fit;
    struct error unknown;
    struct buf word;
    enum status s = STATUS_OK;
    const bool known = !plan_fit(&fit, model, environment_text("KV_CACHE_TYPE"),
                                 mem_available() + more, n_ctx ? &unknown : err);
    if (!known && !n_ctx)
        return err->status;
    if (!n_ctx && !(n_ctx = fit.n_param)) {
        environment_count("CONTEXT_LENGTH", &n_ctx);
        if (!n_ctx)
            n_ctx = fit.largest < fit.n_train ? fit.largest : fit.n_train;
    }
    if (n_ctx >= l->program->n_ctx)
        return STATUS_OK;
    buf_init(&word, 8 * STORE_PATH_BYTES);
    launch_quote(&word, model);
    s = refuse_context(l, word.data ? word.data : model, n_ctx, known ? &fit : NULL, err);
    buf_release(&word);
    return s;
}

enum status launch_check_plan(const struct launch *l, struct error *err)
{
    const enum status s = check_context(l, l->model, 0, 0, err);
    if (!s || s == STATUS_LIMIT || !l->print)
        return s;
    launch_note(l, "the context of %s is not known: %s", l->model, err->text);
    return STATUS_OK;
}

/* ---- all of it ---- */

static enum status choose_small(struct launch *l, struct error *err)
{
    bool tools;
    int n_ctx;
    l->small = l->small_arg ? l->small_arg : l->model;
    return l->small_arg ? check_known(l, l->small, &tools, &n_ctx, err) : STATUS_OK;
}

enum status launch_choose_served(struct launch *l, struct error *err)
{
    char file[STORE_PATH_BYTES]; // what `serve` would be told
    size_t bytes = 0;
    bool tools = false;
    int would_get = 0;
    enum status s = STATUS_OK;
    snprintf(file, sizeof file, "%s", l->model);
    if (!l->running) {
        name_served(l->model, file);
        l->small = l->small_arg ? l->small_arg : l->model;
        l->n_ctx = l->program->n_ctx;
        launch_note(l, "no server runs at %s; these are for one with %d tokens", l->url,
                    l->n_ctx);
        return STATUS_OK;
    }
    if (!l->arg && !l->started)
        s = choose_running(l, err);
    snprintf(file, sizeof file, "%s", l->arg ? l->arg : l->model);
    name_served(l->model, file);
    if (s || (s = check_known(l, l->model, &tools, &would_get, err)) ||
        (s = choose_small(l, err)) || (s = read_context(l, &bytes, err)))
        return s;
    if (!l->n_ctx && l->print) {
        if (would_get && would_get < l->program->n_ctx)
            return check_context(l, file, would_get, 0, err);
        l->n_ctx = l->program->n_ctx;
        launch_note(l, "%s is not loaded; these are for %d tokens", l->model, l->n_ctx);
    } else if (!l->n_ctx &&
               ((s = load_asked(l, err)) || (s = read_context(l, &bytes, err)))) {
        return s;
    }
    if (!l->n_ctx)
        return fail(err, STATUS_BAD_INPUT, "%s does not say the context of %s", l->url,
                    l->model);
    if (l->n_ctx < l->program->n_ctx)
        return check_context(l, file, l->n_ctx, bytes, err);
    if (l->n_ctx < AGENT_CTX_GOOD)
        launch_note(l,
                    "with %d tokens of context history is compacted often, and answers "
                    "have at most %d; %d tokens are better",
                    l->n_ctx, l->n_ctx / 8, AGENT_CTX_GOOD);
    if (!tools)
        launch_note(l, "the chat template of %s has no tools: %s can talk, not act",
                    l->model, l->program->title);
    return STATUS_OK;
}
