/* model_card.h - what is told about a model: sizes and metadata of its file.  Immutable
 * once it is open; counted, since listings and loaded models share it. */
#ifndef SERVER_MODEL_CARD_H
#define SERVER_MODEL_CARD_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gguf/gguf.h"
#include "store/stored_model.h"

struct model_card {
    atomic_int refs;
    char general[128];   // general.name, "" for none
    char arch[64];       // "llama"
    char digest[72];     // 64 hexadecimal digits: the manifest's, or of the file
    char size_label[32]; // "135M"
    char quant[32];      // "Q4_K_M"
    char modified[40];   // as RFC 3339
    int64_t created;     // seconds since 1970
    uint64_t n_param, file_bytes;
    int n_ctx_train, n_embd; // 0: not said
    int n_ctx_param;         // PARAMETER num_ctx; 0: none
    bool can_insert, can_think, can_call, can_complete;
    bool damaged; // its file cannot be read: the rest is what the store knows
    /* With MODEL_CARD_WHOLE. */
    json_t *info;   // of /api/show
    char *template; // source of the chat template that is used, NULL for none
};

enum model_card_parts { MODEL_CARD_LISTED, MODEL_CARD_WHOLE };

/* Of the GGUF at path; m is what the store has with it, or NULL.  *out has one count. */
enum status model_card_open(struct model_card **out, const char *path,
                            const struct stored_model *m, enum model_card_parts parts,
                            struct error *err);
/* Of a model whose GGUF cannot be read; config as in struct stored_model, or NULL. */
enum status model_card_of_entry(struct model_card **out, const struct store_entry *e,
                                struct error *err);
/* What Ollama calls capabilities; returns how many. */
enum { MODEL_ABILITIES_MAX = 5 };
int model_card_abilities(const struct model_card *m,
                         const char *out[MODEL_ABILITIES_MAX]);
struct model_card *model_card_share(struct model_card *m);
void model_card_drop(struct model_card *m); // NULL: nothing

/* The digest of a file that is in no store, from the hash of the engine. */
void model_card_set_digest(struct model_card *m, uint64_t hash);

/* "folder/name-Q4_K_M.gguf" -> "name-Q4_K_M". */
void model_card_file_name(char *out, size_t bytes, const char *path);

/* ---- infill.c: tokens around a gap ---- */

struct infill_tokens {
    int32_t prefix, suffix, middle, file; // -1: the vocabulary has none
};
extern const struct infill_tokens infill_none;
/* Take id if its text [n] is one of them. */
void infill_note(struct infill_tokens *t, const char *text, size_t n, int32_t id);
bool infill_complete(const struct infill_tokens *t);

#endif
