#include "engine/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/token_grammar.h"
#include "text/utf8_stream.h"

enum { PIECE_BYTES = 256 }; // of text at a time

struct session {
    struct engine *e;
    struct context *c;
    struct sampler sampler;
    struct tokens history;               // what the context holds
    struct utf8_stream utf8;             // of the answer
    struct grammar_vocab *grammar_vocab; // made when the first grammar comes
    struct grammar_matcher *matcher;     // of an answer with a grammar
    uint32_t *mask;                      // [(n_vocab + 31) / 32]
};

enum status session_open(struct session **out, struct engine *e,
                         const struct context_options *o, struct error *err)
{
    struct session *s = mem_array(1, sizeof *s);
    if (!s)
        return fail(err, STATUS_NO_MEMORY, "no memory for a session");
    s->e = e;
    tokens_init(&s->history);
    enum status rc;
    if ((rc = context_open(&s->c, e->model, o, err)) ||
        (rc = sampler_open(&s->sampler, model_hparams(e->model)->n_vocab, err))) {
        session_close(s);
        return rc;
    }
    *out = s;
    return STATUS_OK;
}

void session_close(struct session *s)
{
    if (!s)
        return;
    context_close(s->c);
    sampler_close(&s->sampler);
    tokens_release(&s->history);
    grammar_vocab_close(s->grammar_vocab);
    mem_free(s->mask);
    mem_free(s);
}

const struct context *session_context(const struct session *s)
{
    return s->c;
}

static size_t common_prefix(const struct tokens *a, const struct tokens *b)
{
    const size_t n = a->n < b->n ? a->n : b->n;
    size_t i = 0;
    while (i < n && a->id[i] == b->id[i])
        i++;
    return i;
}

/* Append tokens to the context; on failure the session starts over. */
static enum status append_tokens(struct session *s, const int32_t *id, size_t n,
                                 bool want, const float **logits, struct error *err)
{
    enum status rc = n ? context_eval(s->c, id, (int)n, want, logits, err) : STATUS_OK;
    for (size_t i = 0; !rc && i < n; i++)
        if (!tokens_push(&s->history, id[i]))
            rc = fail(err, STATUS_NO_MEMORY, "no memory for the token history");
    if (rc) {
        context_reset(s->c);
        s->history.n = 0;
    }
    return rc;
}

static bool stopped(const struct session_request *r)
{
    return r->stop && atomic_load(r->stop);
}

/* Prompt tokens between checkpoints that nobody asked for. */
enum { MARK_TOKENS = 4096 };

/* The next position behind `at` where a checkpoint belongs, or the end of the prompt. */
static size_t next_stop(const struct session_request *r, size_t at)
{
    size_t stop = (at / MARK_TOKENS + 1) * MARK_TOKENS;
    for (int i = r->n_stable - 1; i >= 0; i--)
        if (r->stable[i] > at && r->stable[i] < stop)
            stop = r->stable[i];
    return stop < r->prompt->n ? stop : r->prompt->n;
}

/* Bring the context to the end of the prompt, one step at a time. */
static enum status prefill(struct session *s, const struct session_request *r,
                           const float **logits, struct session_stats *stats,
                           struct error *err)
{
    const struct tokens *prompt = r->prompt;
    size_t keep = common_prefix(&s->history, prompt);
    if (keep == prompt->n)
        keep--; // the logits of the last token are needed
    s->history.n = (size_t)context_rewind(s->c, (int)keep);
    stats->n_cached = (int)s->history.n;
    stats->n_again = (int)(keep - s->history.n);
    const size_t batch = (size_t)context_n_batch(s->c);
    while (s->history.n < prompt->n && !stopped(r)) {
        const size_t at = s->history.n, stop = next_stop(r, at);
        const size_t n = stop - at < batch ? stop - at : batch;
        const enum status rc =
            append_tokens(s, prompt->id + at, n, at + n == prompt->n, logits, err);
        if (rc)
            return rc;
        if (s->history.n == stop && stop < prompt->n)
            context_mark(s->c);
        if (r->progress)
            r->progress(r->ctx, (int)s->history.n, (int)prompt->n);
    }
    return STATUS_OK;
}

/* Pass on text in whole characters; with `end` also what was held back. */
static bool emit(struct session *s, const struct session_request *r, const char *text,
                 size_t n, bool end)
{
    char out[UTF8_STREAM_BYTES(PIECE_BYTES)];
    bool ok = true;
    do {
        const size_t part = n < PIECE_BYTES ? n : PIECE_BYTES;
        const size_t len = utf8_stream_put(&s->utf8, out, text, part, end && part == n);
        ok = !len || r->emit(r->ctx, out, len);
        text += part;
        n -= part;
    } while (ok && n);
    return ok;
}

