#include "cli/environment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "dialect/ollama_keep_alive.h"
#include "model/model.h"

extern char **environ;

enum environment_kind { ADDRESS, PATH, DURATION, COUNT, FLAG, KV, LIST, URL, SECRET };

static const struct environment_entry {
    struct environment_variable v;
    enum environment_kind kind;
    long min, max;
} entries[] = {
#define ENVIRONMENT(name, twin, kind, min, max, fallback, help) \
    {{"TURBINE_" #name, twin, fallback, help}, kind, min, max},
#include "cli/environment.def"
#undef ENVIRONMENT
};

enum { N_ENTRY = sizeof entries / sizeof *entries };

static char *values[2][N_ENTRY]; // as they were asked for last, trimmed; of twins alone

static const char around[] = " \t\r\n\"'";

/* The bytes of v that are neither blanks nor quotes around it. */
static size_t trim(const char **v)
{
    *v += strspn(*v, around);
    size_t n = strlen(*v);
    while (n > 0 && strchr(around, (*v)[n - 1]))
        n--;
    return n;
}

static int variable_index(const char *name)
{
    for (int i = 0; i < N_ENTRY; i++)
        if (!strcmp(entries[i].v.name + strlen("TURBINE_"), name))
            return i;
    return -1;
}

/* The variable that holds the value of an entry, *text and *n; NULL: none is set.  first
 * is 1 for the twin alone. */
static const char *find_set(int i, int first, const char **text, size_t *n)
{
    const char *const names[] = {entries[i].v.name, entries[i].v.twin};
    for (int k = first; k < 2; k++) {
        *text = names[k] ? getenv(names[k]) : NULL;
        if (*text && (*n = trim(text)) > 0)
            return names[k];
    }
    return NULL;
}

static const char *kept_text(int i, int first)
{
    const char *text;
    size_t n;
    if (i < 0 || !find_set(i, first, &text, &n))
        return NULL;
    char **kept = &values[first][i];
    if (*kept && strlen(*kept) == n && !memcmp(*kept, text, n))
        return *kept;
    mem_free(*kept);
    if (!(*kept = mem_array(n + 1, 1)))
        return text; // with what is behind it: wrong rather than forgotten
    return memcpy(*kept, text, n);
}

static const char *table_text(int i)
{
    return kept_text(i, 0);
}

const char *environment_text(const char *name)
{
    return table_text(variable_index(name));
}

const char *environment_twin(const char *name)
{
    return kept_text(variable_index(name), 1);
}

const char *environment_source(const char *name)
{
    const char *text;
    size_t n;
    const int i = variable_index(name);
    return i < 0 ? NULL : find_set(i, 0, &text, &n);
}

const char *environment_folder(const char *name)
{
    const char *v = getenv(name);
    return v && *v == '/' ? v : NULL;
}

const char *environment_foreign(const char *name)
{
    return getenv(name);
}

/* ---- values ---- */

static bool read_count(const char *text, const struct environment_entry *e, int *out)
{
    char *end;
    errno = 0;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < e->min || v > e->max)
        return false;
    *out = (int)v;
    return true;
}

/* What Go's strconv.ParseBool takes. */
static bool read_flag(const char *text, bool *out)
{
    *out = !strcmp(text, "1") || !strcasecmp(text, "t") || !strcasecmp(text, "true");
    return *out || !strcmp(text, "0") || !strcasecmp(text, "f") ||
           !strcasecmp(text, "false");
}

/* A duration, or a number of seconds. */
static bool read_time(const char *text, int64_t *us)
{
    char *end;
    const double seconds = strtod(text, &end);
    const bool number =
        end != text && !*end && strspn(text, "+-.0123456789") == strlen(text);
    json_t *v = number ? json_real(seconds) : json_string(text);
    const bool ok = v && ollama_keep_alive(v, us);
    json_decref(v);
    return ok;
}

static enum status wrong(int i, const char *what, struct error *err)
{
    const char *text;
    size_t n;
    const char *name = find_set(i, 0, &text, &n);
    return fail(err, STATUS_BAD_INPUT, "%s is '%.*s'; it takes %s", name,
                n < 80 ? (int)n : 80, text, what);
}

static enum status check_entry(int i, struct error *err)
{
    const struct environment_entry *e = &entries[i];
    const char *text = table_text(i);
    struct environment_host host;
    struct kv_types types;
    struct error why;
    char what[96];
    int64_t us;
    int n;
    bool yes;
    if (!text)
        return STATUS_OK;
    switch (e->kind) {
    case ADDRESS:
        if (environment_host_parse(&host, text, &why))
            return wrong(i, why.text, err);
        return STATUS_OK;
    case DURATION:
        return read_time(text, &us)
                   ? STATUS_OK
                   : wrong(i, "a duration, as 10m, 24h, or seconds", err);
    case COUNT:
        if (read_count(text, e, &n))
            return STATUS_OK;
        snprintf(what, sizeof what, "a whole number between %ld and %ld", e->min, e->max);
        return wrong(i, what, err);
    case FLAG:
        return read_flag(text, &yes) ? STATUS_OK : wrong(i, "1, 0, true or false", err);
    case KV:
        if (kv_types_parse(&types, text, &why))
            return fail(err, STATUS_BAD_INPUT, "%s: %s",
                        environment_source("KV_CACHE_TYPE"), why.text);
        return STATUS_OK;
    case PATH:
    case LIST:
    case URL:
    case SECRET:
        return STATUS_OK;
    }
    return STATUS_OK;
}

enum status environment_check(struct error *err)
{
    for (int i = 0; i < N_ENTRY; i++) {
        const enum status s = check_entry(i, err);
        if (s)
            return s;
    }
    return STATUS_OK;
}

void environment_count(const char *name, int *out)
{
    const int i = variable_index(name);
    const char *text = table_text(i);
    if (text)
        read_count(text, &entries[i], out);
}

void environment_duration(const char *name, int64_t *us)
{
    const char *text = environment_text(name);
    int64_t v;
    if (text && read_time(text, &v))
        *us = v;
}

bool environment_flag(const char *name)
{
    const char *text = environment_text(name);
    bool yes = false;
    return text && read_flag(text, &yes) && yes;
}

/* ---- variables that mean nothing here ---- */

static bool is_known(const char *name, size_t n)
{
    for (int i = 0; i < N_ENTRY; i++) {
        const char *twin = entries[i].v.twin;
        const char *own = entries[i].v.name;
        if ((twin && strlen(twin) == n && !memcmp(twin, name, n)) ||
            (strlen(own) == n && !memcmp(own, name, n)))
            return true;
    }
    return false;
}

static bool begins(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

bool environment_has_proxy(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy", "ALL_PROXY"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        found |= value && *value;
    }
    return found;
}

bool environment_unknown(struct buf *out)
{
    for (char **e = environ; *e; e++) {
        const size_t n = strcspn(*e, "=");
        const bool ours = begins(*e, "TURBINE_") && !begins(*e, "TURBINE_TEST_");
        if ((!ours && !begins(*e, "OLLAMA_")) || is_known(*e, n))
            continue;
        if (out->len)
            buf_puts(out, ", ");
        buf_append(out, *e, n);
    }
    return out->len > 0;
}

void environment_warn(void)
{
    struct buf names;
    buf_init(&names, 1 << 20);
    if (environment_unknown(&names))
        fprintf(stderr, "turbine serve: warning: without effect here: %s\n", names.data);
    buf_release(&names);
}

/* ---- for people ---- */

const struct environment_variable *environment_row(int i)
{
    return i < N_ENTRY ? &entries[i].v : NULL;
}

void environment_print_help(FILE *to)
{
    fputs("Environment; the first that is set counts, and options win over it:\n", to);
    for (int i = 0; i < N_ENTRY; i++) {
        const struct environment_variable *v = &entries[i].v;
        fprintf(to, "  %s%s%s\n  %-18s %s (default %s)\n", v->name, v->twin ? ", " : "",
                v->twin ? v->twin : "", "", v->help, v->fallback);
    }
}
