/* catalog.h - all models that may be asked for, loaded or not, with their cards. */
#ifndef SERVER_CATALOG_H
#define SERVER_CATALOG_H

#include "server/models.h"

struct server;
struct catalog; // cards that were made before, by digest

struct catalog_model {
    char name[MODEL_NAME_BYTES];
    struct model_ref ref;
    struct model_card *card;
};

enum status catalog_open(struct catalog **out, struct error *err);
void catalog_close(struct catalog *c);

/* *out [*n] <- the model of the command line, then those of the store, newest first; a
 * name comes once.  Freed by catalog_free. */
enum status catalog_list(struct server *s, struct catalog_model **out, int *n,
                         struct error *err);
void catalog_free(struct catalog_model *list, int n);
/* One of them. */
enum status catalog_find(struct server *s, const struct model_ref *ref,
                         struct catalog_model *out, struct error *err);

/* The context that it would get if memory does not matter. */
int catalog_n_ctx(const struct server *s, const struct model_card *card);

#endif
