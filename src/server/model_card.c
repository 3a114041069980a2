/* model_card.c - what is told about a model: sizes, types, metadata of its file. */
#include "server/model_card.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

#include "base/mem.h"
#include "server/model_template.h"
#include "store/labels.h"

enum { CARD_ARRAY_MAX = 8, CARD_STRING_MAX = 4096 };

void model_card_file_name(char *out, size_t bytes, const char *path)
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

/* ---- sizes ---- */

static void write_time(struct model_card *m)
{
    struct tm tm;
    const time_t t = (time_t)m->created;
    gmtime_r(&t, &tm);
    strftime(m->modified, sizeof m->modified, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static int arch_number(const struct gguf *g, const char *arch, const char *key)
{
    char name[128];
    int64_t v;
    snprintf(name, sizeof name, "%s.%s", arch, key);
    return gguf_int(g, name, 1, INT32_MAX, &v, NULL) ? 0 : (int)v;
}

static bool finds_infill(const struct gguf *g)
{
    struct gguf_strings a;
    struct infill_tokens t = infill_none;
    if (gguf_strings_open(&a, g, "tokenizer.ggml.tokens", NULL))
        return false;
    for (size_t i = 0; i < a.n; i++) {
        const struct gguf_str s = gguf_strings_at(&a, i);
        infill_note(&t, s.s, s.n, (int32_t)i);
    }
    gguf_strings_close(&a);
    return infill_complete(&t);
}

/* ---- the whole ---- */

static enum status read_card_file(struct model_card *m, const struct gguf *g,
                                  const struct stored_model *stored,
                                  enum model_card_parts parts, struct error *err)
{
    struct model_template t;
    struct gguf_str s;
    model_template_find(&t, stored, g);
    m->can_complete = true;
    m->can_call = model_template_calls(&t);
    m->can_think = model_template_thinks(&t);
    if (!gguf_str(g, "general.name", &s, NULL))
        snprintf(m->general, sizeof m->general, "%.*s", (int)(s.n < 120 ? s.n : 120),
                 s.s);
    label_arch(m->arch, g);
    m->n_ctx_train = arch_number(g, m->arch, "context_length");
    m->n_embd = arch_number(g, m->arch, "embedding_length");
    m->n_param = label_params(g);
    m->file_bytes = gguf_file_bytes(g);
    m->can_insert = finds_infill(g);
    label_count(m->size_label, m->n_param);
    snprintf(m->quant, sizeof m->quant, "%s", label_type(g));
    if (parts != MODEL_CARD_WHOLE)
        return STATUS_OK;
    if (t.text.s && (m->template = mem_array(t.text.n + 1, 1)))
        memcpy(m->template, t.text.s, t.text.n);
    m->info = info_json(g);
    return m->info && (m->template || !t.text.s)
               ? STATUS_OK
               : fail(err, STATUS_NO_MEMORY, "no memory for the model's metadata");
}

static void take_config_text(char *out, size_t n, const json_t *config, const char *name)
{
    const char *v = json_string_value(json_object_get(config, name));
    if (v && *v)
        snprintf(out, n, "%s", v);
}

/* What the store says wins: other programs show it, too. */
static void read_store(struct model_card *m, const struct stored_model *stored)
{
    const json_t *ctx = json_object_get(stored->params, "num_ctx");
    digest_hex(m->digest, &stored->entry.digest);
    m->created = stored->entry.modified_s;
    m->file_bytes = stored->entry.bytes;
    m->n_ctx_param = json_is_integer(ctx) && json_integer_value(ctx) > 0 &&
                             json_integer_value(ctx) < 1 << 24
                         ? (int)json_integer_value(ctx)
                         : 0;
    take_config_text(m->size_label, sizeof m->size_label, stored->config, "model_type");
    take_config_text(m->quant, sizeof m->quant, stored->config, "file_type");
}

static struct model_card *new_card(void)
{
    struct model_card *m = mem_array(1, sizeof *m);
    if (m)
        atomic_init(&m->refs, 1);
    return m;
}

enum status model_card_open(struct model_card **out, const char *path,
                            const struct stored_model *stored,
                            enum model_card_parts parts, struct error *err)
{
    struct gguf *g;
    struct stat st;
    *out = NULL;
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    struct model_card *m = new_card();
    s = m ? read_card_file(m, g, stored, parts, err)
          : fail(err, STATUS_NO_MEMORY, "no memory for the model's metadata");
    gguf_close(g);
    if (s) {
        model_card_drop(m);
        return s;
    }
    if (stored)
        read_store(m, stored);
    else
        m->created = stat(path, &st) ? (int64_t)time(NULL) : (int64_t)st.st_mtime;
    write_time(m);
    *out = m;
    return STATUS_OK;
}

enum status model_card_of_entry(struct model_card **out, const struct store_entry *e,
                                struct error *err)
{
    struct model_card *m = *out = new_card();
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for the model's metadata");
    digest_hex(m->digest, &e->digest);
    m->created = e->modified_s;
    m->file_bytes = e->bytes;
    m->damaged = true;
    snprintf(m->arch, sizeof m->arch, "unknown");
    snprintf(m->quant, sizeof m->quant, "unknown");
    write_time(m);
    return STATUS_OK;
}

int model_card_abilities(const struct model_card *m, const char *out[MODEL_ABILITIES_MAX])
{
    int n = 0;
    if (m->can_complete) {
        out[n++] = "completion";
        out[n++] = "embedding";
    }
    if (m->can_call)
        out[n++] = "tools";
    if (m->can_insert)
        out[n++] = "insert";
    if (m->can_think)
        out[n++] = "thinking";
    return n;
}

struct model_card *model_card_share(struct model_card *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void model_card_drop(struct model_card *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) > 1)
        return;
    json_decref(m->info);
    mem_free(m->template);
    mem_free(m);
}

/* Clients want 64 hexadecimal digits. */
void model_card_set_digest(struct model_card *m, uint64_t d)
{
    const XXH128_hash_t h = XXH3_128bits(&d, sizeof d);
    snprintf(m->digest, sizeof m->digest, "%016llx%016llx%016llx%016llx",
             (unsigned long long)d, (unsigned long long)h.low64,
             (unsigned long long)h.high64, (unsigned long long)(d ^ h.low64));
}
