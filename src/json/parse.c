#include "json/parse.h"

#include <string.h>

#include "base/mem.h"

/* One parse.  The first allocation that fails is served from the reserve, and as the text
 * is given out by the byte, it ends right there: what follows in the same step may fail,
 * as jansson looks at that, but is no growth of the token's buffer. */
struct parse {
    const char *s;
    size_t n, at;
    char *reserve;
    size_t reserve_bytes;
    bool failed;
};

static _Thread_local struct parse *parse;

static void *json_memory(size_t n)
{
    void *p = mem_resize(NULL, n, 1);
    if (p || !parse || parse->failed)
        return p;
    parse->failed = true;
    return n <= parse->reserve_bytes ? parse->reserve : NULL;
}

static void json_memory_free(void *p)
{
    if (!parse || p != parse->reserve)
        mem_free(p);
}

void json_use_memory(void)
{
    json_object_seed(0);
    json_set_alloc_funcs(json_memory, json_memory_free);
}

static size_t next_byte(void *dst, size_t max, void *ctx)
{
    struct parse *p = ctx;
    if (!max || p->failed || p->at == p->n)
        return 0;
    *(char *)dst = p->s[p->at++];
    return 1;
}

static json_t *parse_without_memory(json_error_t *why)
{
    memset(why, 0, sizeof *why);
    strcpy(why->text, "out of memory");
    why->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
    return NULL;
}

json_t *json_parse(const char *s, size_t n, size_t flags, json_error_t *why)
{
    json_error_t own;
    /* The buffer doubles when it is full, and no token is longer than the text. */
    struct parse p = {.s = s, .n = n};
    if (!why)
        why = &own;
    if (!mem_mul(&p.reserve_bytes, n, 2) ||
        !mem_add(&p.reserve_bytes, p.reserve_bytes, 64))
        return parse_without_memory(why);
    p.reserve = mem_resize(NULL, p.reserve_bytes, 1);
    if (!p.reserve)
        return parse_without_memory(why);
    parse = &p;
    json_t *v = json_load_callback(next_byte, &p, flags, why);
    if (p.failed) {
        json_decref(v);
        v = parse_without_memory(why);
    }
    parse = NULL;
    mem_free(p.reserve);
    return v;
}
