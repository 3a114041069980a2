#include "server/model_policy.h"

#include "server/context_choice.h"

int model_policy_victim(const struct model_use *list, int n, bool busy)
{
    int victim = -1;
    for (int i = 0; i < n; i++) {
        const struct model_use *m = &list[i];
        if (!m->here || m->leaving || (m->n_call > 0) != busy)
            continue;
        if (victim < 0 || m->used_us < list[victim].used_us)
            victim = i;
    }
    return victim;
}

uint64_t model_policy_expiry_us(const struct model_use *m)
{
    if (!m->here || m->leaving || m->n_call > 0 || m->keep_us == INT64_MAX)
        return UINT64_MAX;
    const uint64_t keep = m->keep_us > 0 ? (uint64_t)m->keep_us : 0;
    return m->used_us > UINT64_MAX - keep ? UINT64_MAX : m->used_us + keep;
}

static size_t less(size_t a, size_t b)
{
    return a > b ? a - b : 0;
}

size_t model_policy_room(size_t available, size_t resident, size_t reserved, size_t limit)
{
    size_t room = SIZE_MAX;
    if (available)
        room = less(less(available, context_reserve(available)), less(reserved, resident));
    if (limit && less(limit, reserved) < room)
        room = less(limit, reserved);
    return room;
}
