/* sampler.c - biases, mask, penalties, top-k, typical-p, top-p, min-p, temperature: in
 * this order, which is the one that llama.cpp and Ollama document and that users'
 * settings were tuned with. */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/rng.h"

struct candidate {
    int32_t id;
    int count; // in what a penalty looks at
    float logit;
    double p, distance; // distance: of typical-p
};

const struct sampler_params sampler_defaults = {
    .temp = 0.8f,
    .top_k = 40,
    .top_p = 0.95f,
    .min_p = 0.05f,
    .typical_p = 1.0f,
    .repeat_penalty = 1.0f,
    .repeat_last_n = 64,
    .seed = 0,
};

enum status sampler_open(struct sampler *s, int n_vocab, struct error *err)
{
    *s = (struct sampler){n_vocab, mem_array((size_t)n_vocab, sizeof *s->candidates)};
    if (!s->candidates)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d candidates", n_vocab);
    return STATUS_OK;
}

void sampler_close(struct sampler *s)
{
    mem_free(s->candidates);
    *s = (struct sampler){0};
}

/* Larger logits first; equal ones by id, so that the order is fixed. */
static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool nearer(const struct candidate *a, const struct candidate *b)
{
    return a->distance < b->distance || (a->distance == b->distance && before(a, b));
}

typedef bool candidate_order(const struct candidate *a, const struct candidate *b);

/* The root of a heap comes last in the order. */
static void sift_down(struct candidate *heap, int n, int i, candidate_order *order)
{
    for (;;) {
        int last = i; // the candidate that comes last of i and its children
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (order(&heap[last], &heap[child]))
                last = child;
        if (last == i)
            return;
        const struct candidate t = heap[i];
        heap[i] = heap[last];
        heap[last] = t;
        i = last;
    }
}

static void make_heap(struct candidate *c, int n, candidate_order *order)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sift_down(c, n, i, order);
}

/* qsort may allocate, and a step must not. */
static void sort_heap(struct candidate *c, int n, candidate_order *order)
{
    for (int end = n - 1; end > 0; end--) {
        const struct candidate t = c[0];
        c[0] = c[end];
        c[end] = t;
        sift_down(c, end, 0, order);
    }
}

/* Source: CTRL, arXiv 1909.05858, 4.1. */
static void penalise_repeats(struct candidate *c, const struct sampler_params *p,
                             const int32_t *history, size_t n)
{
    const size_t last = p->repeat_last_n < 0 ? n : (size_t)p->repeat_last_n;
    const size_t first = n > last ? n - last : 0;
    for (size_t i = first; i < n; i++) {
        struct candidate *at = &c[history[i]];
        if (at->count++)
            continue;
        at->logit =
            at->logit > 0 ? at->logit / p->repeat_penalty : at->logit * p->repeat_penalty;
    }
    for (size_t i = first; i < n; i++)
        c[history[i]].count = 0;
}

/* Source: OpenAI, API reference, frequency and presence penalties: of tokens that the
 * answer has so far. */
static void penalise_answer(struct candidate *c, const struct sampler_params *p,
                            const int32_t *answer, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct candidate *at = &c[answer[i]];
        at->logit -= p->frequency_penalty + (at->count++ ? 0.0f : p->presence_penalty);
    }
}

/* The candidates that mask and biases leave; returns how many. */
static int set_candidates(struct sampler *s, const struct sampler_params *p,
                          const float *logits, const int32_t *history, size_t n,
                          size_t n_answer, const uint32_t *mask)
{
    struct candidate *c = s->candidates;
    for (int i = 0; i < s->n_vocab; i++)
        c[i] = (struct candidate){.id = i, .logit = logits[i]};
    for (int i = 0; i < p->n_bias; i++)
        c[p->bias[i].id].logit += p->bias[i].bias;
    if (p->repeat_penalty != 1.0f)
        penalise_repeats(c, p, history, n);
    if (p->presence_penalty != 0 || p->frequency_penalty != 0)
        penalise_answer(c, p, history + (n - n_answer), n_answer);
    if (!mask)
        return s->n_vocab;
    int left = 0;
    for (int i = 0; i < s->n_vocab; i++)
        if (mask[i / 32] >> (i % 32) & 1)
            c[left++] = c[i];
    return left;
}

/* Move the k largest to the front and sort them: a heap of k whose root is the smallest.
 */
static void keep_top(struct candidate *c, int n, int k)
{
    make_heap(c, k, before);
    for (int i = k; i < n; i++)
        if (before(&c[i], &c[0])) {
            c[0] = c[i];
            sift_down(c, k, 0, before);
        }
    sort_heap(c, k, before);
}

/* p of sorted candidates; returns the sum. */
static double softmax(struct candidate *c, int n, double temp)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        c[i].p = exp(((double)c[i].logit - (double)c[0].logit) / temp);
        sum += c[i].p;
    }
    return sum;
}

/* Keep those whose surprise is nearest to the expected one, up to a mass of typical_p, in
 * the order of logits.  Source: arXiv 2202.00666, 4. */
static int keep_typical(struct candidate *c, int n, float typical_p)
{
    const double sum = softmax(c, n, 1.0);
    double entropy = 0, mass = 0;
    for (int i = 0; i < n; i++)
        if (c[i].p > 0)
            entropy -= c[i].p / sum * log(c[i].p / sum);
    for (int i = 0; i < n; i++)
        c[i].distance = fabs(-log(c[i].p / sum) - entropy); // infinite for p = 0
    make_heap(c, n, nearer);
    sort_heap(c, n, nearer);
    int left = 0;
    while (left < n && (!left || mass < (double)typical_p * sum))
        mass += c[left++].p;
    make_heap(c, left, before);
    sort_heap(c, left, before);
    return left;
}

/* How many of the sorted candidates top-p and min-p leave, at least one. */
static int cut_tail(struct candidate *c, int n, const struct sampler_params *p)
{
    const double sum = softmax(c, n, 1.0);
    double mass = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 &&
            (c[i].p < (double)p->min_p * c[0].p || mass >= (double)p->top_p * sum))
            return i;
        mass += c[i].p;
    }
    return n;
}

int32_t sampler_pick(struct sampler *s, const struct sampler_params *p,
                     const float *logits, const int32_t *history, size_t n,
                     size_t n_answer, const uint32_t *mask)
{
    struct candidate *c = s->candidates;
    const int n_left = set_candidates(s, p, logits, history, n, n_answer, mask);
    int k = p->temp <= 0 ? 1 : p->top_k;
    if (k <= 0 || k > n_left)
        k = n_left;
    keep_top(c, n_left, k);
    if (k > 1 && p->typical_p < 1)
        k = keep_typical(c, k, p->typical_p);
    if (k == 1)
        return c[0].id;
    const int left = cut_tail(c, k, p);
    double at = rng_uniform(p->seed, n) * softmax(c, left, (double)p->temp);
    for (int i = 0; i < left; i++) {
        at -= c[i].p;
        if (at < 0)
            return c[i].id;
    }
    return c[left - 1].id;
}
