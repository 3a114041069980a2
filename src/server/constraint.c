/* constraint.c - what an answer may be: tool calls, a JSON Schema, a grammar. */
#include <string.h>

#include "base/mem.h"
#include "server/internal.h"

static bool refuse_constraint(struct call *c, const struct error *err)
{
    struct metrics *m = &c->server->metrics;
    metrics_add(m, &m->failed_grammars, 1);
    call_engine_error(c, err);
    return false;
}

static bool compile(struct call *c, const struct grammar_source *src)
{
    struct error err;
    return !grammar_cache_get(c->model->grammars, src, &c->grammar, &err) ||
           refuse_constraint(c, &err);
}

/* answer: a schema that the model may follow instead of a call; NULL: text is free. */
static bool constrain_calls(struct call *c, json_t *answer)
{
    struct output_grammar g;
    struct error err;
    const enum api_tool_choice choice = c->req.tool_choice;
    const bool required = choice == API_TOOLS_REQUIRED || choice == API_TOOLS_NAMED;
    const enum status s = output_grammar(
        &g, c->model->format, c->tools,
        choice == API_TOOLS_NAMED ? c->req.tool_name : NULL, required || answer,
        c->req.parallel_tool_calls, c->chat.reasoning, required ? NULL : answer, &err);
    if (s == STATUS_UNSUPPORTED && !required && !answer)
        return true; // calls are read where the model makes them
    if (s)
        return refuse_constraint(c, &err);
    /* Some formats have a schema for each parameter of a tool. */
    const size_t n = json_array_size(g.schemas);
    json_t **schemas = mem_array(n, sizeof *schemas);
    if (!schemas) {
        output_grammar_release(&g);
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
        return false;
    }
    for (size_t i = 0; i < n; i++)
        schemas[i] = json_array_get(g.schemas, i);
    const struct grammar_source src = {
        .gbnf = g.gbnf.data,
        .n = g.gbnf.len,
        .schemas = schemas,
        .n_schema = (int)n,
        .triggers = g.triggers,
        .n_trigger = g.n_trigger,
        .once = g.once,
    };
    const bool ok = compile(c, &src);
    mem_free(schemas);
    output_grammar_release(&g);
    return ok;
}

/* What is thought first is free. */
static void skip_thoughts(const struct call *c, struct grammar_source *src,
                          const char **close)
{
    const char *open;
    if (!c->chat.reasoning || !output_format_thinks(c->model->format, &open, close))
        return;
    src->triggers = close;
    src->n_trigger = 1;
}

static bool constrain_grammar(struct call *c)
{
    const char *close;
    struct grammar_source src = {
        .gbnf = c->req.grammar, .n = strlen(c->req.grammar), .once = true};
    skip_thoughts(c, &src, &close);
    return compile(c, &src);
}

static bool constrain_schema(struct call *c, json_t *schema)
{
    const char *close;
    struct grammar_source src = {.schemas = &schema, .n_schema = 1, .once = true};
    if (json_array_size(c->tools))
        return constrain_calls(c, schema);
    skip_thoughts(c, &src, &close);
    return compile(c, &src);
}

bool constraint_make(struct call *c)
{
    const bool tools = json_array_size(c->tools) > 0;
    switch (c->req.format) {
    case API_FORMAT_TEXT:
        return !tools || constrain_calls(c, NULL);
    case API_FORMAT_GRAMMAR:
        if (!tools)
            return constrain_grammar(c);
        call_fail(c, API_ERROR_UNSUPPORTED,
                  "a grammar of the answer together with tools is not supported");
        return false;
    case API_FORMAT_SCHEMA:
        return constrain_schema(c, c->req.schema);
    case API_FORMAT_JSON:
        break;
    }
    json_t *any = json_pack("{s:s}", "type", "object");
    const bool ok = any && constrain_schema(c, any);
    if (!any)
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
    json_decref(any);
    return ok;
}
