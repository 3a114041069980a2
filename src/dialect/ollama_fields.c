/* ollama_fields.c - every field that requests of the Ollama dialect may have. */
#include <limits.h>
#include <stddef.h>

#include "dialect/ollama_parts.h"

#define AT(member) offsetof(struct ollama_body, member)
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
#define FLOAT(name, member, min, max, standard, help)                            \
    {                                                                            \
        name, FIELD_FLOAT, AT(r.sampling.member), min, max, NULL, standard, help \
    }
#define STRING(name, member, max, standard, help)                    \
    {                                                                \
        name, FIELD_STRING, AT(member), 0, max, NULL, standard, help \
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

/* clang-format off */
#define COMMON_ROWS                                                                    \
    STRING("model", r.model, 256, "the model of the server", "name of the model"),     \
    JSON("keep_alive", "the server's", "how long the model stays loaded behind this "  \
         "request: seconds, or a duration like `\"10m\"`; negative is for ever, 0 "    \
         "unloads it"),                                                                \
    JSON("options", "none", "options of the model, see below")

#define ANSWER_ROWS                                                                    \
    BOOL("stream", r.stream, "true", "the answer in lines of JSON, as it comes"),      \
    JSON("format", "text", "`\"json\"`, or a JSON schema that the answer follows"),    \
    JSON("think", "the model's", "`true`, `false`, or how much: `\"low\"`, "           \
         "`\"medium\"`, `\"high\"`, `\"max\"`"),                                       \
    BOOL("logprobs", logprobs, "false", "log-probability of each token"),              \
    INT("top_logprobs", top_logprobs, 0, API_LOGPROBS_MAX, "0",                        \
        "the most likely tokens at each place, with `logprobs`"),                      \
    IGNORED("shift", "an answer that fills the context ends with `length`")

static const struct field chat_rows[] = {
    COMMON_ROWS,
    JSON("messages", "none: the model is loaded",
         "messages with `role` (`system`, `user`, `assistant`, `tool`), `content`, "
         "`thinking`, `tool_calls`, `tool_name`, `tool_call_id`"),
    JSON("tools", "none", "functions that the model may call"),
    ANSWER_ROWS,
    BOOL("truncate", r.truncate, "false",
         "old messages are dropped rather than that the request fails"),
};
const struct field_table ollama_chat_fields = {"POST /api/chat", chat_rows, N(chat_rows)};

static const struct field generate_rows[] = {
    COMMON_ROWS,
    JSON("prompt", "none: the model is loaded", "the user's text"),
    STRING("suffix", r.suffix, INT_MAX, "none",
           "text behind the answer, for models that can fill a gap; not with `raw`"),
    STRING("system", r.system, INT_MAX, "none", "the system message"),
    BOOL("raw", r.raw, "false", "the prompt is all that the model sees: no template"),
    ANSWER_ROWS,
    BOOL("truncate", r.truncate, "false",
         "changes nothing: a prompt that is too long is refused"),
    REFUSED("template", "the chat template is the model's; send raw prompts instead"),
    IGNORED("context", "never sent by this server; use /api/chat"),
    REFUSED("images", "this model reads text only"),
};
const struct field_table ollama_generate_fields = {"POST /api/generate", generate_rows,
                                                   N(generate_rows)};

static const struct field embed_rows[] = {
    COMMON_ROWS,
    JSON("input", "none: the model is loaded", "a string or an array of strings"),
    INT("dimensions", r.dimensions, 0, 1 << 20, "all",
        "so many numbers of each vector, of unit length again"),
    BOOL("truncate", r.truncate, "false", "cut off what does not fit into the context"),
};
const struct field_table ollama_embed_fields = {"POST /api/embed", embed_rows,
                                                N(embed_rows)};

static const struct field embeddings_rows[] = {
    COMMON_ROWS,
    JSON("prompt", "none: the model is loaded", "the text"),
};
const struct field_table ollama_embeddings_fields = {
    "POST /api/embeddings", embeddings_rows, N(embeddings_rows)};

static const struct field option_rows[] = {
    INT("num_ctx", r.n_ctx, 1, INT_MAX, "the server's",
        "most tokens of prompt and answer together; more than the server's is the "
        "server's"),
    STRING("kv_cache_type", r.kv_type, 64, "the model's",
           "type of the cache, as `--kv`: all requests of a model share one, so that "
           "another than the model has is an error, which says how to change it; this "
           "server's own"),
    INT("kv_tail", r.kv_tail, 0, 1 << 20, "the model's",
        "newest tokens that are kept exact, in the same way; this server's own"),
    INT("num_predict", num_predict, -2, INT_MAX, "the model's, else -1",
        "most tokens of the answer; -1, -2 and 0: as many as fit"),
    {"seed", FIELD_SEED, AT(r.sampling), 0, 0, NULL, "random",
     "equal requests with equal seeds have equal answers; -1 is random"},
    {"stop", FIELD_STRINGS, AT(r.stop), 0, 256, NULL, "none",
     "strings that end the answer"},
    FLOAT("temperature", temperature, 0, 100, "0.8",
          "0 takes the most likely token"),
    INT("top_k", top_k, -1, INT_MAX, "40",
        "only so many of the most likely tokens; 0 and -1: all"),
    FLOAT("top_p", top_p, 0, 1, "0.9",
          "only the most likely tokens of this total probability"),
    FLOAT("min_p", min_p, 0, 1, "0",
          "least probability, as a share of the highest"),
    FLOAT("typical_p", typical_p, 0, 1, "1", "locally typical share that is kept"),
    INT("repeat_last_n", repeat_last_n, -1, INT_MAX, "64",
        "tokens that the penalty looks back; 0: none, -1: all"),
    FLOAT("repeat_penalty", repeat_penalty, 0.1, 10, "1",
          "divides logits of tokens that came lately"),
    FLOAT("presence_penalty", presence_penalty, -10, 10, "0",
          "off each token that is in the answer"),
    FLOAT("frequency_penalty", frequency_penalty, -10, 10, "0",
          "off each token, for each time that it is in the answer"),
    IGNORED("num_keep", "the context is not shifted"),
    IGNORED("num_batch", "the server's"),
    IGNORED("num_gpu", "the server's"),
    IGNORED("main_gpu", "the server's"),
    IGNORED("num_thread", "the server's"),
    IGNORED("use_mmap", "weights are always mapped"),
    IGNORED("draft_num_predict", "there is no draft model"),
};
const struct field_table ollama_option_fields = {"options of the Ollama API", option_rows,
                                                 N(option_rows)};
