/* json_range.c - numbers between two bounds, digit by digit.
 *
 * A number is followed against the digits of both bounds at once: while all digits so far
 * are those of a bound (it is tight), the next one may not pass it; once one differs, the
 * bound is kept whatever comes.  Bounds are exact decimals, so nothing is rounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/json.h"

enum { DECIMAL_INT = 40, DECIMAL_FRACTION = 20 };

/* A magnitude, without zeros that say nothing; zero has one digit 0. */
struct decimal {
    bool negative, huge;                        // huge: above whatever is written
    char digit[DECIMAL_INT + DECIMAL_FRACTION]; // values 0 .. 9
    int n_int, n_fraction;
};

static bool decimal_zero(const struct decimal *d)
{
    return !d->huge && d->n_int == 1 && d->digit[0] == 0 && d->n_fraction == 0;
}

/* From the fewest digits that are the number v; false: it has too many. */
static bool decimal_of(struct decimal *d, const json_t *v)
{
    char text[40];
    *d = (struct decimal){0};
    if (json_is_integer(v)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT "e0", json_integer_value(v));
    } else {
        int precision = 0;
        do
            snprintf(text, sizeof text, "%.*e", precision, json_real_value(v));
        while (strtod(text, NULL) != json_real_value(v) && ++precision < 17);
    }
    const char *s = text + (text[0] == '-');
    const char *e = strchr(s, 'e');
    char digits[32] = {0};
    int n = 0, point = -1;
    for (; s < e; s++)
        if (*s == '.')
            point = n;
        else
            digits[n++] = (char)(*s - '0');
    point = (point < 0 ? n : point) + (int)strtol(e + 1, NULL, 10);
    d->negative = text[0] == '-';
    while (n > 0 && digits[n - 1] == 0 && n > point)
        n--;
    if (point > DECIMAL_INT) {
        d->huge = true;
        return true;
    }
    if (n - point > DECIMAL_FRACTION)
        return false;
    if (point <= 0) {
        d->n_int = 1;
        d->n_fraction = n ? n - point : 0;
        memcpy(d->digit + 1 - point, digits, (size_t)n);
        return true;
    }
    d->n_int = point;
    d->n_fraction = n > point ? n - point : 0;
    memcpy(d->digit, digits, (size_t)n);
    return true;
}

struct range_maker {
    struct builder *b;
    const struct decimal *lo, *hi; // magnitudes; hi NULL: none
    bool lo_open, hi_open;
    int n_int;      // digits in front of the point, in work
    int n_fraction; // most digits behind it
    uint32_t next;
    uint32_t memo[64][2][2]; // node + 1 by digit and tightness; GRAMMAR_NONE: dead
};

static int digit_at(const struct decimal *d, int n_int, int at)
{
    if (at < n_int)
        return d->digit[at];
    return at - n_int < d->n_fraction ? d->digit[d->n_int + at - n_int] : 0;
}

/* Whether only zeros are left of d from digit `at` on. */
static bool rest_zero(const struct decimal *d, int n_int, int at)
{
    for (int i = at; i < n_int + d->n_fraction; i++)
        if (digit_at(d, n_int, i))
            return false;
    return true;
}

static bool may_end(const struct range_maker *m, int at, bool lo, bool hi)
{
    if (at < m->n_int)
        return false;
    if (lo && (!rest_zero(m->lo, m->n_int, at) || m->lo_open))
        return false;
    return !hi || !rest_zero(m->hi, m->n_int, at) || !m->hi_open;
}