static enum status open_constraint(struct session *s, const struct session_request *r,
                                   struct error *err)
{
    const int n_vocab = model_hparams(s->e->model)->n_vocab;
    enum status rc = STATUS_OK;
    if (!r->grammar)
        return rc;
    if (!s->mask)
        s->mask = mem_array(((size_t)n_vocab + 31) / 32, sizeof *s->mask);
    if (!s->mask)
        return fail(err, STATUS_NO_MEMORY, "no memory for a vocabulary of %d", n_vocab);
    if (!s->grammar_vocab)
        rc = token_grammar_vocab(&s->grammar_vocab, s->e->tokenizer, n_vocab,
                                 s->e->chat.format, err);
    return rc ? rc : grammar_matcher_open(&s->matcher, r->grammar, s->grammar_vocab, err);
}

static enum status pick_token(struct session *s, const struct session_request *r,
                              const float *logits, size_t n_answer, int32_t *id,
                              struct error *err)
{
    const uint32_t *mask = NULL;
    enum status rc = STATUS_OK;
    if (s->matcher && !grammar_matcher_is_open(s->matcher)) {
        if ((rc = grammar_matcher_mask(s->matcher, s->mask, err)))
            return rc;
        mask = s->mask;
    }
    *id = sampler_pick(&s->sampler, &r->sampling, logits, s->history.id, s->history.n,
                       n_answer, mask);
    return s->matcher ? grammar_matcher_accept(s->matcher, *id, err) : STATUS_OK;
}

/* false: the caller wants no more. */
static bool emit_picked(struct session *s, const struct session_request *r, int32_t id,
                        bool first)
{
    const struct tokenizer *t = s->e->tokenizer;
    size_t n;
    const char *piece =
        first ? tokenizer_first_piece(t, s->history.id[s->history.n - 1], id, false, &n)
              : tokenizer_piece(t, id, false, &n);
    if (n || !r->control)
        return emit(s, r, piece, n, false);
    if (!emit(s, r, "", 0, true))
        return false;
    piece = tokenizer_piece(t, id, true, &n);
    return r->control(r->ctx, piece, n);
}

static enum status decode(struct session *s, const struct session_request *r,
                          const float *logits, struct session_stats *stats,
                          struct error *err)
{
    const int n_ctx = context_n_ctx(s->c);
    for (;;) {
        if (stopped(r)) {
            stats->end = SESSION_STOPPED;
            return STATUS_OK;
        }
        int32_t id;
        enum status rc = pick_token(s, r, logits, (size_t)stats->n_decoded, &id, err);
        if (rc)
            return rc;
        if (tokenizer_is_eog(s->e->tokenizer, id)) {
            stats->end = SESSION_EOG;
            return STATUS_OK;
        }
        if (!emit_picked(s, r, id, stats->n_decoded++ == 0)) {
            stats->end = SESSION_STOPPED;
            return STATUS_OK;
        }
        if (stats->n_decoded == r->max_tokens || (int)s->history.n + 1 >= n_ctx) {
            stats->end =
                stats->n_decoded == r->max_tokens ? SESSION_LENGTH : SESSION_CONTEXT;
            return STATUS_OK;
        }
        if ((rc = append_tokens(s, &id, 1, true, &logits, err)))
            return rc;
        stats->n_step++;
    }
}

enum status session_generate(struct session *s, const struct session_request *r,
                             struct session_stats *stats, struct error *err)
{
    *stats =
        (struct session_stats){.n_prompt = (int)r->prompt->n, .end = SESSION_STOPPED};
    if (!r->prompt->n)
        return fail(err, STATUS_BAD_ARG, "the prompt is empty");
    if (r->prompt->n > (size_t)context_n_ctx(s->c))
        return fail(
            err, STATUS_BAD_ARG,
            "the prompt has %zu tokens but the context holds %d: use a larger --ctx",
            r->prompt->n, context_n_ctx(s->c));
    s->utf8.n_held = 0;
    const uint64_t start = clock_us();
    const float *logits = NULL;
    enum status rc = open_constraint(s, r, err);
    if (!rc)
        rc = prefill(s, r, &logits, stats, err);
    const uint64_t middle = clock_us();
    stats->prefill_us = middle - start;
    stats->n_read = (int)s->history.n - stats->n_cached;
    if (!rc && s->history.n == r->prompt->n)
        rc = decode(s, r, logits, stats, err);
    grammar_matcher_close(s->matcher);
    s->matcher = NULL;
    if (!rc && stats->n_step)
        context_mark(s->c); // the next prompt may go on right behind the answer
    if (stats->end != SESSION_STOPPED)
        emit(s, r, "", 0, true);
    stats->decode_us = clock_us() - middle;
    return rc;
}
