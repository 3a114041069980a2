/* test_pull.c - what servers say to a client of ours: addresses, demands for tokens,
 * ranges, lists of files. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http/client_fields.h"
#include "http/client_impl.h"
#include "http/client_url.h"
#include "store/pull_impl.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct error err;

static enum status challenge(struct http_challenge *c, const char *text)
{
    return http_challenge_parse(c, text, strlen(text), &err);
}

/* The examples of RFC 9110 (11.6.1) and of the token protocol of registries. */
static void test_challenges(void **state)
{
    (void)state;
    struct http_challenge c;
    assert_int_equal(
        challenge(&c, "Bearer realm=\"https://auth.docker.io/token\",service=\"registry."
                      "docker.io\",scope=\"repository:samalba/my-app:pull,push\""),
        STATUS_OK);
    assert_string_equal(c.realm, "https://auth.docker.io/token");
    assert_string_equal(c.service, "registry.docker.io");
    assert_string_equal(c.scope, "repository:samalba/my-app:pull,push");
    assert_int_equal(challenge(&c,
                               "Basic realm=\"simple\", Newauth realm=\"apps\", type=1, "
                               "title=\"Login to \\\"apps\\\"\", BEARER Realm = "
                               "\"a\\\"b\" ,service=x"),
                     STATUS_OK);
    assert_string_equal(c.realm, "a\"b");
    assert_string_equal(c.service, "x");
    assert_string_equal(c.scope, "");
    // One scheme's parameters are not another's; token68; empty list elements.
    assert_int_equal(challenge(&c, ",, Negotiate abc/+==, Bearer realm=r,, scope=s, "
                                   "Basic realm=\"other\""),
                     STATUS_OK);
    assert_string_equal(c.realm, "r");
    assert_string_equal(c.scope, "s");
}

static void test_no_challenge(void **state)
{
    (void)state;
    static const char *const none[] = {"",
                                       ",",
                                       "Bearer",
                                       "Bearer abc==",
                                       "Bearer realm=",
                                       "Basic realm=x",
                                       "Bearer service=\"a\"",
                                       "Bearer, Basic realm=x"};
    static const char *const malformed[] = {"Bearer realm=\"open",
                                            "Bearer realm=\"a\\",
                                            "Bearer realm=\"a\"b",
                                            "Bearer realm=a realm=b",
                                            "Bearer realm=a, realm=b",
                                            "\"x\"",
                                            "=",
                                            "Bearer realm=\"a\001\"",
                                            "Bearer realm=\"a\r\nX: y\""};
    struct http_challenge c;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(challenge(&c, none[i]), STATUS_NOT_FOUND);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        assert_int_equal(challenge(&c, malformed[i]), STATUS_BAD_INPUT);
        assert_string_equal(c.realm, "");
    }
    char longer[5000] = "Bearer realm=";
    memset(longer + 13, 'a', sizeof longer - 14);
    assert_int_equal(challenge(&c, longer), STATUS_BAD_INPUT);
}

