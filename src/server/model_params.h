/* model_params.h - what the PARAMETERs of a stored model's Modelfile say.
 *
 * *out keeps its value where the model does not say.  A value out of its range or of
 * another type is STATUS_BAD_FILE with the model's name. */
#ifndef SERVER_MODEL_PARAMS_H
#define SERVER_MODEL_PARAMS_H

#include "engine/engine.h"
#include "engine/sampler.h"
#include "store/stored_model.h"

enum { MODEL_STOPS_MAX = 16 };

enum status model_param_number(const struct stored_model *m, const char *name, double min,
                               double max, double *out, struct error *err);
enum status model_param_text(const struct stored_model *m, const char *name,
                             const char **out, struct error *err);
/* How tokens are picked; not the seed. */
enum status model_param_sampling(const struct stored_model *m, struct sampler_params *out,
                                 struct error *err);
enum status model_param_stops(const struct stored_model *m,
                              const char *out[MODEL_STOPS_MAX], int *n,
                              struct error *err);
/* Its TEMPLATE in place of the GGUF's, if it is Jinja. */
enum status model_param_template(const struct stored_model *m, struct engine *e,
                                 struct error *err);

#endif
