/* kv.h - memory of sequences: pages, and a block of state for each sequence.
 *
 * A page is the storage of KV_PAGE_TOKENS consecutive tokens, for all layers; what is
 * inside is the mixers' business.  Sequences that start with the same tokens share full
 * pages: a page counts who holds it and is free when nobody does.  The pool is reserved
 * and touched at open, so that taking a page cannot fail for memory later. */
#ifndef KV_KV_H
#define KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { KV_PAGE_TOKENS = 64 };

struct kv_pool;

/* Pages that n_token tokens of a sequence take. */
int kv_pages_for(int n_token);

/* page_bytes and state_bytes are rounded up to 64. */
enum status kv_pool_open(struct kv_pool **out, size_t page_bytes, int n_page,
                         size_t state_bytes, int n_seq, struct error *err);
void kv_pool_close(struct kv_pool *p);
size_t kv_pool_bytes(const struct kv_pool *p); // all that was reserved
int kv_pool_pages(const struct kv_pool *p);
int kv_pool_free(const struct kv_pool *p); // pages

/* One more holder of a page, which somebody holds; one less. */
void kv_page_hold(struct kv_pool *p, int32_t page);
void kv_page_drop(struct kv_pool *p, int32_t page);
int kv_page_holders(const struct kv_pool *p, int32_t page);

/* One timeline of tokens. */
struct kv_seq;

enum status kv_seq_open(struct kv_seq **out, struct kv_pool *p, struct error *err);
void kv_seq_close(struct kv_seq *s);   // gives its pages back
void kv_seq_release(struct kv_seq *s); // the same, and stays open
/* Take pages so that n_token tokens fit; STATUS_FULL (and nothing taken) if they do not.
 */
enum status kv_seq_reserve(struct kv_seq *s, int n_token, struct error *err);
int kv_seq_pages(const struct kv_seq *s);               // that it holds
int32_t kv_seq_index(const struct kv_seq *s, int page); // in the pool
/* Append a full page of another sequence, which this one will not write. */
void kv_seq_share(struct kv_seq *s, int32_t index);
/* Hold page `index`, which has the same content, in place of the own one. */
void kv_seq_adopt(struct kv_seq *s, int page, int32_t index);
/* The content of a page of the pool into an own page. */
void kv_seq_copy(struct kv_seq *s, int page, int32_t index);
uint8_t *kv_seq_page(const struct kv_seq *s, int page);

/* The same for readers that look pages up themselves: page i is at
 * base + stride * table[i]. */
struct kv_view {
    const uint8_t *base;
    size_t stride;
    const int32_t *table;
};

struct kv_view kv_seq_view(const struct kv_seq *s);
uint8_t *kv_seq_state(const struct kv_seq *s);

#endif
