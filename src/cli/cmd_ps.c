/* cmd_ps.c - turbine ps: what a server has in memory, as it says itself. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "http/client.h"

enum { ANSWER_BYTES = 4 << 20, TIMEOUT_MS = 10000 };

/* --host, TURBINE_HOST or OLLAMA_HOST: "host", "host:port" or a URL without a path. */
static void make_url(char *url, size_t n, const char *host)
{
    if (!host)
        host = getenv("TURBINE_HOST");
    if (!host)
        host = getenv("OLLAMA_HOST");
    if (!host || !*host)
        host = "127.0.0.1";
    const char *scheme = strstr(host, "://"), *name = scheme ? scheme + 3 : host;
    const char *colon = strrchr(name, ':'), *bracket = strrchr(name, ']');
    const bool has_port = colon && (!bracket || colon > bracket);
    snprintf(url, n, "%s%s%s/api/ps", scheme ? "" : "http://", host,
             has_port || scheme ? "" : ":11434");
}

static void print_bytes(char out[16], const json_t *v)
{
    const double n = json_number_value(v);
    if (n >= 0x1p30)
        snprintf(out, 16, "%.1f GiB", n / 0x1p30);
    else
        snprintf(out, 16, "%.1f MiB", n / 0x1p20);
}

static const char *text_of(const json_t *o, const char *name)
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
    const char *k = text_of(kv, "type_k"), *v = text_of(kv, "type_v");
    snprintf(types, sizeof types, "%s%s%s", k, strcmp(k, v) ? "/" : "",
             strcmp(k, v) ? v : "");
    snprintf(context, sizeof context, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(kv, "tokens_used")),
             json_integer_value(json_object_get(kv, "tokens_max")));
    print_safe(text_of(m, "name"), 32);
    printf("%-10s  ", size);
    print_safe(types, 14);
    printf("%-18s  %-10s  %-10s  %-10s  ", context, used, reserved, f16);
    print_safe(text_of(m, "expires_at"), 20);
    putchar('\n');
}

static enum status print_list(const struct buf *body, struct error *err)
{
    json_error_t why;
    json_t *root = json_loadb(body->data ? body->data : "", body->len, 0, &why);
    const json_t *models = json_object_get(root, "models");
    if (!json_is_array(models)) {
        json_decref(root);
        return fail(err, STATUS_BAD_INPUT, "the server's answer is no list of models");
    }
    printf("%-32s  %-10s  %-14s  %-18s  %-10s  %-10s  %-10s  %s\n", "NAME", "SIZE", "KV",
           "CONTEXT", "CACHE", "RESERVED", "AS F16", "UNTIL");
    for (size_t i = 0; i < json_array_size(models); i++)
        print_model(json_array_get(models, i));
    json_decref(root);
    return STATUS_OK;
}

static enum status show(const char *host, bool json, struct error *err)
{
    char url[512];
    int http_status = 0;
    struct buf body;
    make_url(url, sizeof url, host);
    buf_init(&body, ANSWER_BYTES);
    const struct http_call call = {"GET", url, getenv("TURBINE_API_KEY"), TIMEOUT_MS};
    enum status s = http_call(&call, &http_status, &body, err);
    if (!s && http_status != 200)
        s = fail(err, STATUS_IO, "%s: HTTP status %d%s", url, http_status,
                 http_status == 401 ? "; TURBINE_API_KEY is the server's key" : "");
    if (!s && json)
        puts(body.data ? body.data : "");
    else if (!s)
        s = print_list(&body, err);
    buf_release(&body);
    return s;
}

int cmd_ps(int argc, char **argv)
{
    const char *host = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"--host", CLI_STRING, &host, 0, 0,
         "HOST[:PORT]  of the server (default TURBINE_HOST, OLLAMA_HOST, "
         "127.0.0.1:11434)"},
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
    return show(host, json, &err) ? cli_fail(&c, &err) : CLI_OK;
}
