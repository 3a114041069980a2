#include "engine/chat_caps.h"

#include <string.h>
#include <time.h>

#include "json/parse.h"

/* ---- rendering ---- */

/* The text of a vocabulary entry as JSON, "" for none. */
static json_t *token_json(const struct tokenizer *t, int32_t id)
{
    size_t n = 0;
    const char *s = id >= 0 ? tokenizer_text(t, id, &n) : "";
    json_t *v = json_stringn(s, n);
    return v ? v : json_string("");
}

enum status chat_render(const struct chat_render *r, struct template_output *out,
                        struct error *err)
{
    const struct tokenizer *t = r->tokenizer;
    /* Templates are written for transformers, which passes absent lists as none. */
    json_t *tools = r->tools         ? json_incref(r->tools)
                    : r->empty_tools ? json_array()
                                     : json_null();
    json_t *vars =
        json_pack("{s:O, s:b, s:o, s:o, s:o, s:n}", "messages", r->messages,
                  "add_generation_prompt", r->generation, "bos_token",
                  token_json(t, t ? tokenizer_bos(t) : -1), "eos_token",
                  token_json(t, t ? tokenizer_eos(t) : -1), "tools", tools, "documents");
    enum status s;
    *out = (struct template_output){0};
    if (!vars || (r->vars && json_object_update_missing(vars, r->vars)))
        s = fail(err, STATUS_NO_MEMORY, "no memory for the template's variables");
    else
        s = template_render(r->template, vars, time(NULL), &template_limits_default, out,
                            err);
    json_decref(vars);
    return s;
}

bool chat_ends_in_reasoning(const struct output_format *f,
                            const struct template_output *text)
{
    const char *open, *close;
    size_t n = text->text.len;
    if (!output_format_thinks(f, &open, &close))
        return false;
    const size_t len = strlen(open);
    while (n && strchr(" \n", text->text.data[n - 1]))
        n--;
    return n >= len && !memcmp(text->text.data + n - len, open, len) &&
           !memchr(text->mark.data + n - len, 1, len);
}

/* ---- probing ---- */

struct probe {
    const struct template *template;
    const struct tokenizer *tokenizer;
    struct chat_caps *caps;
    struct buf text; // of the last rendering that was not refused
};

/* Words that a template does not say by itself. */
#define SYSTEM "{\"role\":\"system\",\"content\":\"qsystemq\"}"
#define USER "{\"role\":\"user\",\"content\":\"quserq\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"qanswerq\"}"
#define LATE "{\"role\":\"system\",\"content\":\"qlateq\"}"
#define LAST "{\"role\":\"user\",\"content\":\"qlastq\"}"

static const char probe_tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"qtoolq\",\"description\":\"d\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"qkeyq\":{\"type\":\"string\","
    "\"description\":\"d\"}},\"required\":[\"qkeyq\"]}}}]";

/* false: the template refuses it. */
static bool probe_render(struct probe *p, json_t *messages, bool tools, json_t *vars)
{
    struct template_output out;
    json_t *list = tools ? json_parse(probe_tools, strlen(probe_tools), 0, NULL) : NULL;
    const struct chat_render r = {
        .template = p->template,
        .tokenizer = p->tokenizer,
        .messages = messages,
        .tools = list,
        .empty_tools = p->caps->empty_tools,
        .generation = true,
        .vars = vars,
    };
    const bool ok = messages && !chat_render(&r, &out, NULL);
    json_decref(list);
    buf_clear(&p->text);
    if (!ok)
        return false;
    buf_append(&p->text, out.text.data, out.text.len);
    template_output_release(&out);
    return buf_append(&p->text, "", 1);
}

static bool probe_text(struct probe *p, const char *messages, bool tools, json_t *vars)
{
    json_t *list = json_parse(messages, strlen(messages), 0, NULL);
    const bool ok = probe_render(p, list, tools, vars);
    json_decref(list);
    return ok;
}

static const char *find(const struct probe *p, const char *word)
{
    return p->text.len ? strstr(p->text.data, word) : NULL;
}

