/* openai_parse.c - what requests that generate have in common: sampling, biases, shapes
 * of the answer, prompts. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/content.h"
#include "dialect/openai.h"

void openai_body_init(struct openai_body *b, const struct api_request *r)
{
    *b = (struct openai_body){
        .r = *r, .effort = -1, .top_k = -2, .repeat_last_n = -2, .top_logprobs = -1};
}

enum status openai_body_finish(struct api_request *out, struct openai_body *b,
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

void openai_set_effort(struct openai_body *b)
{
    static const char *const words[] = {
        [OPENAI_EFFORT_MINIMAL] = "minimal", [OPENAI_EFFORT_LOW] = "low",
        [OPENAI_EFFORT_MEDIUM] = "medium",   [OPENAI_EFFORT_HIGH] = "high",
        [OPENAI_EFFORT_XHIGH] = "xhigh",     [OPENAI_EFFORT_MAX] = "max",
    };
    if (b->effort == OPENAI_EFFORT_NONE)
        b->r.think = API_THINK_OFF;
    else if (b->effort > 0)
        b->r.think_effort = words[b->effort];
}

/* A bias of one token: a number, or false for never. */
static enum status add_token_bias(struct api_request *r, long long id, const json_t *bias,
                                  const char *path, struct api_error *err)
{
    const double v = json_is_false(bias) ? -100 : json_number_value(bias);
    if (id < 0 || id > INT32_MAX)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s: a token id is an integer from 0 to %d", path, INT32_MAX);
    if ((!json_is_number(bias) && !json_is_false(bias)) || !isfinite(v) || v < -100 ||
        v > 100)
        return content_wrong(bias, path, "a number from -100 to 100", err);
    r->bias[r->n_bias++] = (struct api_bias){(int32_t)id, (float)v};
    return STATUS_OK;
}

/* "123" -> 123; -1 if it is no number. */
static long long id_of_key(const char *key)
{
    const size_t n = strlen(key);
    return n >= 1 && n <= 10 && strspn(key, "0123456789") == n ? strtoll(key, NULL, 10)
                                                               : -1;
}

static enum status bias_of_pair(struct api_request *r, const json_t *pair, size_t i,
                                struct api_error *err)
{
    const struct content_path path = content_at("logit_bias[%zu]", i);
    const json_t *id = json_array_get(pair, 0);
    if (json_array_size(pair) != 2)
        return content_wrong(pair, path.text, "an array of a token id and a bias", err);
    if (json_is_string(id))
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path.text,
                        "%s: biases of text are not supported, only of token ids",
                        path.text);
    return add_token_bias(r, json_is_integer(id) ? json_integer_value(id) : -1,
                          json_array_get(pair, 1), path.text, err);
}

static enum status read_token_biases(struct api_request *r, const json_t *v,
                                     struct api_error *err)
{
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_object(v) && !json_is_array(v))
        return content_wrong(v, "logit_bias", "an object or an array of pairs", err);
    const size_t n = json_is_object(v) ? json_object_size(v) : json_array_size(v);
    if (n > API_BIAS_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "logit_bias",
                        "logit_bias has %zu tokens, at most %d", n, API_BIAS_MAX);
    if (n > 0 && !(r->bias = mem_array(n, sizeof *r->bias)))
        return api_no_memory(err);
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(v) && s == STATUS_OK; i++)
        s = bias_of_pair(r, json_array_get(v, i), i, err);
    const char *key;
    json_t *bias;
    json_object_foreach((json_t *)v, key, bias)
    {
        if (s == STATUS_OK)
            s = add_token_bias(r, id_of_key(key), bias,
                               content_at("logit_bias.%s", key).text, err);
    }
    return s;
}

static enum status set_schema(struct api_request *r, const json_t *schema,
                              const char *path, struct api_error *err)
{
    if (!json_is_object(schema))
        return content_wrong(schema, path, "a JSON schema (an object)", err);
    if (r->format != API_FORMAT_TEXT)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s: the form of the answer was already given", path);
    r->format = API_FORMAT_SCHEMA;
    r->schema = json_incref((json_t *)schema);
    return STATUS_OK;
}

enum status openai_read_format(struct api_request *r, const json_t *format,
                               const char *path, bool flat, struct api_error *err)
{
    if (!format || json_is_null(format))
        return STATUS_OK;
    if (!json_is_object(format))
        return content_wrong(format, path, "an object", err);
    const json_t *type_value = json_object_get(format, "type");
    const char *type = json_string_value(type_value);
    if (!type)
        return content_wrong(type_value, content_at("%s.type", path).text, "a string",
                             err);
    if (strcmp(type, "text") == 0)
        return STATUS_OK;
    if (strcmp(type, "json_object") == 0) {
        const json_t *schema = json_object_get(format, "schema"); // llama.cpp
        if (schema && !json_is_null(schema))
            return set_schema(r, schema, content_at("%s.schema", path).text, err);
        r->format = API_FORMAT_JSON;
        return STATUS_OK;
    }
    if (strcmp(type, "json_schema") != 0)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID,
                        content_at("%s.type", path).text,
                        "%s.type must be text, json_object or json_schema", path);
    const json_t *inner = flat ? format : json_object_get(format, "json_schema");
    const char *inner_path = flat ? "" : ".json_schema";
    if (!json_is_object(inner))
        return content_wrong(inner, content_at("%s.json_schema", path).text, "an object",
                             err);
    return set_schema(r, json_object_get(inner, "schema"),
                      content_at("%s%s.schema", path, inner_path).text, err);
}

