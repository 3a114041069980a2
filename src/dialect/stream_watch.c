/* stream_watch.c - a reply that passes through unchanged, looked at byte by byte.
 *
 * JSON is followed by its brackets and strings alone, with the path of the value that is
 * being read: what a model says in a string cannot be taken for usage or an end. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "json/print.h"
#include "dialect/openai.h"
#include "dialect/upstream.h"
#include "dialect/anthropic_parts.h"
#include "dialect/ollama_parts.h"

enum { LINE_NAME, LINE_DATA, LINE_EVENT, LINE_OTHER };
enum { KEYS = 8, NO_DONE = 255 };

enum watch_key {
    KEY_OTHER,
    KEY_USAGE,
    KEY_MESSAGE, // what usage may be in
    KEY_TYPE,
    KEY_ERROR,
    KEY_DONE,
    KEY_STOP,
    KEY_TEXT, // of an answer, where it is a string
    KEY_PROMPT_DETAILS,
    KEY_DECODED_DETAILS,
    KEY_PROMPT, // counts from here on
    KEY_NEW,    // of Anthropic's prompt, or all of one (Responses)
    KEY_CACHE_READ,
    KEY_CACHE_CREATED,
    KEY_CACHED,
    KEY_DECODED,
    KEY_REASONING,
    KEY_LLAMA_PROMPT,
    KEY_LLAMA_DECODED,
    KEY_OLLAMA_PROMPT,
    KEY_OLLAMA_DECODED,
};

static uint8_t key_of(const char *word)
{
    static const struct {
        const char *word;
        uint8_t key;
    } keys[] = {
        {"usage", KEY_USAGE},
        {"message", KEY_MESSAGE},
        {"response", KEY_MESSAGE},
        {"type", KEY_TYPE},
        {"error", KEY_ERROR},
        {"done", KEY_DONE},
        {"stop", KEY_STOP},
        {"content", KEY_TEXT},
        {"text", KEY_TEXT},
        {"delta", KEY_TEXT}, // Responses
        {"reasoning_content", KEY_TEXT},
        {"reasoning", KEY_TEXT},
        {"thinking", KEY_TEXT},
        {"refusal", KEY_TEXT},
        {"arguments", KEY_TEXT},
        {"partial_json", KEY_TEXT},
        {"name", KEY_TEXT}, // of a call
        {"prompt_tokens_details", KEY_PROMPT_DETAILS},
        {"input_tokens_details", KEY_PROMPT_DETAILS},
        {"completion_tokens_details", KEY_DECODED_DETAILS},
        {"output_tokens_details", KEY_DECODED_DETAILS},
        {"prompt_tokens", KEY_PROMPT},
        {"input_tokens", KEY_NEW},
        {"cache_read_input_tokens", KEY_CACHE_READ},
        {"cache_creation_input_tokens", KEY_CACHE_CREATED},
        {"cached_tokens", KEY_CACHED},
        {"completion_tokens", KEY_DECODED},
        {"output_tokens", KEY_DECODED},
        {"reasoning_tokens", KEY_REASONING},
        {"thinking_tokens", KEY_REASONING},
        {"tokens_evaluated", KEY_LLAMA_PROMPT},
        {"tokens_predicted", KEY_LLAMA_DECODED},
        {"prompt_eval_count", KEY_OLLAMA_PROMPT},
        {"eval_count", KEY_OLLAMA_DECODED},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (*keys[i].word == *word && strcmp(keys[i].word, word) == 0)
            return keys[i].key;
    return KEY_OTHER;
}

void stream_watch_init(struct stream_watch *w, const struct api_operation *op,
                       bool stream)
{
    *w = (struct stream_watch){.at_boundary = true};
    if (!stream)
        w->form = STREAM_DOCUMENT;
    else if (op->dialect == &dialect_anthropic)
        w->form = STREAM_SSE_ANTHROPIC;
    else if (op->dialect == &dialect_ollama)
        w->form = STREAM_LINES;
    else if (op == &openai_responses)
        w->form = STREAM_SSE_RESPONSES;
    else if (op == &openai_completion || op == &openai_infill)
        w->form = STREAM_SSE_STOP;
    else
        w->form = STREAM_SSE_DONE;
}

/* ---- values ---- */

