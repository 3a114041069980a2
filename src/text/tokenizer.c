/* tokenizer.c - opening a tokenizer and looking into it.  Encoding is in encode.c. */
#include "text/tokenizer_impl.h"

#include <string.h>

#include "base/mem.h"

#define KEY_MODEL "tokenizer.ggml.model"
#define KEY_PRE "tokenizer.ggml.pre"

static bool str_is(struct gguf_str a, const char *b)
{
    return a.n == strlen(b) && !memcmp(a.s, b, a.n);
}

static enum status read_id(int32_t *out, const struct tokenizer *t, const struct gguf *g,
                           const char *key, int32_t def, struct error *err)
{
    int64_t id = def < t->vocab.n ? def : -1;
    const enum status st = gguf_int_or(g, key, 0, t->vocab.n - 1, id, &id, err);
    *out = (int32_t)id;
    return st;
}

static enum status read_ids(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    const bool spm = !t->vocab.bpe;
    enum status st =
        read_id(&t->bos, t, g, "tokenizer.ggml.bos_token_id", spm ? 1 : -1, err);
    if (!st)
        st = read_id(&t->eos, t, g, "tokenizer.ggml.eos_token_id", spm ? 2 : -1, err);
    if (!st)
        st = read_id(&t->unk, t, g, "tokenizer.ggml.unknown_token_id", spm ? 0 : -1, err);
    return st;
}

static enum status read_flags(struct tokenizer *t, const struct gguf *g,
                              struct error *err)
{
    const bool spm = !t->vocab.bpe;
    const bool add_bos = spm || pretokenizer_flags(t->pre) & PRE_ADD_BOS;
    enum status st =
        gguf_bool_or(g, "tokenizer.ggml.add_bos_token", add_bos, &t->add_bos, err);
    if (!st)
        st = gguf_bool_or(g, "tokenizer.ggml.add_eos_token", false, &t->add_eos, err);
    if (!st)
        st = gguf_bool_or(g, "tokenizer.ggml.add_space_prefix", spm, &t->add_space_prefix,
                          err);
    return st;
}

static enum status open_bpe(struct tokenizer *t, const struct gguf *g, struct error *err)
{
    struct gguf_str pre = {"default", 7};
    enum status st = STATUS_OK;
    if (gguf_find(g, KEY_PRE) >= 0)
        st = gguf_str(g, KEY_PRE, &pre, err);
    if (!st)
        st = pretokenizer_open(&t->pre, pre.s, pre.n, err);
    if (st)
        return st;
    t->ignore_merges = pretokenizer_flags(t->pre) & PRE_IGNORE_MERGES;
    t->pair = bpe_pair;
    if (gguf_find(g, "tokenizer.ggml.merges") < 0 &&
        pretokenizer_flags(t->pre) & PRE_RANK_BY_ID) {
        t->pair = bpe_pair_by_id;
        return STATUS_OK;
    }
    return bpe_merges_open(&t->merges, &t->vocab, g, err);
}

enum status tokenizer_open(struct tokenizer **out, const struct gguf *g,
                           struct error *err)
{
    struct gguf_str model;
    enum status st = gguf_str(g, KEY_MODEL, &model, err);
    if (st)
        return st;
    const bool bpe = str_is(model, "gpt2");
    if (!bpe && !str_is(model, "llama"))
        return fail(err, STATUS_UNSUPPORTED,
                    KEY_MODEL " is '%.*s'; supported are gpt2 and llama",
                    (int)(model.n < 64 ? model.n : 64), model.s);
    struct tokenizer *t = mem_array(1, sizeof *t);
    if (!t)
        return fail(err, STATUS_NO_MEMORY, "no memory for a tokenizer");
    t->pair = spm_pair;
    st = vocab_open(&t->vocab, g, bpe, err);
    if (!st && bpe)
        st = open_bpe(t, g, err);
    if (!st)
        st = read_ids(t, g, err);
    if (!st)
        st = read_flags(t, g, err);
    if (!st)
        st = specials_open(&t->specials, &t->vocab, err);
    if (st) {
        tokenizer_close(t);
        return st;
    }
    *out = t;
    return STATUS_OK;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    vocab_release(&t->vocab);
    specials_release(&t->specials);
    bpe_merges_release(&t->merges);
    pretokenizer_close(t->pre);
    mem_free(t);
}

int tokenizer_n_vocab(const struct tokenizer *t)
{
    return t->vocab.n;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

bool tokenizer_add_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

bool tokenizer_add_eos(const struct tokenizer *t)
{
    return t->add_eos;
}

static bool in_vocab(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab.n;
}

bool tokenizer_is_eog(const struct tokenizer *t, int32_t id)
{
    return in_vocab(t, id) && t->vocab.eog[id];
}

const char *tokenizer_text(const struct tokenizer *t, int32_t id, size_t *n)
{
    if (in_vocab(t, id))
        return vocab_text(&t->vocab, id, n);
    *n = 0;
    return "";
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, bool special,
                            size_t *n)
{
    *n = 0;
    if (!in_vocab(t, id))
        return "";
    const int type = t->vocab.type[id];
    const bool hidden =
        type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_UNUSED;
    if (hidden && !special && !t->vocab.visible[id])
        return "";
    return vocab_piece(&t->vocab, id, n);
}

const char *tokenizer_first_piece(const struct tokenizer *t, int32_t prev, int32_t id,
                                  bool special, size_t *n)
{
    const char *piece = tokenizer_piece(t, id, special, n);
    const int type = in_vocab(t, prev) ? t->vocab.type[prev] : TOKEN_CONTROL;
    const bool follows_special =
        type == TOKEN_CONTROL || type == TOKEN_USER || type == TOKEN_UNKNOWN;
    if (t->vocab.bpe || !t->add_space_prefix || !follows_special || !*n ||
        t->vocab.type[id] != TOKEN_NORMAL || *piece != ' ')
        return piece;
    --*n;
    return piece + 1;
}
