/* engine.h - everything that belongs to one loaded model file. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/pool.h"
#include "base/status.h"
#include "cpu/cpu.h"
#include "engine/chat_caps.h"
#include "model/calibration.h"
#include "model/model.h"
#include "text/template.h"
#include "text/tokenizer.h"

struct engine {
    struct pool *pool;
    struct model *model;
    struct tokenizer *tokenizer;     // NULL without ENGINE_TEXT
    struct template *template;       // the chat template, NULL if there is none to use:
    struct error template_error;     // why
    bool no_template;                // the file has none at all
    struct chat_caps chat;           // what the template can print, how the model answers
    struct calibration *calibration; // NULL before engine_calibrate, or without text
    size_t file_bytes;
    uint64_t load_us;
};

enum engine_parts {
    ENGINE_WEIGHTS, // token ids in, logits out: the file needs no vocabulary
    ENGINE_TEXT,    // with tokenizer and chat template
    ENGINE_ANY,     // with what of ENGINE_TEXT the file has and this build can use
};

/* n_thread 0: one for each core (pool_cores).  A chat template that does not
 * compile is an error of chat_open only: plain text does not need it. */
enum status engine_open(struct engine *e, const char *path, enum engine_parts parts,
                        int n_thread, enum cpu_isa isa, struct error *err);
void engine_close(struct engine *e);
/* Another chat template than the file's own, for an engine with ENGINE_TEXT.  On failure
 * e stays as it was. */
enum status engine_set_template(struct engine *e, const char *source, size_t n,
                                struct error *err);
/* A TEMPLATE of Go (go_template.h), which is used if it is the user's own or the file has
 * no chat template that can be.  true: it is used now; else *why says the reason, which
 * is e->template_error then if there is no other. */
bool engine_try_go_template(struct engine *e, const char *source, size_t n, bool own,
                            struct error *why);

/* What to tell a person while calibrating; either may be NULL. */
struct calibrate_notices {
    void *ctx;
    void (*start)(void *ctx);                  // the model is about to read the text
    void (*warn)(void *ctx, const char *text); // one line; work goes on
};

/* Set e->calibration: from the file at path, or by reading the built-in text and then
 * writing that file.  path may be NULL: nothing is kept.  Without a tokenizer, a layer
 * that has means, or memory for it, there is no calibration.  STATUS_NUMERIC: the model
 * is damaged. */
enum status engine_calibrate(struct engine *e, const char *path,
                             const struct calibrate_notices *notices, struct error *err);

#endif
