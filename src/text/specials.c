#include "text/specials.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct special_entry {
    const char *s;
    size_t n;
    int32_t id;
};

static int special_compare(const void *a, const void *b)
{
    const struct special_entry *x = a, *y = b;
    const int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    if (c)
        return c;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_special(const struct vocab *v, int32_t id)
{
    size_t n;
    vocab_text(v, id, &n);
    const int type = v->type[id];
    return n && (type == TOKEN_CONTROL || type == TOKEN_USER || type == TOKEN_UNKNOWN);
}

enum status specials_open(struct specials *a, const struct vocab *v, struct error *err)
{
    size_t n = 0;
    for (int i = 0; i < v->n; i++)
        n += is_special(v, i);
    struct special_entry *all = mem_array(n, sizeof *all);
    a->id = mem_array(n, sizeof *a->id);
    if (!all || !a->id) {
        mem_free(all);
        return fail(err, STATUS_NO_MEMORY, "tokenizer: no memory for special tokens");
    }
    n = 0;
    for (int i = 0; i < v->n; i++)
        if (is_special(v, i)) {
            all[n].s = vocab_text(v, i, &all[n].n);
            all[n++].id = i;
        }
    qsort(all, n, sizeof *all, special_compare);
    int b = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && all[i].n == all[i - 1].n && !memcmp(all[i].s, all[i - 1].s, all[i].n))
            continue; // a duplicate: the first id wins
        while (b <= (unsigned char)all[i].s[0])
            a->first[b++] = a->n;
        a->id[a->n++] = all[i].id;
    }
    while (b <= 256)
        a->first[b++] = a->n;
    mem_free(all);
    return STATUS_OK;
}

void specials_release(struct specials *a)
{
    mem_free(a->id);
    *a = (struct specials){0};
}

/* First of the specials lo..hi-1, which agree in their first d bytes, whose byte d is at
 * least c. */
static int lower_bound(const struct specials *a, const struct vocab *v, int lo, int hi,
                       size_t d, int c)
{
    while (lo < hi) {
        const int mid = lo + (hi - lo) / 2;
        size_t n;
        const char *s = vocab_text(v, a->id[mid], &n);
        if (d < n && (unsigned char)s[d] >= c)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Longest special at text[0..n), its length in *len, or -1. */
static int32_t longest_at(const struct specials *a, const struct vocab *v,
                          const char *text, size_t n, const uint8_t *mark, bool control,
                          size_t *len)
{
    int32_t best = -1;
    int lo = a->first[(unsigned char)text[0]], hi = a->first[(unsigned char)text[0] + 1];
    for (size_t d = 1; lo < hi; d++) {
        control = control && !(mark && mark[d - 1]);
        size_t have;
        vocab_text(v, a->id[lo], &have);
        if (have == d && (control || v->type[a->id[lo]] == TOKEN_USER)) {
            best = a->id[lo];
            *len = d;
        }
        if (d == n)
            break;
        const int c = (unsigned char)text[d];
        lo = lower_bound(a, v, lo, hi, d, c);
        hi = lower_bound(a, v, lo, hi, d, c + 1);
    }
    return best;
}

int32_t specials_next(const struct specials *a, const struct vocab *v, const char *text,
                      size_t n, const uint8_t *mark, bool control, size_t from,
                      size_t *at, size_t *len)
{
    for (size_t i = from; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (a->first[c] == a->first[c + 1])
            continue;
        const int32_t id =
            longest_at(a, v, text + i, n - i, mark ? mark + i : NULL, control, len);
        if (id >= 0) {
            *at = i;
            return id;
        }
    }
    *at = n;
    return -1;
}
