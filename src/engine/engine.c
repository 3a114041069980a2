#include "engine/engine.h"

#include "base/clock.h"

struct open_job {
    struct engine *e;
    const struct gguf *g;
};

static enum status open_template(const struct open_job *job, struct error *err)
{
    struct gguf_str source = {0};
    const bool there = gguf_find(job->g, "tokenizer.chat_template") >= 0;
    enum status s =
        there ? gguf_str(job->g, "tokenizer.chat_template", &source, err) : STATUS_OK;
    job->e->no_template = !s && !source.n;
    if (job->e->no_template)
        return fail(
            err, STATUS_UNSUPPORTED,
            "the model file has no chat template: use --raw to continue plain text (raw "
            "in requests), or give it a TEMPLATE in a Modelfile");
    if (!s)
        s = template_compile(&job->e->template, source.s, source.n, err);
    if (!s)
        chat_caps_probe(&job->e->chat, job->e->template, source.s, source.n,
                        job->e->tokenizer);
    return s;
}

static enum status open_text(void *ctx, struct error *err)
{
    const struct open_job *job = ctx;
    const enum status s = tokenizer_open(&job->e->tokenizer, job->g, err);
    if (!s)
        job->e->chat.format = output_format_find(NULL, 0, job->e->tokenizer);
    if (!s && open_template(job, &job->e->template_error))
        job->e->template = NULL;
    return s;
}

enum status engine_open(struct engine *e, const char *path, enum engine_parts parts,
                        int n_thread, enum cpu_isa isa, struct error *err)
{
    const uint64_t start = clock_us();
    struct gguf *g = NULL;
    *e = (struct engine){0};
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    struct open_job job = {e, g};
    e->file_bytes = gguf_file_bytes(g);
    s = pool_open(&e->pool, n_thread ? n_thread : pool_cores(), err);
    if (!s && parts != ENGINE_WEIGHTS)
        s = gguf_guard(g, open_text, &job, err);
    if (s && parts == ENGINE_ANY && e->pool)
        s = STATUS_OK; // the tokenizer stays NULL
    if (!s)
        s = model_open(&e->model, g, e->pool, isa, err);
    if (s)
        engine_close(e);
    gguf_close(g);
    e->load_us = clock_us() - start;
    return s;
}

static void use_template(struct engine *e, struct template *t, const char *source,
                         size_t n)
{
    template_close(e->template);
    e->template = t;
    chat_caps_probe(&e->chat, t, source, n, e->tokenizer);
}

enum status engine_set_template(struct engine *e, const char *source, size_t n,
                                struct error *err)
{
    struct template *t;
    const enum status s = template_compile(&t, source, n, err);
    if (!s)
        use_template(e, t, source, n);
    return s;
}

bool engine_try_go_template(struct engine *e, const char *source, size_t n, bool own,
                            struct error *why)
{
    struct template *t;
    enum status s;
    if (!own && e->template)
        s = fail(why, STATUS_UNSUPPORTED, "its GGUF has a chat template of its own");
    else
        s = template_compile_go(&t, source, n, why);
    if (!s)
        use_template(e, t, source, n);
    else if (!e->template)
        e->template_error = *why;
    return !s;
}

void engine_close(struct engine *e)
{
    calibration_close(e->calibration);
    model_close(e->model);
    tokenizer_close(e->tokenizer);
    template_close(e->template);
    pool_close(e->pool);
    *e = (struct engine){0};
}