/* Whether the words come in this order, each once. */
static bool in_order(const struct probe *p, const char *const *words)
{
    const char *last = NULL;
    for (; *words; words++) {
        const char *at = find(p, *words);
        if (!at || (last && at < last) || strstr(at + 1, *words))
            return false;
        last = at;
    }
    return true;
}

static json_t *probe_call(const struct chat_caps *c, const char *name, const char *id)
{
    json_t *args = c->args_string ? json_string("{\"qkeyq\": \"qvalueq\"}")
                                  : json_pack("{s:s}", "qkeyq", "qvalueq");
    return json_pack("{s:s, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function",
                     "name", name, "arguments", args);
}

static json_t *probe_result(const char *name, const char *id, const char *content)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "role", "tool", "tool_call_id", id, "name",
                     name, "content", content);
}

/* A conversation with one call or two, and results. */
static json_t *probe_calls(const struct chat_caps *c, bool two, const char *reasoning)
{
    const char *id[2] = {c->short_ids ? "aaaaaaaa1" : "call_12345678901",
                         c->short_ids ? "aaaaaaaa2" : "call_12345678902"};
    json_t *calls = json_pack("[o]", probe_call(c, "qcallq", id[0]));
    if (two)
        json_array_append_new(calls, probe_call(c, "qsecondq", id[1]));
    json_t *message =
        json_pack("{s:s, s:o, s:o}", "role", "assistant", "content",
                  c->null_content ? json_null() : json_string(""), "tool_calls", calls);
    if (reasoning)
        json_object_set_new(message, reasoning, json_string("qthinkq"));
    json_t *messages =
        json_pack("[{s:s, s:s}, o, o]", "role", "user", "content", "quserq", message,
                  probe_result("qcallq", id[0], "qresultq"));
    if (two)
        json_array_append_new(messages, probe_result("qsecondq", id[1], "qotherq"));
    return messages;
}

static bool probe_calls_text(struct probe *p, bool two, const char *reasoning)
{
    json_t *messages = probe_calls(p->caps, two, reasoning);
    const bool ok = probe_render(p, messages, true, NULL);
    json_decref(messages);
    return ok;
}

/* The first way to pass calls that the template prints as they are. */
static bool find_call_form(struct probe *p)
{
    static const char *const words[] = {"quserq", "qcallq", "qvalueq", "qresultq", NULL};
    struct chat_caps *c = p->caps;
    for (int way = 0; way < 8; way++) {
        c->args_string = way & 1;
        c->null_content = way & 2;
        c->short_ids = way & 4;
        if (!probe_calls_text(p, false, NULL))
            continue;
        /* Results may name the call again; text that was quoted as JSON is not meant. */
        const char *at = find(p, "qcallq");
        if (at && find(p, words[2]) && find(p, words[3]) > find(p, words[2]) &&
            at > find(p, words[0]) && !find(p, "\\\"qkeyq"))
            return true;
    }
    c->args_string = c->null_content = c->short_ids = false;
    return false;
}

static void note_call(void *ctx, const struct output_event *e)
{
    bool *found = ctx;
    if (e->kind == OUTPUT_TOOL_BEGIN)
        *found = e->n == 6 && !memcmp(e->text, "qcallq", 6);
}

/* Whether the parser reads what the template prints for a call: a model that was taught
 * another syntax by its template would not be understood. */
static bool reads_calls(struct probe *p)
{
    struct buf start;
    struct output_parser *parser;
    json_t *tools = json_pack("[{s:{s:s}}]", "function", "name", "qcallq");
    bool found = false;
    const struct output_options o = {.format = p->caps->format,
                                     .tools = tools,
                                     .max_bytes = 1 << 16,
                                     .emit = note_call,
                                     .ctx = &found};
    buf_init(&start, 1 << 20);
    if (probe_text(p, "[" USER "]", true, NULL))
        buf_append(&start, p->text.data, p->text.len - 1);
    if (probe_calls_text(p, false, NULL) && start.len &&
        !output_parser_open(&parser, &o, NULL)) {
        size_t from = 0;
        const char *s = p->text.data, *end = find(p, "qresultq");
        while (from < start.len && s[from] == start.data[from])
            from++;
        while (from && from < start.len && s[from] != '<') // in the middle of a mark
            from--;
        if (end && s + from < end)
            output_parser_feed(parser, s + from, (size_t)(end - s) - from, false);
        output_parser_end(parser);
        output_parser_close(parser);
    }
    buf_release(&start);
    json_decref(tools);
    return found;
}

