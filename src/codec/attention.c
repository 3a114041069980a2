/* attention.c - attention over the pages of a cache: leaves, their tree, whole calls. */
#include "turboquant.h"

#include <math.h>
#include <string.h>

#include "codec/attend.h"
#include "codec/layout.h"

enum { LEAF_PAGES = TQ_LEAF_TOKENS / TQ_PAGE_TOKENS };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* ---- the tree ---- */

/* Nodes of a tree that holds n_leaf leaves, from leaf 0 on or from any other.  In
 * ascending order of leaves the levels of nodes without a sibling first rise, which they
 * cannot do from leaf 0 on, then fall.  One more takes the leaf that is being added. */
static int count_nodes(int leaf0, int n_leaf)
{
    int levels = 1;
    while (levels < 31 && 1 << (levels - 1) < n_leaf)
        levels++;
    return least((leaf0 ? 2 * levels : levels) + 1, TQ_TREE_NODES);
}

static size_t floats_bytes(int n)
{
    return tq_round_up_64((size_t)n * sizeof(float));
}

/* m and l, then o. */
static size_t node_bytes(int n, int d)
{
    return 2 * floats_bytes(n) + floats_bytes(n * d);
}

size_t tq_tree_bytes(int n, int d, int leaf0, int n_leaf)
{
    return (size_t)count_nodes(leaf0, n_leaf) * node_bytes(n, d);
}

void tq_tree_init(struct tq_tree *t, void *mem, int n, int d, int leaf0, int n_leaf)
{
    *t = (struct tq_tree){.n = n, .d = d, .next_leaf = leaf0};
    const int n_node = count_nodes(leaf0, n_leaf);
    for (int i = 0; i < n_node; i++) {
        char *at = (char *)mem + (size_t)i * node_bytes(n, d);
        t->node[i].partial =
            (struct tq_partial){(void *)at, (void *)(at + floats_bytes(n)),
                                (void *)(at + 2 * floats_bytes(n))};
    }
}

/* The last node is new: merge it, and what that makes, with its sibling. */
static void merge_siblings(struct tq_tree *t)
{
    while (t->n_node >= 2) {
        struct tq_node *a = &t->node[t->n_node - 2], *b = a + 1;
        if (a->level != b->level || a->leaf >> a->level & 1)
            return;
        tq_merge(&a->partial, &b->partial, t->n, t->d);
        a->level++;
        t->n_node--;
    }
}

/* Room for the node of this level that starts at the next leaf. */
static struct tq_partial *push_node(struct tq_tree *t, int level)
{
    struct tq_node *node = &t->node[t->n_node++];
    node->level = level;
    node->leaf = t->next_leaf;
    t->next_leaf += 1 << level;
    return &node->partial;
}

void tq_tree_append(struct tq_tree *into, const struct tq_tree *from)
{
    const size_t n = (size_t)into->n;
    for (int i = 0; i < from->n_node; i++) {
        const struct tq_partial *p = &from->node[i].partial;
        struct tq_partial *to = push_node(into, from->node[i].level);
        memcpy(to->m, p->m, n * sizeof *p->m);
        memcpy(to->l, p->l, n * sizeof *p->l);
        memcpy(to->o, p->o, n * (size_t)into->d * sizeof *p->o);
        merge_siblings(into);
    }
}

void tq_tree_finish(struct tq_tree *t, float *out, size_t stride, float *lse)
{
    if (t->n_node == 0)
        tq_partial_reset(push_node(t, 0), t->n, t->d);
    for (; t->n_node > 1; t->n_node--)
        tq_merge(&t->node[t->n_node - 2].partial, &t->node[t->n_node - 1].partial, t->n,
                 t->d);
    const struct tq_partial *p = &t->node[0].partial;
    tq_finish(p, out, stride, t->n, t->d);
    for (int i = 0; lse && i < t->n; i++)
        lse[i] = p->l[i] == 0.0f ? -INFINITY : p->m[i] + logf(p->l[i]);
    t->n_node = 0;
    t->next_leaf = 0;
}

/* ---- leaves ---- */

static const uint8_t *cache_page(const struct tq_cache *c, int page)
{
    return (const uint8_t *)c->base +
           c->stride * (size_t)(c->table ? c->table[page] : page);
}

