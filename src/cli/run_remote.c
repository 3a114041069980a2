/* run_remote.c - answers of a server of ours: Ollama's API, streamed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/list_rows.h"
#include "cli/run.h"
#include "cli/server_link.h"
#include "cli/words.h"
#include "json/print.h"

struct run_remote {
    struct run_place base;
    char url[SERVER_LINK_URL_BYTES];
};

static struct run_remote *remote_of(struct run_place *p)
{
    return (struct run_remote *)p;
}

static enum status no_request_memory(struct error *err)
{
    return fail(err, STATUS_NO_MEMORY, "no memory for a request");
}

/* ---- an answer ---- */

struct remote_answer {
    struct run_printer *out;
    struct run_stats *stats;
    const struct run_settings *set;
    bool done;
};

static void take_string(struct remote_answer *a, const json_t *object, const char *name,
                        bool reasoning)
{
    const json_t *v = json_object_get(object, name);
    if (json_is_string(v))
        run_print_text(a->out, reasoning, json_string_value(v), json_string_length(v));
}

static uint64_t nanoseconds(const json_t *object, const char *name)
{
    const json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 ? (uint64_t)n / 1000 : 0;
}

static int count_of(const json_t *object, const char *name)
{
    const json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 && n < 1 << 30 ? (int)n : 0;
}

static void take_end(struct remote_answer *a, const json_t *o)
{
    const char *reason = json_string_value(json_object_get(o, "done_reason"));
    const json_int_t asked =
        json_integer_value(json_object_get(a->set->options, "num_predict"));
    struct run_stats *s = a->stats;
    s->n_prompt = count_of(o, "prompt_eval_count");
    s->n_decoded = count_of(o, "eval_count");
    s->total_us = nanoseconds(o, "total_duration");
    s->load_us = nanoseconds(o, "load_duration");
    s->prefill_us = nanoseconds(o, "prompt_eval_duration");
    s->decode_us = nanoseconds(o, "eval_duration");
    s->end = SESSION_EOG;
    if (reason && !strcmp(reason, "length"))
        s->end = asked > 0 && s->n_decoded >= asked ? SESSION_LENGTH : SESSION_CONTEXT;
    a->done = true;
}

static bool take_answer_line(void *ctx, const json_t *o)
{
    struct remote_answer *a = ctx;
    const json_t *message = json_object_get(o, "message");
    take_string(a, message ? message : o, "thinking", true);
    take_string(a, message ? message : o, message ? "content" : "response", false);
    if (json_is_true(json_object_get(o, "done")))
        take_end(a, o);
    return !a->out->failed;
}

static bool wants_to_stop(void *ctx)
{
    (void)ctx;
    return run_interrupted();
}

/* Canonical messages are Ollama's but for the name of what was thought. */
static json_t *sent_messages(const struct run_question *q)
{
    json_t *all = json_array(), *m;
    int failed = 0;
    size_t i;
    if (q->set->system)
        failed |= json_array_append_new(
            all, json_pack("{s:s,s:O}", "role", "system", "content", q->set->system));
    json_array_foreach(q->messages, i, m)
    {
        json_t *thought = json_object_get(m, "reasoning_content");
        json_t *one =
            json_pack("{s:O,s:O,s:O*}", "role", json_object_get(m, "role"), "content",
                      json_object_get(m, "content"), "thinking", thought);
        failed |= json_array_append_new(all, one);
    }
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}

static json_t *answer_request(const struct run_place *p, const struct run_question *q)
{
    const struct run_settings *set = q->set;
    json_t *body = json_pack("{s:s,s:b,s:O,s:O*,s:o*}", "model", p->model, "stream", 1,
                             "options", set->options, "format", set->format, "keep_alive",
                             run_keep_alive(set->keep_alive));
    int failed = !body;
    if (q->messages)
        failed |= json_object_set_new(body, "messages", sent_messages(q));
    else
        failed |= json_object_set_new(body, "prompt",
                                      json_stringn(q->prompt->data, q->prompt->len)) ||
                  json_object_set_new(body, "raw", json_true());
    if (set->think >= 0)
        failed |=
            json_object_set_new(body, "think",
                                set->think && set->effort ? json_string(set->effort)
                                                          : json_boolean(set->think));
    if (!failed)
        return body;
    json_decref(body);
    return NULL;
}

