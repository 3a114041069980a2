/* stored_model.h - what a model of the store says of itself, ready to use. */
#ifndef STORE_STORED_MODEL_H
#define STORE_STORED_MODEL_H

#include <jansson.h>
#include <stdbool.h>

#include "store/store.h"

enum stored_template {
    STORED_TEMPLATE_NONE,  // the GGUF's own
    STORED_TEMPLATE_JINJA, // used in place of the GGUF's own
    STORED_TEMPLATE_GO,    // Ollama's kind: see template_own
};

/* What stands for a template where neither a model of the store nor its GGUF has one, as
 * in Ollama: prompts are completed as they are. */
#define STORED_TEMPLATE_PLAIN "{{ .Prompt }}"
#define STORED_TEMPLATE_PLAIN_WORDS \
    "prompts are completed as they are, a system text in front of the first"

/* Behind a number of tokens, where it is more than a model was trained for. */
#define STORED_CONTEXT_WORDS \
    "the model was trained for %d tokens, and may not make sense of more"

/* The member of a config that says template_own. */
#define STORED_TEMPLATE_OWN "turbine_template_own"

struct stored_model {
    struct store_entry entry;
    struct manifest manifest;
    char path[STORE_PATH_BYTES]; // of the GGUF
    json_t *params;              // an object: {"num_ctx":4096,"stop":["a"]}; never NULL
    json_t *messages;            // [{"role":..,"content":..}] or NULL
    json_t *config;              // an object, or NULL
    json_t *licenses;            // [n] texts, of layers each; NULL: none
    struct buf template, system, license; // len 0: none; all licenses
    enum stored_template template_kind;
    /* Of Go's: it was set here by a Modelfile, and is meant to be used in place of the
     * GGUF's.  One that came with a model is used if the GGUF has none. */
    bool template_own;
};

/* By name.  STATUS_NOT_FOUND as store_find; STATUS_UNSUPPORTED for a model without a GGUF
 * (safetensors), or with an adapter.  Release is right after any outcome. */
enum status stored_model_load(struct stored_model *out, const struct store *s,
                              const struct model_name *name, struct error *err);
void stored_model_release(struct stored_model *m);

/* Is it Jinja ("{%", or "{{" of Jinja's), or Go's text/template ("{{ .Prompt }}")? */
enum stored_template stored_template_kind(const char *s, size_t n);

#endif
