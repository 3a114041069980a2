#include "engine/token_grammar.h"

#include "base/mem.h"

/* A control token that belongs to calls or reasoning, as models write them. */
static void show_mark(struct grammar_piece *p, const struct tokenizer *t, int32_t id,
                      const struct output_format *format)
{
    size_t n;
    const char *text = tokenizer_piece(t, id, true, &n);
    if (n && output_format_knows(format, text, n)) {
        p->text = text;
        p->n = n;
    }
}

enum status token_grammar_vocab(struct grammar_vocab **out, const struct tokenizer *t,
                                int n_vocab, const struct output_format *format,
                                struct error *err)
{
    struct grammar_piece *pieces = mem_array((size_t)n_vocab, sizeof *pieces);
    if (!pieces)
        return fail(err, STATUS_NO_MEMORY, "no memory for a vocabulary of %d", n_vocab);
    for (int32_t id = 0; id < n_vocab && id < tokenizer_n_vocab(t); id++) {
        struct grammar_piece *p = &pieces[id];
        p->text = tokenizer_piece(t, id, false, &p->n);
        p->end = tokenizer_is_eog(t, id);
        if (!p->n && !p->end && format)
            show_mark(p, t, id, format);
        p->hidden = !p->n;
    }
    const enum status rc = grammar_vocab_open(out, pieces, n_vocab, err);
    mem_free(pieces);
    return rc;
}
