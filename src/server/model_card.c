/* model_card.c - what is told about the model: names, sizes, metadata of its file. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "server/internal.h"

enum { CARD_ARRAY_MAX = 8, CARD_STRING_MAX = 4096 };

/* "folder/name-Q4_K_M.gguf" -> "name-Q4_K_M". */
static void name_of_file(char *out, size_t bytes, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    if (n > 5 && !strcasecmp(name + n - 5, ".gguf"))
        n -= 5;
    snprintf(out, bytes, "%.*s", (int)n, name);
}

/* ---- metadata as JSON ---- */

static json_t *string_json(struct gguf_str s)
{
    json_t *v = json_stringn(s.s, s.n < CARD_STRING_MAX ? s.n : CARD_STRING_MAX);
    return v ? v : json_null(); // not UTF-8
}

static json_t *element_json(const struct gguf *g, int i, uint64_t j, enum gguf_type type)
{
    int64_t number;
    double real;
    struct gguf_str s;
    if (type == GGUF_STR)
        return gguf_kv_elem_str(g, i, j, &s) ? string_json(s) : json_null();
    if (type == GGUF_BOOL)
        return gguf_kv_elem_int(g, i, j, &number) ? json_boolean(number) : json_null();
    if (type == GGUF_F32 || type == GGUF_F64)
        return gguf_kv_elem_f64(g, i, j, &real) ? json_real(real) : json_null();
    return gguf_kv_elem_int(g, i, j, &number) ? json_integer(number) : json_null();
}

static json_t *value_json(const struct gguf *g, int i)
{
    const enum gguf_type type = gguf_kv_type(g, i);
    if (type != GGUF_ARR)
        return element_json(g, i, 0, type);
    const uint64_t n = gguf_kv_count(g, i);
    if (n > CARD_ARRAY_MAX) // vocabularies: as Ollama does without `verbose`
        return json_null();
    json_t *a = json_array();
    for (uint64_t j = 0; j < n; j++)
        json_array_append_new(a, element_json(g, i, j, gguf_kv_elem_type(g, i)));
    return a;
}

static json_t *info_json(const struct gguf *g)
{
    json_t *info = json_object();
    for (int i = 0; i < gguf_n_kv(g); i++) {
        const char *key = gguf_kv_key(g, i);
        if (strcmp(key, "general.name") && strcmp(key, "tokenizer.chat_template"))
            json_object_set_new(info, key, value_json(g, i));
    }
    return info;
}

/* The type that most bytes of the tensors have. */
static void find_quant(char *out, size_t bytes, const struct gguf *g)
{
    size_t sum[64] = {0};
    size_t best = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if ((unsigned)t->dtype < 64)
            sum[t->dtype] += t->bytes;
    }
    for (size_t i = 1; i < 64; i++)
        if (sum[i] > sum[best])
            best = i;
    const struct dtype_traits *d = dtype_find((uint32_t)best);
    snprintf(out, bytes, "%s", d && sum[best] ? d->name : "unknown");
}

static void read_metadata(struct model_card *m, const struct gguf *g)
{
    struct gguf_str s;
    if (!gguf_str(g, "general.name", &s, NULL))
        snprintf(m->general, sizeof m->general, "%.*s", (int)(s.n < 120 ? s.n : 120),
                 s.s);
    if (!gguf_str(g, "tokenizer.chat_template", &s, NULL) &&
        (m->template = mem_array(s.n + 1, 1)))
        memcpy(m->template, s.s, s.n);
    m->info = info_json(g);
    find_quant(m->quant, sizeof m->quant, g);
}

/* ---- the rest ---- */

static void write_size(struct model_card *m)
{
    const double n = (double)m->n_param;
    if (n >= 1e9)
        snprintf(m->size_label, sizeof m->size_label, "%.1fB", n / 1e9);
    else if (n >= 1e6)
        snprintf(m->size_label, sizeof m->size_label, "%.2fM", n / 1e6);
    else
        snprintf(m->size_label, sizeof m->size_label, "%.2fK", n / 1e3);
}

static void write_time(struct model_card *m, const char *path)
{
    struct stat st;
    struct tm tm;
    m->created = stat(path, &st) ? (int64_t)time(NULL) : (int64_t)st.st_mtime;
    const time_t t = (time_t)m->created;
    gmtime_r(&t, &tm);
    strftime(m->modified, sizeof m->modified, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Clients want 64 hexadecimal digits. */
static void write_digest(struct model_card *m, const struct model *model)
{
    const uint64_t d = model_digest(model);
    const XXH128_hash_t h = XXH3_128bits(&d, sizeof d);
    snprintf(m->digest, sizeof m->digest, "%016llx%016llx%016llx%016llx",
             (unsigned long long)d, (unsigned long long)h.low64,
             (unsigned long long)h.high64, (unsigned long long)(d ^ h.low64));
}

enum status model_card_open(struct model_card *m, const struct server *s,
                            struct error *err)
{
    struct gguf *g;
    const char *path = s->o.model_path;
    if (s->o.model_name)
        snprintf(m->name, sizeof m->name, "%s", s->o.model_name);
    else
        name_of_file(m->name, sizeof m->name, path);
    enum status st = guard_list(&m->aliases, &m->n_alias, s->o.aliases, err);
    if (!st)
        st = gguf_open(&g, path, err);
    if (st)
        return st;
    read_metadata(m, g);
    gguf_close(g);
    snprintf(m->claude, sizeof m->claude, "claude-turbine-%s", m->name);
    m->n_param = model_params(s->engine->model);
    write_size(m);
    write_time(m, path);
    write_digest(m, s->engine->model);
    m->can_insert =
        s->infill.prefix >= 0 && s->infill.suffix >= 0 && s->infill.middle >= 0;
    m->can_call = m->template && strstr(m->template, "tools");
    m->can_think =
        m->template && (strstr(m->template, "think") || strstr(m->template, "reasoning"));
    return m->info ? STATUS_OK
                   : fail(err, STATUS_NO_MEMORY, "no memory for the model's metadata");
}

void model_card_close(struct model_card *m)
{
    guard_list_free(m->aliases, m->n_alias);
    json_decref(m->info);
    mem_free(m->template);
    *m = (struct model_card){0};
}

/* A name as it is, or with Ollama's tag for none. */
static bool names(const char *asked, const char *name)
{
    static const char latest[] = ":latest";
    const size_t tag = sizeof latest - 1;
    size_t n = strlen(name);
    if (n > tag && !strcasecmp(name + n - tag, latest))
        n -= tag;
    return n && !strncasecmp(asked, name, n) &&
           (!asked[n] || !strcasecmp(asked + n, latest));
}

bool model_card_has(const struct server *s, const char *name)
{
    const struct model_card *m = &s->card;
    if (s->o.any_model || !*name || names(name, m->name) || names(name, m->general) ||
        names(name, m->claude))
        return true;
    for (int i = 0; i < m->n_alias; i++)
        if (names(name, m->aliases[i]))
            return true;
    return false;
}
