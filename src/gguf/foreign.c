/* foreign.c - types of other programs: their names in errors, and the id that two of them
 * use for different types.
 * Sources: ggml.h of llama.cpp, of ik_llama.cpp and of TheTom's fork (facts: ids, sizes).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/internal.h"

struct foreign {
    uint32_t id;
    const char *name, *why;
};

static const char removed[] = "removed from the format; convert the model again";
static const char of_activations[] = "a type of activations, not one of weights";
static const char of_cache[] = "a cache type of a llama.cpp fork, not one of weights";
static const char of_fork[] =
    "private to the ik_llama.cpp fork; take a file of standard types";

static const struct foreign *foreign_find(uint32_t id)
{
    static const struct foreign types[] = {
        {4, "Q4_2", removed},        {5, "Q4_3", removed},
        {9, "Q8_1", of_activations}, {15, "Q8_K", of_activations},
        {31, "Q4_0_4_4", removed},   {32, "Q4_0_4_8", removed},
        {33, "Q4_0_8_8", removed},   {36, "IQ4_NL_4_4", removed},
        {37, "IQ4_NL_4_8", removed}, {38, "IQ4_NL_8_8", removed},
        {43, "TURBO3_0", of_cache},  {44, "TURBO4_0", of_cache},
        {133, "Q6_0", of_fork},      {134, "IQ1_BN", of_fork},
        {135, "IQ2_BN", of_fork},    {137, "IQ2_K", of_fork},
        {138, "IQ3_K", of_fork},     {139, "IQ4_K", of_fork},
        {140, "IQ5_K", of_fork},     {141, "IQ6_K", of_fork},
        {144, "IQ4_KS", of_fork},    {145, "IQ2_KS", of_fork},
        {146, "IQ4_KSS", of_fork},   {152, "IQ5_KS", of_fork},
        {153, "IQ2_KT", of_fork},    {154, "IQ3_KT", of_fork},
        {155, "IQ4_KT", of_fork},    {156, "IQ3_KS", of_fork},
        {157, "IQ2_KL", of_fork},    {158, "IQ1_KT", of_fork},
    };
    enum { FORK_FIRST = 97 };
    static const struct foreign other_of_fork = {0, "no known name", of_fork};
    static const struct foreign unknown = {0, "no known name", "unknown to this build"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id)
            return &types[i];
    return id >= FORK_FIRST ? &other_of_fork : &unknown;
}

enum status gguf_foreign_type(const char *path, const char *tensor, uint32_t id,
                              struct error *err)
{
    const struct foreign *f = foreign_find(id);
    return fail(err, STATUS_UNSUPPORTED,
                "%s: tensor '%s': type id %" PRIu32 " (%s) is %s", path, tensor, id,
                f->name, f->why);
}

/* ---- id 42 ---- */

static int order_offsets(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The first of n ascending offsets behind `offset`, or `end`. */
static uint64_t next_offset(const uint64_t *sorted, size_t n, uint64_t offset,
                            uint64_t end)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (sorted[mid] > offset)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < n && sorted[lo] < end ? sorted[lo] : end;
}

/* Q2_0 has 64 values in 18 bytes and TURBO2_0 128 in 34.  Where padding hides the
 * difference, in less than 16 blocks, the tensor is Q2_0. */
static bool is_turbo2(const struct gguf_tensor *t, uint64_t room)
{
    return t->dtype == DTYPE_Q2_0 && t->ne[0] % 128 == 0 && room < t->bytes &&
           room >= t->bytes / 36 * 34;
}

enum status gguf_foreign_42(const char *path, const struct gguf_slot *slot, size_t n,
                            uint64_t data_bytes, struct error *err)
{
    size_t i = 0;
    while (i < n && slot[i].t.dtype != DTYPE_Q2_0)
        i++;
    if (i == n)
        return STATUS_OK;
    enum status st = STATUS_OK;
    uint64_t *sorted = mem_array(n, sizeof *sorted);
    if (!sorted)
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    for (size_t k = 0; k < n; k++)
        sorted[k] = slot[k].offset;
    qsort(sorted, n, sizeof *sorted, order_offsets);
    for (; i < n && !st; i++) {
        const struct gguf_tensor *t = &slot[i].t;
        const uint64_t next = next_offset(sorted, n, slot[i].offset, data_bytes);
        const uint64_t room = next > slot[i].offset ? next - slot[i].offset : 0;
        if (is_turbo2(t, room))
            st = fail(err, STATUS_UNSUPPORTED,
                      "%s: tensor '%s': type id 42 (TURBO2_0, for it has %" PRIu64
                      " bytes and Q2_0 would take %zu) is %s",
                      path, gguf_show(t->name, strlen(t->name)).s, room, t->bytes,
                      of_cache);
    }
    mem_free(sorted);
    return st;
}
