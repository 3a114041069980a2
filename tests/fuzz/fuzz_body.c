/* fuzz_body.c - bodies of requests: what is accepted is an object within the bounds,
 * whose strings are whole; and what the parser of JSON alone refuses is refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "access/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_value(const json_t *v, int depth)
{
    const char *name;
    size_t i;
    json_t *member;
    if (depth > 64)
        abort();
    if (json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
        abort();
    json_array_foreach(v, i, member) check_value(member, depth + 1);
    json_object_foreach((json_t *)(uintptr_t)v, name, member)
        check_value(member, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct api_error e = {0};
    char *text = mem_array(n + 1, 1);
    if (!text)
        return 0;
    if (n)
        memcpy(text, data, n);
    json_t *strict = json_loadb((const char *)data, n, JSON_REJECT_DUPLICATES, NULL);
    json_t *v = body_parse(text, n, &e);
    if (v && !json_is_object(v))
        abort();
    if (!v && !*e.message)
        abort();
    /* Nothing that was well is changed. */
    if (v && strict && !json_equal(v, strict))
        abort();
    if (v)
        check_value(v, 1);
    json_decref(v);
    json_decref(strict);
    mem_free(text);
    return 0;
}
