/* models.h - the argument MODEL of the commands: a file, or a name of the store. */
#ifndef CLI_MODELS_H
#define CLI_MODELS_H

#include "cli/cli.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "store/stored_model.h"

/* What commands say of MODEL. */
#define MODELS_HELP "MODEL is a .gguf file or a name that 'turbine list' shows."

/* The store that the environment says: our own folder is TURBINE_MODELS, OLLAMA_MODELS,
 * $XDG_DATA_HOME/turbine/models or ~/.local/share/turbine/models; Ollama's own folders
 * are read, too.  STATUS_IO where one that a variable names is no folder or closed: it
 * must not look empty. */
enum status models_open(struct store **out, struct error *err);
/* The same whatever our own is. */
enum status models_open_any(struct store **out, struct error *err);
/* out <- one of Ollama's folders that is there and closed to this user, so that
 * models_open leaves it out; false: none. */
bool models_closed(char out[STORE_PATH_BYTES]);

/* An argument that is a name, parsed: every command says the same of a wrong one. */
enum status models_name(struct model_name *out, const char *arg, struct error *err);

struct model_choice {
    char path[STORE_PATH_BYTES]; // of the GGUF
    bool stored;                 // by name: m is there
    char name[MODEL_NAME_BYTES]; // of a stored one, short
    struct stored_model m;
};

/* arg is a path if a regular file is there, it ends in ".gguf" or starts with '/', '.' or
 * '~'; else a name.  STATUS_NOT_FOUND says how to get a model.  Closing is right after
 * any outcome. */
enum status models_choose(struct model_choice *out, const char *arg, struct error *err);
/* Its path alone. */
enum status models_path(char path[STORE_PATH_BYTES], const char *arg, struct error *err);
bool models_is_path(const char *arg);
void models_close(struct model_choice *c);

/* A PARAMETER of the model: *out keeps its value if there is none.  Out of [min, max] or
 * of another type: STATUS_BAD_FILE with the model's name. */
enum status models_number(const struct model_choice *c, const char *name, double min,
                          double max, double *out, struct error *err);
enum status models_text(const struct model_choice *c, const char *name, const char **out,
                        struct error *err);
/* Default < environment < the model's PARAMETER < option, for what a model is loaded
 * with. Options: kv NULL, tail below 0 and ctx 0 are not given. KV types: KV_CACHE_TYPE,
 * kv_cache_type; kv_tail. */
enum status models_kv(const struct model_choice *c, const char *kv, int tail,
                      struct kv_types *out, struct error *err);
/* Tokens of context: CONTEXT_LENGTH, num_ctx; 0: nobody says. */
enum status models_ctx(const struct model_choice *c, int ctx, int *out,
                       struct error *err);
/* How tokens are picked: the model's parameters over what is in *out; not its seed. */
enum status models_sampling(const struct model_choice *c, struct sampler_params *out,
                            struct error *err);
/* Its TEMPLATE in place of the GGUF's, if it is Jinja, or Go's and to be used
 * (engine_try_go_template); a note of the command says which, if it is Go's
 * or none. */
enum status models_template(const struct model_choice *c, const char *command,
                            struct engine *e, struct error *err);
/* The same in words, for people, of a model that is not loaded: g is its GGUF. */
void models_template_words(char *out, size_t n, const struct stored_model *m,
                           const struct gguf *g);
enum { MODELS_STOP_MAX = 16 }; // MODEL_STOPS_MAX of server/model_params.h
enum status models_stops(const struct model_choice *c, const char *out[MODELS_STOP_MAX],
                         int *n, struct error *err);

#endif