static enum status remote_answer(struct run_place *p, const struct run_question *q,
                                 struct run_printer *out, struct run_stats *stats,
                                 struct error *err)
{
    struct remote_answer a = {.out = out, .stats = stats, .set = q->set};
    const struct server_link_stream to = {
        .line = take_answer_line, .stopped = wants_to_stop, .ctx = &a};
    const char *url = remote_of(p)->url;
    const uint64_t start = clock_us();
    struct error why;
    int http_status = 0;
    *stats = (struct run_stats){.n_cached = -1, .end = SESSION_STOPPED};
    if (!q->messages && !q->prompt->len)
        return fail(err, STATUS_BAD_ARG, "the prompt is empty");
    json_t *body = answer_request(p, q);
    if (!body)
        return fail(err, STATUS_BAD_INPUT, "the prompt is not valid UTF-8");
    enum status s = server_link_stream(url, q->messages ? "/api/chat" : "/api/generate",
                                       body, &to, &http_status, &why);
    json_decref(body);
    if (a.done)
        return STATUS_OK;
    stats->total_us = clock_us() - start;
    if (run_interrupted() || out->failed)
        return STATUS_OK; // the connection is closed: the server has stopped
    if (!s)
        return fail(err, STATUS_IO, "%s: the server ended before the answer was complete",
                    url);
    if (http_status == 200 && s == STATUS_IO)
        return fail(err, s, "the answer broke off: %s", why.text);
    *err = why;
    return s;
}

/* ---- what the server says ---- */

static enum status ask_show(const char *url, const char *model, json_t **out,
                            struct error *err)
{
    json_t *body = json_pack("{s:s}", "model", model);
    const enum status s =
        body ? server_link_call(url, "POST", "/api/show", body, out, NULL, err)
             : no_request_memory(err);
    json_decref(body);
    return s;
}

static enum status remote_load(struct run_place *p, const char *model,
                               const struct run_settings *set, struct error *err)
{
    struct run_remote *r = remote_of(p);
    json_t *shown = NULL, *body = NULL;
    if (strlen(model) >= sizeof p->model)
        return fail(err, STATUS_LIMIT, "the name of a model is too long");
    enum status s = ask_show(r->url, model, &shown, err);
    json_decref(shown);
    if (s)
        return s;
    /* An empty request loads it, so that the first answer need not wait. */
    body = json_pack("{s:s,s:b,s:o*}", "model", model, "stream", 0, "keep_alive",
                     run_keep_alive(set->keep_alive));
    s = body ? server_link_call(r->url, "POST", "/api/generate", body, NULL, NULL, err)
             : no_request_memory(err);
    json_decref(body);
    if (!s)
        memcpy(p->model, model, strlen(model) + 1);
    return s;
}

static void put_member(struct buf *b, const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    buf_append(b, json_is_string(v) ? json_string_value(v) : "", json_string_length(v));
}