/* hi[i] <- tokens of the page that query i sees, at most `most`. */
static void visible(uint8_t *hi, int n, int n_token, const int32_t *seen, int page,
                    int most)
{
    const int first = page * TQ_PAGE_TOKENS;
    for (int i = 0; i < n; i++) {
        const int in_page = (seen ? seen[i] : n_token) - first;
        hi[i] = (uint8_t)(in_page < 0 ? 0 : least(in_page, most));
    }
}

static void attend_leaf(struct tq_partial *p, const struct tq_cache *c,
                        const struct tq_query *q, int n_token, const int32_t *seen,
                        int leaf, void *scratch)
{
    uint8_t *hi = scratch;
    void *rest = hi + tq_round_up_64((size_t)q->n);
    const int n_page = (n_token + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    const int end = least(n_page, (leaf + 1) * LEAF_PAGES);
    tq_partial_reset(p, q->n, c->v->d);
    for (int page = leaf * LEAF_PAGES; page < end; page++) {
        int lo = 0;
        if (c->exact_kpages && page >= c->exact_page) {
            visible(hi, q->n, n_token, seen, page, TQ_PAGE_TOKENS);
            tq_attend(c->exact_k, c->exact_v, p, q, c->exact_kpages[page - c->exact_page],
                      c->exact_vpages[page - c->exact_page], 0, hi, rest);
            continue;
        }
        if (page == 0 && c->n_sink) {
            lo = c->n_sink;
            visible(hi, q->n, n_token, seen, page, lo);
            tq_attend(c->exact_k, c->exact_v, p, q, c->sink_k, c->sink_v, 0, hi, rest);
        }
        visible(hi, q->n, n_token, seen, page, TQ_PAGE_TOKENS);
        const uint8_t *at = cache_page(c, page);
        const uint8_t *next = page + 1 < end ? cache_page(c, page + 1) : NULL;
        tq_attend_then(c->k, c->v, p, q, at + c->k_offset, at + c->v_offset, lo, hi,
                       next ? next + c->k_offset : NULL, next ? next + c->v_offset : NULL,
                       rest);
    }
}

void tq_attend_leaves(struct tq_tree *t, const struct tq_cache *c,
                      const struct tq_query *q, int n_token, const int32_t *seen,
                      int leaf_end, void *scratch)
{
    while (t->next_leaf < leaf_end) {
        const int leaf = t->next_leaf;
        attend_leaf(push_node(t, 0), c, q, n_token, seen, leaf, scratch);
        merge_siblings(t);
    }
}

/* ---- whole calls ---- */

int tq_count_leaves(int n_token)
{
    return (n_token + TQ_LEAF_TOKENS - 1) / TQ_LEAF_TOKENS;
}

static size_t leaves_scratch_bytes(int d_max, int n)
{
    return tq_round_up_64((size_t)n) + tq_round_up_64(tq_attend_scratch_bytes(d_max, n));
}

size_t tq_attention_scratch_bytes(int d_max, int n, int n_token)
{
    const size_t tree =
        n_token ? tq_tree_bytes(n, d_max, 0, tq_count_leaves(n_token)) : 0;
    return leaves_scratch_bytes(d_max, n) + tree;
}

static void attend_all(const struct tq_cache *c, float *out, size_t stride, float *lse,
                       const struct tq_query *q, int n_token, const int32_t *seen,
                       void *scratch)
{
    const int n_leaf = tq_count_leaves(n_token);
    struct tq_tree t;
    void *mem = (char *)scratch +
                leaves_scratch_bytes(c->k->d > c->v->d ? c->k->d : c->v->d, q->n);
    tq_tree_init(&t, mem, q->n, c->v->d, 0, n_leaf);
    tq_attend_leaves(&t, c, q, n_token, seen, n_leaf, scratch);
    tq_tree_finish(&t, out, stride, lse);
}

void tq_attention_decode(const struct tq_cache *c, float *out, size_t stride, float *lse,
                         const struct tq_query *q, int n_token, void *scratch)
{
    attend_all(c, out, stride, lse, q, n_token, NULL, scratch);
}

void tq_attention_prefill(const struct tq_cache *c, float *out, size_t stride, float *lse,
                          const struct tq_query *q, const int32_t *seen, void *scratch)
{
    int n_token = 0;
    for (int i = 0; i < q->n; i++)
        n_token = seen[i] > n_token ? seen[i] : n_token;
    attend_all(c, out, stride, lse, q, n_token, seen, scratch);
}
