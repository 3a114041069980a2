/* options.c - one table-driven parser for all commands. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/words.h"

static void print_help(const struct cli_command *c)
{
    printf("turbine %s%s%s\n%s\n", c->name, *c->args ? " " : "", c->args, c->summary);
    bool environment = false;
    for (const struct cli_option *o = c->options; o->name; o++)
        if (o->kind == CLI_ENVIRONMENT)
            environment = true;
        else
            printf("  %-18s %s\n", o->name, o->help);
    if (environment)
        environment_print_help(stdout);
}

static int wrong_usage(const struct cli_command *c, const char *what, const char *which)
{
    fprintf(stderr, "turbine %s: %s%s%s; see 'turbine %s --help'\n", c->name, what,
            *which ? " " : "", which, c->name);
    return CLI_USAGE;
}

static bool parse_number(double *out, const char *text, const struct cli_option *o)
{
    char *end;
    errno = 0;
    const double v = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(v) || v < o->min || v > o->max)
        return false;
    if (o->kind == CLI_INT && v != trunc(v))
        return false;
    *out = v;
    return true;
}

/* A number with a unit: K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024; KB, MB, GB,
 * TB are powers of 1000. */
static bool parse_bytes(size_t *out, const char *text)
{
    static const char units[] = "KMGT";
    const size_t n = strspn(text, "0123456789.");
    char *end, digits[32];
    if (n == 0 || n >= sizeof digits || !text[n])
        return false;
    memcpy(digits, text, n);
    digits[n] = 0;
    const double v = strtod(digits, &end);
    const char *unit = strchr(units, text[n] >= 'a' ? text[n] - 'a' + 'A' : text[n]);
    const char *rest = text + n + 1;
    if (*end || !unit)
        return false;
    const double base = !strcmp(rest, "B") ? 1000 : 1024;
    if (*rest && strcmp(rest, "B") && strcmp(rest, "iB"))
        return false;
    const double bytes = v * pow(base, (double)(unit - units + 1));
    if (bytes < 0x1p20 || bytes > 0x1p50)
        return false;
    *out = (size_t)bytes;
    return true;
}

static int set_option(const struct cli_command *c, const struct cli_option *o,
                      const char *text)
{
    double v;
    char expected[120];
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)o->out = true;
        return -1;
    case CLI_STRING:
        *(const char **)o->out = text;
        return -1;
    case CLI_CPU:
        if (cpu_isa_parse(o->out, text))
            return -1;
        snprintf(expected, sizeof expected, "--cpu takes %s, not", cpu_isa_names());
        return wrong_usage(c, expected, text);
    case CLI_BYTES:
        if (parse_bytes(o->out, text))
            return -1;
        snprintf(expected, sizeof expected,
                 "%s takes a size from 1M to 1024T with a unit, as 16G, 24GiB or 8000M, "
                 "not",
                 o->name);
        return wrong_usage(c, expected, text);
    case CLI_INT:
    case CLI_FLOAT:
        if (parse_number(&v, text, o)) {
            if (o->kind == CLI_INT)
                *(int *)o->out = (int)v;
            else
                *(double *)o->out = v;
            return -1;
        }
        fprintf(stderr, "turbine %s: %s takes %s between %.10g and %.10g, not '%s'\n",
                c->name, o->name, o->kind == CLI_INT ? "a whole number" : "a number",
                o->min, o->max, text);
        return CLI_USAGE;
    case CLI_ENVIRONMENT:
        break;
    }
    return CLI_USAGE;
}

static const struct cli_option *find_option(const struct cli_command *c, const char *arg)
{
    const size_t n = strcspn(arg, "=");
    for (const struct cli_option *o = c->options; o->name; o++)
        if (strlen(o->name) == n && !strncmp(o->name, arg, n))
            return o;
    return NULL;
}

static struct {
    void (*see)(void *ctx, const struct cli_command *c);
    void *ctx;
} capture;

void cli_capture(void (*see)(void *ctx, const struct cli_command *c), void *ctx)
{
    capture.see = see;
    capture.ctx = ctx;
}

const char *cli_option_text(const struct cli_option *o, char *value, size_t value_n)
{
    const char *blanks = o->kind == CLI_FLAG ? NULL : strstr(o->help, "  ");
    const int n = blanks ? (int)(blanks - o->help) : 0;
    snprintf(value, value_n, "%.*s", n, o->help);
    return blanks ? blanks + 2 : o->help;
}

int cli_parse(const struct cli_command *c, int argc, char **argv, const char **arg)
{
    int n = 0;
    bool options = true;
    if (capture.see) {
        capture.see(capture.ctx, c);
        return CLI_OK;
    }
    for (int i = 0; i < c->max_args; i++)
        arg[i] = NULL;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (options && !strcmp(a, "--")) {
            options = false;
        } else if (options && (!strcmp(a, "--help") || !strcmp(a, "-h"))) {
            print_help(c);
            return CLI_OK;
        } else if (options && a[0] == '-' && a[1]) {
            const struct cli_option *o = find_option(c, a);
            if (!o)
                return wrong_usage(c, "unknown option", a);
            const char *value = strchr(a, '=');
            if (o->kind == CLI_FLAG && value)
                return wrong_usage(c, "no value is taken by", o->name);
            if (o->kind != CLI_FLAG && !value && ++i == argc)
                return wrong_usage(c, "a value is missing after", a);
            const int rc = set_option(c, o, value ? value + 1 : argv[i]);
            if (rc >= 0)
                return rc;
        } else if (n == c->max_args) {
            return wrong_usage(c, "one argument too many:", a);
        } else {
            arg[n++] = a;
        }
    }
    return n < c->min_args ? wrong_usage(c, "an argument is missing:", c->args) : -1;
}

void cli_message(const struct cli_command *c, const char *text)
{
    fprintf(stderr, "turbine %s: ", c->name);
    cli_step(text);
}

void cli_step(const char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0, control; i < n; i += control ? control : 1) {
        control = words_control(text + i, n - i);
        fputc(text[i] == '\n' ? ' ' : control || text[i] == '\t' ? '?' : text[i], stderr);
    }
    fputc('\n', stderr);
}

int cli_fail(const struct cli_command *c, const struct error *err)
{
    cli_message(c, err->text);
    return err->status == STATUS_STOPPED ? CLI_INTERRUPTED : CLI_FAILED;
}