/* RFC 9110, 14.4. */
static void test_ranges(void **state)
{
    (void)state;
    struct http_range r;
    uint64_t n;
    assert_true(http_range_parse(&r, "bytes 42-1233/1234"));
    assert_int_equal(r.first, 42);
    assert_int_equal(r.last, 1233);
    assert_int_equal(r.total, 1234);
    assert_true(http_range_parse(&r, "BYTES 0-0/1"));
    static const char *const wrong[] = {
        "bytes 42-1233/*",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes -5/10",
        "bytes 0-/10",
        "bytes 0-5/10 ",
        "items 0-5/10",
        "bytes */10",
        "",
        "bytes 0-18446744073709551616/18446744073709551617"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(http_range_parse(&r, wrong[i]));
    assert_true(http_range_parse_size(&n, "bytes */47022"));
    assert_int_equal(n, 47022);
    assert_false(http_range_parse_size(&n, "bytes */*"));
    assert_true(http_number_parse(&n, "9223372036854775800"));
    assert_false(http_number_parse(&n, "9223372036854775808"));
    assert_false(http_number_parse(&n, "+1"));
    assert_false(http_number_parse(&n, ""));
    assert_false(http_number_parse(&n, "1x"));
}

static void test_fields(void **state)
{
    (void)state;
    static const char lines[] =
        "HTTP/1.1 200 OK\netag: \"a\" \r\nETags: b\nETag:\nEtag:c";
    char out[8];
    assert_true(http_field(out, sizeof out, lines, "ETag", 0));
    assert_string_equal(out, "\"a\"");
    assert_true(http_field(out, sizeof out, lines, "ETag", 1));
    assert_string_equal(out, "");
    assert_true(http_field(out, sizeof out, lines, "ETag", 2));
    assert_string_equal(out, "c");
    assert_false(http_field(out, sizeof out, lines, "ETag", 3));
    assert_false(http_field(out, 3, lines, "ETag", 0)); // it does not fit
    assert_false(http_field(out, sizeof out, "", "ETag", 0));
}

static void test_urls(void **state)
{
    (void)state;
    struct http_url u, v;
    char origin[400];
    assert_int_equal(http_url_parse(&u, "HTTPS://Registry.Example/a?b#c", &err),
                     STATUS_OK);
    assert_string_equal(u.host, "registry.example");
    assert_true(u.tls);
    assert_int_equal(u.port, 443);
    assert_null(strchr(u.text, '#'));
    http_url_origin(origin, sizeof origin, &u);
    assert_string_equal(origin, "https://registry.example");
    assert_int_equal(http_url_parse(&v, "https://registry.example:443/x", &err),
                     STATUS_OK);
    assert_true(http_url_same_origin(&u, &v));
    static const char *const others[] = {"http://registry.example:443/",
                                         "https://registry.example:444/",
                                         "https://registry.example.evil/"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(http_url_parse(&v, others[i], &err), STATUS_OK);
        assert_false(http_url_same_origin(&u, &v));
    }
    static const char *const wrong[] = {"",
                                        "registry.example",
                                        "/a",
                                        "ftp://a/",
                                        "file:///etc/passwd",
                                        "https://a b/",
                                        "https://a/\r\nX: y",
                                        "https://me@a/",
                                        "https://me:pw@a/",
                                        "https://a:99999/"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_not_equal(http_url_parse(&v, wrong[i], &err), STATUS_OK);
    assert_int_equal(http_url_parse(&u, "https://a/token?x=1", &err), STATUS_OK);
    assert_true(http_url_add(&u, "scope", "a b&c/\xc3\xa4"));
    assert_string_equal(u.text, "https://a/token?x=1&scope=a%20b%26c%2F%C3%A4");
}

static void test_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool is;
    } cases[] = {
        {"http://127.0.0.1/", true},
        {"http://localhost:80/", true},
        {"http://LOCALHOST/", true},
        {"http://[::1]:5/", true},
        {"http://127.9.9.9/", true},
        {"http://127.0.0.1.evil.example/", false},
        {"http://localhost.evil/", false},
        {"http://10.0.0.1/", false},
        {"http://[::2]/", false},
        {"http://0x7f.1/", true}, // as libcurl reads it
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_url u;
        assert_int_equal(http_url_parse(&u, cases[i].url, &err), STATUS_OK);
        assert_int_equal(http_url_is_loopback(&u), cases[i].is);
    }
}

/* Source: RFC 6890, the registries of special-purpose addresses. */
static void test_private_hosts(void **state)
{
    (void)state;
    static const char *const private_hosts[] = {
        "127.0.0.1",
        "127.255.255.255",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "0.0.0.0",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "localhost",
        "a.localhost",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd12::1]",
        "[ff02::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::]",
        "[2001:db8::1]",
        "[2001::1]",
    };
    static const char *const public_hosts[] = {
        "8.8.8.8",     "9.255.255.255",    "11.0.0.0",           "172.15.255.255",
        "172.32.0.0",  "192.167.255.255",  "192.169.0.0",        "100.63.255.255",
        "100.128.0.0", "198.17.255.255",   "198.20.0.0",         "223.255.255.255",
        "169.253.0.1", "registry.example", "localhost.example",  "[2606:4700::1111]",
        "[2a00::1]",   "[::ffff:8.8.8.8]", "[64:ff9b::808:808]", "[2001:4860::1]",
    };
    for (size_t i = 0; i < sizeof private_hosts / sizeof *private_hosts; i++)
        if (!http_host_is_private(private_hosts[i]))
            fail_msg("%s", private_hosts[i]);
    for (size_t i = 0; i < sizeof public_hosts / sizeof *public_hosts; i++)
        if (http_host_is_private(public_hosts[i]))
            fail_msg("%s", public_hosts[i]);
}

