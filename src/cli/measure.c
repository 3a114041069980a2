#include "cli/measure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "turboquant.h"

enum { FILE_MAX_BYTES = 1 << 30 };

enum status measure_open(struct engine *e, const char *path, int n_thread,
                         enum cpu_isa isa, struct error *err)
{
    const uint64_t start = clock_us();
    struct gguf *g = NULL;
    *e = (struct engine){0};
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    e->file_bytes = gguf_file_bytes(g);
    if ((s = pool_open(&e->pool, n_thread ? n_thread : pool_cpus(), err)) ||
        (s = model_open(&e->model, g, e->pool, isa, err)))
        engine_close(e);
    gguf_close(g);
    e->load_us = clock_us() - start;
    return s;
}

enum status measure_context(struct context **out, const struct model *m,
                            const struct context_options *o, struct error *err)
{
    struct context_memory need;
    const enum status s = context_plan(&need, m, o, err);
    if (s)
        return s;
    const double bytes = (double)need.pages + 2 * (double)need.exact +
                         (double)need.scratch; // a context can hold a second copy, a mark
    const size_t free_bytes = mem_available();
    if (free_bytes && bytes > (double)free_bytes)
        return fail(err, STATUS_NO_MEMORY,
                    "a context of %d tokens needs %.0f MiB, but %.0f MiB are free: use "
                    "fewer tokens or a smaller KV type",
                    o->n_ctx, bytes / 0x1p20, (double)free_bytes / 0x1p20);
    return context_open(out, m, o, err);
}

enum status measure_kv_list(struct kv_types *types, int *n_type, int n_max,
                            const char *list, struct error *err)
{
    *n_type = 0;
    for (const char *at = list;; at++) {
        char name[64];
        const size_t n = strcspn(at, ",");
        if (*n_type == n_max)
            return fail(err, STATUS_BAD_ARG, "more than %d KV types in a list", n_max);
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name), at);
        const enum status s = kv_types_parse(&types[(*n_type)++], name, err);
        if (s)
            return s;
        at += n;
        if (!*at)
            return STATUS_OK;
    }
}

enum status measure_read_file(struct buf *b, const char *path, struct error *err)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    char part[1 << 14];
    size_t n;
    errno = 0;
    while ((n = fread(part, 1, sizeof part, f)) > 0 && b->len + n <= FILE_MAX_BYTES)
        buf_append(b, part, n);
    const bool wrong = ferror(f);
    const int saved = errno;
    fclose(f);
    if (wrong)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(saved));
    if (n > 0)
        return fail(err, STATUS_LIMIT, "%s: larger than %d bytes", path, FILE_MAX_BYTES);
    if (b->failed)
        return fail(err, STATUS_NO_MEMORY, "%s: no memory to read it", path);
    return STATUS_OK;
}

/* The number at *p, which ends at a space or at end; -1 if it is none or >= limit. */
static int64_t parse_id(const char **p, const char *end, int limit)
{
    int64_t id = 0;
    const char *from = *p;
    for (; *p < end && **p >= '0' && **p <= '9' && id < limit; (*p)++)
        id = id * 10 + (**p - '0');
    return *p == from || id >= limit || (*p < end && !strchr(" \t\r\n", **p)) ? -1 : id;
}

enum status measure_read_ids(struct tokens *out, const char *path, int n_vocab,
                             struct error *err)
{
    struct buf b;
    buf_init(&b, (size_t)FILE_MAX_BYTES + 1);
    enum status s = measure_read_file(&b, path, err);
    const char *p = b.data, *end = p ? p + b.len : p;
    while (!s) {
        while (p < end && strchr(" \t\r\n", *p) && *p)
            p++;
        if (p == end)
            break;
        const int64_t id = parse_id(&p, end, n_vocab);
        if (id < 0)
            s = fail(err, STATUS_BAD_INPUT,
                     "%s: token %zu is not an id in the vocabulary of %d", path, out->n,
                     n_vocab);
        else if (!tokens_push(out, (int32_t)id))
            s = fail(err, STATUS_NO_MEMORY, "%s: no memory for its tokens", path);
    }
    if (!s && out->n == 0)
        s = fail(err, STATUS_BAD_INPUT, "%s: no token ids", path);
    buf_release(&b);
    return s;
}

int measure_usage(const struct cli_command *c, const char *text)
{
    fprintf(stderr, "turbine %s: %s; see 'turbine %s --help'\n", c->name, text, c->name);
    return CLI_USAGE;
}

double measure_bits(const struct model *m, const struct kv_types *t)
{
    const struct hparams *hp = model_hparams(m);
    const size_t bytes =
        tq_row_bytes(t->k, hp->head_dim) + tq_row_bytes(t->v, hp->head_dim_v);
    return 8.0 * (double)bytes / (hp->head_dim + hp->head_dim_v);
}

size_t measure_cache_bytes(const struct context *c)
{
    const struct context_memory m = context_memory(c);
    return m.pages + m.exact;
}

const char *measure_cpu_name(char *text, size_t cap)
{
    char line[256];
    snprintf(text, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !value)
            continue;
        value += strspn(value, ": \t");
        snprintf(text, cap, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (f)
        fclose(f);
    return text;
}
