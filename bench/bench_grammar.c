/* bench_grammar.c - what a grammar costs a token: mask and accept together, over calls of
 * the tools in tests/data/tool_schemas.json, with a real vocabulary.
 *
 *   bench_grammar [VOCAB.gguf] [SCHEMAS.json] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "grammar/grammar.h"
#include "gguf/gguf.h"
#include "text/tokenizer.h"

enum { TIMES_MAX = 1 << 16, REPEATS = 9 };

struct bench {
    struct tokenizer *tokenizer;
    struct grammar_vocab *vocab;
    uint32_t *bits;
    double times[TIMES_MAX]; // us
    int n_time;
};

/* Arguments as a model writes them: keys in order, long texts in strings. */
static const char *const calls[][2] = {
    {"Bash",
     "{\"command\": \"cd /home/user/project && make -j4 2>&1 | grep -n \\\"error\\\" "
     "| head -n 20; echo \\\"done: $?\\\"\", \"timeout\": 120000, \"description\": "
     "\"Build the project and show the first errors\"}"},
    {"Read",
     "{\"file_path\": \"/home/user/project/src/server/router.c\", \"offset\": 120, "
     "\"limit\": 80}"},
    {"Edit", "{\"file_path\": \"/home/user/project/src/main.c\", \"old_string\": \"int "
             "main(void)\\n{\\n"
             "    printf(\\\"hello\\\\n\\\");\\n    return 0;\\n}\\n\", \"new_string\": "
             "\"int main(int "
             "argc, char **argv)\\n{\\n    for (int i = 0; i < argc; i++)\\n        "
             "printf(\\\"%s\\\\n\\\", argv[i]);\\n    return 0;\\n}\\n\", "
             "\"replace_all\": false}"},
    {"Write",
     "{\"file_path\":\"/tmp/notes.md\",\"content\":\"# Übersicht\\n\\nDie Größe der "
     "Dateien: 中文字符 測試 日本語のテキスト 😀 — naïve café.\\n\\n- one\\n- two\\n\"}"},
    {"Grep",
     "{\"pattern\": \"static\\\\s+inline\\\\s+\\\\w+\", \"path\": \"src\", \"glob\": "
     "\"*.{c,h}\", \"output_mode\": \"content\", \"-n\": true, \"head_limit\": 50}"},
    {"TodoWrite",
     "{\"todos\": [{\"content\": \"Read the existing code\", \"status\": \"completed\", "
     "\"activeForm\": \"Reading the existing code\"}, {\"content\": \"Write a failing "
     "test\", "
     "\"status\": \"in_progress\", \"activeForm\": \"Writing a failing test\"}, "
     "{\"content\": "
     "\"Fix the bug\", \"status\": \"pending\", \"activeForm\": \"Fixing the bug\"}]}"},
    {"WebFetch", "{\"url\": \"https://example.org/docs/index.html?section=limits#top\", "
                 "\"prompt\": \"What are the limits on request sizes?\"}"},
    {"AskUserQuestion", "{\"questions\": [{\"question\": \"Which database should the "
                        "service use?\", \"header\": "
                        "\"Database\", \"options\": [{\"label\": \"SQLite\", "
                        "\"description\": \"One file, no "
                        "server\"}, {\"label\": \"Postgres\", \"description\": \"A "
                        "server, more features\"}], "
                        "\"multiSelect\": false}]}"},
    {"Skill", "{\"skill\": \"review-code\", \"args\": \"--fast src\"}"},
    {"mcp__tracker__create", "{\"title\": \"Crash when the configuration file is "
                             "empty\", \"priority\": \"high\", "
                             "\"labels\": [\"bug\", \"parser\"], \"due\": "
                             "\"2026-12-24\", \"estimate\": 2.5, \"tree\": "
                             "{\"name\": \"root\", \"kids\": [{\"name\": \"leaf\"}]}}"},
    {"mcp__db__query",
     "{\"sql\": \"SELECT id, name FROM users WHERE age > ? ORDER BY name\", "
     "\"params\": [30, \"x\", null], \"options\": {\"deep\": {\"a\": [1, 2, "
     "{\"b\": \"text\"}]}}}"},
};

