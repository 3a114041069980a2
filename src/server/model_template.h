/* model_template.h - which chat template a model that is not loaded answers with. */
#ifndef SERVER_MODEL_TEMPLATE_H
#define SERVER_MODEL_TEMPLATE_H

#include <stdbool.h>

#include "base/status.h"
#include "gguf/gguf.h"
#include "store/stored_model.h"

struct model_template {
    struct gguf_str text;      // in the GGUF or the stored model; s NULL: there is none
    enum stored_template kind; // of the TEMPLATE, if that is used; NONE: the GGUF's
    bool plain;                // it is STORED_TEMPLATE_PLAIN: there is no other
    bool kept;                 // TEMPLATE is Go's and not meant to be used
    enum status refused;       // TEMPLATE is Go's and more than is supported
    struct error why;          // with refused
};
/* As model_param_template decides with an engine.  m: NULL for a file alone. */
void model_template_find(struct model_template *out, const struct stored_model *m,
                         const struct gguf *g);
/* Does it speak of tools, of reasoning? */
bool model_template_calls(const struct model_template *t);
bool model_template_thinks(const struct model_template *t);

#endif
