/* infill.c - the text in front of a gap and behind it, as models of code were trained:
 * prefix, suffix, and then what belongs between. */
#include <string.h>

#include "server/internal.h"

const struct infill_tokens infill_none = {-1, -1, -1, -1};

void infill_note(struct infill_tokens *out, const char *text, size_t n, int32_t id)
{
    static const struct {
        const char *text;
        size_t offset;
    } known[] = {
        {"<|fim_prefix|>", offsetof(struct infill_tokens, prefix)}, // Qwen, Granite
        {"<|fim_suffix|>", offsetof(struct infill_tokens, suffix)},
        {"<|fim_middle|>", offsetof(struct infill_tokens, middle)},
        {"<fim_prefix>", offsetof(struct infill_tokens, prefix)}, // StarCoder
        {"<fim_suffix>", offsetof(struct infill_tokens, suffix)},
        {"<fim_middle>", offsetof(struct infill_tokens, middle)},
        {"<PRE>", offsetof(struct infill_tokens, prefix)}, // CodeLlama
        {"<SUF>", offsetof(struct infill_tokens, suffix)},
        {"<MID>", offsetof(struct infill_tokens, middle)},
        {"<|file_sep|>", offsetof(struct infill_tokens, file)},
        {"<file_sep>", offsetof(struct infill_tokens, file)},
    };
    if (!n || text[0] != '<')
        return;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        int32_t *at = (int32_t *)(void *)((char *)out + known[k].offset);
        if (*at < 0 && n == strlen(known[k].text) && !memcmp(text, known[k].text, n))
            *at = id;
    }
}

bool infill_complete(const struct infill_tokens *t)
{
    return t->prefix >= 0 && t->suffix >= 0 && t->middle >= 0;
}

static const json_t *prompt_at(const struct call *c, size_t i)
{
    return json_array_get(c->req.prompts, i);
}

static bool add_token(struct call *c, int32_t id)
{
    if (tokens_push(&c->prompt[0], id))
        return true;
    call_fail(c, API_ERROR_INTERNAL, "out of memory");
    return false;
}

static bool add_prompt_part(struct call *c, const json_t *text)
{
    return prompt_add_text(c, &c->prompt[0], json_string_value(text),
                           json_string_length(text), 0);
}

/* Names and texts of other files, each behind the token that separates files where the
 * model has one. */
static bool add_files(struct call *c)
{
    const size_t n = json_array_size(c->req.prompts);
    const int32_t separator = c->model->infill.file;
    for (size_t i = 2; i + 1 < n; i += 2) {
        if (separator >= 0 && !add_token(c, separator))
            return false;
        if (!add_prompt_part(c, prompt_at(c, i)) ||
            !prompt_add_text(c, &c->prompt[0], "\n", 1, 0) ||
            !add_prompt_part(c, prompt_at(c, i + 1)) ||
            !prompt_add_text(c, &c->prompt[0], "\n", 1, 0))
            return false;
    }
    return n < 4 || separator < 0 || add_token(c, separator);
}

bool infill_make(struct call *c)
{
    const struct infill_tokens *f = &c->model->infill;
    const struct tokenizer *t = c->model->engine->tokenizer;
    const int32_t bos = tokenizer_bos(t);
    if (!infill_complete(f)) {
        call_fail(c, API_ERROR_UNSUPPORTED,
                  "this model's vocabulary has no tokens to fill in text");
        return false;
    }
    if (!json_is_string(prompt_at(c, 0))) {
        call_fail(c, API_ERROR_INVALID, "with a suffix the prompt must be text");
        return false;
    }
    c->n_prompts = 1;
    return (!tokenizer_add_bos(t) || bos < 0 || add_token(c, bos)) && add_files(c) &&
           add_token(c, f->prefix) && add_prompt_part(c, prompt_at(c, 0)) &&
           add_token(c, f->suffix) &&
           prompt_add_text(c, &c->prompt[0], c->req.suffix, strlen(c->req.suffix), 0) &&
           add_token(c, f->middle) &&
           (c->req.task != API_INFILL || add_prompt_part(c, prompt_at(c, 1)));
}
