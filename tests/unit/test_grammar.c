/* Grammars: masks against trying every token, languages against the C library's regular
 * expressions, GBNF's syntax, triggers, limits, and that following allocates nothing. */
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/rng.h"
#include "grammar/grammar.h"
#include "small_vocab.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

enum { WORDS = SMALL_MAX / 32 + 1 };

static struct small_vocab small;
static struct grammar_vocab *vocab;

/* glibc's own names, so that calls can be counted; sanitizers have their allocators. */
#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#define COUNT_ALLOCATIONS 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
static unsigned long n_allocation;

void *malloc(size_t n)
{
    n_allocation++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    n_allocation++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    n_allocation++;
    return __libc_realloc(p, n);
}
#endif

static enum status open_with(struct grammar **g, const char *gbnf, json_t *schema,
                             const char *const *triggers, bool once, struct error *err)
{
    int n_trigger = 0;
    while (triggers && triggers[n_trigger])
        n_trigger++;
    const struct grammar_source src = {.gbnf = gbnf,
                                       .n = gbnf ? strlen(gbnf) : 0,
                                       .schemas = &schema,
                                       .n_schema = schema != NULL,
                                       .triggers = triggers,
                                       .n_trigger = n_trigger,
                                       .once = once};
    memset(err, 0, sizeof *err);
    return grammar_open(g, &src, err);
}

static struct grammar *open_gbnf(const char *gbnf)
{
    struct grammar *g;
    struct error err;
    if (open_with(&g, gbnf, NULL, NULL, false, &err))
        fail_msg("%s", err.text);
    return g;
}

static struct grammar *open_schema(const char *text)
{
    struct grammar *g;
    struct error err;
    char *copy = strdup(text);
    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *schema = json_loads(copy, JSON_DECODE_ANY, NULL);
    free(copy);
    assert_non_null(schema);
    if (open_with(&g, NULL, schema, NULL, false, &err))
        fail_msg("%s", err.text);
    json_decref(schema);
    return g;
}

static struct grammar_matcher *matcher_of(const struct grammar *g)
{
    struct grammar_matcher *m;
    struct error err;
    if (grammar_matcher_open(&m, g, vocab, &err))
        fail_msg("%s", err.text);
    return m;
}

/* Whether the bytes can be a text's beginning (end: a whole text). */
static bool reads(struct grammar_matcher *m, const char *text, size_t n, bool end)
{
    struct error err;
    bool ok = true;
    grammar_matcher_reset(m);
    for (size_t i = 0; ok && i < n; i++)
        ok = !grammar_matcher_accept(m, (uint8_t)text[i], &err);
    return ok && (!end || !grammar_matcher_accept(m, small.end, &err));
}

static bool gbnf_takes(const char *gbnf, const char *text)
{
    struct grammar *g = open_gbnf(gbnf);
    struct grammar_matcher *m = matcher_of(g);
    const bool ok = reads(m, text, strlen(text), true);
    grammar_matcher_close(m);
    grammar_close(g);
    return ok;
}

static const char *const grammars[] = {
    "root ::= \"a\" | \"ab\" root",
    "root ::= [^\"\\n]+ \"\\n\"",
    "root ::= (\"foo\" | \"bar\"){2,3} \"\\u00e9\"",
    "root ::= .{0,7} \"z\"",
    "root ::= [a-c]{3,200} \"x\"?",
    "root ::= ([a-z]{1,3} \" \"){2,40}",
    ("root ::= list\nlist ::= \"[\" (item (\", \" item)*)? \"]\"\nitem ::= list | "
     "[0-9]{1,12}"),
    "root ::= [\\u4e00-\\u9fff]* \"\\U0001F600\"",
    "root ::= ((\"a\" | \"b\" [xy]){2,5} \"c\"){1,30}",
};

/* With ' for ". */
static const char *const schemas[] = {
    "{}",
    "{'type': 'string'}",
    "{'type': 'string', 'maxLength': 12}",
    "{'type': 'string', 'minLength': 3, 'maxLength': 40}",
    "{'type': 'string', 'minLength': 30}",
    "{'type': 'string', 'pattern': 'foo'}",
    "{'type': 'string', 'pattern': '^[a-z ]+$', 'maxLength': 9}",
    "{'type': 'string', 'pattern': '^(a|b.)*$', 'minLength': 4, 'maxLength': 20}",
    ("{'properties': {'name': {'type': 'string'}, 'names': {'type': 'integer', "
     "'minimum': "
     "10, 'maximum': 123}}, 'required': ['names']}"),
    "{'enum': ['foo', 'foobar', 'fob', 1, 12, 123, null, [1, 2]]}",
    ("{'items': {'type': 'array', 'items': {'type': 'number'}, 'maxItems': 2}, "
     "'minItems': 1, "
     "'maxItems': 3}"),
    ("{'anyOf': [{'properties': {'a': {'type': 'string', 'maxLength': 3}}}, "
     "{'properties': "
     "{'ab': {'type': 'string', 'maxLength': 30}}}]}"),
};

