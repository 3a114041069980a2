/* policy_table.h - a bounded map of 64-bit hashes to small numbers, least recently used
 * out first.  What belongs to an entry is kept by the caller, in an array as long. */
#ifndef ROUTER_POLICY_TABLE_H
#define ROUTER_POLICY_TABLE_H

#include <stdint.h>

#include "base/status.h"

struct policy_table_entry {
    uint64_t key, used_us;
    int32_t chain;        // next of its bucket
    int32_t newer, older; // -1 at the ends
};

struct policy_table {
    struct policy_table_entry *entries; // [cap]
    int32_t *buckets;                   // [mask + 1]
    uint32_t mask;
    int n, cap;
    int32_t newest, oldest, unused;
};

enum status policy_table_open(struct policy_table *t, int cap, struct error *err);
void policy_table_close(struct policy_table *t);

/* The entry of key, or -1 if there is none or it was not used for longer than life_us
 * (and is forgotten). */
int policy_table_find(struct policy_table *t, uint64_t key, uint64_t life_us,
                      uint64_t now_us);
/* The entry of key as the newest, made if there is none (*fresh), in the place of the
 * oldest if the table is full. */
int policy_table_put(struct policy_table *t, uint64_t key, uint64_t now_us, int *fresh);
void policy_table_forget(struct policy_table *t, int entry);

#endif
