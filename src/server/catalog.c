#include "server/catalog.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/context_choice.h"
#include "server/internal.h"

struct known_card {
    struct digest digest;
    struct model_card *card;
    uint64_t seen; // the last listing that it was in
};

struct catalog {
    pthread_mutex_t lock;
    struct known_card *known; // [n]
    int n;
    uint64_t listing;
};

enum status catalog_open(struct catalog **out, struct error *err)
{
    struct catalog *c = mem_array(1, sizeof *c);
    *out = NULL;
    if (!c || pthread_mutex_init(&c->lock, NULL)) {
        mem_free(c);
        return fail(err, STATUS_NO_MEMORY, "no memory for a list of models");
    }
    *out = c;
    return STATUS_OK;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++)
        model_card_drop(c->known[i].card);
    mem_free(c->known);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

/* ---- cards ---- */

static struct model_card *find_card(struct catalog *c, const struct digest *d)
{
    struct model_card *card = NULL;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->n && !card; i++)
        if (digest_equal(&c->known[i].digest, d)) {
            c->known[i].seen = c->listing;
            card = model_card_share(c->known[i].card);
        }
    pthread_mutex_unlock(&c->lock);
    return card;
}

static void keep_card(struct catalog *c, const struct digest *d, struct model_card *card)
{
    pthread_mutex_lock(&c->lock);
    struct known_card *more = mem_resize(c->known, (size_t)c->n + 1, sizeof *more);
    if (more) {
        c->known = more;
        c->known[c->n++] = (struct known_card){*d, model_card_share(card), c->listing};
    }
    pthread_mutex_unlock(&c->lock);
}

/* Cards of models that are gone. */
static void forget_cards(struct catalog *c, uint64_t listing)
{
    int n = 0;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->n; i++)
        if (c->known[i].seen >= listing)
            c->known[n++] = c->known[i];
        else
            model_card_drop(c->known[i].card);
    c->n = n;
    pthread_mutex_unlock(&c->lock);
}

static enum status make_card(struct server *s, const struct store_entry *e,
                             struct model_card **out, struct error *err)
{
    struct stored_model m;
    *out = NULL;
    enum status st = stored_model_load(&m, s->o.store, &e->name, err);
    if (!st)
        st = model_card_open(out, m.path, &m, MODEL_CARD_LISTED, err);
    if (st && st != STATUS_NO_MEMORY) // listed all the same: asking for it says why
        st = model_card_of_entry(out, e, err);
    stored_model_release(&m);
    return st;
}

static enum status card_of(struct server *s, const struct store_entry *e,
                           struct model_card **out, struct error *err)
{
    if ((*out = find_card(s->catalog, &e->digest)))
        return STATUS_OK;
    const enum status st = make_card(s, e, out, err);
    if (!st)
        keep_card(s->catalog, &e->digest, *out);
    return st;
}

/* ---- lists ---- */

static void take_start(struct server *s, struct catalog_model *out)
{
    const struct model_start *t = models_start_model(s->models);
    *out = (struct catalog_model){.ref = {.start = true},
                                  .card = model_card_share(t->card)};
    snprintf(out->name, sizeof out->name, "%s", t->shown);
}

static enum status take_entry(struct server *s, const struct store_entry *e,
                              struct catalog_model *out, struct error *err)
{
    const struct model_start *t = models_start_model(s->models);
    *out = (struct catalog_model){
        .ref = {.stored = true, .name = e->name, .digest = e->digest}};
    out->ref.start = t->is_there && t->stored && model_name_equal(&t->name, &e->name);
    model_name_print(out->name, &e->name);
    return card_of(s, e, &out->card, err);
}

/* The model of the command line comes first. */
static void put_first(struct catalog_model *list, int n)
{
    for (int i = 1; i < n; i++)
        if (list[i].ref.start) {
            const struct catalog_model m = list[i];
            memmove(list + 1, list, (size_t)i * sizeof *list);
            list[0] = m;
        }
}

enum status catalog_list(struct server *s, struct catalog_model **out, int *n,
                         struct error *err)
{
    const struct model_start *t = models_start_model(s->models);
    struct store_entry *entry = NULL;
    int n_entry = 0;
    *n = 0;
    *out = NULL;
    pthread_mutex_lock(&s->catalog->lock);
    const uint64_t listing = ++s->catalog->listing;
    pthread_mutex_unlock(&s->catalog->lock);
    enum status st = s->o.store ? store_list(s->o.store, &entry, &n_entry, err) : STATUS_OK;
    if (!st && !(*out = mem_array((size_t)n_entry + 1, sizeof **out)))
        st = fail(err, STATUS_NO_MEMORY, "no memory for a list of models");
    if (!st && t->is_there && !t->stored)
        take_start(s, &(*out)[(*n)++]);
    for (int i = 0; i < n_entry && !st; i++)
        if (!entry[i].damaged && !(st = take_entry(s, &entry[i], &(*out)[*n], err)))
            ++*n;
    mem_free(entry);
    if (st) {
        catalog_free(*out, *n);
        *out = NULL;
        *n = 0;
        return st;
    }
    put_first(*out, *n);
    forget_cards(s->catalog, listing);
    return STATUS_OK;
}

void catalog_free(struct catalog_model *list, int n)
{
    for (int i = 0; i < n; i++)
        model_card_drop(list[i].card);
    mem_free(list);
}

enum status catalog_find(struct server *s, const struct model_ref *ref,
                         struct catalog_model *out, struct error *err)
{
    struct store_entry e;
    struct manifest m;
    if (!ref->stored) {
        take_start(s, out);
        return STATUS_OK;
    }
    *out = (struct catalog_model){0};
    enum status st = store_find(s->o.store, &ref->name, &m, &e, err);
    manifest_release(&m);
    return st ? st : take_entry(s, &e, out, err);
}

int catalog_n_ctx(const struct server *s, const struct model_card *card)
{
    if (s->o.models.n_ctx)
        return s->o.models.n_ctx;
    if (card->n_ctx_param)
        return card->n_ctx_param;
    if (s->o.models.defaults.n_ctx)
        return s->o.models.defaults.n_ctx;
    return card->n_ctx_train < CONTEXT_AUTO_MAX ? card->n_ctx_train : CONTEXT_AUTO_MAX;
}