/* Masks along random texts against accepting each token, by a matcher that never made a
 * mask. */
static void check_masks(const struct grammar *g, uint64_t seed, const char *what)
{
    struct grammar_matcher *m = matcher_of(g), *other = matcher_of(g);
    int history[40], n = 0;
    uint32_t bits[WORDS];
    struct error err;
    for (bool done = false; n < 40 && !done; n++) {
        int allowed[SMALL_MAX], n_allowed = 0;
        if (grammar_matcher_mask(m, bits, &err))
            fail_msg("%s: %s", what, err.text);
        for (int id = 0; id < small.n; id++) {
            grammar_matcher_reset(other);
            for (int i = 0; i < n; i++)
                assert_int_equal(STATUS_OK,
                                 grammar_matcher_accept(other, history[i], &err));
            const bool fits = !grammar_matcher_accept(other, id, &err);
            if (fits != small_bit(bits, id))
                fail_msg("%s: step %d, token %d (%s): mask %d, accepted %d", what, n, id,
                         small.pieces[id].text, small_bit(bits, id), fits);
            if (fits)
                allowed[n_allowed++] = id;
        }
        assert_true(n_allowed > 0);
        // Longer tokens and no end more often than chance would have it.
        history[n] = allowed[rng_at(seed, (uint64_t)n) % (uint64_t)n_allowed];
        if (rng_at(seed, (uint64_t)n + 1000) % 2)
            for (int i = n_allowed - 1; i >= 0 && allowed[i] > 255; i--)
                if (allowed[i] != small.end && rng_at(seed, (uint64_t)i) % 3 == 0)
                    history[n] = allowed[i];
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, history[n], &err));
        done = history[n] == small.end;
    }
    grammar_matcher_close(m);
    grammar_matcher_close(other);
}

static void test_masks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof grammars / sizeof grammars[0]; i++) {
        struct grammar *g = open_gbnf(grammars[i]);
        for (uint64_t seed = 0; seed < 3; seed++)
            check_masks(g, seed, grammars[i]);
        grammar_close(g);
    }
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        struct grammar *g = open_schema(schemas[i]);
        for (uint64_t seed = 0; seed < 3; seed++)
            check_masks(g, seed + 100, schemas[i]);
        grammar_close(g);
    }
}

/* All texts of a few letters: whatever was allowed can go on. */
static void check_ways_on(struct grammar_matcher *m, char *text, size_t n,
                          const char *what)
{
    static const char letters[] = "\"abcdefx";
    uint32_t bits[WORDS];
    struct error err;
    if (!reads(m, text, n, false))
        return;
    if (grammar_matcher_mask(m, bits, &err))
        fail_msg("%s: behind %.*s: %s", what, (int)n, text, err.text);
    for (const char *c = letters; n < 8 && *c; c++) {
        text[n] = *c;
        check_ways_on(m, text, n + 1, what);
    }
}

static void test_no_dead_ends(void **state)
{
    (void)state;
    static const char *const closed[] = {
        "{'pattern': '^(a|bcde|f.*)$', 'minLength': 3}",
        "{'pattern': '^(ab|cdefab|x.{4,}f)$', 'maxLength': 5}",
        "{'pattern': '^(ab)*$', 'minLength': 3, 'maxLength': 4}",
        "{'pattern': '^(abc|fedcba)$', 'minLength': 5}",
        "{'pattern': '^(abc|fedcba)$', 'maxLength': 5}",
        "{'pattern': '^(abc|ab)*c?$', 'minLength': 4, 'maxLength': 5}",
        "{'allOf': [{'pattern': '^a(b|c)*$'}, {'pattern': 'cc$'}], 'maxLength': 5}",
        "{'pattern': 'abc', 'maxLength': 4}",
        "{'pattern': '^(ab?){2,70}$', 'maxLength': 4}",
    };
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        struct grammar *g = open_schema(closed[i]);
        struct grammar_matcher *m = matcher_of(g);
        char text[16];
        check_ways_on(m, text, 0, closed[i]);
        grammar_matcher_close(m);
        grammar_close(g);
    }
}

