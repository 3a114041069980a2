/* planned.h - a model without its weights, for commands that say what it would take. */
#ifndef CLI_PLANNED_H
#define CLI_PLANNED_H

#include "base/pool.h"
#include "model/model.h"

struct planned {
    struct pool *pool; // its threads count: each has scratch
    struct model *model;
};

/* What commands say of their argument MODEL. */
#define PLANNED_HELP                                                                  \
    "MODEL is a .gguf file, a model of the store, or a known shape with the type of " \
    "its weights, as "                                                                \
    "qwen3-8b:Q8_0 (default Q4_K_M); an unknown one lists them."

/* name is that of models.h or else a shape ("qwen3-8b") and, behind a colon, a type of
 * weight_types.h.  n_thread 0: one for each
 * core. */
enum status planned_open(struct planned *p, const char *name, int n_thread,
                         struct error *err);
void planned_close(struct planned *p);

#endif
