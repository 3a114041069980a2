#include "cli/calibrate.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/paths.h"

struct notice {
    const char *command;
    bool shown;
};

static void clear_notice(struct notice *n)
{
    if (n->shown)
        fprintf(stderr, "\r%40s\r", "");
    n->shown = false;
}

static void notice_start(void *ctx)
{
    struct notice *n = ctx;
    if (!isatty(STDERR_FILENO))
        return;
    n->shown = true;
    fputs("calibrating (once for this model)", stderr);
}

static void notice_warn(void *ctx, const char *text)
{
    struct notice *n = ctx;
    clear_notice(n);
    fprintf(stderr, "turbine %s: note: %s\n", n->command, text);
}

/* Types that do not go with the model are somebody else's error. */
static bool wants_calibration(const struct model *m, const struct kv_types *t)
{
    const struct context_options o = {.kv = *t, .n_ctx = 1};
    struct context_memory plan;
    return !t->plain && (tq_type_compressed(t->k) || tq_type_compressed(t->v)) &&
           !context_plan(&plan, m, &o, NULL);
}

enum status cli_calibrate(struct engine *e, const char *command,
                          const struct kv_types *types, int n, struct error *err)
{
    struct notice notice = {command, false};
    const struct calibrate_notices notices = {&notice, notice_start, notice_warn};
    char path[CLI_PATH_BYTES];
    bool wanted = false;
    for (int i = 0; i < n; i++)
        wanted = wanted || wants_calibration(e->model, &types[i]);
    if (!wanted || !e->tokenizer)
        return STATUS_OK;
    const bool kept = paths_calibration(path, e->model);
    const enum status s = engine_calibrate(e, kept ? path : NULL, &notices, err);
    clear_notice(&notice);
    return s;
}
