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

static int clamp(int x, int lo, int hi)
{
    return x < lo ? lo : least(x, hi);
}

/* The queries of a call and how many tokens they see. */
struct sight {
    const struct tq_cache *c;
    const struct tq_query *q;
    int n_token;
    const int32_t *seen; // [q->n] or NULL
    int first;           // no query sees an earlier token
    int least;           // every query sees the tokens before this one
    bool whole;          // lo and hi are those of a page that all queries see all of
    uint8_t *lo, *hi;    // [q->n]
    struct tq_attend_job stored, exact;
};

static int tokens_of(const struct sight *s, int i)
{
    return s->seen ? s->seen[i] : s->n_token;
}

static int first_token(const struct sight *s)
{
    if (!s->c->window)
        return 0;
    int first = s->n_token;
    for (int i = 0; i < s->q->n; i++)
        if (tokens_of(s, i) > 0)
            first = clamp(tokens_of(s, i) - s->c->window, 0, first);
    return first;
}

static int least_token(const struct sight *s)
{
    int n = s->n_token;
    for (int i = 0; s->seen && i < s->q->n; i++)
        n = least(n, s->seen[i]);
    return n;
}

/* Of the tokens [from, end) of a page query i sees [lo[i], hi[i]).  false: nobody sees
 * any. */
static bool look(struct sight *s, int page, int from, int end)
{
    const int at = page * TQ_PAGE_TOKENS, window = s->c->window;
    const bool whole =
        !window && from == 0 && end == TQ_PAGE_TOKENS && at + end <= s->least;
    bool any = false;
    if (whole && s->whole) // as the page before
        return true;
    s->whole = whole;
    for (int i = 0; i < s->q->n; i++) {
        const int in_page = tokens_of(s, i) - at;
        s->hi[i] = (uint8_t)clamp(in_page, 0, end);
        s->lo[i] = (uint8_t)(window ? clamp(in_page - window, from, end) : from);
        any = any || s->hi[i] > s->lo[i];
    }
    return any;
}

/* last: the last page of the call. */
static void attend_stored(struct tq_partial *p, struct sight *s, int page, int last)
{
    const struct tq_cache *c = s->c;
    const uint8_t *at = cache_page(c, page);
    const int next = least(page + 1, last);
    struct tq_page_view view = {.k = at + c->k_offset,
                                .v = c->latent ? NULL : at + c->v_offset,
                                .lows = s->lo,
                                .hi = s->hi,
                                .whole = s->whole};
    if (next > page) {
        at = cache_page(c, next);
        view.next_k = at + c->k_offset;
        view.next_v = c->latent ? NULL : at + c->v_offset;
        if (last > next)
            view.after_k = cache_page(c, next + 1) + c->k_offset;
    }
    tq_attend_page(&s->stored, p, &view);
}

static void attend_exact(struct tq_partial *p, struct sight *s, const void *k,
                         const void *v)
{
    const struct tq_page_view view = {.k = k,
                                      .v = s->c->latent ? NULL : v,
                                      .lows = s->lo,
                                      .hi = s->hi,
                                      .whole = s->whole};
    tq_attend_page(&s->exact, p, &view);
}

/* Leaf `leaf`, after which those before leaf_end follow. */
static void attend_leaf(struct tq_partial *p, struct sight *s, int leaf, int leaf_end)
{
    const struct tq_cache *c = s->c;
    const int n_page = (s->n_token + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    const int end = least(n_page, (leaf + 1) * LEAF_PAGES);
    const int last = least(n_page, leaf_end * LEAF_PAGES) - 1;
    tq_partial_reset(p, s->q->n, c->v->d);
    int page = leaf * LEAF_PAGES;
    if (page < s->first / TQ_PAGE_TOKENS)
        page = s->first / TQ_PAGE_TOKENS;
    for (; page < end; page++) {
        const int exact = c->exact_kpages ? page - c->exact_page : -1;
        const int n_sink = page == 0 && exact < 0 ? c->n_sink : 0;
        if (n_sink && look(s, page, 0, n_sink))
            attend_exact(p, s, c->sink_k, c->sink_v);
        if (!look(s, page, n_sink, TQ_PAGE_TOKENS))
            continue;
        if (exact >= 0)
            attend_exact(p, s, c->exact_kpages[exact],
                         c->latent ? NULL : c->exact_vpages[exact]);
        else
            attend_stored(p, s, page, last);
    }
}

/* The highest level of a node that can start at the next leaf and has no leaf from `end`
 * on. */
static int level_before(const struct tq_tree *t, int end)
{
    int level = 0;
    while (!(t->next_leaf >> level & 1) && t->next_leaf + (2 << level) <= end)
        level++;
    return level;
}

void tq_attend_leaves(struct tq_tree *t, const struct tq_cache *c,
                      const struct tq_query *q, int n_token, const int32_t *seen,
                      int leaf_end, void *scratch)
{
    struct sight s = {.c = c, .q = q, .n_token = n_token, .seen = seen, .lo = scratch};
    s.hi = s.lo + tq_round_up_64((size_t)q->n);
    void *rest = s.hi + tq_round_up_64((size_t)q->n);
    s.first = first_token(&s);
    s.least = least_token(&s);
    tq_attend_open(&s.stored, c->k, c->v, q, c->latent, c->softcap, c->shift, rest);
    if (c->n_sink || c->exact_kpages)
        tq_attend_open(&s.exact, c->exact_k, c->exact_v, q, c->latent, c->softcap,
                       c->shift, rest);
    const int empty_end = least(s.first / TQ_LEAF_TOKENS, leaf_end);
    while (t->next_leaf < leaf_end) {
        const int leaf = t->next_leaf;
        if (leaf < empty_end)
            tq_partial_reset(push_node(t, level_before(t, empty_end)), q->n, c->v->d);
        else
            attend_leaf(push_node(t, 0), &s, leaf, leaf_end);
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
    return 2 * tq_round_up_64((size_t)n) +
           tq_round_up_64(tq_attend_scratch_bytes(d_max, n));
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
