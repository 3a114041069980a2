/* fuzz_route_edit.c - a member of a client's body gets another value: the result is the
 * body with that value and nothing else changed, or the member is not there in letters.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "access/body.h"
#include "base/mem.h"
#include "router/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_edited(const json_t *body, const char *member, const char *value,
                         const struct buf *out)
{
    json_t *v = json_loadb(out->data, out->len, JSON_REJECT_DUPLICATES, NULL);
    json_t *want = json_copy((json_t *)(uintptr_t)body);
    json_object_set_new(want, member, json_string(value));
    if (!v || !json_equal(v, want))
        abort();
    json_decref(want);
    json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const members[] = {"model", "name", "m"};
    static const char *const values[] = {"", "other", "\"model\":\"x\"", "a\\b\n\x01"};
    struct api_error e = {0};
    if (n < 1)
        return 0;
    const char *member = members[data[0] % 3], *value = values[data[0] / 3 % 4];
    char *text = mem_array(n, 1);
    if (!text)
        return 0;
    memcpy(text, data + 1, n - 1);
    json_t *body = body_parse(text, n - 1, &e);
    if (body) {
        struct buf out;
        buf_init(&out, 6 * n + 1000);
        if (edit_member(&out, text, n - 1, member, value))
            check_edited(body, member, value, &out);
        else if (json_is_string(json_object_get(body, member)) &&
                 !memchr(text, '\\', n - 1))
            abort();
        buf_release(&out);
    }
    json_decref(body);
    mem_free(text);
    return 0;
}
