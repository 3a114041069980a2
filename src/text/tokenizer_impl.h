/* tokenizer_impl.h - inside a tokenizer: shared by tokenizer.c, encode.c and bpe.c. */
#ifndef TEXT_TOKENIZER_IMPL_H
#define TEXT_TOKENIZER_IMPL_H

#include "text/merge.h"
#include "text/pretokenizer.h"
#include "text/specials.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

/* Tokens left and right join to id; a lower rank goes first. */
struct bpe_merge {
    int32_t left, right, id; // left is -1 in an empty slot
    uint32_t rank;
};

struct bpe_merges {
    struct bpe_merge *slot; // NULL: pairs are ranked by the id they give
    uint32_t mask;
};

enum status bpe_merges_open(struct bpe_merges *m, const struct vocab *v,
                            const struct gguf *g, struct error *err);
void bpe_merges_release(struct bpe_merges *m);

struct tokenizer {
    struct vocab vocab;
    struct specials specials;
    int32_t bos, eos, unk; // -1 is none
    bool add_bos, add_eos;
    bool add_space_prefix; // SentencePiece
    merge_pair *pair;
    /* byte-level BPE only */
    struct bpe_merges merges;
    struct pretokenizer *pre;
    bool ignore_merges;
};

/* Pairs of byte-level BPE by the table of merges, or by the id they give. */
uint32_t bpe_pair(const struct tokenizer *t, const char *s, size_t n, int32_t left,
                  int32_t right, int32_t *merged);
uint32_t bpe_pair_by_id(const struct tokenizer *t, const char *s, size_t n, int32_t left,
                        int32_t right, int32_t *merged);
/* Pairs of SentencePiece: the score of the token that they spell. */
uint32_t spm_pair(const struct tokenizer *t, const char *s, size_t n, int32_t left,
                  int32_t right, int32_t *merged);

#endif
