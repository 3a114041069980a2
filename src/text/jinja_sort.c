/* jinja_sort.c - stable merge sort, bounded in steps. */
#include <string.h>

#include "text/jinja.h"

bool jinja_less(struct render *r, const struct jinja_value *a,
                const struct jinja_value *b, bool *out)
{
    return jinja_charge(r, 1) && jinja_compare(r, JO_LT, a, b, out);
}

/* Merge at[lo..mid) and at[mid..hi) into to[lo..hi).  An equal item of the right run
 * never passes one of the left. */
static bool sort_merge(struct render *r, size_t *to, const size_t *at,
                       const struct jinja_value *key, size_t lo, size_t mid, size_t hi,
                       bool reverse)
{
    size_t i = lo, j = mid;
    for (size_t k = lo; k < hi; k++) {
        bool right = i == mid;
        if (i < mid && j < hi) {
            const struct jinja_value *a = &key[at[i]], *b = &key[at[j]];
            if (!jinja_less(r, reverse ? a : b, reverse ? b : a, &right))
                return false;
        }
        to[k] = right ? at[j++] : at[i++];
    }
    return true;
}

bool jinja_sort(struct render *r, struct jinja_value *v, struct jinja_value *key,
                size_t n, bool reverse)
{
    size_t *at = jinja_alloc(r, n, sizeof *at), *to = jinja_alloc(r, n, sizeof *to);
    struct jinja_value *copy = jinja_alloc(r, n, sizeof *copy);
    if (!at || !to || !copy)
        return false;
    for (size_t i = 0; i < n; i++)
        at[i] = i;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            const size_t mid = lo + run < n ? lo + run : n;
            const size_t hi = lo + 2 * run < n ? lo + 2 * run : n;
            if (!sort_merge(r, to, at, key, lo, mid, hi, reverse))
                return false;
        }
        size_t *swap = at;
        at = to;
        to = swap;
    }
    for (size_t i = 0; i < n; i++)
        copy[i] = v[at[i]];
    if (n)
        memcpy(v, copy, n * sizeof *v);
    return true;
}
