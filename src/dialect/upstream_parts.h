/* upstream_parts.h - what the files of upstream.h share. */
#ifndef DIALECT_UPSTREAM_PARTS_H
#define DIALECT_UPSTREAM_PARTS_H

#include <limits.h>

#include "dialect/upstream.h"

/* ---- requests ---- */

/* A request that is being translated. */
struct upstream_print {
    struct buf *out;
    const struct upstream *upstream;
    const struct api_request *r;
    const struct upstream_ask *ask;
    struct upstream_call *call;
    struct api_error *err;
    json_t *turns; // upstream_turns
};

/* ,"NAME": - a body begins with the model, so that every other member has a comma. */
void upstream_member(struct buf *out, const char *name);
/* As few digits as read back as the same float. */
void upstream_print_float(struct buf *out, float v);
/* STATUS_UNSUPPORTED: the backend has nothing like this field. */
enum status upstream_refuse(const struct upstream_print *p, const char *field);
/* Note in the call that a field is left out. */
void upstream_drop(const struct upstream_print *p, const char *field);

/* *turns <- new: the canonical messages of a chat, or what a completion with a template
 * says as one; at most one system message first, and others only if ask->late_system.
 * Each result is of a call before it, unless the backend knows no ids. */
enum status upstream_turns(struct upstream_print *p);

/* Piece i of a message's text: what is in front of its image i, or behind the last. */
void upstream_piece(const json_t *message, size_t i, const char **s, size_t *n);
/* A content: text alone, or parts in their order, {"type":"text"} and what print_image
 * makes of an image. */
void upstream_print_content(struct buf *out, const json_t *message,
                            void (*print_image)(struct buf *out, const json_t *image));

/* Most tokens of the answer, -1: the backend's own. */
int upstream_max_tokens(const struct upstream_print *p);

/* Members of sampling with the backend's names; what it lacks is refused, or left out
 * where it would change nothing. */
enum status upstream_print_sampling(struct upstream_print *p);
/* Stop strings as the member of that name, none if there are none. */
void upstream_print_stops(struct upstream_print *p, const char *name);

enum status upstream_print_openai_chat(struct upstream_print *p);
enum status upstream_print_openai_text(struct upstream_print *p);
enum status upstream_print_openai_embed(struct upstream_print *p);
enum status upstream_print_anthropic(struct upstream_print *p);
enum status upstream_print_ollama_chat(struct upstream_print *p);
enum status upstream_print_ollama_generate(struct upstream_print *p);
enum status upstream_print_ollama_embed(struct upstream_print *p);

/* Parts of these that a count is asked with. */
void upstream_print_openai_messages(struct upstream_print *p);
void upstream_print_openai_tools(struct upstream_print *p);
enum status upstream_print_anthropic_prompt(struct upstream_print *p);

/* ---- JSON without a tree ---- */

/* Follows JSON text byte by byte: how deep it is, and where a value ends. */
struct json_scan {
    int depth, deepest;
    bool in_string, escape, begun, closed; // closed: an object or array has ended
};

/* Look at s[0..n); false: a bracket too many. */
bool json_scan_feed(struct json_scan *j, const char *s, size_t n);

/* *out <- new, of JSON text whose nesting is bounded.  STATUS_LIMIT, STATUS_NO_MEMORY,
 * STATUS_BAD_INPUT with a sentence in why. */
enum status upstream_load_json(json_t **out, const char *s, size_t n, char why[200]);

/* ---- replies ---- */

/* One reply read as events.  Framing calls event for each piece of JSON; the API's part
 * calls the functions below. */
struct reply_choice {
    bool ended; // its finish reason came
    enum answer_finish finish;
    char *stop_string; // owned
    int n_call;        // that were begun, or are held
    struct buf late;   // text that came while a call was open
};

enum reply_call_state { CALL_HELD, CALL_OPEN, CALL_CLOSED, CALL_DROPPED };

struct reply_call {
    int choice;
    int64_t key;     // what the backend names it by; -1: nothing
    char *sent_id;   // by the backend, NULL: none
    char *id, *name; // what the client gets; name NULL: it did not come yet
    struct buf args; // all of them
    size_t n_sent;   // of them
    struct json_scan scan;
    enum reply_call_state state;
};

struct upstream_reader {
    struct upstream_reader_setup setup;
    enum upstream_state state;
    /* framing */
    struct buf line, data;
    bool has_data, after_cr, past_bom;
    char event[32];
    uint64_t n_bytes, n_event;
    /* the answer */
    int n_choice;
    struct reply_choice choices[64];
    struct reply_call calls[UPSTREAM_CALLS_MAX];
    int n_call;
    size_t args_bytes;
    json_t *ids; // names that calls have, here and in the request
    bool end_mark, has_usage, has_begun;
    struct answer_usage usage;
    int64_t block; // Anthropic: index of the block that is open, -1: none
    struct reply_call *block_call;
};

enum { REPLY_CHOICES_MAX = 64 };

/* ERROR, and nothing behind it. */
void reply_fail(struct upstream_reader *r, enum api_error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void reply_fail_with(struct upstream_reader *r, const struct api_error *e);
/* "NAME must be EXPECTED", in this event. */
void reply_wrong(struct upstream_reader *r, const char *name, const char *expected);

void reply_ping(struct upstream_reader *r);
/* Text or reasoning; nothing for NULL and null, an error for what is no string. */
void reply_prose(struct upstream_reader *r, int choice, enum answer_kind kind,
                 const json_t *text, const char *name);
/* Of each entry {"token", "logprob", "bytes", "top_logprobs"}. */
void reply_logprobs(struct upstream_reader *r, int choice, const json_t *entries);

/* A call that begins; NULL if that failed.  id, name: NULL if they did not come. */
struct reply_call *reply_call_begin(struct upstream_reader *r, int choice, int64_t key,
                                    const char *id, const char *name);
void reply_call_name(struct upstream_reader *r, struct reply_call *c, const char *name);
void reply_call_args(struct upstream_reader *r, struct reply_call *c, const char *s,
                     size_t n);
/* Arguments that are no text but JSON. */
void reply_call_object(struct upstream_reader *r, struct reply_call *c, const json_t *v);
/* The finish reason of a choice, in any API's words. */
void reply_finish(struct upstream_reader *r, int choice, const char *reason,
                  const char *stop_string);
/* The end mark came: END of each choice, if all of them have ended. */
void reply_end(struct upstream_reader *r);

void upstream_openai_event(struct upstream_reader *r, const json_t *v);
void upstream_anthropic_event(struct upstream_reader *r, const json_t *v);
void upstream_ollama_event(struct upstream_reader *r, const json_t *v);
void upstream_openai_document(struct upstream_reader *r, const json_t *v);
void upstream_anthropic_document(struct upstream_reader *r, const json_t *v);

enum { UPSTREAM_COUNT_MAX = INT_MAX / 4 }; // sums of up to four are no overflow

/* A member that is a count, 0 if it is absent or no such number. */
int upstream_count(const json_t *object, const char *name);
/* A string without a 0 in it, NULL for what is none or empty. */
const char *upstream_string(const json_t *object, const char *name);

/* An error that stands in a reply or in a stream: v is its object.  http_status 0: it has
 * none. */
void upstream_error_value(struct api_error *out, const json_t *v, int http_status);

#endif
