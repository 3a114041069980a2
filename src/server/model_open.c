#include "server/model_open.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kv/kv.h"

enum { PARALLEL = 4, QUEUE_LEAST = 64, QUEUE_MOST = 1 << 20 };

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* What the command line leaves open is the model's PARAMETER, else the default. */
static enum status read_settings(struct model_opening *o, struct error *err)
{
    const struct model_settings *v = o->settings;
    const struct stored_model *m = &o->model->stored;
    struct context_options *c = &o->scheduler.context;
    double threads = 0, parallel = 0;
    enum status s;
    if ((s = model_param_ctx(m, v->n_ctx, &v->defaults, &c->n_ctx, err)) ||
        (s = model_param_number(m, "num_thread", 0, 256, &threads, err)) ||
        (s = model_param_number(m, "num_parallel", 0, CONTEXT_SEQUENCES_MAX, &parallel,
                                err)) ||
        (s = model_param_kv(m, v->kv, v->tail, &v->defaults, &c->kv, err)))
        return s;
    c->n_seq = v->n_parallel            ? v->n_parallel
               : parallel > 0           ? (int)parallel
               : v->defaults.n_parallel ? v->defaults.n_parallel
                                        : PARALLEL;
    o->n_thread = v->n_thread ? v->n_thread : (int)threads;
    o->scheduler.n_queue = v->n_queue ? v->n_queue : larger(QUEUE_LEAST, 2 * c->n_seq);
    o->scheduler.queue_us = v->queue_us;
    kv_types_name(o->model->kv_name, &c->kv);
    o->model->n_parallel = c->n_seq;
    o->model->n_queue = o->scheduler.n_queue;
    return STATUS_OK;
}

static enum status plan_model(struct model_opening *o, struct error *err)
{
    struct gguf *g;
    enum status s = gguf_open(&g, o->path, err);
    if (s)
        return s;
    s = pool_open(&o->pool, o->n_thread ? o->n_thread : pool_cores(), err);
    if (!s)
        s = model_plan(&o->plan, g, NULL, o->pool, o->settings->cpu, err);
    gguf_close(g);
    return s;
}

enum status model_opening_begin(struct model_opening *o, const struct store *store,
                                const struct model_name *name, const char *path,
                                const char *shown, const struct model_settings *settings,
                                struct error *err)
{
    enum status s = STATUS_OK;
    *o = (struct model_opening){.settings = settings};
    struct loaded_model *m = o->model = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for a model");
    if (name) {
        m->is_stored = true;
        s = stored_model_load(&m->stored, store, name, err);
        path = m->stored.path;
        model_name_print(m->name, name);
    } else if (shown) {
        snprintf(m->name, sizeof m->name, "%s", shown);
    } else {
        model_card_file_name(m->name, sizeof m->name, path);
    }
    if (s)
        return s;
    if (snprintf(o->path, sizeof o->path, "%s", path) >= (int)sizeof o->path)
        return fail(err, STATUS_LIMIT, "%.100s...: too long a path", path);
    if (m->is_stored)
        model_name_print(m->name, &m->stored.entry.name); // as spelled on disk
    s = read_settings(o, err);
    return s ? s : plan_model(o, err);
}

/* What was decided, and of what. */
static void describe_choice(struct model_opening *o, const struct context_options *c,
                            size_t room)
{
    const struct context_choice *choice = &o->choice;
    const bool asked = o->scheduler.context.n_ctx > 0;
    struct buf b;
    buf_init(&b, MODEL_TEXT_BYTES);
    buf_printf(
        &b,
        "%d tokens of context, %d answers at a time; cache %s: %d tokens in all%s; "
        "weights %.1f MiB, cache and scratch %.1f MiB",
        c->n_ctx, c->n_seq, o->model->kv_name, c->n_page * KV_PAGE_TOKENS,
        !choice->shrunk ? ""
        : asked         ? ", fewer pages beside the longest as memory allows"
                        : ", as memory allows",
        (double)choice->weights / 0x1p20, (double)choice->cache / 0x1p20);
    if (room != SIZE_MAX)
        buf_printf(&b, " of %.1f MiB to be had beside a reserve of %.1f MiB",
                   (double)room / 0x1p20,
                   (double)context_reserve(mem_available()) / 0x1p20);
    snprintf(o->model->text, sizeof o->model->text, "%s", b.data ? b.data : "");
    buf_release(&b);
}

