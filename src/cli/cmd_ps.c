/* cmd_ps.c - turbine ps: what a server has in memory, as it says itself. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/server_link.h"
#include "cli/words.h"

enum { FOREVER_S = 20 * 365 * 86400 };

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

/* As Ollama says it. */
static void until_words(char out[48], const char *expires)
{
    const int64_t now = (int64_t)time(NULL);
    int64_t then;
    if (!words_read_time(&then, expires))
        snprintf(out, 48, "-");
    else if (then - now > FOREVER_S)
        snprintf(out, 48, "Forever");
    else if (then <= now)
        snprintf(out, 48, "Stopping...");
    else
        words_time(out, then, now);
}

static void processor_words(char out[32], const json_t *m)
{
    const double size = json_number_value(json_object_get(m, "size"));
    const double vram = json_number_value(json_object_get(m, "size_vram"));
    const int gpu = size > 0 ? (int)(vram / size * 100 + 0.5) : 0;
    if (gpu <= 0 || gpu >= 100)
        snprintf(out, 32, "100%% %s", gpu > 0 ? "GPU" : "CPU");
    else
        snprintf(out, 32, "%d%%/%d%% CPU/GPU", 100 - gpu, gpu);
}

/* Ollama's columns, then ours. */
enum { PS_COLUMNS = 11, PS_CELL = 64 };

struct ps_row {
    char cell[PS_COLUMNS][PS_CELL];
};

static struct ps_row row_of(const json_t *m)
{
    struct ps_row r = {{""}};
    char size[24], until[48];
    const json_t *kv = json_object_get(m, "kv");
    const char *k = string_of(kv, "type_k"), *v = string_of(kv, "type_v");
    words_bytes(size, (uint64_t)json_integer_value(json_object_get(m, "size")));
    until_words(until, string_of(m, "expires_at"));
    snprintf(r.cell[0], PS_CELL, "%s", string_of(m, "name"));
    snprintf(r.cell[1], PS_CELL, "%.12s", string_of(m, "digest"));
    snprintf(r.cell[2], PS_CELL, "%s", size);
    processor_words(r.cell[3], m);
    snprintf(r.cell[4], PS_CELL, "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(m, "context_length")));
    snprintf(r.cell[5], PS_CELL, "%s", until);
    snprintf(r.cell[6], PS_CELL, "%s%s%s", k, strcmp(k, v) ? "/" : "",
             strcmp(k, v) ? v : "");
    snprintf(r.cell[7], PS_CELL, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(kv, "tokens_used")),
             json_integer_value(json_object_get(kv, "tokens_max")));
    print_bytes(r.cell[8], json_object_get(kv, "bytes"));
    print_bytes(r.cell[9], json_object_get(kv, "bytes_reserved"));
    print_bytes(r.cell[10], json_object_get(kv, "bytes_f16"));
    return r;
}

/* What a server says goes to a terminal: no control characters. */
static void print_ps_row(const struct ps_row *r, const int width[PS_COLUMNS])
{
    for (int i = 0; i < PS_COLUMNS; i++) {
        const int n = (int)strlen(r->cell[i]);
        for (const char *s = r->cell[i]; *s; s++)
            putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
        if (i + 1 < PS_COLUMNS)
            printf("%*s", width[i] - n + 4, "");
    }
    putchar('\n');
}

static enum status print_list(const json_t *answer, struct error *err)
{
    static const struct ps_row head = {{"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT",
                                        "UNTIL", "KV", "TOKENS", "CACHE", "RESERVED",
                                        "AS F16"}};
    const json_t *models = json_object_get(answer, "models");
    int width[PS_COLUMNS] = {0};
    if (!json_is_array(models))
        return fail(err, STATUS_BAD_INPUT, "the server's answer is no list of models");
    const size_t n = json_array_size(models);
    for (size_t i = 0; i <= n; i++) {
        const struct ps_row r = i < n ? row_of(json_array_get(models, i)) : head;
        for (int k = 0; k < PS_COLUMNS; k++) {
            const int bytes = (int)strlen(r.cell[k]);
            width[k] = bytes > width[k] ? bytes : width[k];
        }
    }
    print_ps_row(&head, width);
    for (size_t i = 0; i < n; i++) {
        const struct ps_row r = row_of(json_array_get(models, i));
        print_ps_row(&r, width);
    }
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