static void check(enum status s, const struct error *err)
{
    if (s) {
        fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

static void open_vocab(struct bench *b, const char *path)
{
    struct gguf *file;
    struct error err;
    check(gguf_open(&file, path, &err), &err);
    check(tokenizer_open(&b->tokenizer, file, &err), &err);
    gguf_close(file);
    const int n = tokenizer_n_vocab(b->tokenizer);
    struct grammar_piece *pieces = mem_array((size_t)n, sizeof *pieces);
    for (int id = 0; id < n; id++) {
        pieces[id].text = tokenizer_piece(b->tokenizer, id, false, &pieces[id].n);
        pieces[id].end = tokenizer_is_eog(b->tokenizer, id);
        pieces[id].hidden = pieces[id].n == 0;
    }
    const uint64_t start = clock_us();
    check(grammar_vocab_open(&b->vocab, pieces, n, &err), &err);
    printf("%s: %d tokens, tree in %.1f ms\n", path, n,
           (double)(clock_us() - start) * 1e-3);
    mem_free(pieces);
    b->bits = mem_array(((size_t)n + 31) / 32, sizeof *b->bits);
}

/* The time of a token is the least of all repeats, each with a new matcher. */
static void follow(struct bench *b, const struct grammar *g, const struct tokens *t,
                   const char *name)
{
    struct grammar_matcher *m;
    struct error err;
    check(grammar_matcher_open(&m, g, b->vocab, &err), &err);
    for (size_t i = 0; i < t->n; i++) {
        const uint64_t start = clock_us();
        check(grammar_matcher_mask(m, b->bits, &err), &err);
        const int32_t id = t->id[i];
        if (!(b->bits[id / 32] >> (id % 32) & 1)) {
            fprintf(stderr, "%s: token %zu is masked\n", name, i);
            exit(1);
        }
        check(grammar_matcher_accept(m, id, &err), &err);
        const double took = (double)(clock_us() - start);
        if (i < TIMES_MAX && (i >= (size_t)b->n_time || took < b->times[i]))
            b->times[i] = took;
        if (i < TIMES_MAX && i >= (size_t)b->n_time)
            b->n_time = (int)i + 1;
    }
    grammar_matcher_close(m);
}

static int double_order(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void report(struct bench *b, const char *name)
{
    qsort(b->times, (size_t)b->n_time, sizeof b->times[0], double_order);
    double sum = 0;
    for (int i = 0; i < b->n_time; i++)
        sum += b->times[i];
    printf("%-24s %6d tokens: min %5.0f  median %5.0f  mean %7.1f  p99 %6.0f  max %6.0f "
           "us\n",
           name, b->n_time, b->times[0], b->times[b->n_time / 2], sum / b->n_time,
           b->times[b->n_time * 99 / 100], b->times[b->n_time - 1]);
}

static json_t *schema_of(json_t *tools, const char *name)
{
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool)
    {
        if (!strcmp(name, json_string_value(json_object_get(tool, "name"))))
            return json_object_get(tool, "input_schema");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct bench b, all;
    const char *path = argc > 1 ? argv[1] : "tests/data/smollm2_vocab.gguf";
    json_t *tools =
        json_load_file(argc > 2 ? argv[2] : "tests/data/tool_schemas.json", 0, NULL);
    struct error err;
    if (!tools) {
        fprintf(stderr, "no schemas\n");
        return 1;
    }
    open_vocab(&b, path);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        json_t *schema = schema_of(tools, calls[i][0]);
        const struct grammar_source src = {.schemas = &schema, .n_schema = 1};
        struct grammar *g;
        struct tokens t;
        tokens_init(&t);
        check(tokenizer_encode(b.tokenizer, &t, calls[i][1], strlen(calls[i][1]), NULL, 0,
                               &err),
              &err);
        const uint64_t start = clock_us();
        check(grammar_open(&g, &src, &err), &err);
        const double compiled = (double)(clock_us() - start) * 1e-3;
        b.n_time = 0;
        for (int r = 0; r < REPEATS; r++)
            follow(&b, g, &t, calls[i][0]);
        for (int k = 0; k < b.n_time && all.n_time < TIMES_MAX; k++)
            all.times[all.n_time++] = b.times[k];
        report(&b, calls[i][0]);
        if (compiled > 1)
            printf("    compiled in %.1f ms\n", compiled);
        grammar_close(g);
        tokens_release(&t);
    }
    report(&all, "all");
    grammar_vocab_close(b.vocab);
    tokenizer_close(b.tokenizer);
    mem_free(b.bits);
    json_decref(tools);
    return 0;
}
