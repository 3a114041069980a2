#include "cli/route_status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json/parse.h"
#include "http/client.h"

enum {
    STATUS_BYTES = 16 << 20,
    STATUS_MS = 10000,
    ADDRESS_LEAST = 22,
    ADDRESS_MOST = 100
};

static long long status_number(const json_t *o, const char *name)
{
    return (long long)json_integer_value(json_object_get(o, name));
}

static const char *status_text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s && *s ? s : "-";
}

/* What a router says goes to a terminal: no control characters. */
static void print_status_cell(const char *s, int width)
{
    int n = 0;
    for (; *s && n < width; s++, n++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
    printf("%*s", width - n + 2, "");
}

/* Of what backends did: a client that left is none of theirs. */
static long long failures_in(const json_t *o)
{
    long long sum = 0;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)o, name, v)
    {
        sum += strcmp(name, "client") ? (long long)json_integer_value(v) : 0;
    }
    return sum;
}

/* Of the longest address, that none looks like another. */
static int address_width(const json_t *backends)
{
    size_t i, most = ADDRESS_LEAST;
    json_t *b;
    json_array_foreach(backends, i, b)
    {
        const size_t n = strlen(status_text(b, "url"));
        most = n > most ? n : most;
    }
    return most < ADDRESS_MOST ? (int)most : ADDRESS_MOST;
}

static void print_backend_line(const json_t *b, int width)
{
    const long long prompt = status_number(b, "prompt_tokens");
    print_status_cell(status_text(b, "url"), width);
    print_status_cell(status_text(b, "class"), 5);
    print_status_cell(json_object_get(b, "off") ? "off" : status_text(b, "health"), 8);
    printf("%8lld  %5lld  %6lld  %7lld  %7lld  %6lld  %9lld  ", status_number(b, "n_ctx"),
           status_number(b, "load"), status_number(b, "others"), status_number(b, "sent"),
           status_number(b, "finished"), failures_in(json_object_get(b, "failed")),
           status_number(b, "fallbacks"));
    if (prompt > 0)
        printf("%5.1f%%  ",
               100.0 * (double)status_number(b, "cached_tokens") / (double)prompt);
    else
        printf("%6s  ", "-");
    printf("%8.1f\n", json_number_value(json_object_get(b, "first_byte_ms")));
}

static void print_status(const json_t *root)
{
    size_t i;
    json_t *b;
    const int width = address_width(json_object_get(root, "backends"));
    printf("%-*s  %-5s  %-8s  %8s  %5s  %6s  %7s  %7s  %6s  %9s  %6s  %8s\n", width,
           "BACKEND", "CLASS", "HEALTH", "CONTEXT", "LOAD", "OTHERS", "SENT", "DONE",
           "FAILED", "FALLBACKS", "HITS", "FIRST ms");
    json_array_foreach(json_object_get(root, "backends"), i, b)
    {
        print_backend_line(b, width);
    }
    printf("%lld requests, %lld retries, %lld waiting, %lld conversations, %lld streams "
           "broken, %lld clients gone\n",
           status_number(root, "requests"), status_number(root, "retries"),
           status_number(root, "queue"), status_number(root, "sessions"),
           status_number(root, "stream_errors"), status_number(root, "clients_gone"));
}

static enum status ask_once(const struct route_status_options *o, struct error *err)
{
    char url[512];
    struct buf body;
    int status = 0;
    const bool v6 = strchr(o->host, ':');
    snprintf(url, sizeof url, "http://%s%s%s:%d/route/status", v6 ? "[" : "", o->host,
             v6 ? "]" : "", o->port);
    buf_init(&body, STATUS_BYTES);
    const struct http_call call = {
        .method = "GET", .url = url, .key = o->key, .timeout_ms = STATUS_MS};
    enum status s = http_call(&call, &status, &body, err);
    json_t *root = s ? NULL : json_parse(body.data ? body.data : "", body.len, 0, NULL);
    if (!s && status != 200)
        s = fail(err, STATUS_IO, "%s: HTTP status %d", url, status);
    else if (!s && !json_is_array(json_object_get(root, "backends")))
        s = fail(err, STATUS_BAD_INPUT, "%s: this is no router", url);
    else if (!s && o->json)
        printf("%s\n", body.data);
    else if (!s)
        print_status(root);
    json_decref(root);
    buf_release(&body);
    fflush(stdout);
    return s;
}

int route_status(const struct cli_command *command, const struct route_status_options *o)
{
    struct error err;
    const struct timespec pause = {o->every_s, 0};
    for (;;) {
        if (o->every_s && !o->json && isatty(1))
            fputs("\033[H\033[2J", stdout);
        if (ask_once(o, &err))
            return cli_fail(command, &err);
        if (!o->every_s)
            return CLI_OK;
        nanosleep(&pause, NULL);
    }
}
