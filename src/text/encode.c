/* encode.c - text to tokens: special tokens first, then words, then merges. */
#include "text/tokenizer_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum {
    ENCODE_BYTES_MAX = 1 << 30,
    CACHE_SLOTS = 4096, // words seen in this text
    CACHE_WORD_MAX = 16,
    CACHE_TEXT_MIN = 4096, // shorter texts do not repay a cache
};

/* A word, zero padded, and where its tokens stand in the output. */
struct cache_slot {
    char word[CACHE_WORD_MAX];
    uint32_t n, n_token;
    size_t at;
};

/* One call of tokenizer_encode. */
struct encoder {
    const struct tokenizer *t;
    struct tokens *out;
    struct error *err;
    struct merge_work work;
    struct pretokenizer_scratch *pre;
    struct cache_slot *cache; // or NULL
    char *spaced;             // SentencePiece: the text with its spaces
};

static enum status encode_no_memory(const struct encoder *e)
{
    return fail(e->err, STATUS_NO_MEMORY, "tokenizer: no memory for the text's tokens");
}

static enum status emit_token(struct encoder *e, int32_t id)
{
    return tokens_push(e->out, id) ? STATUS_OK : encode_no_memory(e);
}

/* Bytes that no token spells: byte tokens, else the unknown token.  Byte-level BPE has a
 * token for each byte of valid text or was trained to drop it. */
static enum status emit_bytes(struct encoder *e, const char *s, size_t n)
{
    enum status st = STATUS_OK;
    for (size_t i = 0; !st && i < n; i++) {
        int32_t id = e->t->vocab.byte_id[(unsigned char)s[i]];
        if (id < 0)
            id = e->t->unk;
        if (id >= 0)
            st = emit_token(e, id);
    }
    return st;
}

static enum status merge_word(struct encoder *e, const char *s, size_t n)
{
    const struct vocab *v = &e->t->vocab;
    if (!merge_reserve(&e->work, n))
        return encode_no_memory(e);
    struct merge_symbol *sym = e->work.sym;
    for (uint32_t i = 0, prev = 0, k; i < n; prev = i, i += k) {
        k = 1;
        if (!v->bpe && utf8_char_bytes(s + i, n - i))
            k = (uint32_t)utf8_char_bytes(s + i, n - i);
        const int32_t id =
            v->bpe ? v->byte_id[(unsigned char)s[i]] : vocab_find(v, s + i, k);
        sym[i] = (struct merge_symbol){prev, i + k, id, MERGE_NONE, -1};
    }
    if (!merge_run(&e->work, e->t, e->t->pair, s, n))
        return encode_no_memory(e);
    enum status st = STATUS_OK;
    for (uint32_t i = 0; !st && i < n; i = sym[i].next) {
        if (sym[i].id >= 0)
            st = emit_token(e, sym[i].id);
        else if (!v->bpe)
            st = emit_bytes(e, s + i, sym[i].next - i);
    }
    return st;
}

static struct cache_slot *cache_find(struct encoder *e, const char *s, size_t n)
{
    if (!e->cache || n > CACHE_WORD_MAX)
        return NULL;
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x9e3779b97f4a7c15u;
    return &e->cache[h >> 52];
}

/* A word of the pre-tokenizer, or of SentencePiece between spaces. */
static enum status encode_word(void *ctx, const char *s, size_t n)
{
    struct encoder *e = ctx;
    const struct tokenizer *t = e->t;
    if (t->ignore_merges) {
        const int32_t id = vocab_find(&t->vocab, s, n);
        if (id >= 0)
            return emit_token(e, id);
    }
    struct cache_slot *slot = cache_find(e, s, n);
    if (slot && slot->n == n && !memcmp(slot->word, s, n)) {
        enum status st = STATUS_OK;
        for (uint32_t i = 0; !st && i < slot->n_token; i++)
            st = emit_token(e, e->out->id[slot->at + i]);
        return st;
    }
    const size_t at = e->out->n;
    const enum status st = merge_word(e, s, n);
    if (st || !slot)
        return st;
    memcpy(slot->word, s, n);
    slot->n = (uint32_t)n;
    slot->n_token = (uint32_t)(e->out->n - at);
    slot->at = at;
    return STATUS_OK;
}

