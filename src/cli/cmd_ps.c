/* cmd_ps.c - turbine ps: what a server has in memory, as it says itself. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/server_link.h"

static void print_bytes(char out[16], const json_t *v)
{
    const double n = json_number_value(v);
    if (n >= 0x1p30)
        snprintf(out, 16, "%.1f GiB", n / 0x1p30);
    else
        snprintf(out, 16, "%.1f MiB", n / 0x1p20);
}

static const char *string_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "-";
}

/* What a server says goes to a terminal: no control characters. */
static void print_safe(const char *s, int width)
{
    int n = 0;
    for (; *s && n < width; s++, n++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
    printf("%*s", width - n + 2, "");
}

static void print_model(const json_t *m)
{
    const json_t *kv = json_object_get(m, "kv");
    char size[16], used[16], reserved[16], f16[16], types[64], context[48];
    print_bytes(size, json_object_get(m, "size"));
    print_bytes(used, json_object_get(kv, "bytes"));
    print_bytes(reserved, json_object_get(kv, "bytes_reserved"));
    print_bytes(f16, json_object_get(kv, "bytes_f16"));
    const char *k = string_of(kv, "type_k"), *v = string_of(kv, "type_v");
    snprintf(types, sizeof types, "%s%s%s", k, strcmp(k, v) ? "/" : "",
             strcmp(k, v) ? v : "");
    snprintf(context, sizeof context, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(kv, "tokens_used")),
             json_integer_value(json_object_get(kv, "tokens_max")));
    print_safe(string_of(m, "name"), 32);
    printf("%-10s  ", size);
    print_safe(types, 14);
    printf("%-18s  %-10s  %-10s  %-10s  ", context, used, reserved, f16);
    print_safe(string_of(m, "expires_at"), 20);
    putchar('\n');
}

static enum status print_list(const json_t *answer, struct error *err)
{
    const json_t *models = json_object_get(answer, "models");
    if (!json_is_array(models))
        return fail(err, STATUS_BAD_INPUT, "the server's answer is no list of models");
    printf("%-32s  %-10s  %-14s  %-18s  %-10s  %-10s  %-10s  %s\n", "NAME", "SIZE", "KV",
           "CONTEXT", "CACHE", "RESERVED", "AS F16", "UNTIL");
    for (size_t i = 0; i < json_array_size(models); i++)
        print_model(json_array_get(models, i));
    return STATUS_OK;
}

static enum status show_running(const char *host, bool json, struct error *err)
{
    char url[SERVER_LINK_URL_BYTES];
    json_t *answer = NULL;
    if (!server_link_url(url, sizeof url, host))
        return fail(err, STATUS_BAD_ARG, "the address of the server is too long: %s",
                    url);
    enum status s = server_link_call(url, "GET", "/api/ps", NULL, &answer, NULL, err);
    if (!s && json) {
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (!s) {
        s = print_list(answer, err);
    }
    json_decref(answer);
    return s;
}

int cmd_ps(int argc, char **argv)
{
    const char *host = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"--host", CLI_STRING, &host, 0, 0, SERVER_LINK_HELP},
        {"--json", CLI_FLAG, &json, 0, 0, "the server's own answer"},
        {NULL, CLI_FLAG, NULL, 0, 0, NULL},
    };
    const struct cli_command c = {
        "ps",    "", "models that a server has loaded, and the memory of their caches",
        options, 0,  0,
    };
    const int rc = cli_parse(&c, argc, argv, NULL);
    if (rc >= 0)
        return rc;
    struct error err = {0};
    return show_running(host, json, &err) ? cli_fail(&c, &err) : CLI_OK;
}
