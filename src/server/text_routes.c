/* text_routes.c - tokens and prompts without an answer. */
#include <string.h>

#include "base/mem.h"
#include "server/internal.h"

/* A piece as text if it is UTF-8, else as its bytes. */
static json_t *piece_json(const struct tokenizer *t, int32_t id)
{
    size_t n;
    const char *piece = tokenizer_piece(t, id, true, &n);
    json_t *v = json_stringn(piece, n);
    if (v)
        return v;
    v = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(v, json_integer((unsigned char)piece[i]));
    return v;
}

static json_t *tokens_json(const struct call *c, const struct tokens *t, bool pieces)
{
    json_t *a = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(
            a, pieces ? json_pack("{s:i,s:o}", "id", (int)t->id[i], "piece",
                                  piece_json(c->model->engine->tokenizer, t->id[i]))
                      : json_integer(t->id[i]));
    return a;
}

/* The model that the body names, loaded; false: not yet, or answered. */
static bool wants_model(struct call *c)
{
    return call_take_body(c) &&
           call_wants_model(c, json_string_value(json_object_get(c->body, "model")));
}

void handle_tokenize(struct call *c)
{
    struct error err;
    struct tokens t;
    if (!wants_model(c))
        return;
    const json_t *body = c->body, *text = json_object_get(body, "content");
    const json_t *parse = json_object_get(body, "parse_special");
    unsigned flags = !parse || json_is_true(parse) ? TOKENIZER_SPECIAL : 0;
    flags |= json_is_true(json_object_get(body, "add_special")) ? TOKENIZER_ADD : 0;
    tokens_init(&t);
    if (!json_is_string(text))
        call_fail(c, API_ERROR_INVALID, "content must be a string");
    else if (tokenizer_encode(c->model->engine->tokenizer, &t, json_string_value(text),
                              json_string_length(text), NULL, flags, &err))
        call_engine_error(c, &err);
    else
        call_reply_json(
            c, 200,
            json_pack(
                "{s:o}", "tokens",
                tokens_json(c, &t, json_is_true(json_object_get(body, "with_pieces")))));
    tokens_release(&t);
}

void handle_detokenize(struct call *c)
{
    json_t *v;
    size_t i;
    struct buf b;
    bool ok = true;
    if (!wants_model(c))
        return;
    const struct tokenizer *t = c->model->engine->tokenizer;
    const int n_vocab = tokenizer_n_vocab(t);
    const json_t *ids = json_object_get(c->body, "tokens");
    buf_init(&b, SERVER_JSON_MAX);
    buf_puts(&b, "");
    ok = json_is_array(ids);
    json_array_foreach(ids, i, v)
    {
        size_t n;
        const json_int_t id = json_integer_value(v);
        ok = ok && json_is_integer(v) && id >= 0 && id < n_vocab;
        if (!ok)
            break;
        const char *piece = tokenizer_piece(t, (int32_t)id, true, &n);
        buf_append(&b, piece, n);
    }
    if (!ok) {
        call_fail(c, API_ERROR_INVALID, "tokens must be an array of ids, 0 to %d",
                  n_vocab - 1);
    } else if (b.failed) {
        call_fail(c, API_ERROR_INVALID, "the text of these tokens has more than %d bytes",
                  SERVER_JSON_MAX);
    } else {
        json_t *text = json_stringn(b.data, b.len);
        if (text)
            call_reply_json(c, 200, json_pack("{s:o}", "content", text));
        else
            call_fail(c, API_ERROR_INVALID,
                      "these tokens are not whole characters of UTF-8");
    }
    buf_release(&b);
}

/* The prompt of a chat request, by the same path: only the last step differs. */
void handle_apply_template(struct call *c)
{
    struct api_error e;
    struct error err;
    struct buf text;
    if (!c->has_req) {
        json_t *body;
        if (!call_read_json(c, &body))
            return;
        if (openai_chat.parse(&c->req, body, &e)) {
            json_decref(body);
            call_error(c, &e);
            return;
        }
        c->has_req = true;
    }
    if (!call_wants_model(c, c->req.model))
        return;
    prompt_take_messages(c);
    const struct chat_turn turn = {
        .messages = c->messages,
        .tools = c->tools,
        .vars = c->req.template_vars,
        .think = c->req.think == API_THINK_DEFAULT ? -1 : c->req.think == API_THINK_ON,
        .think_effort = c->req.think_effort,
        .replay = c->model->replay,
    };
    buf_init(&text, SERVER_JSON_MAX);
    if (chat_prompt_text(c->model->engine, &turn, &text, &err)) {
        call_engine_error(c, &err);
    } else {
        json_t *v = json_stringn(text.data, text.len);
        call_reply_json(c, 200, v ? json_pack("{s:o}", "prompt", v) : NULL);
    }
    buf_release(&text);
}
