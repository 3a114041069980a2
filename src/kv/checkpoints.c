#include "kv/checkpoints.h"

#include <string.h>

void kv_checkpoints_init(struct kv_checkpoints *c, void *mem, size_t bytes, int cap)
{
    *c = (struct kv_checkpoints){.mem = mem, .bytes = bytes, .cap = cap};
}

static uint8_t *state_at(const struct kv_checkpoints *c, int i)
{
    return c->mem + (size_t)c->at[i].slot * c->bytes;
}

enum { NEAR_TOKENS = 64 }; // they make no difference

/* The gap without checkpoint i over the way from there to the end: what is near the end
 * is wanted more often. */
static double cost_of(const struct kv_checkpoints *c, int i, int end)
{
    const int before = i ? c->at[i - 1].pos : 0;
    const int after = i + 1 < c->n ? c->at[i + 1].pos : end;
    return (double)(after - before) / (double)(end - after + NEAR_TOKENS);
}

static int free_slot(struct kv_checkpoints *c, int end)
{
    if (c->n < c->cap) { // slots below cap that nobody has
        for (int slot = 0;; slot++) {
            int i = 0;
            while (i < c->n && c->at[i].slot != slot)
                i++;
            if (i == c->n)
                return slot;
        }
    }
    int least = 0;
    for (int i = 1; i < c->n; i++)
        if (cost_of(c, i, end) < cost_of(c, least, end))
            least = i;
    const int slot = c->at[least].slot;
    memmove(&c->at[least], &c->at[least + 1],
            (size_t)(c->n - least - 1) * sizeof c->at[0]);
    c->n--;
    return slot;
}

void kv_checkpoints_take(struct kv_checkpoints *c, int pos, const void *state)
{
    if (c->n && c->at[c->n - 1].pos == pos)
        return; // the same tokens: the same state
    const int slot = free_slot(c, pos);
    c->at[c->n].pos = pos;
    c->at[c->n++].slot = slot;
    memcpy(c->mem + (size_t)slot * c->bytes, state, c->bytes);
}

void kv_checkpoints_cut(struct kv_checkpoints *c, int pos)
{
    while (c->n && c->at[c->n - 1].pos > pos)
        c->n--;
}

int kv_checkpoints_restore(struct kv_checkpoints *c, int pos, void *state)
{
    kv_checkpoints_cut(c, pos);
    if (!c->n)
        return -1;
    memcpy(state, state_at(c, c->n - 1), c->bytes);
    return c->at[c->n - 1].pos;
}
