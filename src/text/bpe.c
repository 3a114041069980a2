/* bpe.c - merges of byte-level BPE. */
#include "text/tokenizer_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

#define KEY_MERGES "tokenizer.ggml.merges"

enum { MERGES_MAX = 1 << 23, MERGE_PROBE_MAX = 4096 };

static uint32_t pair_hash(int32_t left, int32_t right)
{
    return (uint32_t)(rng_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) >> 32);
}

/* The slot of a pair, or the empty one where it belongs; *probe counts the steps. */
static struct bpe_merge *merge_slot(const struct bpe_merges *m, int32_t left,
                                    int32_t right, int *probe)
{
    uint32_t i = pair_hash(left, right) & m->mask;
    while (m->slot[i].left >= 0 &&
           (m->slot[i].left != left || m->slot[i].right != right)) {
        i = (i + 1) & m->mask;
        ++*probe;
    }
    return &m->slot[i];
}

/* "left right", split at the first space behind the first character.  A merge whose parts
 * or whole are no tokens cannot be used and is skipped. */
static enum status add_merge(struct bpe_merges *m, const struct vocab *v,
                             struct gguf_str s, uint32_t rank, struct error *err)
{
    const char *space = s.n > 1 ? memchr(s.s + 1, ' ', s.n - 1) : NULL;
    if (!space || s.n > TOKEN_BYTES_MAX)
        return fail(err, STATUS_BAD_FILE,
                    KEY_MERGES "[%u] is not two symbols with a space between them", rank);
    char word[TOKEN_BYTES_MAX];
    bool pure;
    const size_t n_left = vocab_byte_decode(word, s.s, (size_t)(space - s.s), &pure);
    const char *end = s.s + s.n;
    const size_t n_right =
        vocab_byte_decode(word + n_left, space + 1, (size_t)(end - space - 1), &pure);
    const int32_t left = vocab_find(v, word, n_left);
    const int32_t right = vocab_find(v, word + n_left, n_right);
    const int32_t id = vocab_find(v, word, n_left + n_right);
    if (left < 0 || right < 0 || id < 0)
        return STATUS_OK;
    int probe = 0;
    struct bpe_merge *slot = merge_slot(m, left, right, &probe);
    if (probe > MERGE_PROBE_MAX)
        return fail(err, STATUS_BAD_FILE,
                    KEY_MERGES ": too many pairs with equal hashes");
    if (slot->left < 0)
        *slot = (struct bpe_merge){left, right, id, rank};
    return STATUS_OK;
}

enum status bpe_merges_open(struct bpe_merges *m, const struct vocab *v,
                            const struct gguf *g, struct error *err)
{
    struct gguf_strings a = {0};
    enum status st = gguf_strings_open(&a, g, KEY_MERGES, err);
    if (st)
        return st;
    if (a.n > MERGES_MAX) {
        st = fail(err, STATUS_BAD_FILE, KEY_MERGES " has %zu entries, at most %d", a.n,
                  (int)MERGES_MAX);
        goto out;
    }
    size_t n_slot = 16;
    while (n_slot < a.n * 3 / 2)
        n_slot *= 2;
    m->mask = (uint32_t)n_slot - 1;
    m->slot = mem_array(n_slot, sizeof *m->slot);
    if (!m->slot) {
        st = fail(err, STATUS_NO_MEMORY, "no memory for %zu merges", a.n);
        goto out;
    }
    for (size_t i = 0; i < n_slot; i++)
        m->slot[i].left = -1;
    for (size_t i = 0; !st && i < a.n; i++)
        st = add_merge(m, v, gguf_strings_at(&a, i), (uint32_t)i, err);
out:
    gguf_strings_close(&a);
    return st;
}

void bpe_merges_release(struct bpe_merges *m)
{
    mem_free(m->slot);
    *m = (struct bpe_merges){0};
}

uint32_t bpe_pair(const struct tokenizer *t, const char *s, size_t n, int32_t left,
                  int32_t right, int32_t *merged)
{
    (void)s, (void)n;
    int probe = 0;
    if (left < 0 || right < 0)
        return MERGE_NONE;
    const struct bpe_merge *m = merge_slot(&t->merges, left, right, &probe);
    if (m->left < 0)
        return MERGE_NONE;
    *merged = m->id;
    return m->rank;
}

uint32_t bpe_pair_by_id(const struct tokenizer *t, const char *s, size_t n, int32_t left,
                        int32_t right, int32_t *merged)
{
    if (left < 0 || right < 0)
        return MERGE_NONE;
    *merged = vocab_find(&t->vocab, s, n);
    return *merged < 0 ? MERGE_NONE : (uint32_t)*merged;
}

uint32_t spm_pair(const struct tokenizer *t, const char *s, size_t n, int32_t left,
                  int32_t right, int32_t *merged)
{
    (void)left, (void)right;
    *merged = vocab_find(&t->vocab, s, n);
    return *merged < 0 ? MERGE_NONE : t->vocab.prio[*merged];
}
