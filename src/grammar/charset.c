/* charset.c - sets of code points as automata over UTF-8 and JSON strings. */
#include "grammar/charset.h"

#include <stdlib.h>
#include <string.h>

static int range_order(const void *x, const void *y)
{
    const struct char_range *a = x, *b = y;
    return (a->lo > b->lo) - (a->lo < b->lo);
}

struct charset charset_make(struct builder *b, struct char_range *r, uint32_t n)
{
    struct charset s = {builder_array(b, n, sizeof *s.r), 0};
    if (!s.r || !n)
        return s;
    qsort(r, n, sizeof *r, range_order);
    for (uint32_t i = 0; i < n; i++) {
        struct char_range *last = s.n ? &s.r[s.n - 1] : NULL;
        if (!last || r[i].lo > last->hi + 1)
            s.r[s.n++] = r[i];
        else if (r[i].hi > last->hi)
            last->hi = r[i].hi;
    }
    return s;
}

struct charset charset_not(struct builder *b, struct charset s)
{
    struct charset out = {builder_array(b, s.n + 1, sizeof *out.r), 0};
    uint32_t at = 0;
    for (uint32_t i = 0; out.r && i < s.n; i++) {
        if (s.r[i].lo > at)
            out.r[out.n++] = (struct char_range){at, s.r[i].lo - 1};
        at = s.r[i].hi + 1;
    }
    if (out.r && at <= CHAR_MAX)
        out.r[out.n++] = (struct char_range){at, CHAR_MAX};
    return out;
}

struct charset charset_and(struct builder *b, struct charset x, struct charset y)
{
    struct charset out = {builder_array(b, x.n + y.n, sizeof *out.r), 0};
    for (uint32_t i = 0, k = 0; out.r && i < x.n && k < y.n;) {
        const uint32_t lo = x.r[i].lo > y.r[k].lo ? x.r[i].lo : y.r[k].lo;
        const uint32_t hi = x.r[i].hi < y.r[k].hi ? x.r[i].hi : y.r[k].hi;
        if (lo <= hi)
            out.r[out.n++] = (struct char_range){lo, hi};
        if (x.r[i].hi < y.r[k].hi)
            i++;
        else
            k++;
    }
    return out;
}

bool charset_has(struct charset s, uint32_t c)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (c >= s.r[i].lo && c <= s.r[i].hi)
            return true;
    return false;
}

size_t utf8_write(char *dst, uint32_t c)
{
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6)
        dst[i] = (char)(0x80 | (c & 0x3f));
    dst[0] = (char)((0xf00 >> n) | c); // 110, 1110 or 11110, by the shift
    return n;
}