/* The variables of chat_template_kwargs; those that are the request itself are not for
 * it to set. */
static enum status read_template_vars(struct api_request *r, const json_t *v,
                                      struct api_error *err)
{
    static const char *const taken[] = {"chat_template", "messages", "tools",
                                        "add_generation_prompt"};
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_object(v))
        return content_wrong(v, "chat_template_kwargs", "an object", err);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (json_object_get(v, taken[i]))
            return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED,
                            "chat_template_kwargs", "chat_template_kwargs may not set %s",
                            taken[i]);
    const json_t *think = json_object_get(v, "enable_thinking");
    if (json_is_boolean(think))
        r->think = json_is_true(think) ? API_THINK_ON : API_THINK_OFF;
    if (json_object_size(v) > 0)
        r->template_vars = json_incref((json_t *)v);
    return STATUS_OK;
}

static enum status read_part(const struct field_table *t, struct openai_body *b,
                             const json_t *body, const char *path, struct api_error *err)
{
    const json_t *v = json_object_get(body, t->title);
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_object(v))
        return content_wrong(v, t->title, "an object", err);
    return fields_read(t, v, b, path, err);
}

enum status openai_read_common(struct openai_body *b, const json_t *body,
                               struct api_error *err)
{
    struct api_request *r = &b->r;
    enum status s = read_part(&openai_option_fields, b, body, "options.", err);
    if (s == STATUS_OK)
        s = read_part(&openai_stream_fields, b, body, "stream_options.", err);
    if (s == STATUS_OK)
        s = read_token_biases(r, json_object_get(body, "logit_bias"), err);
    if (s == STATUS_OK)
        s = read_template_vars(r, json_object_get(body, "chat_template_kwargs"), err);
    const json_t *schema = json_object_get(body, "json_schema");
    if (s == STATUS_OK && schema && !json_is_null(schema))
        s = set_schema(r, schema, "json_schema", err);
    if (s == STATUS_OK && r->grammar && r->grammar[0]) {
        if (r->format != API_FORMAT_TEXT)
            return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "grammar",
                            "grammar: the form of the answer was already given");
        r->format = API_FORMAT_GRAMMAR;
    }
    openai_set_effort(b);
    if (b->top_k != -2)
        r->sampling.top_k = b->top_k < 0 ? 0 : b->top_k;
    if (b->repeat_last_n != -2)
        r->sampling.repeat_last_n = b->repeat_last_n < 0 ? INT_MAX : b->repeat_last_n;
    return s;
}

static bool is_token_id(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 &&
           json_integer_value(v) <= INT32_MAX;
}

static bool are_token_ids(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!is_token_id(json_array_get(v, i)))
            return false;
    return json_is_array(v) && json_array_size(v) > 0;
}

static enum status check_prompt(const json_t *v, const char *path, bool empty,
                                struct api_error *err)
{
    if (json_is_string(v) && (empty || json_string_length(v) > 0))
        return STATUS_OK;
    if (are_token_ids(v))
        return STATUS_OK;
    if (json_is_string(v))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s may not be an empty string", path);
    return content_wrong(v, path, "a string or an array of token ids that is not empty",
                         err);
}

enum status openai_read_prompts(struct api_request *r, const json_t *v, const char *path,
                                size_t max, bool empty, struct api_error *err)
{
    if (!(r->prompts = json_array()))
        return api_no_memory(err);
    /* Token ids alone are one prompt, strings and arrays are many. */
    if (!json_is_array(v) || json_is_integer(json_array_get(v, 0))) {
        const enum status s = check_prompt(v, path, empty, err);
        if (s == STATUS_OK && json_array_append(r->prompts, (json_t *)v))
            return api_no_memory(err);
        return s;
    }
    const size_t n = json_array_size(v);
    if (n == 0 || n > max)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, path,
                        "%s has %zu entries; it must have 1 to %zu", path, n, max);
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_array_get(v, i);
        const enum status s =
            check_prompt(one, content_at("%s[%zu]", path, i).text, empty, err);
        if (s != STATUS_OK)
            return s;
        if (json_array_append(r->prompts, one))
            return api_no_memory(err);
    }
    return STATUS_OK;
}
