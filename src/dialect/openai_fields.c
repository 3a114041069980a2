/* openai_fields.c - every field that requests of OpenAI's dialect may have. */
#include <limits.h>
#include <stddef.h>

#include "dialect/openai.h"

#define AT(member) offsetof(struct openai_body, member)
#define N(rows) (int)(sizeof(rows) / sizeof *(rows))

/* A row of each shape; help and the default last. */
#define BOOL(name, member, standard, help)                       \
    {                                                            \
        name, FIELD_BOOL, AT(member), 0, 0, NULL, standard, help \
    }
#define INT(name, member, min, max, standard, help)                 \
    {                                                               \
        name, FIELD_INT, AT(member), min, max, NULL, standard, help \
    }
#define FLOAT(name, member, min, max, standard, help)                 \
    {                                                                 \
        name, FIELD_FLOAT, AT(member), min, max, NULL, standard, help \
    }
#define STRING(name, member, max, standard, help)                    \
    {                                                                \
        name, FIELD_STRING, AT(member), 0, max, NULL, standard, help \
    }
#define CHOICE(name, member, choices, standard, help)                 \
    {                                                                 \
        name, FIELD_CHOICE, AT(member), 0, 0, choices, standard, help \
    }
#define JSON(name, standard, help)                      \
    {                                                   \
        name, FIELD_JSON, 0, 0, 0, NULL, standard, help \
    }
#define IGNORED(name, help)                            \
    {                                                  \
        name, FIELD_IGNORED, 0, 0, 0, NULL, NULL, help \
    }
#define REFUSED(name, help)                            \
    {                                                  \
        name, FIELD_REFUSED, 0, 0, 0, NULL, NULL, help \
    }

#define MODEL_ROW STRING("model", r.model, 256, "the server's", "name of the model")

/* clang-format off */
#define STREAM_ROWS                                                                    \
    BOOL("stream", r.stream, "false", "send the answer in pieces, as they come"),      \
    JSON("stream_options", "none", "see below")

/* What all that generate have in common. */
#define SAMPLING_ROWS                                                                  \
    FLOAT("temperature", r.sampling.temperature, 0, 2, "0.8",                          \
          "0 takes the most likely token"),                                            \
    FLOAT("top_p", r.sampling.top_p, 0, 1, "0.95", "share of probability kept"), \
    FLOAT("presence_penalty", r.sampling.presence_penalty, -2, 2, "0",                 \
          "off each token that is in the answer"),                                     \
    FLOAT("frequency_penalty", r.sampling.frequency_penalty, -2, 2, "0",               \
          "off each token, for each time that it is in the answer"),                   \
    {"seed", FIELD_SEED, AT(r.sampling), 0, 0, NULL, "random",                         \
     "equal requests with equal seeds have equal answers; -1 is random"},              \
    {"stop", FIELD_STRINGS, AT(r.stop), 0, 256, NULL, "none",                          \
     "strings that end the answer and are not part of it"},                            \
    JSON("logit_bias", "none", "object of token id to bias from -100 to 100, or array "\
         "of pairs; `false` is never; at most 1024"),                                  \
    INT("top_k", top_k, -1, INT_MAX, "40",                                             \
        "most likely tokens kept; 0 and -1 keep all (llama.cpp)"),                     \
    FLOAT("min_p", r.sampling.min_p, 0, 1, "0.05",                                     \
          "least probability, as a share of the highest (llama.cpp)"),                 \
    FLOAT("typical_p", r.sampling.typical_p, 0, 1, "1",                                \
          "locally typical share kept (llama.cpp)"),                                   \
    FLOAT("repeat_penalty", r.sampling.repeat_penalty, 0.1, 10, "1",                   \
          "divides logits of recent tokens (llama.cpp)"),                              \
    INT("repeat_last_n", repeat_last_n, -1, INT_MAX, "64",                             \
        "how many tokens are recent; -1 is all (llama.cpp)"),                          \
    STRING("grammar", r.grammar, 1 << 20, "none",                                      \
           "the answer follows this grammar, in GBNF (llama.cpp)"),                    \
    JSON("json_schema", "none", "the answer follows this JSON schema (llama.cpp)"),    \
    JSON("options", "none", "see below"),                                              \
    IGNORED("cache_prompt", "prompts are always reused"),                              \
    IGNORED("id_slot", "places are chosen by the server"),                             \
    IGNORED("timings_per_token", "timings are those of the whole answer"),             \
    IGNORED("user", ""),                                                               \
    REFUSED("chat_template", "templates come with the model, never with a request")

