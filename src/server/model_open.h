/* model_open.h - a model from its file to a loaded_model, in steps: read what it says of
 * itself and plan, fit it into memory, load.  One thread. */
#ifndef SERVER_MODEL_OPEN_H
#define SERVER_MODEL_OPEN_H

#include "server/context_choice.h"
#include "server/loaded_model.h"

struct model_opening {
    const struct model_settings *settings;
    char path[STORE_PATH_BYTES];
    struct loaded_model *model; // what there is of it
    struct scheduler_options scheduler;
    int n_thread;
    struct pool *pool;
    struct model *plan; // without weights
    struct context_choice choice;
};

/* A model of the store, or (name NULL) the file at path, shown as `shown` or, if that is
 * NULL, by the name of the file.  Closing is right after any outcome. */
enum status model_opening_begin(struct model_opening *o, const struct store *store,
                                const struct model_name *name, const char *path,
                                const char *shown, const struct model_settings *settings,
                                struct error *err);
/* What it may take; as context_choose.  May be called again. */
enum status model_opening_fit(struct model_opening *o, size_t room, struct error *err);
size_t model_opening_bytes(const struct model_opening *o); // behind fit
/* *out <- the model, which may take long. */
enum status model_opening_load(struct model_opening *o, struct loaded_model **out,
                               size_t replay_bytes, struct error *err);
void model_opening_close(struct model_opening *o);

/* A model that somebody else opened. */
enum status model_opening_given(struct loaded_model **out, struct engine *e,
                                struct scheduler *s, const struct server_options *o,
                                struct error *err);

#endif
