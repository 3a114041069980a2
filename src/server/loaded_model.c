#include "server/loaded_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "kv/kv.h"

/* "turbo8/turbo4:plain" is turbo8 and turbo4. */
static enum status describe_cache(struct loaded_model *m, struct error *err)
{
    const char *name = m->kv_name;
    const size_t key = strcspn(name, "/:");
    const char *value = name[key] == '/' ? name + key + 1 : name;
    struct context_options o = {.n_ctx = KV_PAGE_TOKENS, .n_seq = 1};
    struct context_memory memory;
    snprintf(m->kv_key, sizeof m->kv_key, "%.*s", (int)key, name);
    snprintf(m->kv_value, sizeof m->kv_value, "%.*s", (int)strcspn(value, ":"), value);
    enum status st = kv_types_parse(&o.kv, "f16", err);
    if (!st)
        st = context_plan(&memory, m->engine->model, &o, err);
    if (!st)
        m->f16_page_bytes = memory.page_bytes;
    return st;
}

/* The longest piece, and the tokens around gaps. */
static void read_vocabulary(struct loaded_model *m)
{
    const struct tokenizer *t = m->engine->tokenizer;
    m->piece_bytes = 1;
    for (int32_t id = 0; id < tokenizer_n_vocab(t); id++) {
        size_t n;
        tokenizer_piece(t, id, true, &n);
        m->piece_bytes = n > m->piece_bytes ? n : m->piece_bytes;
        const char *text = tokenizer_text(t, id, &n);
        infill_note(&m->infill, text, n, id);
    }
}

/* Of what the bytes of an answer depend on. */
static void write_fingerprint(struct loaded_model *m)
{
    struct buf b;
    buf_init(&b, 1024);
    buf_printf(&b, "%llx %s %s", (unsigned long long)model_digest(m->engine->model),
               m->kv_name, cpu_isa_name(model_isa(m->engine->model)));
    snprintf(m->fingerprint, sizeof m->fingerprint, "fp_%012llx",
             (unsigned long long)XXH3_64bits(b.data, b.len) & 0xffffffffffff);
    buf_release(&b);
}

static enum status read_defaults(struct loaded_model *m, struct error *err)
{
    const struct stored_model *s = &m->stored;
    double seed = -1, predict = -1;
    enum status st;
    m->sampling = (struct sampler_params){.temp = NAN,
                                          .top_k = -1,
                                          .top_p = NAN,
                                          .min_p = NAN,
                                          .typical_p = NAN,
                                          .repeat_penalty = NAN,
                                          .repeat_last_n = -2,
                                          .presence_penalty = NAN,
                                          .frequency_penalty = NAN};
    if ((st = model_param_sampling(s, &m->sampling, err)) ||
        (st = model_param_stops(s, m->stop, &m->n_stop, err)) ||
        (st = model_param_number(s, "seed", -0x1p53, 0x1p53, &seed, err)) ||
        (st = model_param_number(s, "num_predict", -2, 1 << 30, &predict, err)))
        return st;
    m->has_seed = seed >= 0; // as in requests, -1 means any
    m->seed = m->has_seed ? (uint64_t)seed : 0;
    m->max_tokens = predict > 0 ? (int)predict : -1; // as in requests
    m->system = s->system.len ? s->system.data : NULL;
    m->messages = s->messages;
    return STATUS_OK;
}

static size_t reserved_bytes(const struct loaded_model *m)
{
    const struct context_memory c = context_memory(scheduler_context(m->scheduler));
    struct scheduler_stats st;
    scheduler_stats(m->scheduler, &st);
    return model_bytes(m->engine->model) + c.pages + st.state_bytes + c.scratch;
}

enum status loaded_model_finish(struct loaded_model *m, const char *path,
                                size_t replay_bytes, struct error *err)
{
    enum status st;
    if ((st = read_defaults(m, err)) || (st = describe_cache(m, err)) ||
        (st = model_card_open(&m->card, path, m->is_stored ? &m->stored : NULL,
                              MODEL_CARD_WHOLE, err)) ||
        (st = replay_open(&m->replay, replay_bytes, err)) ||
        (st = grammar_cache_open(&m->grammars, err)))
        return st;
    m->card->n_param = model_params(m->engine->model);
    if (!m->is_stored)
        model_card_set_digest(m->card, model_digest(m->engine->model));
    m->n_ctx = context_n_ctx(scheduler_context(m->scheduler));
    m->n_embd = model_hparams(m->engine->model)->n_embd;
    m->format = m->engine->chat.format;
    m->infill = infill_none;
    read_vocabulary(m);
    write_fingerprint(m);
    m->bytes = reserved_bytes(m);
    return STATUS_OK;
}

void loaded_model_close(struct loaded_model *m)
{
    if (!m)
        return;
    grammar_cache_close(m->grammars);
    replay_close(m->replay);
    if (m->engine == &m->own || !m->engine) { // ours
        if (m->scheduler)
            scheduler_close(m->scheduler);
        engine_close(&m->own);
    }
    model_card_drop(m->card);
    stored_model_release(&m->stored);
    mem_free(m);
}