/* Whether a variable changes what is printed. */
static bool matters(struct probe *p, const char *name, json_t *a, json_t *b)
{
    struct buf first;
    json_t *va = json_pack("{s:o}", name, a), *vb = json_pack("{s:o}", name, b);
    bool differ = false;
    buf_init(&first, 1 << 20);
    if (probe_text(p, "[" USER "]", false, va)) {
        buf_append(&first, p->text.data, p->text.len);
        differ = probe_text(p, "[" USER "]", false, vb) && first.len &&
                 (first.len != p->text.len ||
                  memcmp(first.data, p->text.data, first.len) != 0);
    }
    buf_release(&first);
    json_decref(va);
    json_decref(vb);
    return differ;
}

static void probe_thinking(struct probe *p)
{
    struct chat_caps *c = p->caps;
    struct template_output out;
    json_t *messages = json_parse("[" USER "]", strlen("[" USER "]"), 0, NULL);
    const struct chat_render r = {.template = p->template,
                                  .tokenizer = p->tokenizer,
                                  .messages = messages,
                                  .empty_tools = c->empty_tools,
                                  .generation = true};
    c->think_switch = matters(p, "enable_thinking", json_true(), json_false()) ||
                      matters(p, "thinking", json_true(), json_false());
    c->effort = matters(p, "reasoning_effort", json_string("low"), json_string("high"));
    c->thinks = c->think_switch || c->effort;
    if (messages && !chat_render(&r, &out, NULL)) {
        c->thinks = c->thinks || chat_ends_in_reasoning(c->format, &out);
        template_output_release(&out);
    }
    json_decref(messages);
    if (c->native && probe_calls_text(p, false, "reasoning_content") &&
        !find(p, "qthinkq"))
        c->thinking_field = probe_calls_text(p, false, "thinking") && find(p, "qthinkq");
}

void chat_caps_probe(struct chat_caps *out, const struct template *t, const char *source,
                     size_t n, const struct tokenizer *tokenizer)
{
    static const char *const late[] = {"quserq", "qanswerq", "qlateq", "qlastq", NULL};
    static const char *const two[] = {"qcallq", "qsecondq", "qresultq", "qotherq", NULL};
    struct probe p = {.template = t, .tokenizer = tokenizer, .caps = out};
    *out = (struct chat_caps){.format = output_format_find(source, n, tokenizer)};
    buf_init(&p.text, 1 << 20);
    if (!probe_text(&p, "[" USER "]", false, NULL)) {
        out->empty_tools = true;
        out->empty_tools = probe_text(&p, "[" USER "]", false, NULL);
    }
    out->system =
        probe_text(&p, "[" SYSTEM "," USER "]", false, NULL) && find(&p, "qsystemq");
    out->late_system =
        probe_text(&p, "[" USER "," ANSWER "," LATE "," LAST "]", false, NULL) &&
        in_order(&p, late) &&
        probe_text(&p, "[" USER "," ANSWER "," LAST "," LATE "]", false, NULL) &&
        find(&p, "qlateq") > find(&p, "qlastq");
    out->consecutive = probe_text(&p, "[" USER "," LAST "]", false, NULL) &&
                       find(&p, "quserq") && find(&p, "qlastq");
    out->tools = probe_text(&p, "[" USER "]", true, NULL) && find(&p, "qtoolq");
    out->native = out->tools && find_call_form(&p) && reads_calls(&p);
    out->parallel = out->native && probe_calls_text(&p, true, NULL);
    for (int i = 0; out->parallel && two[i]; i++)
        out->parallel = find(&p, two[i]);
    /* Who is asked for the generic syntax answers in it. */
    if (!out->native && strcmp(output_format_name(out->format), "harmony") != 0)
        out->format = output_format_find("", 0, NULL);
    probe_thinking(&p);
    buf_release(&p.text);
}
