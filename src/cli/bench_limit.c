/* bench_limit.c - the least time that memory and arithmetic leave for a row. */
#include "cli/bench.h"

double bench_rate(int n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

void bench_probe(struct bench *b)
{
    struct error err;
    if (probe_read(&b->read, b->engine.pool, &err))
        return; // no memory for it: the limits stay unknown
    probe_int8(&b->int8, b->engine.pool, b->isa);
    probe_tiles(&b->tiles, b->engine.pool, b->isa);
}

struct total {
    double bytes, macs;
};

/* One step of n tokens behind pos others, with n_logits rows of logits. */
static void add_step(struct total *sum, const struct bench *b, const struct kv_types *t,
                     int pos, int n, int n_logits)
{
    const struct model *m = b->engine.model;
    const struct token_work first = model_token_work(m, t, pos);
    const struct token_work last = model_token_work(m, t, pos + n - 1);
    const struct token_work head = model_logits_work(m);
    sum->bytes += (double)last.weight_bytes + (double)last.cache_bytes;
    sum->macs +=
        n * ((double)first.macs + (double)last.macs) / 2; // linear in the position
    sum->macs += n_logits * (double)head.macs;
    if (n_logits)
        sum->bytes += (double)head.weight_bytes;
}

static struct bench_limit limit_of(const struct bench *b, const struct total *sum, int n)
{
    const double read = probe_best(&b->read), int8 = probe_best(&b->int8);
    if (read <= 0 || int8 <= 0 || n == 0)
        return (struct bench_limit){0};
    const double memory_s = sum->bytes / read, int8_s = sum->macs / int8;
    const bool bound = int8_s > memory_s;
    return (struct bench_limit){bench_rate(n, bound ? int8_s : memory_s), bound};
}

void bench_limits(struct bench *b)
{
    for (int i = 0; i < b->n_row; i++) {
        struct bench_row *r = &b->rows[i];
        struct total prefill = {0}, decode = {0};
        for (int done = 0, n; done < b->n_prefill; done += n) {
            const int left = b->n_prefill - done;
            n = left < r->n_batch ? left : r->n_batch;
            add_step(&prefill, b, &r->type, r->depth + done, n, n == left);
        }
        for (int done = 0; done < b->n_decode; done++)
            add_step(&decode, b, &r->type, r->depth + done, 1, 1);
        r->prefill_limit = limit_of(b, &prefill, b->n_prefill);
        r->decode_limit = limit_of(b, &decode, b->n_decode);
    }
}
