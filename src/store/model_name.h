/* model_name.h - names of models: host/namespace/model:tag.
 *
 * A parsed name is four parts, each of which is a plain name of a file: it starts with a
 * letter, a digit or '_', goes on with those and '-', and with '.' except in a namespace,
 * and with ':' (the port) in a host.  So "..", "/" and empty parts do not exist behind
 * model_name_parse.  Source: Ollama's types/model. */
#ifndef STORE_MODEL_NAME_H
#define STORE_MODEL_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define MODEL_NAME_HOST "registry.ollama.ai"
#define MODEL_NAME_SPACE "library"
#define MODEL_NAME_TAG "latest"

enum {
    MODEL_NAME_PART = 80,
    MODEL_NAME_HOST_PART = 350,
    MODEL_NAME_BYTES = MODEL_NAME_HOST_PART + 3 * MODEL_NAME_PART + 4, // printed, with 0
};

struct model_name {
    char host[MODEL_NAME_HOST_PART + 1];
    char space[MODEL_NAME_PART + 1]; // the namespace
    char model[MODEL_NAME_PART + 1];
    char tag[MODEL_NAME_PART + 1];
    bool
        plain_http; // "http://" stood in front: for whoever connects; no part of the name
};

/* "model", "model:tag", "space/model:tag", "host[:port]/space/model:tag", with "https://"
 * or "http://" in front of a host.  Parts that are left out are the three above.
 * STATUS_BAD_INPUT says which part is wrong, and why. */
enum status model_name_parse(struct model_name *out, const char *s, size_t n,
                             struct error *err);
/* From four whole parts, as folders of a store are called; false if one is not valid. */
bool model_name_from_parts(struct model_name *out, const char *host, const char *space,
                           const char *model, const char *tag);
/* The shortest text that means the name, always with its tag: "qwen3:0.6b",
 * "hf.co/user/repo:Q4_K_M". */
void model_name_print(char out[MODEL_NAME_BYTES], const struct model_name *n);
/* All four parts: "registry.ollama.ai/library/qwen3:0.6b". */
void model_name_print_whole(char out[MODEL_NAME_BYTES], const struct model_name *n);
/* Without regard to the case of letters, as Ollama compares. */
bool model_name_equal(const struct model_name *a, const struct model_name *b);

#endif
