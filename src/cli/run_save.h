/* run_save.h - a chat as the Modelfile of a new model. */
#ifndef CLI_RUN_SAVE_H
#define CLI_RUN_SAVE_H

#include "cli/run.h"
#include "store/modelfile.h"

/* FROM from, what was set, and the messages behind the model's own (own; NULL: none).
 * modelfile_release is right after any outcome. */
enum status run_modelfile(struct modelfile *out, const char *from,
                          const struct run_settings *set, const json_t *own,
                          const json_t *messages, struct error *err);

#endif
