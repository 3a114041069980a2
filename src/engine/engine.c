#include "engine/engine.h"

#include "base/clock.h"

static enum status open_template(void *ctx, struct error *err)
{
    struct engine *e = ((void **)ctx)[0];
    const struct gguf *g = ((void **)ctx)[1];
    struct gguf_str source;
    if (gguf_find(g, "tokenizer.chat_template") < 0)
        return STATUS_OK;
    const enum status s = gguf_str(g, "tokenizer.chat_template", &source, err);
    return s ? s : template_compile(&e->template, source.s, source.n, err);
}

static enum status open_tokenizer(void *ctx, struct error *err)
{
    struct engine *e = ((void **)ctx)[0];
    return tokenizer_open(&e->tokenizer, ((void **)ctx)[1], err);
}

enum status engine_open(struct engine *e, const char *path, int n_thread,
                        enum cpu_isa isa, struct error *err)
{
    const uint64_t start = clock_us();
    struct gguf *g = NULL;
    *e = (struct engine){0};
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    void *parts[] = {e, g};
    e->file_bytes = gguf_file_bytes(g);
    if ((s = pool_open(&e->pool, n_thread ? n_thread : pool_cpus(), err)) ||
        (s = gguf_guard(g, open_tokenizer, parts, err)) ||
        (s = gguf_guard(g, open_template, parts, err)) ||
        (s = model_open(&e->model, g, e->pool, isa, err)))
        engine_close(e);
    gguf_close(g);
    e->load_us = clock_us() - start;
    return s;
}

void engine_close(struct engine *e)
{
    model_close(e->model);
    tokenizer_close(e->tokenizer);
    template_close(e->template);
    pool_close(e->pool);
    *e = (struct engine){0};
}