enum status model_opening_fit(struct model_opening *o, size_t room, struct error *err)
{
    struct context_options c = o->scheduler.context;
    struct error why;
    const enum status s = context_choose(&o->choice, o->plan, &c, room, &why);
    if (s == STATUS_NO_MEMORY)
        return fail(err, s, "model '%s': %s", o->model->name, why.text);
    if (s)
        return fail(err, s, "%s", why.text);
    o->scheduler.context.n_page = c.n_page; // n_ctx stays, for another try
    o->model->n_ctx = c.n_ctx;
    describe_choice(o, &c, room);
    return STATUS_OK;
}

size_t model_opening_bytes(const struct model_opening *o)
{
    return o->choice.weights + o->choice.cache;
}

/* What was asked for holds; what that means is said. */
static void note_context(struct loaded_model *m, int n_train)
{
    const size_t at = strlen(m->note);
    if (m->n_ctx > n_train)
        snprintf(m->note + at, sizeof m->note - at,
                 "%scontext of %d tokens: " STORED_CONTEXT_WORDS, at ? "; " : "",
                 m->n_ctx, n_train);
}

enum status model_opening_load(struct model_opening *o, struct loaded_model **out,
                               size_t replay_bytes, struct error *err)
{
    struct loaded_model *m = o->model;
    struct scheduler_options so = o->scheduler;
    const uint64_t start = clock_us();
    enum status s;
    model_close(o->plan);
    pool_close(o->pool);
    o->plan = NULL;
    o->pool = NULL;
    so.context.n_ctx = m->n_ctx;
    if ((s = engine_open(&m->own, o->path, ENGINE_TEXT, o->n_thread, o->settings->cpu,
                         err)))
        return s;
    m->engine = &m->own;
    if ((s = model_param_template(&m->stored, m->engine, m->note, err)) ||
        (o->settings->calibrate &&
         (s = o->settings->calibrate(o->settings->ctx, m->engine, &so.context.kv, err))))
        return s;
    note_context(m, model_hparams(m->engine->model)->n_ctx_train);
    so.context.calibration = m->engine->calibration;
    if ((s = scheduler_open(&m->scheduler, m->engine, &so, err)) ||
        (s = loaded_model_finish(m, o->path, replay_bytes, err)))
        return s;
    m->load_us = clock_us() - start;
    *out = m;
    o->model = NULL;
    return STATUS_OK;
}

void model_opening_close(struct model_opening *o)
{
    model_close(o->plan);
    pool_close(o->pool);
    loaded_model_close(o->model);
    *o = (struct model_opening){0};
}

enum status model_opening_given(struct loaded_model **out, struct engine *e,
                                struct scheduler *sched, const struct server_options *o,
                                struct error *err)
{
    struct loaded_model *m = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for a model");
    m->engine = e;
    m->scheduler = sched;
    m->n_queue = o->n_queue ? o->n_queue : QUEUE_MOST;
    snprintf(m->kv_name, sizeof m->kv_name, "%s", o->kv_name);
    if (o->model_name)
        snprintf(m->name, sizeof m->name, "%s", o->model_name);
    else
        model_card_file_name(m->name, sizeof m->name, o->model_path);
    const enum status s = loaded_model_finish(m, o->model_path, o->replay_bytes, err);
    if (s)
        loaded_model_close(m);
    else
        *out = m;
    return s;
}
