#include "text/prompt.h"

#include <string.h>

static bool starts_with_bos(const struct tokenizer *t, const struct template_output *text)
{
    size_t n;
    const char *bos = tokenizer_text(t, tokenizer_bos(t), &n);
    return n && text->text.len >= n && !memcmp(text->text.data, bos, n) &&
           !memchr(text->mark.data, 1, n);
}

enum status prompt_encode(const struct tokenizer *t, struct tokens *out,
                          const struct template_output *text, struct error *err)
{
    const size_t before = out->n;
    if (tokenizer_add_bos(t) && tokenizer_bos(t) >= 0 && !starts_with_bos(t, text) &&
        !tokens_push(out, tokenizer_bos(t)))
        return fail(err, STATUS_NO_MEMORY, "no memory for the prompt's tokens");
    const enum status s =
        tokenizer_encode(t, out, text->text.data ? text->text.data : "", text->text.len,
                         (const uint8_t *)text->mark.data, TOKENIZER_SPECIAL, err);
    if (s)
        out->n = before;
    return s;
}