#define ACCOUNT_ROWS                                                                   \
    STRING("prompt_cache_key", r.session, 512, "none",                                 \
           "names the conversation, whose prompts are kept together"),                 \
    IGNORED("prompt_cache_retention", ""),                                             \
    IGNORED("prompt_cache_options", ""),                                               \
    IGNORED("safety_identifier", ""),                                                  \
    IGNORED("service_tier", ""),                                                       \
    IGNORED("store", "nothing is stored"),                                             \
    IGNORED("metadata", "")

/* Later rows win. */
#define N_PREDICT_ROW                                                                  \
    INT("n_predict", r.max_tokens, -1, INT_MAX, "-1", "as max_tokens (llama.cpp)")
#define MAX_TOKENS_ROW                                                                 \
    INT("max_tokens", r.max_tokens, -1, INT_MAX, "-1",                                 \
        "most tokens of an answer; -1 and more than fit: as many as fit")

static const struct field chat_rows[] = {
    MODEL_ROW,
    JSON("messages", "required", "roles: system, developer, user, assistant, tool, "
         "function; content: a string or an array of blocks of text"),
    STREAM_ROWS,
    BOOL("return_progress", r.progress, "false",
         "chunks with `prompt_progress` while the prompt is read (llama.cpp)"),
    N_PREDICT_ROW,
    MAX_TOKENS_ROW,
    INT("max_completion_tokens", r.max_tokens, -1, INT_MAX, "-1",
        "as max_tokens, and wins over it"),
    INT("n", r.n, 1, API_N_MAX, "1", "answers"),
    BOOL("logprobs", logprobs, "false", "log-probability of each token"),
    INT("top_logprobs", top_logprobs, 0, API_LOGPROBS_MAX, "0",
        "the most likely tokens at each place; needs logprobs"),
    JSON("tools", "none", "functions that the model may call; at most 512"),
    JSON("tool_choice", "\"auto\"", "auto, none, required, a function, or allowed_tools"),
    BOOL("parallel_tool_calls", r.parallel_tool_calls, "true",
         "more than one call in an answer"),
    JSON("functions", "none", "tools in their old form; the answer has function_call"),
    JSON("function_call", "\"auto\"", "auto, none or {\"name\": ...}, with functions"),
    JSON("response_format", "text", "text, json_object or json_schema"),
    CHOICE("reasoning_effort", effort, OPENAI_EFFORTS, "the model's",
           "how much the model thinks; none switches it off"),
    JSON("chat_template_kwargs", "none",
         "further variables of the model's template (llama.cpp)"),
    SAMPLING_ROWS,
    ACCOUNT_ROWS,
    JSON("modalities", "[\"text\"]", "text alone"),
    REFUSED("audio", "answers are text alone"),
    REFUSED("web_search_options", "this server searches nothing"),
    REFUSED("moderation", "this server has no moderation"),
    IGNORED("prediction", ""),
    IGNORED("verbosity", ""),
    IGNORED("reasoning_format", "reasoning is always apart"),
};
const struct field_table openai_chat_fields = {"POST /v1/chat/completions", chat_rows,
                                               N(chat_rows)};

static const struct field completion_rows[] = {
    MODEL_ROW,
    JSON("prompt", "required", "a string, an array of strings, of token ids, or of arrays "
         "of token ids; prompts times n is at most 8"),
    STREAM_ROWS,
    N_PREDICT_ROW,
    MAX_TOKENS_ROW,
    INT("n", r.n, 1, API_N_MAX, "1", "answers to each prompt"),
    INT("best_of", best_of, 1, API_N_MAX, "n", "only as many as n"),
    INT("logprobs", r.n_logprobs, 0, API_LOGPROBS_MAX, "none",
        "log-probability of each token, and the most likely ones at its place"),
    SAMPLING_ROWS,
    REFUSED("echo", "send the prompt to /tokenize for its tokens"),
    REFUSED("suffix", "use /infill"),
};
const struct field_table openai_completion_fields = {
    "POST /v1/completions", completion_rows, N(completion_rows)};