/* The same language twice: GBNF, and an extended regular expression of POSIX. */
static const char *const languages[][2] = {
    {"root ::= \"a\"* \"b\"", "^a*b$"},
    {"root ::= (\"a\" | \"b\" \"c\")+", "^(a|bc)+$"},
    {"root ::= [ab]{2,4} \"c\"?", "^[ab]{2,4}c?$"},
    {"root ::= [^a]{2} .{1}", "^[^a]{2}.$"},
    {"root ::= x | y x\nx ::= \"a\" y?\ny ::= \"b\"{1,}", "^(ab*|b+ab*)$"},
    {"root ::= (\"a\"? \"b\"?){0,3}", "^(a?b?){0,3}$"},
    {"root ::= (\"a\"{0,2} | \"b\"){2}", "^(a{0,2}|b){2}$"},
    {"root ::= ((\"ab\"){1,3} \"c\"){1,2}", "^((ab){1,3}c){1,2}$"},
    {"root ::= \"\" | \"a\" root \"\"", "^a*$"},
    {"root ::= (\"a\"* \"b\"*)* \"c\"", "^[ab]*c$"},
    {"root ::= [a-b]+ | \"c\"{3}", "^([ab]+|c{3})$"},
};

static void test_languages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++) {
        struct grammar *g = open_gbnf(languages[i][0]);
        struct grammar_matcher *m = matcher_of(g);
        regex_t re;
        assert_int_equal(0, regcomp(&re, languages[i][1], REG_EXTENDED | REG_NOSUB));
        int n_text = 0;
        for (int n = 0, power = 1; n <= 7; n++, power *= 3)
            for (int k = 0; k < power; k++, n_text++) {
                char text[8] = {0};
                for (int at = 0, v = k; at < n; at++, v /= 3)
                    text[at] = (char)('a' + v % 3);
                if (reads(m, text, (size_t)n, true) != !regexec(&re, text, 0, NULL, 0))
                    fail_msg("%s: \"%s\"", languages[i][0], text);
            }
        assert_int_equal(3280, n_text);
        regfree(&re);
        grammar_matcher_close(m);
        grammar_close(g);
    }
}

/* Patterns of schemas by the same judge; a pattern matches anywhere. */
static void test_patterns(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "^a*b$",   "ab",      "^a",           "c$",           "^(a|bc)+$",
        "a{2,3}b", "(^|b)c",  "a($|b)",       "^$",           "[^a]b",
        "^a.c$",   "(a|b)+c", "^(ab?){2,9}$", "^a{1,70}$|cc", "^(abc){0,40}$",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        for (int lengths = 0; lengths < 1 + (strcmp(patterns[i], "^$") != 0); lengths++) {
            char schema[200], quoted[16];
            snprintf(schema, sizeof schema,
                     "{\"type\": \"string\", \"pattern\": \"%s\"%s}", patterns[i],
                     lengths ? ", \"minLength\": 2, \"maxLength\": 5" : "");
            struct grammar *g = open_schema(schema);
            struct grammar_matcher *m = matcher_of(g);
            regex_t re;
            assert_int_equal(0, regcomp(&re, patterns[i], REG_EXTENDED | REG_NOSUB));
            for (int n = 0, power = 1; n <= 6; n++, power *= 3)
                for (int k = 0; k < power; k++) {
                    char text[8] = {0};
                    for (int at = 0, v = k; at < n; at++, v /= 3)
                        text[at] = (char)('a' + v % 3);
                    const bool fits = !regexec(&re, text, 0, NULL, 0) &&
                                      (!lengths || (n >= 2 && n <= 5));
                    const int len = snprintf(quoted, sizeof quoted, "\"%s\"", text);
                    if (reads(m, quoted, (size_t)len, true) != fits)
                        fail_msg("%s: %s", schema, quoted);
                }
            regfree(&re);
            grammar_matcher_close(m);
            grammar_close(g);
        }
}

static size_t utf8_of(char *dst, uint32_t c)
{
    if (c < 0x80)
        return dst[0] = (char)c, 1;
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6)
        dst[i] = (char)(0x80 | (c & 0x3f));
    static const uint8_t mark[] = {0, 0, 0xc0, 0xe0, 0xf0};
    return dst[0] = (char)(mark[n] | c), n;
}

