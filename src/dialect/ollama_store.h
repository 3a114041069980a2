/* ollama_store.h - Ollama's requests that change the store: /api/create, /api/copy,
 * /api/delete, /api/pull, /api/push, and the lines that say how far they are.
 *
 * Strings and values are those of the body, which outlives them. */
#ifndef DIALECT_OLLAMA_STORE_H
#define DIALECT_OLLAMA_STORE_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "dialect/error.h"
#include "dialect/fields.h"

struct ollama_create {
    const char *model;
    const char *from;    // a model's name; NULL: files
    const json_t *files; // {"model.gguf": "sha256:..."}, names relative; NULL: from
    const char *template, *system, *renderer, *parser, *requires; // NULL: not said
    const json_t *license;    // a string, or an array of them, or NULL
    const json_t *parameters; // an object whose known members have their types, or NULL
    const json_t *messages;   // [{"role":..., "content":...}], checked, or NULL
    bool stream;
};
enum status ollama_read_create(struct ollama_create *out, const json_t *body,
                               struct api_error *err);

struct ollama_copy {
    const char *source, *destination;
};
enum status ollama_read_copy(struct ollama_copy *out, const json_t *body,
                             struct api_error *err);

/* A request that names a model, and little more. */
struct ollama_named {
    const char *model;
    bool stream, insecure;
};
enum status ollama_read_pull(struct ollama_named *out, const json_t *body,
                             struct api_error *err);
enum status ollama_read_delete(struct ollama_named *out, const json_t *body,
                               struct api_error *err);

extern const struct field_table ollama_create_fields, ollama_parameter_fields,
    ollama_copy_fields, ollama_pull_fields, ollama_delete_fields;

/* One object; a stream puts a line end behind it. */
void ollama_print_status(struct buf *out, const char *status);
/* digest: "sha256:..."; bytes, completed 0 is left out as Ollama does. */
void ollama_print_transfer(struct buf *out, const char *status, const char *digest,
                           uint64_t total, uint64_t completed);

#endif
