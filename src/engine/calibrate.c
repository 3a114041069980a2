/* calibrate.c - once for a model: measure on the built-in text, or read what was kept. */
#include <string.h>

#include "engine/calibration_text.h"
#include "engine/engine.h"

/* Fewer tokens than MIN say little; more than MAX cost time and change nothing. */
enum { MIN_TOKENS = 64, MAX_TOKENS = 1024 };

static void warn(const struct calibrate_notices *n, const struct error *err,
                 const char *what)
{
    struct error line;
    if (fail(&line, err->status, "%s; %s", err->text, what) && n->warn)
        n->warn(n->ctx, line.text);
}

/* The ids of the text that the model knows, as many as it was trained to read. */
static enum status calibration_tokens(const struct engine *e, struct tokens *t,
                                      struct error *err)
{
    const struct hparams *hp = model_hparams(e->model);
    const enum status s =
        tokenizer_encode(e->tokenizer, t, calibration_text, strlen(calibration_text),
                         NULL, TOKENIZER_ADD, err);
    if (s)
        return s;
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->id[i] < hp->n_vocab)
            t->id[n++] = t->id[i];
    const size_t most =
        hp->n_ctx_train < MAX_TOKENS ? (size_t)hp->n_ctx_train : MAX_TOKENS;
    t->n = n < most ? n : most;
    return t->n >= MIN_TOKENS
               ? STATUS_OK
               : fail(err, STATUS_BAD_INPUT, "only %zu tokens to calibrate with", t->n);
}

static enum status make_and_keep(struct engine *e, const struct tokens *t,
                                 const char *path, const struct calibrate_notices *n,
                                 struct error *err)
{
    struct error why;
    if (n->start)
        n->start(n->ctx);
    const enum status s =
        calibration_make(&e->calibration, e->model, t->id, (int)t->n, &why);
    if (s == STATUS_NUMERIC)
        return fail(err, s, "%s", why.text);
    if (s)
        warn(n, &why, "going on without calibration");
    else if (path &&
             calibration_save(e->calibration, e->model, t->id, (int)t->n, path, &why))
        warn(n, &why, "the calibration is not kept");
    return STATUS_OK;
}

enum status engine_calibrate(struct engine *e, const char *path,
                             const struct calibrate_notices *notices, struct error *err)
{
    static const struct calibrate_notices silent;
    const struct calibrate_notices *n = notices ? notices : &silent;
    struct error why;
    struct tokens t;
    enum status s = STATUS_OK;
    if (e->calibration || !e->tokenizer || !calibration_useful(e->model))
        return s;
    tokens_init(&t);
    if (calibration_tokens(e, &t, &why)) {
        warn(n, &why, "going on without calibration");
    } else {
        const enum status found =
            path ? calibration_load(&e->calibration, e->model, t.id, (int)t.n, path, &why)
                 : STATUS_NOT_FOUND;
        if (found && found != STATUS_NOT_FOUND)
            warn(n, &why, "calibrating again");
        if (found)
            s = make_and_keep(e, &t, path, n, err);
    }
    tokens_release(&t);
    return s;
}