/* Every code point against what a class says. */
static void test_every_character(void **state)
{
    (void)state;
    static const struct {
        const char *gbnf;
        uint32_t lo, hi;
    } classes[] = {{"root ::= .", 0, 0x10ffff},
                   {"root ::= [\\u0085-\\U00012345]", 0x85, 0x12345},
                   {"root ::= [\\u0801-\\ud7fe]", 0x801, 0xd7fe},
                   {"root ::= [^\\x00-\\u4e2d]", 0x4e2e, 0x10ffff},
                   {"root ::= [\\uffff-\\U00010000]", 0xffff, 0x10000}};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        struct grammar *g = open_gbnf(classes[i].gbnf);
        struct grammar_matcher *m = matcher_of(g);
        for (uint32_t c = 0; c <= 0x10ffff; c++) {
            char text[4];
            const bool fits =
                c >= classes[i].lo && c <= classes[i].hi && (c < 0xd800 || c > 0xdfff);
            if (reads(m, text, utf8_of(text, c), true) != fits)
                fail_msg("%s: U+%04X", classes[i].gbnf, (unsigned)c);
        }
        grammar_matcher_close(m);
        grammar_close(g);
    }
    struct grammar *g = open_schema("{'type': 'string', 'maxLength': 1}");
    struct grammar_matcher *m = matcher_of(g);
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char text[8] = "\"";
        const size_t n = 1 + utf8_of(text + 1, c);
        text[n] = '"';
        const bool fits =
            c >= 0x20 && c != '"' && c != '\\' && (c < 0xd800 || c > 0xdfff);
        if (reads(m, text, n + 1, true) != fits)
            fail_msg("string: U+%04X", (unsigned)c);
    }
    for (uint32_t c = 0; c <= 0xffff; c++) {
        char text[12];
        const int n = snprintf(text, sizeof text, c % 2 ? "\"\\u%04x\"" : "\"\\u%04X\"",
                               (unsigned)c);
        assert_int_equal(c > 0 && (c < 0xd800 || c > 0xdfff),
                         reads(m, text, (size_t)n, true));
    }
    assert_true(reads(m, "\"\\ud83d\\uDE00\"", 14, true));
    assert_false(reads(m, "\"\\ud83d\\u0041\"", 14, false));
    grammar_matcher_close(m);
    grammar_close(g);
}

static void test_gbnf_syntax(void **state)
{
    (void)state;
    assert_true(gbnf_takes("# a comment\nroot  ::= \"a\" # another\n\n", "a"));
    assert_true(gbnf_takes("root ::= (\n  \"a\"  # inside\n\n  | \"b\"\n)+", "abba"));
    assert_true(gbnf_takes("root ::= \"a\" |\n  \"b\"\n", "b"));
    assert_true(gbnf_takes("root ::= \"a\"\n  | \"b\"\nother ::= \"c\"", "b"));
    assert_true(gbnf_takes("root ::= check-mate rule_1 UPPER\ncheck-mate ::= \"a\"\n"
                           "rule_1 ::= \"b\"\nUPPER ::= \"c\"",
                           "abc"));
    assert_true(gbnf_takes("root ::= \"\\x41\\u00e9\\U0001F600\\n\\t\\r\\\\\\\"\"",
                           "A\xc3\xa9\xf0\x9f\x98\x80\n\t\r\\\""));
    assert_true(
        gbnf_takes("root ::= [\\]\\-a\\\\] [^\\x00-\\x1f] [-a] [a-]", "]\xc3\xa9--"));
    assert_true(
        gbnf_takes("root ::= [\xe3\x81\x81-\xe3\x82\x9f]+", "\xe3\x81\x82\xe3\x82\x8b"));
    assert_false(gbnf_takes("root ::= [\xe3\x81\x81-\xe3\x82\x9f]+", "\xe3\x82\xa2"));
    assert_true(
        gbnf_takes("root ::= \"a\"{2} \"b\"{1,} \"c\"{0,2} [x]{ 1 , 2 }", "aabbbx"));
    assert_false(gbnf_takes("root ::= \"a\"{2} \"b\"{1,} \"c\"{0,2}", "abb"));
    assert_false(gbnf_takes("root ::= \"a\"{2} \"b\"{1,} \"c\"{0,2}", "aabccc"));
    assert_true(gbnf_takes("root ::= .", "\xf0\x9f\x98\x80"));
    assert_false(gbnf_takes("root ::= .", "\xed\xa0\x80"));
    assert_true(gbnf_takes("root ::= \"1. \" (pawn | castle) [+#]?\r\npawn ::= ([a-h] "
                           "\"x\")? [a-h] [1-8]\r\ncastle ::= \"O-O\" \"-O\"?",
                           "1. exd5+"));
}

static void test_gbnf_errors(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "no rule \"root\""},
        {"rot ::= \"a\"", "no rule \"root\""},
        {"root ::= other", "rule \"other\" is used but not defined"},
        {"root ::= \"a", "line 1, rule root: a literal without"},
        {"root ::= [a", "a class without"},
        {"root ::= []", "a class of no characters"},
        {"root ::= [b-a]", "backwards"},
        {"root ::= (\"a\"", "not closed"},
        {"root ::= \"a\")", "expected a new line"},
        {"root ::= \"a\"\nroot ::= \"b\"",
         "line 2, rule root: the rule is defined twice"},
        {"root := \"a\"", "expected ::="},
        {"root ::= \"\\q\"", "an escape"},
        {"root ::= \"\\ud800\"", "an escape"},
        {"root ::= \"a\"{3,2}", "m <= n"},
        {"root ::= \"a\"{x}", "m <= n"},
        {"root ::= \"a\"{1,99999999}", "more than 1000000"},
        {"root ::= root \"a\" | \"b\"", "root: begins with itself"},
        {"root ::= e a\ne ::= \"\"\na ::= b | \"x\"\nb ::= e a \"x\"", "left recursion"},
        {"root ::= \"a\" root", "root: no text of finite length"},
        {"root ::= <think> \"a\"", "tokens"},
        {"root ::= schema-0", "rule \"schema-0\" is used but not defined"},
        {"root ::= \"\xff\"", "not UTF-8"},
        {"root ::= (\"a\"?){0,1000}", "rule root: what may be empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct grammar *g;
        struct error err;
        assert_int_not_equal(STATUS_OK,
                             open_with(&g, bad[i][0], NULL, NULL, false, &err));
        assert_null(g);
        if (!strstr(err.text, bad[i][1]))
            fail_msg("%s: %s", bad[i][0], err.text);
    }
}

