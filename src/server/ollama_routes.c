/* ollama_routes.c - what Ollama's clients ask about models. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/ollama_api.h"
#include "base/version.h"
#include "dialect/ollama_models.h"
#include "kv/kv.h"
#include "server/catalog.h"
#include "server/internal.h"
#include "store/create.h"
#include "store/param_lines.h"

enum { SHOW_TEXT_BYTES = 16 << 20 };

struct capabilities {
    const char *of[MODEL_ABILITIES_MAX];
};

static struct ollama_model ollama_model(const struct model_card *m, const char *name,
                                        struct capabilities *able)
{
    const int n = model_card_abilities(m, able->of);
    return (struct ollama_model){
        .name = name,
        .digest = m->digest,
        .size = m->file_bytes,
        .modified_us = m->created * 1000000,
        .parent = "",
        .format = "gguf",
        .family = m->arch,
        .parameter_size = m->size_label,
        .quantization = m->quant,
        .context_length = m->n_ctx_train,
        .embedding_length = m->n_embd,
        .capabilities = able->of,
        .n_capability = n,
    };
}

static void print_tags(struct buf *b, const struct server *s,
                       const struct catalog_model *list, int n)
{
    const struct model_start *t = models_start_model(s->models);
    const size_t most = (size_t)(n + t->n_alias + 1);
    struct ollama_model *models = mem_array(most, sizeof *models);
    struct capabilities *able = mem_array(most, sizeof *able);
    int k = 0;
    for (int i = 0; models && able && i < n; i++) {
        models[k] = ollama_model(list[i].card, list[i].name, &able[k]);
        k++;
        for (int j = 0; list[i].ref.start && j < t->n_alias; j++, k++)
            models[k] = ollama_model(list[i].card, t->aliases[j], &able[k]);
    }
    if (models && able)
        ollama_print_tags(b, models, k);
    else
        b->failed = true;
    mem_free(able);
    mem_free(models);
}

/* Claude Code does not look here: without the names for it. */
void handle_tags(struct call *c)
{
    struct catalog_model *list;
    struct error err;
    struct buf b;
    int n;
    if (catalog_list(c->server, &list, &n, &err)) {
        call_engine_error(c, &err);
        return;
    }
    buf_init(&b, SERVER_JSON_MAX);
    print_tags(&b, c->server, list, n);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
    catalog_free(list, n);
}

/* ---- what runs ---- */

static int64_t expiry(int64_t left_us)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    return left_us > INT64_MAX - us ? INT64_MAX : us + left_us;
}

static struct ollama_running running(const struct model_slot *x,
                                     const struct ollama_model *model)
{
    const struct loaded_model *m = model_slot_model(x);
    const struct context_memory memory = context_memory(scheduler_context(m->scheduler));
    struct scheduler_stats st;
    scheduler_stats(m->scheduler, &st);
    const size_t held = (size_t)(st.n_page_used + st.n_page_cached);
    return (struct ollama_running){
        .model = model,
        .size = m->bytes,
        .expires_us = expiry(model_slot_left_us(x)),
        .n_ctx = m->n_ctx,
        .kv = {.type_k = m->kv_key,
               .type_v = m->kv_value,
               .bytes = held * memory.page_bytes,
               .bytes_reserved = memory.pages + st.state_bytes,
               .bytes_f16 = held * m->f16_page_bytes,
               .tokens_used = (uint64_t)held * KV_PAGE_TOKENS,
               .tokens_max = (uint64_t)st.n_page * KV_PAGE_TOKENS}};
}

