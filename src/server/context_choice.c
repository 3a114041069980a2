#include "server/context_choice.h"

#include "kv/kv.h"

size_t context_reserve(size_t available)
{
    const size_t least = (size_t)512 << 20, part = available / 20;
    return part > least ? part : least;
}

static enum status measure(struct context_choice *out, const struct model *m,
                           const struct context_options *o, struct error *err)
{
    struct scheduler_memory need;
    const enum status s = scheduler_plan(&need, m, o, err);
    if (!s)
        out->cache = need.pages + need.states + need.scratch;
    return s;
}

enum status context_choose(struct context_choice *out, const struct model *m,
                           struct context_options *o, size_t room, struct error *err)
{
    const int n_train = model_hparams(m)->n_ctx_train;
    const bool asked = o->n_ctx > 0;
    *out = (struct context_choice){.weights = model_bytes(m)};
    if (!asked)
        o->n_ctx = n_train < CONTEXT_AUTO_MAX ? n_train : CONTEXT_AUTO_MAX;
    for (;; out->shrunk = true) {
        const int beside =
            kv_pages_for(o->n_ctx < CONTEXT_BESIDE ? o->n_ctx : CONTEXT_BESIDE);
        for (int n = o->n_seq; n >= 1; n = n > 2 ? 2 : n - 1, out->shrunk = true) {
            o->n_page = kv_pages_for(o->n_ctx) + (n - 1) * beside;
            const enum status s = measure(out, m, o, err);
            if (s)
                return s;
            if (out->weights <= room && out->cache <= room - out->weights)
                return STATUS_OK;
        }
        if (asked || o->n_ctx / 2 < CONTEXT_AUTO_MIN)
            break;
        o->n_ctx /= 2;
    }
    return fail(err, STATUS_NO_MEMORY,
                "%.1f MiB of memory are needed (weights %.1f MiB, cache and scratch for "
                "%d tokens %.1f MiB), and %.1f MiB are to be had",
                (double)(out->weights + out->cache) / 0x1p20,
                (double)out->weights / 0x1p20, o->n_ctx, (double)out->cache / 0x1p20,
                (double)room / 0x1p20);
}
