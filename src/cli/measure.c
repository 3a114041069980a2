#include "cli/measure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "turboquant.h"

enum { FILE_MAX_BYTES = 1 << 30 };

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

enum status measure_print_json(json_t *o, struct error *err)
{
    const int rc = o ? json_dumpf(o, stdout, JSON_INDENT(1)) : -1;
    json_decref(o);
    if (rc)
        return fail(err, STATUS_NO_MEMORY, "cannot print JSON");
    putchar('\n');
    return STATUS_OK;
}
