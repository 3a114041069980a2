/* loaded_model.h - one model in memory, ready for requests.
 *
 * Immutable but for what its parts lock themselves; whoever uses it holds a place of
 * models.h. */
#ifndef SERVER_LOADED_MODEL_H
#define SERVER_LOADED_MODEL_H

#include "engine/replay.h"
#include "engine/scheduler.h"
#include "server/grammar_cache.h"
#include "server/model_card.h"
#include "server/model_params.h"
#include "server/server.h"

enum { MODEL_TEXT_BYTES = 480 };

struct loaded_model {
    struct engine *engine;
    struct scheduler *scheduler;
    struct engine own; // what engine points to, unless the caller of the server opened it
    struct stored_model stored; // layers of the store; zero for a file
    bool is_stored;
    char name[MODEL_NAME_BYTES]; // as shown
    struct model_card *card;     // whole

    /* How it runs. */
    int n_ctx, n_embd, n_parallel, n_queue;
    char kv_name[KV_NAME_BYTES], kv_key[KV_NAME_BYTES], kv_value[KV_NAME_BYTES];
    size_t f16_page_bytes; // of a page, if the cache were of 16-bit floats
    size_t piece_bytes;    // of the longest token
    size_t bytes;          // reserved: weights, cache, scratch
    struct infill_tokens infill;
    const struct output_format *format;
    struct replay *replay;
    struct grammar_cache *grammars;
    char fingerprint[32];
    uint64_t load_us;
    char note[MODEL_NOTE_BYTES]; // of its template and context, or ""
    char text[MODEL_TEXT_BYTES]; // how context and cache were chosen

    /* What its Modelfile says, for requests that do not. */
    struct sampler_params sampling; // NAN, top_k -1 and repeat_last_n -2: it does not
    const char *stop[MODEL_STOPS_MAX];
    int n_stop;
    bool has_seed;
    uint64_t seed;
    int max_tokens;         // num_predict; -1: until the context is full
    const char *system;     // NULL: none
    const json_t *messages; // that chats start with; NULL: none
};

/* The rest of m, whose engine, scheduler, stored, name and kv_name are there. */
enum status loaded_model_finish(struct loaded_model *m, const char *path,
                                size_t replay_bytes, struct error *err);
/* Behind its last generation; NULL: nothing. */
void loaded_model_close(struct loaded_model *m);

#endif