/* An invalid byte is a word of its own; without a token for it, it is U+FFFD. */
static enum status encode_invalid(struct encoder *e, char c)
{
    if (e->t->vocab.byte_id[(unsigned char)c] >= 0)
        return encode_word(e, &c, 1);
    return encode_word(e, "\xef\xbf\xbd", 3);
}

static enum status encode_bpe(struct encoder *e, const char *s, size_t n)
{
    enum status st = STATUS_OK;
    while (!st && n > 0) {
        const size_t k = utf8_valid_bytes(s, n);
        if (k)
            st = pretokenizer_split(e->t->pre, e->pre, s, k, encode_word, e, e->err);
        else
            st = encode_invalid(e, *s);
        s += k ? k : 1;
        n -= k ? k : 1;
    }
    return st;
}

/* If no token has a space behind something else, no merge crosses the place before such a
 * space, and the text falls into words. */
static enum status encode_spm(struct encoder *e, const char *s, size_t n)
{
    size_t len = 0, from = 0;
    char *p = e->spaced;
    if (e->t->add_space_prefix)
        p[len++] = ' ';
    for (size_t i = 0; i < n; i++) {
        const bool mark = n - i >= 3 && !memcmp(s + i, "\xe2\x96\x81", 3);
        p[len++] = mark ? ' ' : s[i];
        i += mark ? 2 : 0;
    }
    enum status st = STATUS_OK;
    for (size_t i = 1; !st && i <= len; i++) {
        if (i < len && (e->t->vocab.space_inside || p[i] != ' ' || p[i - 1] == ' '))
            continue;
        st = encode_word(e, p + from, i - from);
        from = i;
    }
    return st;
}

static enum status encode_text(struct encoder *e, const char *text, size_t n,
                               const uint8_t *mark, unsigned flags)
{
    const struct tokenizer *t = e->t;
    enum status st = STATUS_OK;
    for (size_t i = 0; !st && i < n;) {
        size_t at, len = 0;
        const int32_t id = specials_next(&t->specials, &t->vocab, text, n, mark,
                                         flags & TOKENIZER_SPECIAL, i, &at, &len);
        if (at > i)
            st = t->vocab.bpe ? encode_bpe(e, text + i, at - i)
                              : encode_spm(e, text + i, at - i);
        if (!st && id >= 0)
            st = emit_token(e, id);
        i = at + len;
        if (id >= 0 && t->vocab.rstrip && t->vocab.rstrip[id])
            i += utf8_space_bytes(text + i, n - i);
    }
    return st;
}

static bool encoder_open(struct encoder *e, size_t n)
{
    if (e->t->vocab.bpe)
        e->pre = pretokenizer_scratch_open();
    else
        e->spaced = mem_array(n + 1, 1);
    if (n >= CACHE_TEXT_MIN)
        e->cache = mem_array(CACHE_SLOTS, sizeof *e->cache);
    return e->pre || e->spaced;
}

static void encoder_close(struct encoder *e)
{
    merge_work_release(&e->work);
    pretokenizer_scratch_close(e->pre);
    mem_free(e->cache);
    mem_free(e->spaced);
}

enum status tokenizer_encode(const struct tokenizer *t, struct tokens *out,
                             const char *text, size_t n, const uint8_t *mark,
                             unsigned flags, struct error *err)
{
    if (n > ENCODE_BYTES_MAX)
        return fail(err, STATUS_LIMIT, "tokenizer: a text of %zu bytes, at most %d", n,
                    (int)ENCODE_BYTES_MAX);
    struct encoder e = {.t = t, .out = out, .err = err};
    const size_t before = out->n;
    enum status st = encoder_open(&e, n) ? STATUS_OK : encode_no_memory(&e);
    if (!st && flags & TOKENIZER_ADD && t->add_bos && t->bos >= 0)
        st = emit_token(&e, t->bos);
    if (!st)
        st = encode_text(&e, text, n, mark, flags);
    if (!st && flags & TOKENIZER_ADD && t->add_eos && t->eos >= 0)
        st = emit_token(&e, t->eos);
    if (st)
        out->n = before;
    encoder_close(&e);
    return st;
}