size_t utf8_read(const char *s, size_t n, uint32_t *c)
{
    const uint8_t first = n ? (uint8_t)s[0] : 0xff;
    const size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (len > n || (first >= 0x80 && first < 0xc2) || first > 0xf4)
        return 0;
    *c = len == 1 ? first : first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (((uint8_t)s[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | ((uint8_t)s[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    return *c < least[len] || *c > CHAR_MAX || (*c >= 0xd800 && *c < 0xe000) ? 0 : len;
}

/* Edges of one character; those that begin with the same byte go to different nodes. */
struct char_edges {
    struct builder *b;
    uint32_t next;
    struct edge *e; // [n]
    uint32_t n, cap;
};

static void char_edge(struct char_edges *c, uint8_t lo, uint8_t hi, uint32_t next)
{
    if (c->n == c->cap) {
        struct edge *more = builder_array(c->b, 2 * (size_t)c->cap + 8, sizeof *more);
        if (!more)
            return;
        if (c->n)
            memcpy(more, c->e, c->n * sizeof *more);
        c->e = more;
        c->cap = 2 * c->cap + 8;
    }
    c->e[c->n++] = (struct edge){next, lo, hi};
}

/* lo and hi have n bytes each, and between them lies every combination of their ranges.
 */
static void char_sequence(struct char_edges *c, const char *lo, const char *hi, size_t n)
{
    uint32_t next = c->next;
    for (size_t i = n; --i > 0;)
        next = build_byte(c->b, (uint8_t)lo[i], (uint8_t)hi[i], next);
    char_edge(c, (uint8_t)lo[0], (uint8_t)hi[0], next);
}

/* A range of code points is cut where its UTF-8 is not one range for each byte: at a
 * change of length, and where lower bytes do not run through all their values. */
static void char_utf8(struct char_edges *c, uint32_t lo, uint32_t hi)
{
    static const uint32_t last[] = {0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff, CHAR_MAX};
    while (lo <= hi && !c->b->status) {
        uint32_t end = hi;
        for (int i = 0; i < 6; i++)
            if (lo <= last[i]) {
                end = end < last[i] ? end : last[i];
                break;
            }
        const uint32_t from = lo;
        if (from >= 0xd800 && from <= 0xdfff) {
            lo = end + 1;
            continue;
        }
        for (int bits = 18; from >= 0x80 && bits > 0; bits -= 6) {
            const uint32_t low = (1u << bits) - 1;
            if ((from & ~low) == (end & ~low))
                continue;
            if (from & low)
                end = from | low;
            else if ((end & low) != low)
                end = (end & ~low) - 1;
        }
        char a[4], z[4];
        utf8_write(a, from);
        char_sequence(c, a, z, utf8_write(z, end));
        lo = end + 1;
    }
}

static int edge_order(const void *x, const void *y)
{
    const struct edge *a = x, *b = y;
    return (a->lo > b->lo) - (a->lo < b->lo);
}

/* Nodes that together have all edges, each of them as many as do not overlap. */
static uint32_t char_nodes(struct char_edges *c)
{
    struct builder *b = c->b;
    struct edge *part = builder_array(b, c->n, sizeof *part);
    uint32_t *nodes = builder_array(b, c->n, sizeof *nodes), n_node = 0;
    if (!part || !nodes || !c->n)
        return GRAMMAR_NONE;
    qsort(c->e, c->n, sizeof *c->e, edge_order);
    for (uint32_t left = c->n; left && builder_work(b, left);) {
        uint32_t n = 0, kept = 0;
        for (uint32_t i = 0; i < left; i++)
            if (n && c->e[i].lo <= part[n - 1].hi)
                c->e[kept++] = c->e[i];
            else
                part[n++] = c->e[i];
        nodes[n_node++] = build_bytes(b, part, n);
        left = kept;
    }
    return build_split(b, nodes, n_node);
}

uint32_t build_charset(struct builder *b, struct charset s, uint32_t next)
{
    struct char_edges c = {.b = b, .next = next};
    for (uint32_t i = 0; i < s.n; i++)
        char_utf8(&c, s.r[i].lo, s.r[i].hi);
    return char_nodes(&c);
}

/* Pairs: the letter behind the backslash, and what it stands for. */
static const char short_escapes[] = "b\bf\fn\nr\rt\t";

static bool needs_hex(uint32_t c)
{
    return c && !memchr(short_escapes, (int)c, sizeof short_escapes);
}

/* The node behind \u00 for the control characters of s that have no short escape. */
static uint32_t build_control(struct builder *b, struct charset s, uint32_t next)
{
    struct edge high[2];
    uint32_t n_high = 0;
    for (uint32_t h = 0; h < 2; h++) {
        struct edge low[22];
        uint32_t n = 0;
        for (uint8_t c = 0; c < 10; c++)
            if (charset_has(s, h * 16 + c) && needs_hex(h * 16 + c))
                low[n++] = (struct edge){next, (uint8_t)('0' + c), (uint8_t)('0' + c)};
        for (uint32_t upper = 0; upper < 2; upper++)
            for (uint8_t c = 10; c < 16; c++) {
                const uint8_t digit = (uint8_t)((upper ? 'a' : 'A') + c - 10);
                if (charset_has(s, h * 16 + c) && needs_hex(h * 16 + c))
                    low[n++] = (struct edge){next, digit, digit};
            }
        if (n)
            high[n_high++] = (struct edge){build_bytes(b, low, n), (uint8_t)('0' + h),
                                           (uint8_t)('0' + h)};
    }
    return n_high ? build_text(b, "00", 2, build_bytes(b, high, n_high)) : GRAMMAR_NONE;
}

uint32_t build_json_charset(struct builder *b, struct charset s, uint32_t next)
{
    struct char_edges c = {.b = b, .next = next};
    struct edge escapes[8];
    uint32_t n = 0;
    if (charset_has(s, '"'))
        escapes[n++] = (struct edge){next, '"', '"'};
    if (charset_has(s, '\\'))
        escapes[n++] = (struct edge){next, '\\', '\\'};
    for (const char *o = short_escapes; *o; o += 2)
        if (charset_has(s, (uint32_t)o[1]))
            escapes[n++] = (struct edge){next, (uint8_t)o[0], (uint8_t)o[0]};
    const uint32_t control = build_control(b, s, next);
    if (control != GRAMMAR_NONE)
        escapes[n++] = (struct edge){control, 'u', 'u'};
    if (n)
        char_edge(&c, '\\', '\\', build_bytes(b, escapes, n));
    struct char_range plain[] = {{0x20, '!'}, {'#', '['}, {']', CHAR_MAX}};
    const struct charset raw = charset_and(b, s, (struct charset){plain, 3});
    for (uint32_t i = 0; i < raw.n; i++)
        char_utf8(&c, raw.r[i].lo, raw.r[i].hi);
    return char_nodes(&c);
}

static uint32_t build_hex(struct builder *b, int n, uint32_t next)
{
    for (; n > 0; n--) {
        const struct edge e[] = {{next, '0', '9'}, {next, 'A', 'F'}, {next, 'a', 'f'}};
        next = build_bytes(b, e, 3);
    }
    return next;
}

/* Four hexadecimal digits that are a character: with its other half, if it is one. */
static uint32_t build_json_hex(struct builder *b, uint32_t next)
{
    const uint32_t h1 = build_hex(b, 1, next), h2 = build_hex(b, 2, next),
                   h3 = build_hex(b, 3, next);
    const struct edge last[] = {{next, '1', '9'}, {next, 'A', 'F'}, {next, 'a', 'f'}};
    uint32_t zero = build_bytes(b, last, 3);
    const uint32_t full[] = {h1, h2};
    for (int i = 0; i < 2; i++) {
        const struct edge e[] = {{zero, '0', '0'},
                                 {full[i], '1', '9'},
                                 {full[i], 'A', 'F'},
                                 {full[i], 'a', 'f'}};
        zero = build_bytes(b, e, 4);
    }
    const struct edge low[] = {{h2, 'C', 'F'}, {h2, 'c', 'f'}};
    const uint32_t second = build_bytes(b, low, 2);
    const struct edge d[] = {{second, 'D', 'D'}, {second, 'd', 'd'}};
    const uint32_t pair = build_hex(b, 2, build_text(b, "\\u", 2, build_bytes(b, d, 2)));
    const struct edge high[] = {
        {h2, '0', '7'}, {pair, '8', '9'}, {pair, 'A', 'B'}, {pair, 'a', 'b'}};
    const uint32_t surrogate = build_bytes(b, high, 4);
    const struct edge first[] = {{zero, '0', '0'},      {h3, '1', '9'}, {h3, 'A', 'C'},
                                 {surrogate, 'D', 'D'}, {h3, 'E', 'F'}, {h3, 'a', 'c'},
                                 {surrogate, 'd', 'd'}, {h3, 'e', 'f'}};
    return build_bytes(b, first, 8);
}

uint32_t build_json_char(struct builder *b, uint32_t next)
{
    struct char_edges c = {.b = b, .next = next};
    const uint32_t hex = build_json_hex(b, next);
    const struct edge escapes[] = {{next, '"', '"'}, {next, '/', '/'}, {next, '\\', '\\'},
                                   {next, 'b', 'b'}, {next, 'f', 'f'}, {next, 'n', 'n'},
                                   {next, 'r', 'r'}, {next, 't', 't'}, {hex, 'u', 'u'}};
    char_edge(&c, '\\', '\\', build_bytes(b, escapes, 9));
    char_utf8(&c, 0x20, '!');
    char_utf8(&c, '#', '[');
    char_utf8(&c, ']', CHAR_MAX);
    return char_nodes(&c);
}
