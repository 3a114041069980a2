#include <limits.h>
#include <string.h>

#include "dialect/content.h"
#include "dialect/embedding.h"
#include "json/print.h"
#include "dialect/ollama_keep_alive.h"
#include "dialect/ollama_parts.h"

/* Ollama's own words for an option of a wrong type, NULL if its type is right; ranges are
 * the table's to check. */
static const char *wrong_type(enum field_type type, const json_t *v)
{
    switch (type) {
    case FIELD_INT:
    case FIELD_SEED:
        return json_is_number(v) ? NULL : "integer";
    case FIELD_FLOAT:
        return json_is_number(v) ? NULL : "float32";
    case FIELD_BOOL:
        return json_is_boolean(v) ? NULL : "boolean";
    case FIELD_STRINGS:
        return json_is_array(v) || json_is_string(v) ? NULL : "array";
    case FIELD_STRING:
        return json_is_string(v) ? NULL : "string";
    case FIELD_CHOICE:
    case FIELD_JSON:
    case FIELD_IGNORED:
    case FIELD_REFUSED:
        break;
    }
    return NULL;
}

enum status ollama_check_options(const json_t *options, struct api_error *err)
{
    const struct field_table *t = &ollama_option_fields;
    for (int i = 0; i < t->n; i++) {
        const char *name = t->fields[i].name;
        const json_t *v = json_object_get(options, name);
        if (!v || json_is_null(v))
            continue;
        const char *type = wrong_type(t->fields[i].type, v);
        if (type)
            return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID,
                            content_at("options.%s", name).text,
                            "option \"%s\" must be of type %s", name, type);
    }
    return STATUS_OK;
}

static enum status read_options(struct ollama_body *b, const json_t *body,
                                struct api_error *err)
{
    const json_t *options = json_object_get(body, "options");
    if (!options || json_is_null(options))
        return STATUS_OK;
    if (!json_is_object(options))
        return content_wrong(options, "options", "an object", err);
    enum status s = ollama_check_options(options, err);
    if (s == STATUS_OK)
        s = fields_read(&ollama_option_fields, options, b, "options.", err);
    if (s != STATUS_OK)
        return s;
    if (b->num_predict != INT_MIN) {
        b->r.max_tokens = b->num_predict > 0 ? b->num_predict : -1;
        b->r.unlimited = b->num_predict <= 0;
    }
    if (b->top_k != INT_MIN)
        b->r.sampling.top_k = b->top_k < 0 ? 0 : b->top_k;
    if (b->repeat_last_n != INT_MIN)
        b->r.sampling.repeat_last_n = b->repeat_last_n < 0 ? INT_MAX : b->repeat_last_n;
    return STATUS_OK;
}

static enum status read_think(struct api_request *r, const json_t *body,
                              struct api_error *err)
{
    static const char *const levels[] = {"low", "medium", "high", "max"};
    const json_t *v = json_object_get(body, "think");
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (json_is_boolean(v)) {
        r->think = json_is_true(v) ? API_THINK_ON : API_THINK_OFF;
        return STATUS_OK;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (json_is_string(v) && strcmp(json_string_value(v), levels[i]) == 0) {
            r->think = API_THINK_ON;
            r->think_effort = levels[i];
            return STATUS_OK;
        }
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "think",
                    "invalid think value: \"%.40s\" (must be \"high\", \"medium\", "
                    "\"low\", \"max\", true, or false)",
                    json_is_string(v) ? json_string_value(v) : "");
}

static enum status read_answer_format(struct api_request *r, const json_t *body,
                                      struct api_error *err)
{
    json_t *v = json_object_get(body, "format");
    if (!v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0))
        return STATUS_OK;
    if (json_is_object(v)) {
        r->format = API_FORMAT_SCHEMA;
        r->schema = json_incref(v);
        return STATUS_OK;
    }
    if (json_is_string(v) && strcmp(json_string_value(v), "json") == 0) {
        r->format = API_FORMAT_JSON;
        return STATUS_OK;
    }
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "format",
                    "invalid format: expected \"json\" or a JSON schema");
}

