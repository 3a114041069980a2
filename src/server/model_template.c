#include "server/model_template.h"

#include <string.h>

#include "text/template.h"

void model_template_find(struct model_template *out, const struct stored_model *m,
                         const struct gguf *g)
{
    struct template *t = NULL;
    *out = (struct model_template){0};
    if (gguf_str(g, "tokenizer.chat_template", &out->text, NULL) || !out->text.n)
        out->text = (struct gguf_str){NULL, 0};
    if (m && m->params && m->template_kind == STORED_TEMPLATE_NONE && !out->text.s) {
        out->plain = true;
        out->kind = STORED_TEMPLATE_GO;
        out->text =
            (struct gguf_str){STORED_TEMPLATE_PLAIN, strlen(STORED_TEMPLATE_PLAIN)};
    }
    if (!m || m->template_kind == STORED_TEMPLATE_NONE)
        return;
    if (m->template_kind == STORED_TEMPLATE_GO) {
        out->kept = out->text.s && !m->template_own;
        if (out->kept)
            return;
        out->refused =
            template_compile_go(&t, m->template.data, m->template.len, &out->why);
        template_close(t);
        if (out->refused)
            return;
    }
    out->kind = m->template_kind;
    out->text = (struct gguf_str){m->template.data, m->template.len};
}

static bool speaks_of(struct gguf_str s, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.n; i++)
        if (!memcmp(s.s + i, word, n))
            return true;
    return false;
}

/* Fields of Go's begin with a capital: .Tools, .Thinking, .IsThinkSet. */

bool model_template_calls(const struct model_template *t)
{
    return speaks_of(t->text, t->kind == STORED_TEMPLATE_GO ? ".Tools" : "tools");
}

bool model_template_thinks(const struct model_template *t)
{
    return t->kind == STORED_TEMPLATE_GO
               ? speaks_of(t->text, ".Think") || speaks_of(t->text, ".IsThinkSet")
               : speaks_of(t->text, "think") || speaks_of(t->text, "reasoning");
}