void handle_ps(struct call *c)
{
    struct models *p = c->server->models;
    struct model_slot *held[MODELS_HELD_MAX];
    struct ollama_model models[MODELS_HELD_MAX];
    struct capabilities able[MODELS_HELD_MAX];
    struct ollama_running r[MODELS_HELD_MAX];
    struct buf b;
    models_drop_changed(p);
    const int n = models_hold(p, held);
    int n_shown = 0;
    for (int i = 0; i < n; i++) {
        const struct loaded_model *m = model_slot_model(held[i]);
        if (model_slot_goes(p, held[i]))
            continue;
        models[n_shown] = ollama_model(m->card, m->name, &able[n_shown]);
        r[n_shown] = running(held[i], &models[n_shown]);
        n_shown++;
    }
    buf_init(&b, SERVER_JSON_MAX);
    ollama_print_ps(&b, r, n_shown);
    models_let_go(p, held, n);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

/* ---- /api/show ---- */

struct shown {
    struct stored_model stored;
    struct model_card *card; // whole
    struct buf parameters, file;
};

static void print_default(struct buf *b, const json_t *params, const char *name, double v)
{
    char text[32];
    if (json_object_get(params, name))
        return;
    snprintf(text, sizeof text, "%g", v);
    ollama_print_parameter(b, name, text);
}

/* What the model says, and what requests get where it does not: clients size their
 * prompts by num_ctx. */
static void print_parameters(struct buf *b, const json_t *params, int n_ctx)
{
    const struct sampler_params d = pipeline_sampling(NULL, &dialect_ollama);
    store_print_params(b, params, 30, "");
    while (b->len && b->data[b->len - 1] == '\n')
        b->data[--b->len] = 0;
    print_default(b, params, "num_ctx", n_ctx);
    print_default(b, params, "temperature", (double)d.temp);
    print_default(b, params, "top_k", d.top_k);
    print_default(b, params, "top_p", (double)d.top_p);
    print_default(b, params, "min_p", (double)d.min_p);
}

static int show_n_ctx(struct server *s, const struct model_ref *ref,
                      const struct model_card *card)
{
    struct model_slot *x = models_hold_one(s->models, ref);
    if (!x)
        return catalog_n_ctx(s, card);
    const int n = model_slot_model(x)->n_ctx;
    models_let_go(s->models, &x, 1);
    return n;
}

static enum status read_shown(struct server *s, const struct model_ref *ref,
                              struct shown *h, struct error *err)
{
    const struct model_start *t = models_start_model(s->models);
    enum status st = STATUS_OK;
    if (!ref->stored) {
        h->card = model_card_share(t->card);
        buf_printf(&h->file, "# %s\nFROM %s\n", t->shown, t->shown);
    } else {
        char name[MODEL_NAME_BYTES];
        model_name_print(name, &ref->name);
        st = stored_model_load(&h->stored, s->o.store, &ref->name, err);
        if (!st)
            st = model_card_open(&h->card, h->stored.path, &h->stored, MODEL_CARD_WHOLE,
                                 err);
        if (!st) // folders of the server are nobody's business: its name
            st = create_print_modelfile(&h->file, &h->stored, name, err);
    }
    if (!st)
        print_parameters(&h->parameters, h->stored.params, show_n_ctx(s, ref, h->card));
    return st;
}

/* The TEMPLATE that it was made with, whatever it is, else the GGUF's. */
static const char *show_template(const struct shown *h)
{
    /* Continue looks for .Suffix to know whether it may ask to fill in. */
    if (h->card->can_insert &&
        !(h->stored.template.len && strstr(h->stored.template.data, ".Suffix")))
        return "{{ .Prompt }}{{ .Suffix }}";
    return h->stored.template.len ? h->stored.template.data : h->card->template;
}

static void reply_show(struct call *c, const struct model_ref *ref, const char *name)
{
    struct capabilities able;
    struct shown h = {0};
    struct error err;
    struct buf b;
    buf_init(&b, SERVER_JSON_MAX);
    buf_init(&h.parameters, SHOW_TEXT_BYTES);
    buf_init(&h.file, SHOW_TEXT_BYTES);
    if (read_shown(c->server, ref, &h, &err)) {
        call_engine_error(c, &err);
    } else {
        struct ollama_model m = ollama_model(h.card, name, &able);
        m.parameters = h.parameters.data;
        m.modelfile = h.file.data;
        m.model_info = h.card->info;
        m.template = show_template(&h);
        m.system = h.stored.system.len ? h.stored.system.data : NULL;
        m.license = h.stored.license.len ? h.stored.license.data : NULL;
        m.messages = h.stored.messages;
        ollama_print_show(&b, &m);
        call_reply(c, 200, "application/json", &b);
    }
    buf_release(&b);
    buf_release(&h.file);
    buf_release(&h.parameters);
    model_card_drop(h.card);
    stored_model_release(&h.stored);
}

void handle_show(struct call *c)
{
    json_t *body;
    struct model_ref ref;
    struct api_error e;
    if (!call_read_json(c, &body))
        return;
    const char *name = json_string_value(json_object_get(body, "model"));
    if (!name || !*name)
        name = json_string_value(json_object_get(body, "name"));
    if (!name || !*name)
        call_fail(c, API_ERROR_INVALID, "model is required");
    else if (models_find(c->server->models, name, &ref, &e))
        call_error(c, &e);
    else
        reply_show(c, &ref, name);
    json_decref(body);
}

/* ---- the rest ---- */

void handle_version(struct call *c)
{
    struct buf b;
    buf_init(&b, 256);
    ollama_print_version(&b, OLLAMA_API, TURBINE_VERSION);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

void handle_cloud_status(struct call *c)
{
    call_reply_json(
        c, 200, json_pack("{s:{s:b,s:s}}", "cloud", "disabled", 1, "source", "server"));
}