/* r->keep_alive <- its JSON text, which the body owns like all strings of a request. */
static enum status read_keep_alive(struct api_request *r, json_t *body,
                                   struct api_error *err)
{
    const json_t *v = json_object_get(body, "keep_alive");
    int64_t us;
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!ollama_keep_alive(v, &us))
        return content_wrong(v, "keep_alive",
                             "a number of seconds or a duration like \"10m\"", err);
    struct buf text;
    buf_init(&text, 1 << 10);
    json_print_value(&text, v);
    json_t *kept = text.failed ? NULL : json_stringn_nocheck(text.data, text.len);
    buf_release(&text);
    if (json_object_set_new(body, "keep_alive as text", kept))
        return api_no_memory(err);
    r->keep_alive = json_string_value(kept);
    return STATUS_OK;
}

enum status ollama_read_common(struct ollama_body *b, const struct field_table *t,
                               json_t *body, struct api_error *err)
{
    enum status s = fields_read(t, body, b, "", err);
    if (s == STATUS_OK)
        s = read_options(b, body, err);
    if (s == STATUS_OK)
        s = read_think(&b->r, body, err);
    if (s == STATUS_OK)
        s = read_answer_format(&b->r, body, err);
    if (s == STATUS_OK)
        s = read_keep_alive(&b->r, body, err);
    if (b->logprobs)
        b->r.n_logprobs = b->top_logprobs;
    return s;
}

static void ollama_body_init(struct ollama_body *b, const struct api_request *r,
                             enum api_task task)
{
    *b = (struct ollama_body){
        .r = *r, .num_predict = INT_MIN, .top_k = INT_MIN, .repeat_last_n = INT_MIN};
    b->r.task = task;
    b->r.stream = task == API_CHAT || task == API_COMPLETION;
}

/* Success: *out <- b->r, which takes body over.  Else what b->r owns is released. */
static enum status ollama_body_finish(struct api_request *out, struct ollama_body *b,
                                      json_t *body, enum status s)
{
    if (s == STATUS_OK) {
        *out = b->r;
        out->body = body;
    } else {
        api_request_release(&b->r);
    }
    return s;
}

/* r->prompts <- the string of that name alone, or nothing if it is empty. */
static enum status read_one_prompt(struct api_request *r, const json_t *body,
                                   const char *name, struct api_error *err)
{
    json_t *v = json_object_get(body, name);
    r->prompts = json_array();
    if (v && !json_is_null(v) && !json_is_string(v))
        return content_wrong(v, name, "a string", err);
    if (!r->prompts || (json_string_length(v) > 0 && json_array_append(r->prompts, v)))
        return api_no_memory(err);
    return STATUS_OK;
}

static enum status read_inputs(struct api_request *r, const json_t *body,
                               struct api_error *err)
{
    const json_t *v = json_object_get(body, "input");
    if (!json_is_array(v))
        return read_one_prompt(r, body, "input", err);
    if (json_array_size(v) > API_PROMPTS_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "input",
                        "input has %zu strings, at most %d are allowed",
                        json_array_size(v), API_PROMPTS_MAX);
    r->prompts = json_array();
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *s = json_array_get(v, i);
        if (!json_is_string(s))
            return content_wrong(s, content_at("input[%zu]", i).text, "a string", err);
        if (json_array_append(r->prompts, s))
            return api_no_memory(err);
    }
    return r->prompts ? STATUS_OK : api_no_memory(err);
}

static enum status parse_ollama_chat(struct api_request *out, json_t *body,
                                     struct api_error *err)
{
    struct ollama_body b;
    ollama_body_init(&b, out, API_CHAT);
    enum status s = ollama_read_common(&b, &ollama_chat_fields, body, err);
    if (s == STATUS_OK)
        s = ollama_read_messages(&b.r, body, err);
    if (s == STATUS_OK)
        s = ollama_read_tools(&b.r, body, err);
    return ollama_body_finish(out, &b, body, s);
}

/* With text behind it, an empty prompt is one: the gap is at the beginning.  The gap
 * itself begins with nothing. */
static enum status ask_for_infill(struct api_request *r, struct api_error *err)
{
    r->task = API_INFILL;
    while (json_array_size(r->prompts) < 2)
        if (json_array_append_new(r->prompts, json_string("")))
            return api_no_memory(err);
    return STATUS_OK;
}