static void test_gbnf_with_schemas(void **state)
{
    (void)state;
    json_t *schemas_of[] = {
        json_loads("{\"type\": \"integer\", \"maximum\": 9}", 0, NULL),
        json_loads("{\"type\": \"boolean\"}", 0, NULL)};
    const char *gbnf = "root ::= \"f(\" schema-0 \")\" | \"g(\" schema-1 \")\"";
    const struct grammar_source src = {
        .gbnf = gbnf, .n = strlen(gbnf), .schemas = schemas_of, .n_schema = 2};
    struct grammar *g;
    struct error err;
    assert_int_equal(STATUS_OK, grammar_open(&g, &src, &err));
    struct grammar_matcher *m = matcher_of(g);
    assert_true(reads(m, "f(7)", 4, true));
    assert_true(reads(m, "f(-70)", 6, true));
    assert_true(reads(m, "g(true)", 7, true));
    assert_false(reads(m, "f(true)", 7, false));
    assert_false(reads(m, "f(10)", 5, false));
    grammar_matcher_close(m);
    grammar_close(g);
    const char *own = "root ::= schema-1\nschema-1 ::= \"a\"";
    const struct grammar_source bad = {
        .gbnf = own, .n = strlen(own), .schemas = schemas_of, .n_schema = 2};
    assert_int_equal(STATUS_BAD_INPUT, grammar_open(&g, &bad, &err));
    json_decref(schemas_of[0]);
    json_decref(schemas_of[1]);
}

static int token_of(const char *text)
{
    for (int id = 0; id < small.n; id++)
        if (small.pieces[id].n == strlen(text) &&
            !memcmp(small.pieces[id].text, text, strlen(text)))
            return id;
    fail_msg("no token \"%s\"", text);
    return -1;
}

static bool allows(struct grammar_matcher *m, const char *text)
{
    uint32_t bits[WORDS];
    struct error err;
    if (grammar_matcher_mask(m, bits, &err))
        fail_msg("%s", err.text);
    return small_bit(bits, token_of(text));
}

static void feed(struct grammar_matcher *m, const char *const *tokens)
{
    struct error err;
    for (; *tokens; tokens++)
        if (grammar_matcher_accept(m, token_of(*tokens), &err))
            fail_msg("%s: %s", *tokens, err.text);
}

