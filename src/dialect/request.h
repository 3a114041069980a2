/* request.h - an API request as values: what every dialect is parsed to.
 *
 * All fields are valid: of their type, in their range, lists within their limits.  JSON
 * is kept only where it is content (messages, tools, schemas), in one canonical form:
 *
 *   messages  [{"role": "system" | "user" | "assistant" | "tool",
 *               "content": STRING,                       always there, "" for none
 *               "images": [{"at": N, "media_type": STRING, "data": BASE64} or
 *                          {"at": N, "url": STRING}, ...],    user and tool, if
 *                       keep_images: each stands in front of byte N of content, in
 *                       rising order; a newline there, behind text, joins what the image
 *                       divides
 *               "reasoning_content": STRING,             assistant, if it was sent
 *               "tool_calls": [{"id": STRING, "type": "function",
 *                 "function": {"name": STRING, "arguments": OBJECT}}],     assistant
 *               "tool_call_id": STRING, "name": STRING}, tool: whose result it is
 *              ...]     in the order that was sent, system messages in their places.
 *                       Ids that a client left out are "call_" and a small number
 *   tools     [{"type": "function", "function":
 *               {"name": STRING, "description": STRING, "parameters": SCHEMA}}, ...]
 *
 * Equal conversations have equal canonical forms, whatever shape their content was sent
 * in (a string or blocks of text), so that their prompts share a prefix. */
#ifndef DIALECT_REQUEST_H
#define DIALECT_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum api_task {
    API_CHAT,       // messages
    API_COMPLETION, // prompts
    API_EMBED,      // prompts
    API_COUNT,      // messages: their number of tokens
    API_INFILL, // suffix, and prompts: what is in front of the gap, how the gap begins
                // ("" for not at all), then name and text of each file of context
};

enum api_tool_choice {
    API_TOOLS_AUTO,
    API_TOOLS_NONE,
    API_TOOLS_REQUIRED,
    API_TOOLS_NAMED
};

enum api_format {
    API_FORMAT_TEXT,
    API_FORMAT_JSON,    // any JSON object
    API_FORMAT_SCHEMA,  // schema
    API_FORMAT_GRAMMAR, // grammar, in GBNF
};

enum api_think { API_THINK_DEFAULT, API_THINK_OFF, API_THINK_ON };

enum {
    API_N_MAX = 8,          // choices of a request
    API_STOP_MAX = 16,      // stop strings
    API_BIAS_MAX = 1024,    // biased tokens
    API_LOGPROBS_MAX = 20,  // alternatives of a token
    API_PROMPTS_MAX = 2048, // inputs of a request for embeddings
    API_TOOLS_MAX = 512,
    API_MESSAGES_MAX = 100000,
};

struct api_bias {
    int32_t id; // as sent; whether the vocabulary has it is checked by the server
    float bias; // -100 .. 100; those at -100 never come
};

/* Absent values of sampling are those of the model or the server. */
struct api_sampling {
    float temperature, top_p, min_p, typical_p, repeat_penalty; // NAN: absent
    float presence_penalty, frequency_penalty;                  // NAN: absent
    int top_k, repeat_last_n;                                   // -1: absent
    bool has_seed;
    bool any_seed; // -1 was said: one that the model has does not hold
    uint64_t seed;
};

struct api_request {
    enum api_task task;
    json_t *body;      // what was sent; owns all strings below
    const char *model; // "" if none was named
    bool stream;
    bool stream_usage; // usage in a stream's last chunk (OpenAI)
    bool progress;     // say how much of the prompt is read (llama.cpp)

    bool keep_images; // set before it is parsed: images are kept, not refused (for a
                      // backend that may see them)
    json_t *messages; // owned, canonical
    json_t *tools;    // owned, canonical, NULL for none
    enum api_tool_choice tool_choice;
    const char *tool_name; // API_TOOLS_NAMED
    bool parallel_tool_calls;
    json_t *template_vars; // owned, NULL for none: further variables of the template
    enum api_think think;
    const char *think_effort; // "low", "medium", "high" ...; NULL if absent
    bool hide_thinking;       // it is thought, but not shown (Anthropic display: omitted)

    /* Owned: array of strings, or of arrays of token ids.  The choices of a completion
     * are those of its first prompt, then of its second ...: at most API_N_MAX in all. */
    json_t *prompts;
    const char *suffix; // completion and infill; NULL if absent
    const char *system; // Ollama's generate; NULL if absent
    bool raw;           // the prompt is the text itself, without the chat template
    bool echo;

    int n;          // choices of a prompt
    int max_tokens; // -1: as many as fit
    bool unlimited; // max_tokens -1 was asked for: a limit of the model's own does not
                    // hold
    int n_ctx;      // this request's own limit of context; 0: none
    const char
        *kv_type; // the model's cache must be of this type (Ollama's options); NULL:
    int kv_tail;  // any; and have so many exact tokens; -1: any number
    struct api_sampling sampling;
    const char *stop[API_STOP_MAX];
    int n_stop;
    struct api_bias *bias; // owned, [n_bias]
    int n_bias;
    int n_logprobs; // -1: none; else alternatives of each token
    bool truncate;  // drop old messages, or cut the input, rather than refuse (Ollama)

    enum api_format format;
    json_t *schema;      // owned
    const char *grammar; // GBNF

    int dimensions; // of embeddings; 0: all
    bool base64;    // embeddings as base64 of little-endian floats

    const char *session;    // what the client says this conversation is; "" for none
    const char *keep_alive; // as JSON text (Ollama); NULL if absent
};

/* All absent. */
void api_request_init(struct api_request *r);
void api_request_release(struct api_request *r);

#endif
