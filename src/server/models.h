/* models.h - the models of a server: found by name, loaded when a request needs one,
 * unloaded when nobody did for a while or the memory is needed.
 *
 * A place (struct model_slot) is a model that is loaded or about to be.  A call that
 * wants a model joins its place and is woken when it is ready; it holds it until it is
 * answered, and a model that is held stays.  One thread opens and closes models, one at a
 * time, in the order in which they were asked for. */
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include "dialect/error.h"
#include "server/loaded_model.h"

struct call;
struct models;
struct model_slot;

/* What a name means. */
struct model_ref {
    bool stored;            // else: the file of the command line
    bool start;             // the model of the command line
    struct model_name name; // stored: as spelled on disk
    struct digest digest;   // stored: of its manifest
};

enum status model_pool_open(struct models **out, struct server *s, struct error *err);
/* Behind all calls. */
void model_pool_close(struct models *p);
/* The model of the options, loaded now; e, sched: opened by somebody else, or NULL. */
enum status models_start(struct models *p, struct engine *e, struct scheduler *sched,
                         struct error *err);

/* name "": the model of the command line, the one that was used last, or the only one. */
enum status models_find(struct models *p, const char *name, struct model_ref *out,
                        struct api_error *err);

enum model_wait { MODEL_READY, MODEL_WAITS, MODEL_FAILED };
/* c->model <- the model of this name.  WAITS: the step of the call is woken when there is
 * news, to ask again.  FAILED: it was answered. */
enum model_wait models_acquire(struct call *c, const char *name);
/* c has its last word, or does not wait any more; right at any time, and twice. */
void models_release(struct call *c);
/* Unload it as soon as no request needs it. */
void models_unload(struct models *p, const struct model_ref *ref);

/* Look at models that are loaded, without using them: out [MODELS_HELD_MAX] <- those that
 * are ready, latest expiry first; returns how many.  models_let_go ends it. */
enum { MODELS_HELD_MAX = 64 };
int models_hold(struct models *p, struct model_slot *out[MODELS_HELD_MAX]);
void models_let_go(struct models *p, struct model_slot *const *held, int n);
/* Models that the store has no more, or has replaced, whoever did it: they are unloaded
 * as soon as no request needs them.  Reads the manifests of those that are loaded. */
void models_drop_changed(struct models *p);
/* It is about to be unloaded, and nothing uses it. */
bool model_slot_goes(struct models *p, const struct model_slot *x);
/* The one that ref means, or NULL. */
struct model_slot *models_hold_one(struct models *p, const struct model_ref *ref);
const struct loaded_model *model_slot_model(const struct model_slot *x);
/* Microseconds until it is unloaded: INT64_MAX never.  One in use: as if it ended now. */
int64_t model_slot_left_us(const struct model_slot *x);

/* Counters of models that were unloaded; and how often models were. */
struct models_past {
    struct scheduler_stats stats;
    uint64_t n_load, n_failed, n_unload;
    int n_loading; // now
};
void models_past(struct models *p, struct models_past *out);

/* The model of the command line: its names, and its card (shared) if it is a file. */
struct model_start {
    bool is_there, stored;
    struct model_name name;
    char shown[MODEL_NAME_BYTES], general[128], claude[MODEL_NAME_BYTES + 16];
    char **aliases; // [n_alias]
    int n_alias;
    struct model_card *card;
    char text[MODEL_TEXT_BYTES], note[MODEL_NOTE_BYTES];
    int n_ctx;
};
const struct model_start *models_start_model(const struct models *p);

#define MODELS_CLAUDE_PREFIX "claude-turbine-"

#endif