static void set_count(struct stream_watch *w, uint8_t key, int n)
{
    struct answer_usage *u = &w->usage;
    switch (key) {
    case KEY_PROMPT:
    case KEY_LLAMA_PROMPT:
    case KEY_OLLAMA_PROMPT:
        u->n_prompt = n;
        break;
    case KEY_NEW:
        w->n_new = n;
        break;
    case KEY_CACHE_READ:
        w->n_read = n;
        u->n_cached = n;
        break;
    case KEY_CACHE_CREATED:
        w->n_created = n;
        break;
    case KEY_CACHED:
        u->n_cached = n;
        break;
    case KEY_DECODED:
    case KEY_LLAMA_DECODED:
    case KEY_OLLAMA_DECODED:
        u->n_decoded = n;
        break;
    case KEY_REASONING:
        u->n_reasoning = n;
        break;
    default:
        return;
    }
    if (key == KEY_NEW || key == KEY_CACHE_READ || key == KEY_CACHE_CREATED)
        u->n_prompt = w->n_new + w->n_read + w->n_created;
    w->has_usage = true;
}

/* A number, at the place that the keys say. */
static void see_number(struct stream_watch *w, int n)
{
    const int d = w->depth;
    const uint8_t key = d < KEYS ? w->keys[d] : KEY_OTHER;
    if (d == 1) {
        if (key >= KEY_LLAMA_PROMPT)
            set_count(w, key, n);
        return;
    }
    const int base = w->keys[1] == KEY_USAGE                                ? 1
                     : w->keys[1] == KEY_MESSAGE && w->keys[2] == KEY_USAGE ? 2
                                                                            : 0;
    if (base == 0 || d >= KEYS)
        return;
    const uint8_t parent = w->keys[base + 1];
    const bool direct = d == base + 1 && key >= KEY_PROMPT && key != KEY_CACHED &&
                        key != KEY_REASONING && key < KEY_LLAMA_PROMPT;
    const bool detail =
        d == base + 2 && ((parent == KEY_PROMPT_DETAILS && key == KEY_CACHED) ||
                          (parent == KEY_DECODED_DETAILS && key == KEY_REASONING));
    if (direct || detail)
        set_count(w, key, n);
}

/* A number or a word that is none: true, false, null. */
static void end_scalar(struct stream_watch *w)
{
    if (w->n_word == 0 || w->in_string)
        return;
    w->word[w->n_word < sizeof w->word ? w->n_word : sizeof w->word - 1] = 0;
    const bool truth = w->depth == 1 && strcmp(w->word, "true") == 0;
    if (w->form == STREAM_LINES && w->keys[1] == KEY_DONE)
        w->end_seen |= truth;
    if (w->form == STREAM_SSE_STOP && w->keys[1] == KEY_STOP)
        w->end_seen |= truth;
    if (*w->word >= '0' && *w->word <= '9' && w->n_word <= 9)
        see_number(w, (int)strtol(w->word, NULL, 10));
    w->n_word = 0;
}

