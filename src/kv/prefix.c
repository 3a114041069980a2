#include "kv/prefix.h"

#include <string.h>

#include "base/mem.h"

enum { NONE = -1, ROOT = 0 };

/* A page in the tree; node 0 is the root, which has none. */
struct node {
    int32_t tokens[KV_PAGE_TOKENS]; // [n]
    int n;                          // fewer than a page only in leaves
    int32_t page;
    int parent, child, next, prev; // first child, siblings; a free node: next
    int depth;                     // pages before it
    int n_state;                   // checkpoints here
    uint64_t used;
};

struct checkpoint {
    int node; // NONE: free
    int pos;  // in the last page of the node's path
    uint64_t used;
};

struct kv_prefix {
    struct kv_prefix_options o;
    struct node *nodes;             // [n_node]
    struct checkpoint *checkpoints; // [n_state]
    uint8_t *states;                // [n_state][state_bytes]
    size_t states_bytes;
    int *order; // [n_node] for a path, or for those that are dropped
    int n_node, free_node;
    uint64_t clock;
};

static void reset_nodes(struct kv_prefix *t)
{
    t->nodes[ROOT] = (struct node){
        .page = NONE, .parent = NONE, .child = NONE, .next = NONE, .prev = NONE};
    t->nodes[ROOT].depth = -1;
    for (int i = 1; i < t->n_node; i++)
        t->nodes[i] =
            (struct node){.page = NONE, .next = i + 1 < t->n_node ? i + 1 : NONE};
    t->free_node = t->n_node > 1 ? 1 : NONE;
    for (int i = 0; i < t->o.n_state; i++)
        t->checkpoints[i].node = NONE;
}

enum status kv_prefix_open(struct kv_prefix **out, const struct kv_prefix_options *o,
                           struct error *err)
{
    struct kv_prefix *t = mem_array(1, sizeof *t);
    if (!t)
        return fail(err, STATUS_NO_MEMORY, "no memory for the prefix tree");
    t->o = *o;
    if (!o->state_bytes)
        t->o.n_state = 0;
    /* A page may be in two nodes: as the start of a page that was cut, and whole. */
    t->n_node = 2 * kv_pool_pages(o->pool) + 1;
    t->nodes = mem_array((size_t)t->n_node, sizeof *t->nodes);
    t->order = mem_array((size_t)t->n_node, sizeof *t->order);
    t->checkpoints = mem_array((size_t)t->o.n_state + 1, sizeof *t->checkpoints);
    t->states_bytes = (size_t)t->o.n_state * o->state_bytes;
    t->states = mem_pages(t->states_bytes + 1);
    if (!t->nodes || !t->order || !t->checkpoints || !t->states) {
        kv_prefix_close(t);
        return fail(err, STATUS_NO_MEMORY, "no memory for %d checkpoints of %zu bytes",
                    t->o.n_state, o->state_bytes);
    }
    memset(t->states, 0, t->states_bytes); // touched now, like the pool
    reset_nodes(t);
    *out = t;
    return STATUS_OK;
}

void kv_prefix_close(struct kv_prefix *t)
{
    if (!t)
        return;
    if (t->nodes && t->checkpoints)
        kv_prefix_clear(t);
    mem_free(t->nodes);
    mem_free(t->order);
    mem_free(t->checkpoints);
    mem_pages_free(t->states, t->states_bytes + 1);
    mem_free(t);
}

size_t kv_prefix_bytes(const struct kv_prefix *t)
{
    return t->states_bytes + (size_t)t->n_node * (sizeof *t->nodes + sizeof *t->order);
}

void kv_prefix_clear(struct kv_prefix *t)
{
    for (int i = 1; i < t->n_node; i++)
        if (t->nodes[i].page != NONE)
            kv_page_drop(t->o.pool, t->nodes[i].page);
    reset_nodes(t);
}

