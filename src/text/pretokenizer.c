#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

enum { REGEX_MAX = 7 };

/* Far above what a linear expression needs for the longest text that is accepted;
 * reached only if an expression turns out not to be linear. */
enum { MATCH_LIMIT = 200000000, HEAP_LIMIT_KIB = 256 << 10 };

struct pretokenizer_row {
    const char *names;
    unsigned flags;
    const char *regex[REGEX_MAX]; // until NULL
};

static const struct pretokenizer_row rows[] = {
#define PRETOKENIZER(names, flags, ...) {names, flags, {__VA_ARGS__}},
#include "text/pretokenizers.def"
#undef PRETOKENIZER
};

struct pretokenizer {
    const struct pretokenizer_row *row;
    int n;
    pcre2_code *code[REGEX_MAX];
};

struct pretokenizer_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
};

static bool name_in(const char *names, const char *name, size_t n)
{
    while (*names) {
        const size_t len = strcspn(names, " ");
        if (len == n && !memcmp(names, name, n))
            return true;
        names += len + (names[len] == ' ');
    }
    return false;
}

static const struct pretokenizer_row *find_row(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (name_in(rows[i].names, name, n))
            return &rows[i];
    return NULL;
}

enum status pretokenizer_open(struct pretokenizer **out, const char *name, size_t n,
                              struct error *err)
{
    const struct pretokenizer_row *row = find_row(name, n);
    if (!row)
        return fail(err, STATUS_UNSUPPORTED,
                    "tokenizer.ggml.pre: unknown pre-tokenizer '%.*s'",
                    (int)(n < 64 ? n : 64), name);
    struct pretokenizer *p = mem_array(1, sizeof *p);
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for a pre-tokenizer");
    p->row = row;
    for (; p->n < REGEX_MAX && row->regex[p->n]; p->n++) {
        int code;
        PCRE2_SIZE at;
        p->code[p->n] =
            pcre2_compile((PCRE2_SPTR)row->regex[p->n], PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
        if (!p->code[p->n]) {
            const int i = p->n;
            pretokenizer_close(p);
            return fail(err, STATUS_UNSUPPORTED,
                        "pre-tokenizer '%.*s': PCRE2 refuses expression %d at %zu (%d)",
                        (int)n, name, i, (size_t)at, code);
        }
        /* Without JIT the interpreter does the same, slower. */
        (void)pcre2_jit_compile(p->code[p->n], PCRE2_JIT_COMPLETE);
    }
    *out = p;
    return STATUS_OK;
}

void pretokenizer_close(struct pretokenizer *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n; i++)
        pcre2_code_free(p->code[i]);
    mem_free(p);
}

unsigned pretokenizer_flags(const struct pretokenizer *p)
{
    return p->row->flags;
}

struct pretokenizer_scratch *pretokenizer_scratch_open(void)
{
    struct pretokenizer_scratch *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    w->match = pcre2_match_data_create(1, NULL);
    w->context = pcre2_match_context_create(NULL);
    if (!w->match || !w->context) {
        pretokenizer_scratch_close(w);
        return NULL;
    }
    pcre2_set_match_limit(w->context, MATCH_LIMIT);
    pcre2_set_heap_limit(w->context, HEAP_LIMIT_KIB);
    return w;
}

void pretokenizer_scratch_close(struct pretokenizer_scratch *w)
{
    if (!w)
        return;
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->context);
    mem_free(w);
}

struct split {
    const struct pretokenizer *p;
    struct pretokenizer_scratch *w;
    pretokenizer_word *word;
    void *ctx;
    struct error *err;
};

static int match_at(const struct split *a, int level, const char *s, size_t n, size_t at)
{
    const pcre2_code *code = a->p->code[level];
    int rc = pcre2_match(code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK, a->w->match,
                         a->w->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         a->w->match, a->w->context);
    return rc;
}

/* Cut the piece s[0..n) by the expressions from `level` on: at most REGEX_MAX deep. */
static enum status split_piece(const struct split *a, int level, const char *s, size_t n)
{
    if (n == 0)
        return STATUS_OK;
    if (level == a->p->n)
        return a->word(a->ctx, s, n);
    size_t done = 0;
    while (done < n) {
        const int rc = match_at(a, level, s, n, done);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return fail(a->err, STATUS_LIMIT,
                        "tokenizer: matching the text takes too much work (PCRE2 %d)",
                        rc);
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(a->w->match);
        const size_t from = rc < 0 ? n : span[0], to = rc < 0 ? n : span[1];
        enum status st = split_piece(a, level + 1, s + done, from - done);
        if (!st && to > from)
            st = split_piece(a, level + 1, s + from, to - from);
        if (st)
            return st;
        done = to;
    }
    return STATUS_OK;
}

enum status pretokenizer_split(const struct pretokenizer *p,
                               struct pretokenizer_scratch *w, const char *s, size_t n,
                               pretokenizer_word *word, void *ctx, struct error *err)
{
    const struct split a = {p, w, word, ctx, err};
    return split_piece(&a, 0, s, n);
}
