/* model_policy.h - which model goes, and when.  Pure. */
#ifndef SERVER_MODEL_POLICY_H
#define SERVER_MODEL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_use {
    bool here;    // in memory
    bool leaving; // told to go: no new requests
    int n_call;   // requests that it answers
    uint64_t used_us;
    int64_t keep_us; // behind its last request; INT64_MAX: for ever
};

/* The one of list [n] that was not used for longest and is idle, or (busy) in use; -1:
 * there is none.  One that leaves already is none of them. */
int model_policy_victim(const struct model_use *list, int n, bool busy);

/* When it goes by itself: UINT64_MAX never, or not as things are. */
uint64_t model_policy_expiry_us(const struct model_use *m);

/* Bytes that new models may take: of `available` (0: unknown) without a reserve and
 * without what models in memory have reserved and not touched yet (resident is what this
 * process has touched), and not more than what `limit` (0: none) leaves beside them.
 * SIZE_MAX: there is no bound. */
size_t model_policy_room(size_t available, size_t resident, size_t reserved,
                         size_t limit);

#endif
