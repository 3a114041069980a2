/* plan.h - what a model takes in memory, for several KV types and contexts: computed by
 * cmd_plan.c and plan_fit.c, shown by plan_print.c and plan_plot.c. */
#ifndef CLI_PLAN_H
#define CLI_PLAN_H

#include <stdbool.h>

#include "cli/planned.h"

enum { PLAN_TYPES_MAX = 16, PLAN_CTX_MAX = 8, PLAN_CTX_LARGEST = 1 << 24 };

/* One context. */
struct plan_cell {
    int n_ctx;
    struct context_memory memory;
    size_t total; // with the weights
    bool fits;
};

/* One KV type. */
struct plan_row {
    char name[64]; // as it was asked for
    struct kv_types types;
    struct error refused; // status OK, or why the model cannot have it
    struct plan_cell cells[PLAN_CTX_MAX];
    struct plan_cell largest; // that fits, at most PLAN_CTX_LARGEST; or n_ctx 0
    struct plan_cell least;   // of one token
    struct plan_cell most;    // of PLAN_CTX_LARGEST, with windows in full
};

struct plan {
    const char *name; // as the person named it
    struct planned p;
    size_t memory;
    bool memory_given;  // by the person; else what is available
    size_t state_bytes; // recurrent state of a sequence
    int n_mark;         // checkpoints of a sequence, at most
    int n_ctx, n_row;
    int ctx[PLAN_CTX_MAX]; // ascending
    struct plan_row rows[PLAN_TYPES_MAX];
};

/* The plan of a context of n_ctx tokens, as `turbine run` would open it for a chat. */
enum status plan_context(struct plan_cell *out, const struct plan *p,
                         const struct kv_types *types, int n_ctx, struct error *err);
/* The largest that fits p->memory, at most PLAN_CTX_LARGEST; n_ctx 0: none does. */
enum status plan_largest(struct plan_cell *out, const struct plan *p,
                         const struct kv_types *types, struct error *err);

/* What other commands say of a model that may be opened. */
struct plan_fit {
    int n_train; // tokens of context that it was trained for
    int n_param; // that its Modelfile asks for; 0: it does not
    int largest; // that fits, with its type of cache; may be more than n_train
};
/* model: as models_choose; kv: for one that does not say it; NULL: turbo4.  memory in
 * bytes. */
enum status plan_fit(struct plan_fit *out, const char *model, const char *kv,
                     size_t memory, struct error *err);

/* "640 MiB", "4.68 GiB" */
enum { PLAN_SIZE_BYTES = 32 };
const char *plan_size(char *buf, size_t bytes);
/* "135 million" */
const char *plan_count(char *buf, uint64_t n);

void plan_print(const struct plan *p);
enum status plan_print_json(const struct plan *p, struct error *err);

/* Draw memory against context as an SVG. */
enum status plan_plot(const struct plan *p, const char *path, struct error *err);

#endif
