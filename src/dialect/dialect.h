/* dialect.h - one API: JSON to an api_request, events to bytes.  Nothing else: no
 * sockets, no model.
 *
 * A writer turns the events of one answer into the bytes of its body: a stream (SSE or
 * NDJSON) as they come, or one JSON document behind the last END.  It appends whole
 * units only, so that what was appended may be sent at any time. */
#ifndef DIALECT_DIALECT_H
#define DIALECT_DIALECT_H

#include "base/buf.h"
#include "dialect/answer.h"
#include "dialect/error.h"
#include "dialect/fields.h"
#include "dialect/request.h"

struct answer_writer;

struct answer_writer_ops {
    /* Bytes of the body from its beginning (message_start and the like). */
    void (*begin)(struct answer_writer *w, struct buf *out);
    void (*event)(struct answer_writer *w, const struct answer_event *e, struct buf *out);
    void (*close)(struct answer_writer *w);
};

/* The head of every writer; a dialect's own struct begins with it. */
struct answer_writer {
    const struct answer_writer_ops *ops;
    const char *content_type;
    const struct api_request *request; // outlives the writer
    struct answer_head head;           // its strings do too
};

/* A list of embeddings: vectors [n][n_embd], of unit length if the dialect says so. */
struct api_embeddings {
    const float *vectors;
    int n, n_embd;
    int n_prompt; // tokens, all inputs together
    uint64_t total_us, load_us;
};

struct dialect {
    const char *name; // "openai", "anthropic", "ollama", in metrics and logs
    /* The body of an error and its HTTP status; headers are the server's. */
    void (*print_error)(struct buf *out, int *http_status, const struct api_error *e,
                        const char *request_id);
    const struct field_table *const *tables; // [n_table], for docs/api.md
    int n_table;
    /* What a request gets that does not say; NULL, NAN and -1: the server's. */
    const struct api_sampling *sampling;
};

/* One kind of request of a dialect: a line of the route table names it. */
struct api_operation {
    const struct dialect *dialect;
    enum api_task task;
    /* body is what was sent, an object; out takes it over if the call succeeds.  out was
     * initialised by api_request_init. */
    enum status (*parse)(struct api_request *out, json_t *body, struct api_error *err);
    /* NULL without memory. */
    struct answer_writer *(*open_writer)(const struct api_request *r,
                                         const struct answer_head *head);
    /* API_EMBED */
    void (*print_embeddings)(struct buf *out, const struct api_request *r,
                             const struct answer_head *head,
                             const struct api_embeddings *e);
    /* API_COUNT */
    void (*print_count)(struct buf *out, int n_prompt);
};

extern const struct dialect dialect_openai, dialect_anthropic, dialect_ollama;

extern const struct api_operation openai_chat, openai_completions, openai_completion,
    openai_responses, openai_embeddings, openai_infill;
extern const struct api_operation anthropic_messages, anthropic_count;
extern const struct api_operation ollama_chat, ollama_generate, ollama_embed,
    ollama_embeddings;

#endif