static void put_shape(struct buf *b, const json_t *info, const char *arch,
                      const char *what, const char *key)
{
    char name[128], value[32];
    snprintf(name, sizeof name, "%.60s.%s", arch, key);
    const json_t *v = json_object_get(info, name);
    snprintf(value, sizeof value, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    show_line(b, what, json_is_integer(v) ? value : NULL);
}

static void put_first_of(struct buf *b, const char *title, const json_t *o,
                         const char *name)
{
    struct buf text;
    buf_init(&text, SHOW_BYTES);
    put_member(&text, o, name);
    show_first_lines(b, title, &text);
    buf_release(&text);
}

static void put_shown(struct buf *b, const json_t *o)
{
    const json_t *details = json_object_get(o, "details");
    const json_t *info = json_object_get(o, "model_info");
    const json_t *can = json_object_get(o, "capabilities");
    const char *arch = json_string_value(json_object_get(details, "family"));
    buf_puts(b, "  Model\n");
    show_line(b, "architecture", arch);
    show_line(b, "parameters",
              json_string_value(json_object_get(details, "parameter_size")));
    if (arch) {
        put_shape(b, info, arch, "context length", "context_length");
        put_shape(b, info, arch, "embedding length", "embedding_length");
    }
    show_line(b, "quantization",
              json_string_value(json_object_get(details, "quantization_level")));
    buf_puts(b, "\n  Capabilities\n");
    for (size_t i = 0; i < json_array_size(can); i++)
        if (json_is_string(json_array_get(can, i)))
            buf_printf(b, "    %s\n", json_string_value(json_array_get(can, i)));
    buf_puts(b, "\n");
    put_first_of(b, "System", o, "system");
    put_first_of(b, "License", o, "license");
}

static enum status remote_show(struct run_place *p, enum show_part part, struct buf *out,
                               struct error *err)
{
    static const char *const member[] = {
        [SHOW_MODELFILE] = "modelfile", [SHOW_PARAMETERS] = "parameters",
        [SHOW_TEMPLATE] = "template",   [SHOW_SYSTEM] = "system",
        [SHOW_LICENSE] = "license",
    };
    json_t *o = NULL;
    const enum status s = ask_show(remote_of(p)->url, p->model, &o, err);
    if (!s && part == SHOW_SUMMARY)
        put_shown(out, o);
    else if (!s)
        put_member(out, o, member[part]);
    json_decref(o);
    return s;
}

/* A new model FROM this one, made by the server in its store. */
static enum status remote_save(struct run_place *p, const char *name,
                               const struct run_settings *set, const json_t *messages,
                               struct error *err)
{
    const char *url = remote_of(p)->url;
    json_t *shown = NULL, *all = json_array(), *one;
    size_t i;
    enum status s = ask_show(url, p->model, &shown, err);
    const json_t *own = json_object_get(shown, "messages");
    if (!s && json_array_size(messages)) {
        if (json_is_array(own))
            json_array_extend(all, (json_t *)(uintptr_t)own);
        json_array_foreach((json_t *)(uintptr_t)messages, i, one) json_array_append_new(
            all, json_pack("{s:O,s:O}", "role", json_object_get(one, "role"), "content",
                           json_object_get(one, "content")));
    }
    json_t *body = json_pack(
        "{s:s,s:s,s:b,s:O*,s:O*,s:O*}", "model", name, "from", p->model, "stream", 0,
        "parameters", json_object_size(set->options) ? set->options : NULL, "system",
        set->system, "messages", json_array_size(all) ? all : NULL);
    if (!s)
        s = body ? server_link_call(url, "POST", "/api/create", body, NULL, NULL, err)
                 : no_request_memory(err);
    json_decref(body);
    json_decref(all);
    json_decref(shown);
    return s;
}

/* What a server fixes when it loads a model. */
static enum status remote_check(struct run_place *p, const struct run_settings *set,
                                struct error *err)
{
    static const char *const fixed[] = {"num_thread", "kv_cache_type", "kv_tail"};
    (void)p;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (json_object_get(set->options, fixed[i]))
            return fail(err, STATUS_UNSUPPORTED,
                        "%s is fixed when the server loads the model; run --local "
                        "chooses it, or a Modelfile",
                        fixed[i]);
    return STATUS_OK;
}

static void remote_facts(struct run_place *p, struct run_facts *out)
{
    json_t *o = NULL;
    char name[128];
    *out = (struct run_facts){.thinks = true};
    if (ask_show(remote_of(p)->url, p->model, &o, NULL))
        return;
    const json_t *can = json_object_get(o, "capabilities");
    const char *arch =
        json_string_value(json_object_get(json_object_get(o, "details"), "family"));
    out->thinks = !json_is_array(can);
    for (size_t i = 0; i < json_array_size(can); i++) {
        const char *able = json_string_value(json_array_get(can, i));
        out->thinks |= able && !strcmp(able, "thinking");
    }
    snprintf(name, sizeof name, "%.60s.context_length", arch ? arch : "");
    out->n_train = count_of(json_object_get(o, "model_info"), name);
    json_decref(o);
}

static enum status remote_list(struct run_place *p, struct error *err)
{
    json_t *answer = NULL;
    enum status s =
        server_link_call(remote_of(p)->url, "GET", "/api/tags", NULL, &answer, NULL, err);
    const json_t *models = json_object_get(answer, "models");
    const size_t n = json_array_size(models);
    struct list_row *rows = s ? NULL : mem_array(n + 1, sizeof *rows);
    for (size_t i = 0; rows && i < n; i++) {
        const json_t *m = json_array_get(models, i);
        const char *name = json_string_value(json_object_get(m, "name"));
        const char *digest = json_string_value(json_object_get(m, "digest"));
        const char *at = json_string_value(json_object_get(m, "modified_at"));
        const json_int_t bytes = json_integer_value(json_object_get(m, "size"));
        int64_t modified = 0;
        words_read_time(&modified, at ? at : "");
        list_row_fill(&rows[i], name ? name : "-", digest ? digest : "-",
                      bytes > 0 ? (uint64_t)bytes : 0, modified);
    }
    if (rows)
        list_rows_print(rows, (int)n);
    else if (!s)
        s = no_request_memory(err);
    mem_free(rows);
    json_decref(answer);
    return s;
}

static enum status remote_memory(struct run_place *p, struct error *err)
{
    json_t *answer = NULL;
    const enum status s =
        server_link_call(remote_of(p)->url, "GET", "/api/ps", NULL, &answer, NULL, err);
    const json_t *models = json_object_get(answer, "models");
    for (size_t i = 0; !s && i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i), *kv = json_object_get(m, "kv");
        const char *name = json_string_value(json_object_get(m, "name"));
        const char *k = json_string_value(json_object_get(kv, "type_k"));
        const char *v = json_string_value(json_object_get(kv, "type_v"));
        printf("model       %s\nkv type     %s/%s\n", name ? name : "-", k ? k : "-",
               v ? v : "-");
        printf("context     %d of %d tokens\n", count_of(kv, "tokens_used"),
               count_of(kv, "tokens_max"));
        printf("cache       %.1f of %.1f MiB in use\n",
               json_number_value(json_object_get(kv, "bytes")) / 0x1p20,
               json_number_value(json_object_get(kv, "bytes_reserved")) / 0x1p20);
        printf("all         %.1f MiB\n",
               json_number_value(json_object_get(m, "size")) / 0x1p20);
    }
    json_decref(answer);
    return s;
}