static void test_redirects(void **state)
{
    (void)state;
    static const struct {
        const char *from, *location, *to; // NULL: refused
        bool insecure;
    } cases[] = {
        {"https://a/x/y", "../z", "https://a/z", false},
        {"https://a/x", "//b/z", "https://b/z", false},
        {"https://a/x", "https://b:1/z?q", "https://b:1/z?q", false},
        {"https://a/x", "http://a/z", NULL, false},
        {"https://a/x", "http://a/z", NULL, true},
        {"https://a/x", "http://127.0.0.1/z", NULL, false},
        {"https://a/x", "https://localhost/z", NULL, false},
        {"https://127.0.0.1/x", "http://127.0.0.1:8/z", "http://127.0.0.1:8/z", false},
        {"http://127.0.0.1/x", "http://a/z", NULL, false},
        {"http://127.0.0.1/x", "http://a/z", "http://a/z", true},
        {"http://127.0.0.1/x", "https://a/z", "https://a/z", false},
        {"https://a/x", "file:///etc/passwd", NULL, true},
        {"https://a/x", "https://me:pw@a/", NULL, true},
        {"https://a/x", "ftp://a/", NULL, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_url from, to;
        assert_int_equal(http_url_parse(&from, cases[i].from, &err), STATUS_OK);
        const enum status s =
            http_url_redirect(&to, &from, cases[i].location, cases[i].insecure, &err);
        assert_int_equal(!s, cases[i].to != NULL);
        if (cases[i].to)
            assert_string_equal(to.text, cases[i].to);
    }
}

static int choose(char *names, size_t cap, const char *json, const char *tag)
{
    struct pull_file *files = NULL;
    int n = 0;
    json_t *v = json_loads(json, 0, NULL);
    assert_non_null(v);
    const enum status s = pull_hub_choose(&files, &n, v, tag, &err);
    names[0] = 0;
    for (int i = 0; i < n; i++)
        snprintf(names + strlen(names), cap - strlen(names), "%s%s", i ? " " : "",
                 files[i].name);
    mem_free(files);
    json_decref(v);
    return (int)s;
}

static void test_choices(void **state)
{
    (void)state;
    char names[400];
    static const char list[] =
        "{\"siblings\":[{\"rfilename\":\"a-Q4_K_M.gguf\"},{\"rfilename\":\"a-UD-Q4_K_XL."
        "gguf\"}"
        ",{\"rfilename\":\"a-Q4_K_S.gguf\"},{\"rfilename\":\"mmproj-a-F16.gguf\"},"
        "{\"rfilename\":\"Q2_K/"
        "a-Q2_K-00002-of-00002.gguf\"},{\"rfilename\":\"a.imatrix\"},"
        "{\"rfilename\":\"Q2_K/"
        "a-Q2_K-00001-of-00002.gguf\"},{\"rfilename\":\"a.f16.GGUF\"}]}";
    static const struct {
        const char *tag, *names; // NULL: refused
    } cases[] = {
        {"Q4_K_M", "a-Q4_K_M.gguf"},
        {"q4_k_m", "a-Q4_K_M.gguf"},
        {"latest", "a-Q4_K_M.gguf"},
        {"UD-Q4_K_XL", "a-UD-Q4_K_XL.gguf"},
        {"F16", "a.f16.GGUF"},
        {"Q2_K", "Q2_K/a-Q2_K-00001-of-00002.gguf Q2_K/a-Q2_K-00002-of-00002.gguf"},
        {"a-Q4_K_S.gguf", "a-Q4_K_S.gguf"},
        {"Q4_K", NULL},
        {"4_K_M", NULL},
        {"a", NULL}, // several
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(!choose(names, sizeof names, list, cases[i].tag),
                         cases[i].names != NULL);
        assert_string_equal(names, cases[i].names ? cases[i].names : "");
    }
}

static void test_hostile_lists(void **state)
{
    (void)state;
    char names[400];
    static const char *const lists[] = {
        "{}",
        "[]",
        "{\"siblings\":{}}",
        "{\"siblings\":[]}",
        "{\"siblings\":[1,null,{\"rfilename\":5},{\"rfilename\":\"\"}]}",
        "{\"siblings\":[{\"rfilename\":\"../a-Q8_0.gguf\"}]}",
        "{\"siblings\":[{\"rfilename\":\"/a-Q8_0.gguf\"}]}",
        "{\"siblings\":[{\"rfilename\":\"a\\n-Q8_0.gguf\"}]}",
        "{\"siblings\":[{\"rfilename\":\"a-Q8_0-00001-of-99999.gguf\"}]}",
        "{\"siblings\":[{\"rfilename\":\"a-Q8_0-00000-of-00000.gguf\"}]}",
        "{\"siblings\":[{\"rfilename\":\"a-Q8_0-00003-of-00002.gguf\"}]}",
        "{\"siblings\":[{\"rfilename\":\".gguf\"}]}",
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        assert_int_not_equal(choose(names, sizeof names, lists[i], "latest"), STATUS_OK);
}

static void test_sources(void **state)
{
    (void)state;
    static const struct {
        const char *name, *registry, *hub, *base, *model;
    } cases[] = {
        {"qwen3:0.6b", NULL, NULL, "https://registry.ollama.ai", "qwen3"},
        {"qwen3:0.6b", "https://mine:5/", NULL, "https://mine:5", "qwen3"},
        {"registry.ollama.ai/library/smollm2:135m", NULL, NULL,
         "https://registry.ollama.ai", "smollm2"},
        {"HF.co/u/r:Q8_0", "https://mine:5/", NULL, "https://huggingface.co", "r"},
        {"huggingface.co/u/r", NULL, "http://127.0.0.1:1/", "http://127.0.0.1:1", "r"},
        {"reg.example:5000/s/m:t", "https://mine/", NULL, "https://reg.example:5000",
         "m"},
        {"http://reg.example/s/m", NULL, NULL, "http://reg.example", "m"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pull_source s;
        const struct pull_options o = {.registry = cases[i].registry,
                                       .hub = cases[i].hub};
        assert_int_equal(pull_source_find(&s, cases[i].name, &o, &err), STATUS_OK);
        assert_null(s.package);
        assert_true(!strncmp(s.base, cases[i].base, strlen(cases[i].base)));
        assert_true(strlen(s.base) <= strlen(cases[i].base) + 1);
        assert_string_equal(s.from.model, cases[i].model);
    }
    struct pull_source s;
    const struct pull_options o = {0};
    assert_int_equal(pull_source_find(&s, "SmolLM2:135M", &o, &err), STATUS_OK);
    assert_non_null(s.package);
    assert_int_equal(pull_source_find(&s, "smollm2", &o, &err), STATUS_OK);
    assert_null(s.package);
    assert_int_equal(pull_source_find(&s, "me/smollm2:135m", &o, &err), STATUS_OK);
    assert_null(s.package);
}

/* The table itself: every source is a name with a host, every digest is one. */
static void test_short_names(void **state)
{
    (void)state;
    struct model_name n;
    struct digest d;
#define SHORT(name, source)                                                          \
    assert_int_equal(model_name_parse(&n, name, strlen(name), &err), STATUS_OK);     \
    assert_int_equal(model_name_parse(&n, source, strlen(source), &err), STATUS_OK); \
    assert_string_not_equal(n.host, MODEL_NAME_HOST);
#define PACKAGE(name, title, requirement, wheel, member, model, file)            \
    assert_int_equal(model_name_parse(&n, name, strlen(name), &err), STATUS_OK); \
    assert_true(digest_parse(&d, "sha256:" wheel, strlen("sha256:" wheel)));     \
    assert_true(digest_parse(&d, "sha256:" model, strlen("sha256:" model)));
#include "store/short_names.def"
#undef SHORT
#undef PACKAGE
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_challenges),    cmocka_unit_test(test_no_challenge),
        cmocka_unit_test(test_ranges),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_urls),          cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_private_hosts), cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_choices),       cmocka_unit_test(test_hostile_lists),
        cmocka_unit_test(test_sources),       cmocka_unit_test(test_short_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