static enum status parse_generate(struct api_request *out, json_t *body,
                                  struct api_error *err)
{
    struct ollama_body b;
    ollama_body_init(&b, out, API_COMPLETION);
    enum status s = ollama_read_common(&b, &ollama_generate_fields, body, err);
    if (s == STATUS_OK)
        s = read_one_prompt(&b.r, body, "prompt", err);
    if (s == STATUS_OK && b.r.raw && b.r.system && *b.r.system)
        s = api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "system",
                     "raw mode does not support template, system, or context");
    if (b.r.suffix && (!*b.r.suffix || b.r.raw))
        b.r.suffix = NULL;
    if (s == STATUS_OK && b.r.suffix)
        s = ask_for_infill(&b.r, err);
    return ollama_body_finish(out, &b, body, s);
}

static enum status parse_embed(struct api_request *out, json_t *body,
                               struct api_error *err)
{
    struct ollama_body b;
    ollama_body_init(&b, out, API_EMBED);
    enum status s = ollama_read_common(&b, &ollama_embed_fields, body, err);
    if (s == STATUS_OK)
        s = read_inputs(&b.r, body, err);
    return ollama_body_finish(out, &b, body, s);
}

static enum status parse_old_embeddings(struct api_request *out, json_t *body,
                                        struct api_error *err)
{
    struct ollama_body b;
    ollama_body_init(&b, out, API_EMBED);
    enum status s = ollama_read_common(&b, &ollama_embeddings_fields, body, err);
    if (s == STATUS_OK)
        s = read_one_prompt(&b.r, body, "prompt", err);
    return ollama_body_finish(out, &b, body, s);
}

static void print_vector(struct buf *out, const struct embedding *v)
{
    buf_puts(out, "[");
    for (int i = 0; i < v->n; i++) {
        buf_puts(out, i > 0 ? "," : "");
        json_print_number(out, (double)(float)(v->x[i] * v->scale), 9);
    }
    buf_puts(out, "]");
}

static void print_embed(struct buf *out, const struct api_request *r,
                        const struct answer_head *head, const struct api_embeddings *e)
{
    buf_puts(out, "{\"model\":");
    json_print_string(out, head->model);
    buf_puts(out, ",\"embeddings\":[");
    for (int i = 0; i < e->n; i++) {
        buf_puts(out, i > 0 ? "," : "");
        const struct embedding v = embedding_at(e, r, i);
        print_vector(out, &v);
    }
    buf_printf(out,
               "],\"total_duration\":%llu,\"load_duration\":%llu,"
               "\"prompt_eval_count\":%d}",
               (unsigned long long)e->total_us * 1000,
               (unsigned long long)e->load_us * 1000, e->n_prompt);
}

static void print_old_embedding(struct buf *out, const struct api_request *r,
                                const struct answer_head *head,
                                const struct api_embeddings *e)
{
    (void)head;
    const struct embedding v =
        e->n > 0 ? embedding_at(e, r, 0) : (struct embedding){.n = 0};
    buf_puts(out, "{\"embedding\":");
    print_vector(out, &v);
    buf_puts(out, "}");
}

bool ollama_loads_only(const struct api_request *r)
{
    return r->task == API_CHAT ? json_array_size(r->messages) == 0
                               : r->task != API_COUNT && json_array_size(r->prompts) == 0;
}

const struct api_operation ollama_chat = {
    .dialect = &dialect_ollama,
    .task = API_CHAT,
    .parse = parse_ollama_chat,
    .open_writer = ollama_open_chat,
};

const struct api_operation ollama_generate = {
    .dialect = &dialect_ollama,
    .task = API_COMPLETION,
    .parse = parse_generate,
    .open_writer = ollama_open_generate,
};

const struct api_operation ollama_embed = {
    .dialect = &dialect_ollama,
    .task = API_EMBED,
    .parse = parse_embed,
    .print_embeddings = print_embed,
};

const struct api_operation ollama_embeddings = {
    .dialect = &dialect_ollama,
    .task = API_EMBED,
    .parse = parse_old_embeddings,
    .print_embeddings = print_old_embedding,
};
