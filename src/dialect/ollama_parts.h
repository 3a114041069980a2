/* ollama_parts.h - what the files of the Ollama dialect share.
 *
 * Source: ollama/ollama, docs/api.md and api/types.go. */
#ifndef DIALECT_OLLAMA_PARTS_H
#define DIALECT_OLLAMA_PARTS_H

#include "dialect/dialect.h"
#include "dialect/fields.h"
#include "dialect/ollama.h"

/* What field tables fill: a request, and what is not in it as it is sent. */
struct ollama_body {
    struct api_request r;
    bool logprobs;
    int top_logprobs;
    int num_predict;          // negative and 0: as many as fit; INT_MIN: absent
    int top_k, repeat_last_n; // INT_MIN: absent
};

extern const struct field_table ollama_chat_fields, ollama_generate_fields,
    ollama_embed_fields, ollama_embeddings_fields, ollama_option_fields;

/* b <- the fields of the table, options and all else that kinds of requests share. */
enum status ollama_read_common(struct ollama_body *b, const struct field_table *t,
                               json_t *body, struct api_error *err);

/* Members of the object that are options have their types; others are not looked at. */
enum status ollama_check_options(const json_t *options, struct api_error *err);

/* messages of the body to r->messages. */
enum status ollama_read_messages(struct api_request *r, const json_t *body,
                                 struct api_error *err);
enum status ollama_read_tools(struct api_request *r, const json_t *body,
                              struct api_error *err);

struct answer_writer *ollama_open_chat(const struct api_request *r,
                                       const struct answer_head *head);
struct answer_writer *ollama_open_generate(const struct api_request *r,
                                           const struct answer_head *head);

/* "2026-01-31T12:00:00.123456Z", with quotes. */
void ollama_print_time(struct buf *out, int64_t us);
/* The object of an error. */
void ollama_print_error_body(struct buf *out, const struct api_error *e);

#endif
