/* attn_cache.h - where attention keeps keys and values of a layer.
 *
 * Inside a page of the pool a layer has, for each kv head, a key page and a value page of
 * the stored types.  A compressed role also has exact copies in the sequence state, for
 * each head: a ring of pages (the tail and the open page) and the sinks.  A layer with a
 * sliding window has nothing in pages of the pool: its ring holds the window.  During a
 * step the exact pages of a run behind its first one are in scratch (`fresh`); the last
 * of them go to the ring when the layer is done. */
#ifndef MODEL_ATTN_CACHE_H
#define MODEL_ATTN_CACHE_H

#include <stdbool.h>

#include "model/model_impl.h"
#include "turboquant.h"

enum { ATTN_SINKS = 4 }; // first tokens, always exact

struct attn_shape {
    int n_head, n_head_kv; // the first a multiple of the second
    int d, d_v;            // of keys and of values
    float scale;           // of scores
    float softcap;         // of scores; 0: none
    int window;            // tokens that a query sees; 0: all
    bool latent;           // values are the first d_v of the key, which is stored once
};

struct attn_cache {
    struct tq_codec k, v;   // as stored in pages
    struct tq_codec kx, vx; // as stored exactly: the same if the type is exact
    bool compressed;        // at least one of the roles
    int n_head;             // kv heads
    int window;             // as in the shape
    bool latent;
    bool ring;                           // there are exact copies in the sequence state
    int tail_pages;                      // exact pages behind the own one
    size_t k_bytes, v_bytes, head_bytes; // of a page of the pool, for each head
    size_t kx_bytes, vx_bytes;           // of an exact copy, 0 if there is none
    size_t sink_k_bytes, sink_v_bytes;
    size_t head_state_bytes;
};

/* For sequences of at most n_ctx tokens, which bound the ring of a window; types are
 * those of the layer, not of the whole model. */
enum status attn_cache_init(struct attn_cache *a, const struct attn_shape *shape,
                            const struct kv_types *types, int n_ctx, enum cpu_isa isa,
                            struct error *err);

/* Scratch of one head for the exact pages of n_run runs of n_tok tokens in all. */
size_t attn_cache_fresh_bytes(const struct attn_cache *a, int n_tok, int n_run);

/* Bytes of one head that the query at pos reads: stored rows, exact tail and sinks. */
uint64_t attn_cache_read_bytes(const struct attn_cache *a, int pos);

/* The pages of a run in one layer. */
struct attn_place {
    const struct kv_seq *seq;
    size_t page_offset;
    uint8_t *state, *fresh;
    int n_fresh;    // pages for each head in `fresh`
    int first_page; // page of the run's first token
};

/* Takes what the run needs from *fresh, which moves behind it. */
struct attn_place attn_cache_place(const struct attn_cache *a, const struct context *c,
                                   const struct run *r, int layer, uint8_t **fresh);

/* Keys and values of one page of one head, with the codecs that read them. */
struct attn_part {
    const struct tq_codec *k, *v;
    uint8_t *k_page, *v_page;
};

struct attn_part attn_cache_page(const struct attn_cache *a, const struct attn_place *p,
                                 int head, int page, bool exact);
struct attn_part attn_cache_sinks(const struct attn_cache *a, const struct attn_place *p,
                                  int head);

/* The cache of one head as queries in page `own` read it.  exact_k and exact_v hold
 * tail_pages + 1 pointers and must outlive *out. */
void attn_cache_view(struct tq_cache *out, const struct attn_cache *a,
                     const struct attn_place *p, int head, int own, const void **exact_k,
                     const void **exact_v);

/* Store the rows of the token at pos; a latent cache has no v. */
void attn_cache_put(const struct attn_cache *a, const struct attn_place *p, int head,
                    int pos, const float *k, const float *v);

/* Pages that the run completes, from first_page on. */
int attn_cache_full_pages(const struct attn_place *p, const struct run *r);
void attn_cache_encode(const struct attn_cache *a, const struct attn_place *p, int head,
                       int page, void *scratch);

/* Move the exact pages that the next step may need from `fresh` to the ring. */
void attn_cache_keep_tail(const struct attn_cache *a, const struct attn_place *p,
                          const struct run *r);

#endif