static int common_tokens(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
    const int n = n_a < n_b ? n_a : n_b;
    int i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* ---- finding ---- */

/* The farthest of what node i, which shares `common` tokens of its page, offers. */
static void offer_node(const struct kv_prefix *t, struct kv_hit *best, int i, int common,
                       int limit)
{
    const int first = t->nodes[i].depth * KV_PAGE_TOKENS;
    const int reach = first + common < limit ? first + common : limit;
    if (!t->o.state_bytes && reach > best->pos)
        *best = (struct kv_hit){.pos = reach, .node = i, .state = NONE};
    for (int k = 0; t->nodes[i].n_state && k < t->o.n_state; k++) {
        const struct checkpoint *c = &t->checkpoints[k];
        if (c->node != i)
            continue;
        /* The tail of every position in the page of the newest token is still there. */
        int pos = c->pos;
        if (pos > reach && !t->o.recurrent && reach > 0 &&
            reach / KV_PAGE_TOKENS == (pos - 1) / KV_PAGE_TOKENS)
            pos = reach;
        if (pos <= reach && pos > best->pos)
            *best = (struct kv_hit){.pos = pos, .node = i, .state = k};
    }
}

struct kv_hit kv_prefix_find(struct kv_prefix *t, const int32_t *tokens, int n, int limit)
{
    struct kv_hit best = {.node = ROOT, .state = NONE};
    int common_max = 0;
    for (int at = ROOT; at != NONE;) {
        const int depth = t->nodes[at].depth + 1;
        const int done = depth * KV_PAGE_TOKENS;
        int next = NONE;
        for (int i = t->nodes[at].child; i != NONE; i = t->nodes[i].next) {
            const struct node *x = &t->nodes[i];
            const int common = common_tokens(x->tokens, x->n, tokens + done, n - done);
            if (done + common == 0)
                continue;
            common_max = done + common > common_max ? done + common : common_max;
            offer_node(t, &best, i, common, limit);
            if (common == KV_PAGE_TOKENS)
                next = i;
        }
        at = next;
    }
    best.common = common_max;
    t->clock++;
    if (best.state != NONE)
        t->checkpoints[best.state].used = t->clock;
    for (int i = best.node; i != ROOT; i = t->nodes[i].parent)
        t->nodes[i].used = t->clock;
    return best;
}

/* ---- making room ---- */

static void unlink_node(struct kv_prefix *t, int i)
{
    struct node *x = &t->nodes[i];
    if (x->prev != NONE)
        t->nodes[x->prev].next = x->next;
    else
        t->nodes[x->parent].child = x->next;
    if (x->next != NONE)
        t->nodes[x->next].prev = x->prev;
    for (int k = 0; k < t->o.n_state; k++)
        if (t->checkpoints[k].node == i)
            t->checkpoints[k].node = NONE;
    kv_page_drop(t->o.pool, x->page);
    *x = (struct node){.page = NONE, .next = t->free_node};
    t->free_node = i;
}

/* Drop the least recently used leaf that is not in use at `keep` itself.  false: there is
 * none. */
static bool drop_leaf(struct kv_prefix *t, uint64_t keep)
{
    int least = NONE;
    for (int i = 1; i < t->n_node; i++) {
        const struct node *x = &t->nodes[i];
        if (x->page == NONE || x->child != NONE || x->used >= keep)
            continue;
        if (least == NONE || x->used < t->nodes[least].used)
            least = i;
    }
    if (least == NONE)
        return false;
    unlink_node(t, least);
    return true;
}

/* Less recently used first; what is below a node comes before it. */
static bool goes_before(const struct kv_prefix *t, int a, int b)
{
    const struct node *x = &t->nodes[a], *y = &t->nodes[b];
    return x->used != y->used     ? x->used < y->used
           : x->depth != y->depth ? x->depth > y->depth
                                  : a < b;
}

static void sift_order(struct kv_prefix *t, int n, int i)
{
    for (;;) {
        int first = i;
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (goes_before(t, t->order[child], t->order[first]))
                first = child;
        if (first == i)
            return;
        const int x = t->order[i];
        t->order[i] = t->order[first];
        t->order[first] = x;
        i = first;
    }
}

/* Drop leaves whose pages nobody else holds, the least recently used first, until `want`
 * pages are free.  A node is used whenever one below it is, so that by the time its turn
 * comes those are gone that may go. */
static void drop_spare(struct kv_prefix *t, int want, uint64_t keep)
{
    int n = 0;
    for (int i = 1; i < t->n_node; i++)
        if (t->nodes[i].page != NONE && t->nodes[i].used < keep)
            t->order[n++] = i;
    for (int i = n / 2 - 1; i >= 0; i--)
        sift_order(t, n, i);
    while (n && want > kv_pool_free(t->o.pool)) {
        const struct node *x = &t->nodes[t->order[0]];
        if (x->child == NONE && kv_page_holders(t->o.pool, x->page) == 1)
            unlink_node(t, t->order[0]);
        t->order[0] = t->order[--n];
        sift_order(t, n, 0);
    }
}

int kv_prefix_spare(const struct kv_prefix *t)
{
    int n = 0;
    for (int i = 1; i < t->n_node; i++)
        n +=
            t->nodes[i].page != NONE && kv_page_holders(t->o.pool, t->nodes[i].page) == 1;
    return n;
}

/* Leaves that others hold too give nothing back, but stand before spare pages; they go
 * only if nothing else does. */
static enum status free_pages_for(struct kv_prefix *t, struct kv_seq *s, int n_token,
                                  uint64_t keep, struct error *err)
{
    const int want = kv_pages_for(n_token) - kv_seq_pages(s);
    while (want > kv_pool_free(t->o.pool) &&
           want <= kv_pool_free(t->o.pool) + kv_prefix_spare(t)) {
        drop_spare(t, want, keep);
        if (want > kv_pool_free(t->o.pool) && !drop_leaf(t, keep))
            break;
    }
    return kv_seq_reserve(s, n_token, err);
}

enum status kv_prefix_reserve(struct kv_prefix *t, struct kv_seq *s, int n_token,
                              struct error *err)
{
    return free_pages_for(t, s, n_token, UINT64_MAX, err);
}

enum status kv_prefix_load(struct kv_prefix *t, const struct kv_hit *hit,
                           struct kv_seq *s, int n_token, struct error *err)
{
    const int n_full = hit->pos / KV_PAGE_TOKENS;
    /* Touched by kv_prefix_find, so older than nothing: the path is kept. */
    const uint64_t keep = ++t->clock;
    for (int i = hit->node; i != ROOT; i = t->nodes[i].parent)
        t->nodes[i].used = keep;
    for (int i = hit->node; i != ROOT; i = t->nodes[i].parent)
        t->order[t->nodes[i].depth] = i;
    for (int page = 0; page < n_full; page++)
        kv_seq_share(s, t->nodes[t->order[page]].page);
    const enum status rc = free_pages_for(t, s, n_token, keep, err);
    if (rc) {
        kv_seq_release(s);
        return rc;
    }
    if (hit->pos % KV_PAGE_TOKENS)
        kv_seq_copy(s, n_full, t->nodes[hit->node].page);
    if (hit->state != NONE)
        memcpy(kv_seq_state(s), t->states + (size_t)hit->state * t->o.state_bytes,
               t->o.state_bytes);
    return STATUS_OK;
}

/* ---- putting ---- */

/* Tokens that must be run again without checkpoint k: back to the one before it. */
static int gap_before(const struct kv_prefix *t, int k)
{
    const struct checkpoint *c = &t->checkpoints[k];
    int before = 0;
    for (int i = c->node; i != ROOT && !before; i = t->nodes[i].parent)
        for (int j = 0; t->nodes[i].n_state && j < t->o.n_state; j++)
            if (t->checkpoints[j].node == i && t->checkpoints[j].pos < c->pos &&
                t->checkpoints[j].pos > before)
                before = t->checkpoints[j].pos;
    return c->pos - before;
}

static int take_state(struct kv_prefix *t)
{
    int least = NONE;
    double least_worth = 0;
    for (int k = 0; k < t->o.n_state; k++) {
        if (t->checkpoints[k].node == NONE)
            return k;
        const double age = (double)(t->clock - t->checkpoints[k].used) + 1;
        const double worth = gap_before(t, k) / age;
        if (least == NONE || worth < least_worth) {
            least = k;
            least_worth = worth;
        }
    }
    t->nodes[t->checkpoints[least].node].n_state--;
    return least;
}

static int take_node(struct kv_prefix *t)
{
    if (t->free_node == NONE && !drop_leaf(t, t->clock))
        return NONE;
    const int i = t->free_node;
    t->free_node = t->nodes[i].next;
    return i;
}

static int add_node(struct kv_prefix *t, int parent, const int32_t *tokens, int n,
                    int32_t page)
{
    const int i = take_node(t);
    if (i == NONE)
        return NONE;
    struct node *x = &t->nodes[i];
    *x = (struct node){.n = n,
                       .page = page,
                       .parent = parent,
                       .child = NONE,
                       .next = t->nodes[parent].child,
                       .prev = NONE,
                       .depth = t->nodes[parent].depth + 1,
                       .used = t->clock};
    memcpy(x->tokens, tokens, (size_t)n * sizeof *tokens);
    if (x->next != NONE)
        t->nodes[x->next].prev = i;
    t->nodes[parent].child = i;
    kv_page_hold(t->o.pool, page);
    return i;
}

/* The child that holds exactly these tokens, or NONE. */
static int child_with(const struct kv_prefix *t, int parent, const int32_t *tokens, int n)
{
    for (int i = t->nodes[parent].child; i != NONE; i = t->nodes[i].next)
        if (t->nodes[i].n == n && common_tokens(t->nodes[i].tokens, n, tokens, n) == n)
            return i;
    return NONE;
}

/* Nodes that hold the start of node i's tokens have nothing that it has not, but for
 * their checkpoints. */
static void absorb_starts(struct kv_prefix *t, int i)
{
    const struct node *x = &t->nodes[i];
    for (int k = t->nodes[x->parent].child, next; k != NONE; k = next) {
        const struct node *y = &t->nodes[k];
        next = y->next;
        if (k == i || y->n >= x->n ||
            common_tokens(x->tokens, x->n, y->tokens, y->n) < y->n)
            continue;
        for (int c = 0; c < t->o.n_state; c++)
            if (t->checkpoints[c].node == k) {
                t->checkpoints[c].node = i;
                t->nodes[i].n_state++;
            }
        unlink_node(t, k);
    }
}

static void keep_state(struct kv_prefix *t, int node, int pos, const struct kv_seq *s)
{
    for (int k = 0; k < t->o.n_state; k++)
        if (t->checkpoints[k].node == node && t->checkpoints[k].pos == pos) {
            t->checkpoints[k].used = t->clock;
            return; // the same tokens: the same state
        }
    const int k = take_state(t);
    t->checkpoints[k] = (struct checkpoint){node, pos, t->clock};
    t->nodes[node].n_state++;
    memcpy(t->states + (size_t)k * t->o.state_bytes, kv_seq_state(s), t->o.state_bytes);
}

void kv_prefix_put(struct kv_prefix *t, const int32_t *tokens, int n, struct kv_seq *s,
                   bool state)
{
    int at = ROOT;
    t->clock++;
    for (int done = 0; done < n && (state || done + KV_PAGE_TOKENS <= n);
         done += KV_PAGE_TOKENS) {
        const int page = done / KV_PAGE_TOKENS;
        const int count = n - done < KV_PAGE_TOKENS ? n - done : KV_PAGE_TOKENS;
        int i = child_with(t, at, tokens + done, count);
        if (i == NONE) {
            i = add_node(t, at, tokens + done, count, kv_seq_index(s, page));
            if (i == NONE)
                return;
        } else if (count == KV_PAGE_TOKENS && t->nodes[i].page != kv_seq_index(s, page)) {
            kv_seq_adopt(s, page, t->nodes[i].page);
        }
        absorb_starts(t, i);
        t->nodes[i].used = t->clock;
        at = i;
    }
    if (state && n && t->o.n_state)
        keep_state(t, at, n, s);
}
