/* stand_ins.c - the simplest that can stand for parts of the program that a build does
 * not have: weak, so that the parts themselves win. */
#include <string.h>

#include "base/mem.h"
#include "engine/chat.h"
#include "grammar/grammar.h"
#include "text/output.h"
#include "text/prompt.h"

#define WEAK __attribute__((weak))

WEAK enum status chat_prompt_tokens(const struct engine *e, const struct chat_turn *t,
                                    struct tokens *out, struct chat_prompt_result *result,
                                    struct error *err)
{
    struct chat c;
    *result = (struct chat_prompt_result){0};
    enum status s = chat_open(&c, e, err);
    if (s)
        return s;
    json_decref(c.messages);
    c.messages = json_incref(t->messages);
    s = chat_prompt(&c, out, &result->stable, err);
    chat_close(&c);
    return s;
}

WEAK enum status chat_prompt_text(const struct engine *e, const struct chat_turn *t,
                                  struct buf *out, struct error *err)
{
    struct tokens ids;
    struct chat_prompt_result r;
    tokens_init(&ids);
    const enum status s = chat_prompt_tokens(e, t, &ids, &r, err);
    for (size_t i = 0; !s && i < ids.n; i++) {
        size_t n;
        const char *p = tokenizer_piece(e->tokenizer, ids.id[i], true, &n);
        buf_append(out, p, n);
    }
    tokens_release(&ids);
    return s;
}

WEAK enum status replay_open(struct replay **out, size_t max_bytes, struct error *err)
{
    (void)max_bytes, (void)err;
    *out = NULL;
    return STATUS_OK;
}

WEAK void replay_close(struct replay *r)
{
    (void)r;
}

WEAK void replay_keep(struct replay *r, const json_t *calls, const char *content,
                      const char *text, const uint8_t *mark, size_t n)
{
    (void)r, (void)calls, (void)content, (void)text, (void)mark, (void)n;
}

struct output_parser {
    struct output_options o;
};

WEAK const struct output_format *output_format_find(const char *source, size_t n,
                                                    const struct tokenizer *t)
{
    (void)source, (void)n, (void)t;
    return NULL;
}

WEAK const char *output_format_name(const struct output_format *f)
{
    (void)f;
    return "plain";
}

WEAK enum status output_parser_open(struct output_parser **out,
                                    const struct output_options *o, struct error *err)
{
    *out = mem_array(1, sizeof **out);
    if (!*out)
        return fail(err, STATUS_NO_MEMORY, "no memory");
    (*out)->o = *o;
    return STATUS_OK;
}

WEAK void output_parser_close(struct output_parser *p)
{
    mem_free(p);
}

WEAK void output_parser_feed(struct output_parser *p, const char *text, size_t n,
                             bool special)
{
    const struct output_event e = {OUTPUT_TEXT, text, n};
    if (n && !special)
        p->o.emit(p->o.ctx, &e);
}

WEAK void output_parser_end(struct output_parser *p)
{
    (void)p;
}

WEAK enum status output_grammar(struct output_grammar *out, const struct output_format *f,
                                json_t *tools, const char *name, bool required,
                                bool parallel, bool reasoning, struct error *err)
{
    (void)out, (void)f, (void)tools, (void)name, (void)required, (void)parallel;
    (void)reasoning;
    return fail(err, STATUS_UNSUPPORTED, "no grammars of calls in this build");
}

WEAK void output_grammar_release(struct output_grammar *g)
{
    (void)g;
}

WEAK enum status grammar_open(struct grammar **out, const struct grammar_source *src,
                              struct error *err)
{
    (void)src;
    *out = NULL;
    return fail(err, STATUS_UNSUPPORTED, "no grammars in this build");
}

WEAK void grammar_close(struct grammar *g)
{
    (void)g;
}