/* Digit `at` and those behind it; GRAMMAR_NONE if the bounds leave nothing. */
static uint32_t range_digit(struct range_maker *m, int at, bool lo, bool hi)
{
    uint32_t *memo = &m->memo[at][lo][hi];
    if (*memo)
        return *memo == GRAMMAR_NONE ? GRAMMAR_NONE : *memo - 1;
    struct edge e[10];
    uint32_t n = 0;
    const int least = lo ? digit_at(m->lo, m->n_int, at) : 0;
    const int most = hi ? digit_at(m->hi, m->n_int, at) : 9;
    for (int d = least; d <= most; d++) {
        if (at == 0 && d == 0 && m->n_int > 1)
            continue;
        const bool l = lo && d == least, h = hi && d == most;
        const bool more = at + 1 < m->n_int + m->n_fraction;
        const uint32_t end = may_end(m, at + 1, l, h) ? m->next : GRAMMAR_NONE;
        uint32_t go = more ? range_digit(m, at + 1, l, h) : GRAMMAR_NONE;
        if (go != GRAMMAR_NONE && at + 1 == m->n_int)
            go = build_byte(m->b, '.', '.', go);
        const uint32_t node = build_either(m->b, end, go);
        if (node != GRAMMAR_NONE)
            e[n++] = (struct edge){node, (uint8_t)('0' + d), (uint8_t)('0' + d)};
    }
    const uint32_t node = n ? build_bytes(m->b, e, n) : GRAMMAR_NONE;
    *memo = node == GRAMMAR_NONE ? GRAMMAR_NONE : node + 1;
    return node;
}

/* Magnitudes between two others. */
static uint32_t range_magnitude(struct builder *b, const struct decimal *lo, bool lo_open,
                                const struct decimal *hi, bool hi_open, int n_fraction,
                                uint32_t next)
{
    uint32_t nodes[JSON_DIGITS];
    const int most = hi && !hi->huge && hi->n_int < JSON_DIGITS ? hi->n_int : JSON_DIGITS;
    uint32_t n = 0;
    if (lo->huge)
        return GRAMMAR_NONE;
    for (int n_int = lo->n_int; n_int <= most; n_int++) {
        struct range_maker m = {.b = b,
                                .lo = lo,
                                .hi = hi,
                                .lo_open = lo_open,
                                .hi_open = hi_open,
                                .n_int = n_int,
                                .n_fraction = n_fraction,
                                .next = next};
        nodes[n++] =
            range_digit(&m, 0, n_int == lo->n_int, hi && !hi->huge && n_int == hi->n_int);
    }
    return build_split(b, nodes, n);
}

/* Digits behind the point that leave a number apart from an open bound when it is read as
 * a double, of which 15 digits are exact. */
static int open_fraction(const struct decimal *d, bool open, int n_fraction)
{
    const int most = d->n_int < 15 ? 15 - d->n_int : 0;
    return open && most < n_fraction ? most : n_fraction;
}

uint32_t build_json_range(struct builder *b, const struct number_range *r, uint32_t next)
{
    static const struct decimal zero = {.n_int = 1};
    struct decimal lo = {0}, hi = {0};
    if ((r->lo && !decimal_of(&lo, r->lo)) || (r->hi && !decimal_of(&hi, r->hi))) {
        builder_fail(b, STATUS_UNSUPPORTED, "a bound has more than %d digits",
                     DECIMAL_FRACTION);
        return GRAMMAR_NONE;
    }
    const int n_fraction =
        r->integer ? 0
                   : open_fraction(&lo, r->lo_open,
                                   open_fraction(&hi, r->hi_open, JSON_FRACTION));
    uint32_t plus = GRAMMAR_NONE, minus = GRAMMAR_NONE;
    const bool lo_below = !r->lo || (lo.negative && !decimal_zero(&lo));
    const bool hi_below = r->hi && hi.negative && !decimal_zero(&hi);
    if (!hi_below)
        plus = range_magnitude(b, lo_below ? &zero : &lo, !lo_below && r->lo_open,
                               r->hi ? &hi : NULL, r->hi_open, n_fraction, next);
    if (lo_below)
        minus = range_magnitude(b, hi_below ? &hi : &zero, !hi_below || r->hi_open,
                                r->lo ? &lo : NULL, r->lo_open, n_fraction, next);
    if (minus != GRAMMAR_NONE)
        minus = build_byte(b, '-', '-', minus);
    return build_either(b, plus, minus);
}
