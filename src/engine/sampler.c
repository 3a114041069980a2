/* sampler.c - penalties, top-k, top-p, min-p, temperature: in this order, which is the
 * one that llama.cpp and Ollama document and that users' settings were tuned with. */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

struct candidate {
    int32_t id;
    float logit;
    double p;
};

const struct sampler_params sampler_defaults = {
    .temp = 0.8f,
    .top_k = 40,
    .top_p = 0.95f,
    .min_p = 0.05f,
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

static int compare(const void *a, const void *b)
{
    return before(a, b) ? -1 : before(b, a);
}

/* Source: CTRL, arXiv 1909.05858, 4.1. */
static void apply_penalty(const struct sampler *s, const struct sampler_params *p,
                          const int32_t *history, size_t n)
{
    const size_t last = (size_t)p->repeat_last_n;
    for (size_t i = n > last ? n - last : 0; i < n; i++) {
        bool seen = false;
        for (size_t j = n > last ? n - last : 0; j < i && !seen; j++)
            seen = history[j] == history[i];
        struct candidate *c = &s->candidates[history[i]];
        if (!seen)
            c->logit = c->logit > 0 ? c->logit / p->repeat_penalty
                                    : c->logit * p->repeat_penalty;
    }
}

static void sift_down(struct candidate *heap, int n, int i)
{
    for (;;) {
        int last = i; // the candidate that comes last of i and its children
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (before(&heap[last], &heap[child]))
                last = child;
        if (last == i)
            return;
        const struct candidate t = heap[i];
        heap[i] = heap[last];
        heap[last] = t;
        i = last;
    }
}

/* Move the k largest to the front and sort them: a heap of k whose root is the smallest.
 */
static void keep_top(struct candidate *c, int n, int k)
{
    for (int i = k / 2 - 1; i >= 0; i--)
        sift_down(c, k, i);
    for (int i = k; i < n; i++)
        if (before(&c[i], &c[0])) {
            c[0] = c[i];
            sift_down(c, k, 0);
        }
    qsort(c, (size_t)k, sizeof *c, compare);
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
                     const float *logits, const int32_t *history, size_t n)
{
    struct candidate *c = s->candidates;
    for (int i = 0; i < s->n_vocab; i++)
        c[i] = (struct candidate){.id = i, .logit = logits[i]};
    if (p->repeat_penalty != 1.0f)
        apply_penalty(s, p, history, n);
    int k = p->temp <= 0 ? 1 : p->top_k;
    if (k <= 0 || k > s->n_vocab)
        k = s->n_vocab;
    keep_top(c, s->n_vocab, k);
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
