/* openai.h - what the parts of OpenAI's dialect share, and lists of models.
 *
 * Sources: OpenAI's API reference (chat, completions, responses, embeddings, models) and
 * its published types; llama.cpp, tools/server/README.md, for what its server adds. */
#ifndef DIALECT_OPENAI_H
#define DIALECT_OPENAI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "dialect/dialect.h"
#include "dialect/fields.h"

/* ---- models ---- */

struct openai_model {
    const char *id;
    int64_t created_us;
    const json_t *more; // an object whose members are added ("meta"), NULL for none
};

void openai_print_model(struct buf *out, const struct openai_model *m);
void openai_print_models(struct buf *out, const struct openai_model *models, int n);

/* ---- requests ---- */

enum openai_effort {
    OPENAI_EFFORT_NONE,
    OPENAI_EFFORT_MINIMAL,
    OPENAI_EFFORT_LOW,
    OPENAI_EFFORT_MEDIUM,
    OPENAI_EFFORT_HIGH,
    OPENAI_EFFORT_XHIGH,
    OPENAI_EFFORT_MAX,
};
#define OPENAI_EFFORTS "none|minimal|low|medium|high|xhigh|max"

/* What field tables fill: a request, and what is not in it as it is sent. */
struct openai_body {
    struct api_request r;
    int effort;               // enum openai_effort, -1: absent
    int top_k, repeat_last_n; // -2: absent; -1: all
    bool logprobs;
    int top_logprobs; // -1: absent
    int best_of;      // 0: absent
    int truncation;   // responses: 0 disabled, 1 auto
    int encoding;     // embeddings: 0 float, 1 base64
    const char *instructions, *prefix, *middle;
};

extern const struct field_table openai_chat_fields, openai_completion_fields,
    openai_responses_fields, openai_embedding_fields, openai_infill_fields,
    openai_option_fields, openai_stream_fields, openai_reasoning_fields;

/* b <- absent values around an api_request that was initialised. */
void openai_body_init(struct openai_body *b, const struct api_request *r);
/* What follows the table of an operation for all that generate: options, stream_options,
 * sampling, grammar, json_schema, logit_bias. */
enum status openai_read_common(struct openai_body *b, const json_t *body,
                               struct api_error *err);
/* Success: *out <- b->r, which takes the caller's reference of body over.  Else: what
 * b->r owns is released. */
enum status openai_body_finish(struct api_request *out, struct openai_body *b,
                               json_t *body, enum status s);

void openai_set_effort(struct openai_body *b);

/* The tools of a request.  flat: as the Responses API writes them, without "function". */
enum status openai_read_tools(struct api_request *r, const json_t *tools, bool flat,
                              struct api_error *err);
enum status openai_read_tool_choice(struct api_request *r, const json_t *choice,
                                    bool flat, struct api_error *err);
/* response_format, or text.format (flat: the schema is in it, not in json_schema). */
enum status openai_read_format(struct api_request *r, const json_t *format,
                               const char *path, bool flat, struct api_error *err);
/* r->prompts <- a string, an array of strings, of token ids or of arrays of these; at
 * most max prompts.  empty: whether an empty prompt is one. */
enum status openai_read_prompts(struct api_request *r, const json_t *v, const char *path,
                                size_t max, bool empty, struct api_error *err);
enum status openai_read_messages(struct api_request *r, const json_t *messages,
                                 struct api_error *err);
enum status openai_read_items(struct api_request *r, const json_t *input,
                              const char *instructions, struct api_error *err);

/* ---- answers ---- */

/* Usage of all choices together: a prompt counts once. */
struct openai_totals {
    int n_prompt, n_cached, n_decoded, n_reasoning;
    uint64_t prefill_us, decode_us;
};

/* {"id": ..., "object": ..., "created", "model", "system_fingerprint", without its end.
 */
void openai_print_head(struct buf *out, const struct answer_writer *w, const char *prefix,
                       const char *object);
/* Choices of a request. */
int openai_choices(const struct api_request *r);
void openai_totals_add(struct openai_totals *t, const struct api_request *r,
                       const struct answer_event *end);
/* {"prompt_tokens": ...} of chat and completions. */
void openai_print_usage(struct buf *out, const struct openai_totals *t);
/* {"cache_n": ...}, as llama.cpp's server has it. */
void openai_print_timings(struct buf *out, const struct openai_totals *t);
/* Append an entry of logprobs.content to a list. */
void openai_print_logprob(struct buf *list, const struct answer_event *e);
/* A log-probability; JSON has no infinity, for which the API says -9999. */
void openai_print_log(struct buf *out, float logprob);
const char *openai_finish(enum answer_finish f);
/* data: {"error": ...}, for a stream that ends here. */
void openai_print_stream_error(struct buf *out, const struct api_error *e);
void openai_print_error(struct buf *out, int *http_status, const struct api_error *e,
                        const char *request_id);

/* Bytes of an answer that a writer may hold for the document behind its end. */
#define OPENAI_HOLD_MAX ((size_t)64 << 20)

/* head <- the head of a writer. */
void openai_writer_init(struct answer_writer *w, const struct answer_writer_ops *ops,
                        const struct api_request *r, const struct answer_head *head);

struct answer_writer *openai_open_chat(const struct api_request *r,
                                       const struct answer_head *head);
struct answer_writer *openai_open_text(const struct api_request *r,
                                       const struct answer_head *head);
struct answer_writer *openai_open_infill(const struct api_request *r,
                                         const struct answer_head *head);
struct answer_writer *openai_open_responses(const struct api_request *r,
                                            const struct answer_head *head);
void openai_print_embeddings(struct buf *out, const struct api_request *r,
                             const struct answer_head *head,
                             const struct api_embeddings *e);

#endif
