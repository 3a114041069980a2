/* model_params.h - what the PARAMETERs of a stored model's Modelfile say.
 *
 * *out keeps its value where the model does not say.  A value out of its range or of
 * another type is STATUS_BAD_FILE with the model's name. */
#ifndef SERVER_MODEL_PARAMS_H
#define SERVER_MODEL_PARAMS_H

#include "engine/engine.h"
#include "engine/sampler.h"
#include "store/modelfile.h"
#include "store/stored_model.h"

#define MODEL_PARAM_KV "turbo4" // where nobody says another type of the cache

enum { MODEL_STOPS_MAX = 16 };

/* Of a new model, what the store does not know: types of caches, templates, how many
 * stops.
 */
enum status model_param_check(const struct modelfile *f, struct error *err);

enum status model_param_number(const struct stored_model *m, const char *name, double min,
                               double max, double *out, struct error *err);
enum status model_param_text(const struct stored_model *m, const char *name,
                             const char **out, struct error *err);

/* What a model is loaded with where neither an option nor the model says. */
struct model_param_defaults {
    const char *kv, *kv_source; // type of the cache, and who says it; NULL: turbo4
    int n_ctx;                  // 0: as far as memory allows
    int n_parallel;             // answers at a time; 0: 4
};
/* Default < the model's PARAMETER < option, for kv_cache_type and kv_tail.  Options: kv
 * NULL and tail below 0 are not given. */
enum status model_param_kv(const struct stored_model *m, const char *kv, int tail,
                           const struct model_param_defaults *d, struct kv_types *out,
                           struct error *err);
/* The same for num_ctx: tokens of context, 0 where nobody says. */
enum status model_param_ctx(const struct stored_model *m, int ctx,
                            const struct model_param_defaults *d, int *out,
                            struct error *err);
/* How tokens are picked; not the seed. */
enum status model_param_sampling(const struct stored_model *m, struct sampler_params *out,
                                 struct error *err);
enum status model_param_stops(const struct stored_model *m,
                              const char *out[MODEL_STOPS_MAX], int *n,
                              struct error *err);
/* Its TEMPLATE in place of the GGUF's, if it is Jinja, or Go's and to be used
 * (engine_try_go_template); STORED_TEMPLATE_PLAIN where a model of the store and its GGUF
 * have none.  note <- what to say of one of Go's and of the plain one, "" of others. */
enum { MODEL_NOTE_BYTES = 1024 };
enum status model_param_template(const struct stored_model *m, struct engine *e,
                                 char note[MODEL_NOTE_BYTES], struct error *err);

#endif
