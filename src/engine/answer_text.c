#include "engine/answer_text.h"

#include <string.h>

#include "base/mem.h"

enum status answer_text_open(struct answer_text *a, const char *const *stop, int n_stop,
                             size_t piece_bytes, struct error *err)
{
    *a = (struct answer_text){.n_stop = n_stop, .stopped = -1};
    size_t longest = 0;
    for (int i = 0; i < n_stop; i++) {
        const size_t n = strlen(stop[i]);
        a->stop_at[i + 1] = a->stop_at[i] + n;
        longest = n > longest ? n : longest;
    }
    a->cap = longest + UTF8_STREAM_BYTES(piece_bytes);
    a->stops = mem_array(a->stop_at[n_stop] + 1, 1);
    a->pending = mem_array(a->cap, 1);
    if (!a->stops || !a->pending) {
        answer_text_close(a);
        return fail(err, STATUS_NO_MEMORY, "no memory for the text of an answer");
    }
    for (int i = 0; i < n_stop; i++)
        memcpy(a->stops + a->stop_at[i], stop[i], a->stop_at[i + 1] - a->stop_at[i]);
    return STATUS_OK;
}

void answer_text_close(struct answer_text *a)
{
    mem_free(a->stops);
    mem_free(a->pending);
    *a = (struct answer_text){.stopped = -1};
}

static size_t stop_bytes(const struct answer_text *a, int i)
{
    return a->stop_at[i + 1] - a->stop_at[i];
}

/* Where in pending the first stop string begins that is complete; n_pending: none. */
static size_t find_stop(struct answer_text *a)
{
    for (size_t at = 0; at < a->n_pending; at++)
        for (int i = 0; i < a->n_stop; i++) {
            const size_t n = stop_bytes(a, i);
            if (n <= a->n_pending - at &&
                !memcmp(a->pending + at, a->stops + a->stop_at[i], n)) {
                a->stopped = i;
                return at;
            }
        }
    return a->n_pending;
}

/* Where the longest end of pending begins that a stop string may begin with. */
static size_t find_start_of_stop(const struct answer_text *a)
{
    for (size_t at = 0; at < a->n_pending; at++)
        for (int i = 0; i < a->n_stop; i++) {
            const size_t n = a->n_pending - at;
            if (n < stop_bytes(a, i) &&
                !memcmp(a->pending + at, a->stops + a->stop_at[i], n))
                return at;
        }
    return a->n_pending;
}

static void drop_sure(struct answer_text *a)
{
    a->n_pending -= a->n_sure;
    memmove(a->pending, a->pending + a->n_sure, a->n_pending);
    a->n_sure = 0;
}

const char *answer_text_put(struct answer_text *a, const char *bytes, size_t n_bytes,
                            size_t *n)
{
    drop_sure(a);
    a->n_pending +=
        utf8_stream_put(&a->utf8, a->pending + a->n_pending, bytes, n_bytes, false);
    a->n_sure = find_stop(a);
    if (a->stopped < 0)
        a->n_sure = find_start_of_stop(a);
    *n = a->n_sure;
    return a->pending;
}

const char *answer_text_flush(struct answer_text *a, size_t *n)
{
    drop_sure(a);
    if (a->stopped >= 0)
        a->n_pending = 0;
    else
        a->n_pending += utf8_stream_put(&a->utf8, a->pending + a->n_pending, "", 0, true);
    a->n_sure = a->stopped < 0 ? find_stop(a) : 0;
    *n = a->n_sure;
    return a->pending;
}

int answer_text_is_stop(const struct answer_text *a, const char *text, size_t n)
{
    for (int i = 0; i < a->n_stop; i++)
        if (n == stop_bytes(a, i) && !memcmp(text, a->stops + a->stop_at[i], n))
            return i;
    return -1;
}
