/* ollama_models.h - Ollama's lists and descriptions of models: /api/tags, /api/ps,
 * /api/show, /api/version.
 *
 * Strings may be NULL, which leaves a member empty or, where Ollama does, out. */
#ifndef DIALECT_OLLAMA_MODELS_H
#define DIALECT_OLLAMA_MODELS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct ollama_model {
    const char *name;    // "qwen3:0.6b"
    const char *digest;  // 64 hexadecimal digits
    uint64_t size;       // bytes
    int64_t modified_us; // since 1970
    /* details */
    const char *parent, *format, *family;      // "", "gguf", "qwen3"
    const char *parameter_size, *quantization; // "596.05M", "Q4_K_M"
    int context_length, embedding_length;      // of training; 0: not said
    const char *const *capabilities;           // [n_capability] "completion", "tools" ...
    int n_capability;
    /* /api/show */
    const char *license, *modelfile, *system;
    const char *parameters;   // lines of ollama_print_parameter
    const char *template;     // the chat template's source
    const json_t *model_info; // an object; NULL is printed as {}
    const json_t *messages;   // that chats start with; NULL: left out
};

/* The cache of keys and values: this server's own addition to /api/ps. */
struct ollama_kv {
    const char *type_k, *type_v; // "turbo4"
    uint64_t bytes;              // of what is stored
    uint64_t bytes_reserved;     // of the pool
    uint64_t bytes_f16;          // what is stored would take as f16
    uint64_t tokens_used, tokens_max;
};

struct ollama_running {
    const struct ollama_model *model;
    uint64_t size;      // bytes in memory, all together
    uint64_t size_vram; // of them on an accelerator
    int64_t expires_us; // INT64_MAX: never
    int n_ctx;
    struct ollama_kv kv;
};

void ollama_print_tags(struct buf *out, const struct ollama_model *models, int n);
void ollama_print_ps(struct buf *out, const struct ollama_running *running, int n);
void ollama_print_show(struct buf *out, const struct ollama_model *m);
/* version: of Ollama's API; turbine: our own, by which our commands know our server. */
void ollama_print_version(struct buf *out, const char *version, const char *turbine);

/* A line of ollama_model.parameters, as clients look for them: "num_ctx ... 4096". */
void ollama_print_parameter(struct buf *out, const char *name, const char *value);

#endif
