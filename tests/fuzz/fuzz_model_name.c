/* fuzz_model_name.c - names and digests: no part of an accepted name could be a path, and
 * what is printed means the same. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "store/digest.h"
#include "store/model_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_part(const char *s, size_t max)
{
    const size_t n = strlen(s);
    if (n == 0 || n > max || !strcmp(s, ".") || !strcmp(s, ".."))
        abort();
    if (!isalnum((unsigned char)s[0]) && s[0] != '_')
        abort();
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("_-.:", s[i]))
            abort();
}

static void check_print(const struct model_name *n, const char *text)
{
    struct model_name again;
    if (model_name_parse(&again, text, strlen(text), NULL) ||
        !model_name_equal(n, &again))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct model_name name;
    struct digest d;
    struct error err = {0};
    char text[MODEL_NAME_BYTES];
    const enum status s = model_name_parse(&name, (const char *)data, n, &err);
    if (s && !*err.text)
        abort();
    if (!s) {
        check_part(name.host, 350);
        check_part(name.space, 80);
        check_part(name.model, 80);
        check_part(name.tag, 80);
        if (strpbrk(name.space, ".:") || strchr(name.model, ':') || strchr(name.tag, ':'))
            abort();
        model_name_print(text, &name);
        check_print(&name, text);
        model_name_print_whole(text, &name);
        check_print(&name, text);
    }
    if (digest_parse(&d, (const char *)data, n)) {
        digest_print(text, &d);
        if (n != 71 || memcmp(text + 7, data + 7, 64))
            abort();
    }
    return 0;
}
