/* models_internal.h - what the files of models share. */
#ifndef SERVER_MODELS_INTERNAL_H
#define SERVER_MODELS_INTERNAL_H

#include <pthread.h>

#include "server/internal.h"
#include "server/model_policy.h"

enum slot_state { SLOT_LOADING, SLOT_READY, SLOT_FAILED };

struct model_slot {
    struct model_slot *next;
    enum slot_state state;
    struct model_ref ref;
    bool leaving;               // nobody new joins
    bool begun;                 // the loader is at it
    bool given;                 // its engine is the caller's: it stays
    int n_call;                 // that wait for it or use it
    int n_look;                 // that look at it: no use, but it is not closed
    struct loaded_model *model; // SLOT_READY
    struct api_error error;     // SLOT_FAILED
    int64_t keep_us;
    uint64_t used_us;
    struct call *waiting; // list by call.next_waiting
};

struct models {
    struct server *server;
    struct model_start start;
    int64_t keep_us;
    pthread_mutex_t lock;
    pthread_cond_t changed; // for the loader
    pthread_t thread;
    bool has_lock, has_thread, ending;
    struct model_slot *slots; // oldest first; failed ones are not there
    struct models_past past;
    uint64_t look_us; // when the loader looks at the store again
};

/* models_loader.c */
void *models_loader(void *ctx);
/* With the lock: x out of the list. */
void models_unlink(struct models *p, struct model_slot *x);
/* Without the lock, of a slot that is out of the list and idle. */
void models_close_slot(struct models *p, struct model_slot *x);
struct model_use models_use(const struct model_slot *x);
/* Bytes to be had, with the lock. */
size_t models_room(const struct models *p);

#endif
