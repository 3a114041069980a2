/* known_tokens.c - what texts tell about tokens and files do not, or not reliably: which
 * end generation, which are control tokens, which take the white space behind them. */
#include <string.h>

#include "base/mem.h"
#include "text/vocab.h"

/* Longer texts are in none of the lists. */
enum { KNOWN_BYTES_MAX = 32 };

/* Ends of turns and texts in the chat formats there are, and the marks between files. */
static const char *const known_ends[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<end_of_utterance>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|repo_name|>",
    "<|fim_repo|>",
    "<fim-repo>",
    "<repo_name>",
    "<reponame>",
    "<|file_sep|>",
    "<file_sep>",
    NULL,
};

/* The skeleton of a conversation where it is not written <|...|>. */
static const char *const known_marks[] = {
    "<start_of_turn>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    NULL,
};

/* The parts of a harmony message: a reader of the output needs to see them. */
static const char *const harmony_parts[] = {
    "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", NULL,
};

/* Tokens whose presence decides about others. */
enum {
    SEEN_RETURN,
    SEEN_CALL,
    SEEN_TOOL_RESPONSE,
    SEEN_USER,
    SEEN_ASSISTANT,
    SEEN_PLACEHOLDER
};
static const char *const known_witnesses[] = {
    "<|return|>",       "<|call|>", "<|tool_response>", "<|user|>", "<|assistant|>",
    "<|placeholder1|>", NULL,
};
#define SEEN_HARMONY (1u << SEEN_RETURN | 1u << SEEN_CALL)
#define SEEN_PHI3 (1u << SEEN_USER | 1u << SEEN_ASSISTANT | 1u << SEEN_PLACEHOLDER)

/* Position in the list, -1 if it is not there. */
static int known_find(const char *const *list, const char *s, size_t n)
{
    for (int i = 0; list[i]; i++)
        if (strlen(list[i]) == n && !memcmp(list[i], s, n))
            return i;
    return -1;
}

static bool has_letter(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z') || s[i] & 0x80)
            return true;
    return false;
}

/* <|...|>, <|...>, <...|>, and the same with a full-width bar; but <|> and <||> are
 * operators of programming languages. */
static bool has_bars(const char *s, size_t n)
{
    static const char bar[] = "\xef\xbd\x9c";
    if (n < 4 || s[0] != '<' || s[n - 1] != '>')
        return false;
    if (s[1] == '|' || s[n - 2] == '|')
        return has_letter(s + 1, n - 2);
    return n >= 8 && (!memcmp(s + 1, bar, 3) || !memcmp(s + n - 4, bar, 3));
}

static bool is_bracketed(const char *s, size_t n)
{
    return n > 2 &&
           ((s[0] == '<' && s[n - 1] == '>') || (s[0] == '[' && s[n - 1] == ']'));
}

/* Whatever type the file gives them: text that a user typed must not end a turn. */
static void set_end(struct vocab *v, int32_t id)
{
    v->eog[id] = 1;
    v->type[id] = TOKEN_CONTROL;
}

/* Returns the witnesses that are in the vocabulary. */
static unsigned by_text(struct vocab *v)
{
    unsigned seen = 0;
    for (int32_t i = 0; i < v->n; i++) {
        size_t n;
        const char *s = vocab_text(v, i, &n);
        if (n < 3 || n > KNOWN_BYTES_MAX || !memchr("<_[", s[0], 3))
            continue;
        if (known_find(known_ends, s, n) >= 0)
            set_end(v, i);
        const int witness = known_find(known_witnesses, s, n);
        if (witness >= 0)
            seen |= 1u << witness;
        /* The skeleton of a conversation is made of control tokens; some exports call
         * them normal, which are not found in a template, or user-defined, which are
         * found in any text.  What a model writes with them is still to be seen. */
        if ((v->type[i] == TOKEN_USER || v->type[i] == TOKEN_NORMAL) &&
            (has_bars(s, n) || known_find(known_marks, s, n) >= 0)) {
            v->type[i] = TOKEN_CONTROL;
            v->visible[i] = 1;
        }
    }
    return seen;
}

static enum status by_key(struct vocab *v, const struct gguf *g, struct error *err)
{
    static const struct {
        const char *key;
        int spm; // what a SentencePiece file means without it, -1 for none
        bool end;
    } keys[] = {
        {"tokenizer.ggml.bos_token_id", 1, false},
        {"tokenizer.ggml.eos_token_id", 2, true},
        {"tokenizer.ggml.eot_token_id", -1, true},
        {"tokenizer.ggml.eom_token_id", -1, true},
        {"tokenizer.ggml.fim_pad_token_id", -1, true},
        {"tokenizer.ggml.fim_rep_token_id", -1, true},
        {"tokenizer.ggml.fim_sep_token_id", -1, true},
    };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        int64_t id = !v->bpe && keys[k].spm < v->n ? keys[k].spm : -1;
        const enum status st = gguf_int_or(g, keys[k].key, 0, v->n - 1, id, &id, err);
        if (st)
            return st;
        if (id < 0)
            continue;
        size_t n;
        const char *s = vocab_text(v, (int32_t)id, &n);
        v->eog[id] |= keys[k].end;
        if (is_bracketed(s, n) &&
            (v->type[id] == TOKEN_NORMAL || v->type[id] == TOKEN_USER))
            v->type[id] = TOKEN_CONTROL; // not a byte, nor a word that ends sentences
    }
    return STATUS_OK;
}

/* Harmony ends a message with <|end|>, and the next one follows in the same answer. */
static void set_harmony(struct vocab *v)
{
    for (int32_t i = 0; i < v->n; i++) {
        size_t n;
        const char *s = vocab_text(v, i, &n);
        if (known_find(harmony_parts, s, n) < 0)
            continue;
        v->eog[i] = 0;
        v->type[i] = TOKEN_CONTROL;
        v->visible[i] = 1;
    }
}

static void clear_end(struct vocab *v, const char *text)
{
    for (int32_t i = 0; i < v->n; i++) {
        size_t n;
        const char *s = vocab_text(v, i, &n);
        if (n == strlen(text) && !memcmp(s, text, n))
            v->eog[i] = 0;
    }
}

/* Phi-3 was trained with a tokenizer whose special tokens swallow the white space behind
 * them, which its template writes and GGUF has no field for.  The vocabulary is known by
 * its placeholders: names of models vary. */
static enum status set_phi3(struct vocab *v, struct error *err)
{
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>", NULL};
    v->rstrip = mem_array((size_t)v->n, 1);
    if (!v->rstrip)
        return fail(err, STATUS_NO_MEMORY, "no memory for a vocabulary of %d tokens",
                    v->n);
    for (int32_t i = 0; i < v->n; i++) {
        size_t n;
        const char *s = vocab_text(v, i, &n);
        const int type = v->type[i];
        v->rstrip[i] =
            (type == TOKEN_CONTROL || type == TOKEN_USER) && known_find(plain, s, n) < 0;
    }
    return STATUS_OK;
}

enum status vocab_know(struct vocab *v, const struct gguf *g, struct error *err)
{
    const unsigned seen = by_text(v);
    const enum status st = by_key(v, g, err);
    if (st)
        return st;
    /* These take ends back, whoever has named them. */
    if ((seen & SEEN_HARMONY) == SEEN_HARMONY)
        set_harmony(v);
    if (seen & 1u << SEEN_TOOL_RESPONSE)
        clear_end(v, "</s>");
    return !v->bpe && (seen & SEEN_PHI3) == SEEN_PHI3 ? set_phi3(v, err) : STATUS_OK;
}