static void end_string(struct stream_watch *w)
{
    w->in_string = false;
    w->word[w->n_word < sizeof w->word ? w->n_word : sizeof w->word - 1] = 0;
    if (w->n_word >= sizeof w->word)
        w->word[0] = 0; // longer than all that are known
    if (!w->is_value)
        return; // a key, or an entry of an array; a colon will tell
    const uint8_t key = w->depth < KEYS ? w->keys[w->depth] : KEY_OTHER;
    w->has_text |=
        w->n_word > 0 && (key == KEY_TEXT || (w->form == STREAM_LINES && w->depth == 1 &&
                                              key == KEY_MESSAGE)); // "response"
    w->n_word = 0;
    if (w->depth != 1 || w->keys[1] != KEY_TYPE)
        return;
    const char *s = w->word;
    if (w->form == STREAM_SSE_ANTHROPIC)
        w->end_seen |= strcmp(s, "message_stop") == 0;
    if (w->form == STREAM_SSE_RESPONSES) {
        w->end_seen |=
            strcmp(s, "response.completed") == 0 || strcmp(s, "response.incomplete") == 0;
        w->failed |= strcmp(s, "response.failed") == 0;
    }
    w->failed |= strcmp(s, "error") == 0;
}

/* Behind the JSON of an event. */
static void end_json(struct stream_watch *w)
{
    w->ended |= w->end_seen || (w->form == STREAM_DOCUMENT && !w->failed && !w->odd);
    w->end_seen = false;
}

static void see_bracket(struct stream_watch *w, char c)
{
    end_scalar(w);
    w->n_word = 0;
    w->is_value = false;
    if (c == '{' || c == '[') {
        if (w->depth < INT_MAX)
            w->depth++;
        if (w->depth < KEYS)
            w->keys[w->depth] = KEY_OTHER;
        w->begun = true;
    } else if (w->depth > 0 && --w->depth == 0) {
        end_json(w);
    }
}

static void see_colon(struct stream_watch *w)
{
    if (w->depth < KEYS)
        w->keys[w->depth] = key_of(w->word);
    w->n_word = 0;
    w->is_value = true;
}

static void see_json(struct stream_watch *w, char c)
{
    if (w->in_string) {
        if (w->escape)
            w->escape = false;
        else if (c == '\\')
            w->escape = true;
        else if (c == '"') {
            end_string(w);
            return;
        }
        if (w->n_word < sizeof w->word)
            w->word[w->n_word++] = c;
        return;
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        if (w->is_value)
            end_scalar(w);
        return;
    }
    if (c == ':' && w->depth > 0) {
        see_colon(w);
        return;
    }
    /* The first byte of the value of "error": whatever is not null. */
    if (w->depth == 1 && w->is_value && w->keys[1] == KEY_ERROR && w->n_word == 0 && c &&
        strchr("{[\"tf0123456789-", c))
        w->failed = true;
    if (c == '"') {
        w->in_string = true;
        w->n_word = 0;
    } else if (c && strchr("{}[]", c)) {
        see_bracket(w, c);
    } else if (c == ',') {
        end_scalar(w);
        w->n_word = 0;
        w->is_value = false;
    } else if (w->n_word < sizeof w->word) {
        w->word[w->n_word++] = c;
    }
}

static void reset_json(struct stream_watch *w)
{
    w->depth = 0;
    w->n_word = 0;
    w->in_string = w->escape = w->is_value = w->begun = w->end_seen = false;
    w->n_done = 0;
}

/* ---- lines ---- */

static void see_data(struct stream_watch *w, char c)
{
    static const char done[] = "[DONE]";
    if (w->form == STREAM_SSE_DONE && w->n_done < sizeof done - 1) {
        if (c == done[w->n_done])
            w->n_done++;
        else if (c != ' ' || w->n_done > 0)
            w->n_done = NO_DONE;
        w->ended |= w->n_done == sizeof done - 1;
    }
    see_json(w, c);
}

static void begin_field(struct stream_watch *w, char c)
{
    if (c != ':') {
        if (w->n_field < sizeof w->field - 1)
            w->field[w->n_field++] = c;
        return;
    }
    w->field[w->n_field] = 0;
    /* A mark of the byte order may be in front of the first. */
    const char *name =
        strncmp(w->field, "\xef\xbb\xbf", 3) == 0 ? w->field + 3 : w->field;
    w->line = strcmp(name, "data") == 0    ? LINE_DATA
              : strcmp(name, "event") == 0 ? LINE_EVENT
                                           : LINE_OTHER;
    if (strcmp(name, "error") == 0) // llama.cpp, before 2025
        w->failed = true;
    w->n_word = w->line == LINE_EVENT ? 0 : w->n_word;
}