static void test_triggers(void **state)
{
    (void)state;
    static const char *const triggers[] = {"<tool_call>", "<x", NULL};
    struct grammar *g;
    struct error err;
    json_t *schema = json_loads("{\"type\": \"object\"}", 0, NULL);
    assert_int_equal(STATUS_OK, open_with(&g, "root ::= schema-0 \"</tool_call>\"",
                                          schema, triggers, false, &err));
    struct grammar_matcher *m = matcher_of(g);
    assert_true(grammar_matcher_is_open(m));
    feed(m, (const char *const[]){"the", "<", "<", "t", NULL});
    assert_true(grammar_matcher_is_open(m));
    // A token that ends the trigger and goes on must go on as the root does.
    feed(m, (const char *const[]){"o", "o", "l", "_", NULL});
    assert_false(grammar_matcher_is_open(m));
    assert_true(allows(m, "call>{"));
    assert_true(allows(m, "call>{\""));
    assert_false(allows(m, "call>x"));
    assert_true(allows(m, "<ctl>"));
    assert_true(allows(m, "<end>"));
    assert_true(allows(m, "the"));
    feed(m, (const char *const[]){"the", NULL});
    assert_true(grammar_matcher_is_open(m));
    feed(m, (const char *const[]){"<tool", "_call>", NULL});
    assert_false(grammar_matcher_is_open(m));
    assert_true(allows(m, "{\""));
    assert_false(allows(m, "the"));
    assert_false(allows(m, "<ctl>"));
    assert_false(allows(m, "<end>"));
    feed(m, (const char *const[]){"{\"", "a", "\":", "true", "}", NULL});
    assert_false(grammar_matcher_is_open(m));
    assert_false(allows(m, "<end>"));
    feed(m, (const char *const[]){"</tool_call>", NULL});
    assert_true(grammar_matcher_is_open(m));
    feed(m, (const char *const[]){"<", "x", "{\"", NULL});
    assert_false(grammar_matcher_is_open(m));
    grammar_matcher_reset(m);
    assert_true(grammar_matcher_is_open(m));
    feed(m, (const char *const[]){"<ctl>", "<end>", NULL});
    assert_false(grammar_matcher_is_open(m));
    assert_false(allows(m, "the"));
    assert_true(allows(m, "<end>"));
    grammar_matcher_close(m);
    grammar_close(g);

    assert_int_equal(STATUS_OK,
                     open_with(&g, "root ::= \"{\" \"}\"?", NULL, triggers, true, &err));
    m = matcher_of(g);
    feed(m, (const char *const[]){"<tool_call>", "{", NULL});
    assert_true(allows(m, "<end>"));
    assert_false(allows(m, "the"));
    feed(m, (const char *const[]){"}", NULL});
    assert_false(allows(m, "}"));
    assert_true(allows(m, "<end>"));
    grammar_matcher_close(m);
    grammar_close(g);
    json_decref(schema);

    // A trigger that ends inside of what may become another.
    assert_int_equal(STATUS_OK,
                     open_with(&g, "root ::= \"!\"", NULL,
                               (const char *const[]){"abcx", "bc", NULL}, true, &err));
    m = matcher_of(g);
    feed(m, (const char *const[]){"a", "b", "c", NULL});
    assert_true(allows(m, "!"));
    assert_false(allows(m, "x"));
    grammar_matcher_close(m);
    grammar_close(g);
    assert_int_equal(STATUS_BAD_ARG,
                     open_with(&g, "root ::= \"a\"", NULL,
                               (const char *const[]){"", NULL}, true, &err));
}

static void test_accept_refuses(void **state)
{
    (void)state;
    struct grammar *g = open_gbnf("root ::= \"ab\"");
    struct grammar_matcher *m = matcher_of(g);
    struct error err;
    const int bad[] = {'b', small.end, small.end - 1, small.end - 2, -1, small.n};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(STATUS_BAD_ARG, grammar_matcher_accept(m, bad[i], &err));
    assert_int_equal(STATUS_OK, grammar_matcher_accept(m, token_of("ab"), &err));
    assert_int_equal(STATUS_BAD_ARG, grammar_matcher_accept(m, 'a', &err));
    assert_int_equal(STATUS_OK, grammar_matcher_accept(m, small.end, &err));
    grammar_matcher_close(m);
    grammar_close(g);
}

/* depth times `open`, then `middle`, then depth times `close`. */
static char *nested(const char *open, const char *middle, const char *close, int depth)
{
    struct buf b;
    buf_init(&b, 1 << 24);
    for (int i = 0; i < depth; i++)
        buf_puts(&b, open);
    buf_puts(&b, middle);
    for (int i = 0; i < depth; i++)
        buf_puts(&b, close);
    return b.data;
}

static void check_refused(const char *gbnf, json_t *schema, enum status want)
{
    struct grammar *g;
    struct error err;
    const uint64_t start = clock_us();
    const enum status s = open_with(&g, gbnf, schema, NULL, false, &err);
    if (s != want)
        fail_msg("status %d: %s", (int)s, err.text);
    assert_true(clock_us() - start < 3000000);
}

static void test_limits(void **state)
{
    (void)state;
    char *text = nested("(", "\"a\"", ")", 60000), *source = malloc(1 << 20);
    snprintf(source, 1 << 20, "root ::= %s", text);
    check_refused(source, NULL, STATUS_LIMIT);
    json_t *schema = json_pack("{s:s, s:s}", "type", "string", "pattern", "");
    text[0] = '(';
    json_object_set_new(schema, "pattern", json_string(text));
    check_refused(NULL, schema, STATUS_LIMIT);
    json_decref(schema);
    buf_release(&(struct buf){.data = text});
    text = nested("{\"items\": ", "{}", "}", 640);
    schema = json_loads(text, 0, NULL);
    assert_non_null(schema);
    check_refused(NULL, schema, STATUS_LIMIT);
    json_decref(schema);
    buf_release(&(struct buf){.data = text});
    // 16 to the power of 6 copies.
    check_refused("root ::= ((((((\"\"){0,16}){0,16}){0,16}){0,16}){0,16}){0,16} \"a\"?",
                  NULL, STATUS_LIMIT);
    free(source);
    // A source of more than 1 MiB.
    source = calloc(1, (1 << 20) + 32);
    memset(source, ' ', (1 << 20) + 1);
    memcpy(source, "root ::= \"a\"", 12);
    check_refused(source, NULL, STATUS_LIMIT);
    free(source);
}