static void remote_where(const struct run_place *p, char *out, size_t n)
{
    snprintf(out, n, "at the server %s", ((const struct run_remote *)p)->url);
}

static void remote_print_stats(const struct run_place *p, const struct run_stats *s)
{
    static const char *const end[] = {"", ", stopped by num_predict",
                                      ", stopped by its num_predict or the context",
                                      ", interrupted"};
    const char *url = ((const struct run_remote *)p)->url;
    if (s->end == SESSION_STOPPED)
        fprintf(stderr, "interrupted after %.2f s; server %s\n",
                (double)s->total_us / 1e6, url);
    else
        fprintf(stderr,
                "prompt of %d tokens read in %.2f s; decode %d tokens in %.2f s, %.1f "
                "tokens/s%s; server %s\n",
                s->n_prompt, (double)s->prefill_us / 1e6, s->n_decoded,
                (double)s->decode_us / 1e6,
                s->decode_us ? s->n_decoded * 1e6 / (double)s->decode_us : 0, end[s->end],
                url);
}

static void remote_close(struct run_place *p)
{
    mem_free(remote_of(p));
}

enum status run_remote_open(struct run_place **out, const struct cli_command *c,
                            const char *url, const char *model,
                            const struct run_settings *set, struct error *err)
{
    static const struct run_place_ops ops = {
        .answer = remote_answer,
        .load = remote_load,
        .show = remote_show,
        .save = remote_save,
        .check = remote_check,
        .facts = remote_facts,
        .list = remote_list,
        .memory = remote_memory,
        .where = remote_where,
        .print_stats = remote_print_stats,
        .close = remote_close,
    };
    struct run_remote *r = mem_array(1, sizeof *r);
    if (!r)
        return no_request_memory(err);
    r->base.ops = &ops;
    r->base.command = c;
    r->base.stays = true;
    snprintf(r->url, sizeof r->url, "%s", url);
    const enum status s = remote_load(&r->base, model, set, err);
    if (s)
        remote_close(&r->base);
    else
        *out = &r->base;
    return s;
}
