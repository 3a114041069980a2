/* session.h - one conversation: a context, its tokens, and generation.
 *
 * The caller passes the whole prompt every time; the session keeps what its cache already
 * holds and computes the rest. */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "grammar/grammar.h"

struct session;

enum session_end {
    SESSION_EOG,     // the model ended its answer
    SESSION_LENGTH,  // max_tokens
    SESSION_CONTEXT, // the context is full
    SESSION_STOPPED, // the flag was set, or emit failed
};

struct session_stats {
    int n_prompt, n_cached; // tokens of the prompt, and how many of them were there
    int n_read;             // computed: n_prompt - n_cached, fewer if it was stopped
    int n_again;            // of them, computed for an earlier prompt already
    int n_decoded;          // answered
    int n_step; // passes of decode_us: the first token comes from the prompt's logits
    uint64_t prefill_us, decode_us;
    enum session_end end;
};

struct session_request {
    const struct tokens *prompt;
    /* Rising numbers of tokens that later prompts may start with: checkpoints. */
    const size_t *stable; // [n_stable]
    int n_stable;
    int max_tokens; // 0: until the context is full
    struct sampler_params sampling;
    const atomic_bool *stop; // may be NULL; set by anybody, looked at every step
    /* Text of the answer as it comes: valid UTF-8 in whole characters, with U+FFFD for
     * bytes that are none.  false stops the answer. */
    bool (*emit)(void *ctx, const char *text, size_t n);
    /* The text of a control token, each alone, with what it stands between already
     * emitted; false stops the answer.  NULL: they are left out. */
    bool (*control)(void *ctx, const char *text, size_t n);
    const struct grammar *grammar; // NULL: any text
    /* Prompt tokens done, for progress; may be NULL. */
    void (*progress)(void *ctx, int done, int total);
    void *ctx;
};

enum status session_open(struct session **out, struct engine *e,
                         const struct context_options *o, struct error *err);
void session_close(struct session *s);
const struct context *session_context(const struct session *s);

/* STATUS_BAD_ARG if the prompt is empty or larger than the context; STATUS_LIMIT if the
 * grammar cannot be followed. */
enum status session_generate(struct session *s, const struct session_request *r,
                             struct session_stats *stats, struct error *err);

#endif