static void check_open_time(json_t *schema, const char *gbnf)
{
    struct grammar *g;
    struct error err;
    const uint64_t start = clock_us();
    if (open_with(&g, gbnf, schema, NULL, false, &err))
        fail_msg("%s", err.text);
    assert_true(clock_us() - start < 3000000);
    struct grammar_matcher *m = matcher_of(g);
    uint32_t bits[WORDS];
    assert_int_equal(STATUS_OK, grammar_matcher_mask(m, bits, &err));
    grammar_matcher_close(m);
    grammar_close(g);
    json_decref(schema);
}

static void test_large(void **state)
{
    (void)state;
    check_open_time(json_pack("{s:s, s:i}", "type", "string", "maxLength", 100000), NULL);
    check_open_time(json_pack("{s:s, s:i, s:s}", "type", "string", "maxLength", 100000,
                              "pattern", "^[a-z]+$"),
                    NULL);
    check_open_time(json_pack("{s:s, s:s}", "type", "string", "pattern",
                              "^([a-z]{1,1000}-){1,1000}.{1,1000}$"),
                    NULL);
    check_open_time(json_pack("{s:s, s:i, s:i}", "type", "array", "minItems", 100000,
                              "maxItems", 1000000),
                    NULL);
    check_open_time(NULL, "root ::= ((\"ab\"){1,1000000} \"c\"){5,1000000}");
    json_t *values = json_array(), *properties = json_object();
    for (int i = 0; i < 10000; i++) {
        char text[64];
        snprintf(text, sizeof text, "value-%d-of-%d", i * 7919 % 10007, i);
        json_array_append_new(values, json_string(text));
        if (i < 500)
            json_object_set_new(properties, text, json_pack("{s:s}", "type", "string"));
    }
    check_open_time(json_pack("{s:o}", "enum", values), NULL);
    check_open_time(json_pack("{s:s, s:o}", "type", "object", "properties", properties),
                    NULL);
}

static void test_counts_are_exact(void **state)
{
    (void)state;
    struct grammar *g = open_gbnf("root ::= \"a\"{1000,6000}");
    struct grammar_matcher *m = matcher_of(g);
    struct error err;
    uint32_t bits[WORDS];
    for (int n = 0; n <= 6000; n++) {
        assert_int_equal(STATUS_OK, grammar_matcher_mask(m, bits, &err));
        assert_int_equal(n >= 1000, small_bit(bits, small.end));
        assert_int_equal(n < 6000, small_bit(bits, 'a'));
        assert_int_equal(n <= 6000 - 16, small_bit(bits, token_of("aaaaaaaaaaaaaaaa")));
        if (n < 6000)
            assert_int_equal(STATUS_OK, grammar_matcher_accept(m, 'a', &err));
    }
    grammar_matcher_close(m);
    grammar_close(g);
}

/* A walk that meets more states than the tables hold. */
static void test_many_states(void **state)
{
    (void)state;
    enum { N = 6000 };
    static char text[N][8];
    static struct grammar_piece pieces[N + 2];
    static uint32_t bits[(N + 2 + 31) / 32];
    struct grammar_vocab *numbers;
    struct grammar_matcher *m;
    struct error err;
    json_t *values = json_array();
    for (int i = 0; i < N; i++) {
        char value[32];
        pieces[i].text = text[i];
        pieces[i].n = (size_t)snprintf(text[i], sizeof text[i], "%04d", i);
        snprintf(value, sizeof value, "%04d-%04d", i, i * 7 % N);
        if (i % 3)
            json_array_append_new(values, json_string(value));
    }
    pieces[N] = (struct grammar_piece){.text = "\"", .n = 1};
    pieces[N + 1] = (struct grammar_piece){.text = "-", .n = 1};
    json_t *schema = json_pack("{s:o}", "enum", values);
    struct grammar *g;
    assert_int_equal(STATUS_OK, open_with(&g, NULL, schema, NULL, false, &err));
    assert_int_equal(STATUS_OK, grammar_vocab_open(&numbers, pieces, N + 2, &err));
    assert_int_equal(STATUS_OK, grammar_matcher_open(&m, g, numbers, &err));
    for (int round = 0; round < 3; round++) {
        const int first = 3001 + round * 3, second = first * 7 % N;
        grammar_matcher_reset(m);
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, N, &err));
        assert_int_equal(STATUS_OK, grammar_matcher_mask(m, bits, &err));
        for (int i = 0; i < N; i++)
            assert_int_equal(i % 3 != 0, small_bit(bits, i));
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, first, &err));
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, N + 1, &err));
        assert_int_equal(STATUS_OK, grammar_matcher_mask(m, bits, &err));
        for (int i = 0; i < N; i++)
            assert_int_equal(i == second, small_bit(bits, i));
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, second, &err));
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, N, &err));
    }
    grammar_matcher_close(m);
    grammar_vocab_close(numbers);
    grammar_close(g);
    json_decref(schema);
}