static void end_watched_line(struct stream_watch *w)
{
    const bool blank = w->line == LINE_NAME && w->n_field == 0;
    if (w->line == LINE_EVENT) {
        w->word[w->n_word < sizeof w->word ? w->n_word : sizeof w->word - 1] = 0;
        w->failed |= strcmp(w->word, "error") == 0;
        w->n_word = 0;
    }
    if (blank) {
        w->n_event += w->begun || w->n_done > 0;
        reset_json(w);
    }
    w->at_boundary = blank;
    w->line = LINE_NAME;
    w->n_field = 0;
}

static void see_sse(struct stream_watch *w, char c)
{
    if (w->after_cr && c == '\n') {
        w->after_cr = false;
        return; // the boundary, if it was one, is behind it
    }
    w->after_cr = c == '\r';
    if (c == '\n' || c == '\r') {
        end_watched_line(w);
        return;
    }
    w->at_boundary = false;
    if (w->line == LINE_DATA)
        see_data(w, c);
    else if (w->line == LINE_EVENT && c != ' ' && w->n_word < sizeof w->word)
        w->word[w->n_word++] = c;
    else if (w->line == LINE_NAME)
        begin_field(w, c);
}

static void see_line(struct stream_watch *w, char c)
{
    w->at_boundary = c == '\n';
    if (c == '\n') {
        w->n_event += w->begun;
        reset_json(w);
    } else {
        see_json(w, c);
    }
}

/* A document is one object, with blanks around it.  at: of c in it. */
static void see_document(struct stream_watch *w, char c, uint64_t at)
{
    static const char mark[] = "\xef\xbb\xbf"; // of the byte order
    const bool blank = (c && strchr(" \t\r\n", c)) || (at < 3 && c == mark[at]);
    if (w->depth == 0 && !blank && (w->begun || c != '{')) {
        w->odd = true;
        w->ended = false;
    }
    see_json(w, c);
    w->at_boundary = w->ended;
}

size_t stream_watch_feed(struct stream_watch *w, const char *bytes, size_t n)
{
    size_t boundary = 0;
    for (size_t i = 0; i < n; i++) {
        if (w->form == STREAM_LINES) {
            see_line(w, bytes[i]);
        } else if (w->form == STREAM_DOCUMENT) {
            see_document(w, bytes[i], w->n_bytes + i);
        } else {
            see_sse(w, bytes[i]);
        }
        if (w->at_boundary)
            boundary = i + 1;
    }
    w->n_bytes += n;
    return boundary;
}

/* ---- the error behind it ---- */

static void print_responses_error(struct buf *out, const struct api_error *e)
{
    buf_puts(out, "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\","
                  "\"message\":");
    json_print_string(out, e->message);
    buf_puts(out, ",\"param\":null,\"sequence_number\":0}\n\n");
}

void upstream_print_stream_error(struct buf *out, const struct api_operation *op,
                                 const struct api_error *e, const char *request_id,
                                 bool at_boundary)
{
    const bool anthropic = op->dialect == &dialect_anthropic;
    if (!at_boundary)
        /* Clients leave out events of a type that they do not know. */
        buf_puts(out, op->dialect == &dialect_ollama ? "\n"
                      : anthropic                    ? "\nevent: cut_off\n\n"
                                                     : "\n\n");
    if (op->dialect == &dialect_ollama) {
        ollama_print_error_body(out, e);
        buf_puts(out, "\n");
    } else if (anthropic) {
        buf_puts(out, "event: error\ndata: ");
        anthropic_print_error_body(out, e, request_id);
        buf_puts(out, "\n\n");
    } else if (op == &openai_responses) {
        print_responses_error(out, e);
    } else {
        openai_print_stream_error(out, e);
    }
}