static const struct field infill_rows[] = {
    MODEL_ROW,
    STRING("input_prefix", prefix, INT_MAX, "\"\"", "the text in front of the gap"),
    STRING("input_suffix", r.suffix, INT_MAX, "\"\"", "the text behind the gap"),
    STRING("prompt", middle, INT_MAX, "\"\"", "how the gap begins"),
    JSON("input_extra", "none",
         "array of {\"filename\": ..., \"text\": ...}: other files of the project"),
    STREAM_ROWS,
    MAX_TOKENS_ROW,
    N_PREDICT_ROW,
    SAMPLING_ROWS,
    IGNORED("n_indent", ""),
    IGNORED("samplers", "their order is fixed"),
    IGNORED("t_max_prompt_ms", ""),
    IGNORED("t_max_predict_ms", ""),
    IGNORED("response_fields", "all are sent"),
};
const struct field_table openai_infill_fields = {"POST /infill", infill_rows,
                                                 N(infill_rows)};

static const struct field responses_rows[] = {
    MODEL_ROW,
    JSON("input", "required", "a string, or an array of message, function_call, "
         "function_call_output and reasoning items"),
    STRING("instructions", instructions, INT_MAX, "none",
           "a system message in front of the input"),
    STREAM_ROWS,
    INT("max_output_tokens", r.max_tokens, 1, INT_MAX, "as many as fit",
        "most tokens of the answer, its reasoning included"),
    INT("top_logprobs", top_logprobs, 0, API_LOGPROBS_MAX, "none",
        "log-probability of each token of text"),
    JSON("tools", "none", "functions that the model may call; at most 512"),
    JSON("tool_choice", "\"auto\"", "auto, none, required, a function, or allowed_tools"),
    BOOL("parallel_tool_calls", r.parallel_tool_calls, "true",
         "more than one call in an answer"),
    JSON("text", "text", "format: text, json_object or json_schema"),
    JSON("reasoning", "none", "see below"),
    CHOICE("truncation", truncation, "disabled|auto", "disabled",
           "auto drops the oldest messages of an input that is too long"),
    JSON("include", "none", "message.output_text.logprobs; others are ignored"),
    JSON("chat_template_kwargs", "none", "further variables of the model's template"),
    SAMPLING_ROWS,
    ACCOUNT_ROWS,
    REFUSED("previous_response_id", "responses are not stored; send the conversation as input"),
    REFUSED("conversation", "conversations are not stored; send them as input"),
    REFUSED("background", "responses are not stored, so they cannot be fetched later"),
    REFUSED("prompt", "prompts are not stored; send their text"),
    REFUSED("context_management", "the client has to shorten its input"),
    REFUSED("moderation", "this server has no moderation"),
    IGNORED("max_tool_calls", "it limits tools that run in the server: there are none"),
};
const struct field_table openai_responses_fields = {"POST /v1/responses", responses_rows,
                                                    N(responses_rows)};

static const struct field embedding_rows[] = {
    MODEL_ROW,
    JSON("input", "required", "a string, an array of strings, of token ids, or of arrays "
         "of token ids; at most 2048"),
    CHOICE("encoding_format", encoding, "float|base64", "float",
           "base64: of little-endian floats"),
    INT("dimensions", r.dimensions, 1, INT_MAX, "the model's",
        "the first so many, made unit length again"),
    IGNORED("user", ""),
};
const struct field_table openai_embedding_fields = {"POST /v1/embeddings", embedding_rows,
                                                    N(embedding_rows)};
/* clang-format on */

static const struct field option_rows[] = {
    INT("num_ctx", r.n_ctx, 1, INT_MAX, "the server's",
        "most tokens of prompt and answer together"),
};
const struct field_table openai_option_fields = {"options", option_rows, N(option_rows)};

static const struct field stream_rows[] = {
    BOOL("include_usage", r.stream_usage, "false",
         "a last piece with the usage of the whole request"),
    IGNORED("include_obfuscation", ""),
};
const struct field_table openai_stream_fields = {"stream_options", stream_rows,
                                                 N(stream_rows)};

static const struct field reasoning_rows[] = {
    CHOICE("effort", effort, OPENAI_EFFORTS, "the model's",
           "how much the model thinks; none switches it off"),
    IGNORED("summary", "reasoning is sent as it is"),
    IGNORED("generate_summary", "reasoning is sent as it is"),
};
const struct field_table openai_reasoning_fields = {"reasoning (POST /v1/responses)",
                                                    reasoning_rows, N(reasoning_rows)};