/* What cannot be followed is an error and no crash, and a new text begins as before. */
static void test_too_many_ways(void **state)
{
    (void)state;
    struct grammar *g = open_gbnf("root ::= ((\"a\"){1,900}){1,900}");
    struct grammar_matcher *m = matcher_of(g);
    struct error err;
    enum status s = STATUS_OK;
    int n = 0;
    for (; s == STATUS_OK && n < 900; n++)
        s = grammar_matcher_accept(m, 'a', &err);
    assert_int_equal(STATUS_LIMIT, s);
    assert_true(n > 20);
    grammar_matcher_reset(m);
    assert_int_equal(STATUS_OK, grammar_matcher_accept(m, 'a', &err));
    grammar_matcher_close(m);
    grammar_close(g);
}

/* Where nesting ends, brackets no longer open, and the text can be closed. */
static void test_nesting_ends(void **state)
{
    (void)state;
    struct grammar *g = open_schema("{\"type\": \"array\"}");
    struct grammar_matcher *m = matcher_of(g);
    struct error err;
    int depth = 0;
    while (depth < 1000 && allows(m, "[")) {
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, '[', &err));
        depth++;
    }
    assert_true(depth >= 64 && depth < 1000);
    for (; depth > 0; depth--)
        assert_int_equal(STATUS_OK, grammar_matcher_accept(m, ']', &err));
    assert_int_equal(STATUS_OK, grammar_matcher_accept(m, small.end, &err));
    grammar_matcher_close(m);
    grammar_close(g);
}

static void test_no_allocation(void **state)
{
    (void)state;
#ifdef COUNT_ALLOCATIONS
    unsigned long n = 0;
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        struct grammar *g = open_schema(schemas[i]);
        struct grammar_matcher *m = matcher_of(g);
        struct error err;
        uint32_t bits[WORDS];
        const unsigned long before = n_allocation;
        for (uint64_t step = 0; step < 300; step++) {
            if (grammar_matcher_mask(m, bits, &err))
                break;
            int id = (int)(rng_at(i, step) % (uint64_t)small.n);
            while (!small_bit(bits, id))
                id = (id + 1) % small.n;
            if (grammar_matcher_accept(m, id, &err) || step % 50 == 49)
                grammar_matcher_reset(m);
        }
        n += n_allocation - before;
        grammar_matcher_close(m);
        grammar_close(g);
    }
    assert_int_equal(0, n);
    free(malloc(1));
    assert_true(n_allocation > 0);
#else
    skip();
#endif
}

/* A vocabulary without what a grammar needs: the mask is not empty without a word. */
static void test_poor_vocabularies(void **state)
{
    (void)state;
    const struct grammar_piece pieces[] = {{.text = "a", .n = 1}, {.text = "b", .n = 1}};
    struct grammar_vocab *poor;
    struct grammar_matcher *m;
    struct error err;
    uint32_t bits[1];
    struct grammar *g = open_gbnf("root ::= \"a\" \"c\"?");
    assert_int_equal(STATUS_OK, grammar_vocab_open(&poor, pieces, 2, &err));
    assert_int_equal(STATUS_OK, grammar_matcher_open(&m, g, poor, &err));
    assert_int_equal(STATUS_OK, grammar_matcher_mask(m, bits, &err));
    assert_int_equal(1, bits[0]);
    assert_int_equal(STATUS_OK, grammar_matcher_accept(m, 0, &err));
    assert_int_equal(STATUS_LIMIT, grammar_matcher_mask(m, bits, &err));
    grammar_matcher_close(m);
    grammar_vocab_close(poor);
    grammar_close(g);
    assert_int_equal(STATUS_BAD_ARG, grammar_vocab_open(&poor, pieces, 0, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_no_dead_ends),
        cmocka_unit_test(test_languages),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_gbnf_syntax),
        cmocka_unit_test(test_gbnf_errors),
        cmocka_unit_test(test_gbnf_with_schemas),
        cmocka_unit_test(test_triggers),
        cmocka_unit_test(test_accept_refuses),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_counts_are_exact),
        cmocka_unit_test(test_many_states),
        cmocka_unit_test(test_too_many_ways),
        cmocka_unit_test(test_nesting_ends),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_poor_vocabularies),
    };
    struct error err;
    small_vocab_make(&small);
    if (grammar_vocab_open(&vocab, small.pieces, small.n, &err))
        return 1;
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    grammar_vocab_close(vocab);
    return rc;
}
