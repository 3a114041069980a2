/* test_store.c - digests, names, manifests, and a store on disk. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "base/mem.h"
#include "store/blob_writer.h"
#include "store/stored_model.h" // before cmocka.h, which makes fail() a macro

#include <cmocka.h>

/* ---- digests ---- */

/* FIPS 180-2, appendix B.1: SHA-256 of "abc". */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/* Of no bytes. */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_digests(void **state)
{
    (void)state;
    struct digest d, e;
    char text[DIGEST_TEXT_BYTES];
    assert_int_equal(digest_of(&d, "abc", 3, NULL), STATUS_OK);
    digest_print(text, &d);
    assert_string_equal(text, "sha256:" ABC);
    digest_file_name(text, &d);
    assert_string_equal(text, "sha256-" ABC);
    assert_true(digest_parse(&e, "sha256:" ABC, 71));
    assert_true(digest_equal(&d, &e));
    assert_true(digest_parse(&e, "sha256-" EMPTY, 71));
    assert_false(digest_equal(&d, &e));
    static const char *const wrong[] = {
        "",
        ABC,
        "sha256:",
        "sha256:" ABC "0",
        "sha512:" ABC,
        "sha256/" ABC,
        "SHA256:" ABC,
        "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:../../../../../../../../../../../../../../../../../../etc/passwd.",
        "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        " sha256:" ABC,
        "sha256:" ABC "\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(digest_parse(&e, wrong[i], strlen(wrong[i])));
    assert_false(digest_parse(&e, "sha256:" ABC, 70));
}

/* ---- names ---- */

static void assert_name(const char *text, const char *whole, const char *shortest)
{
    struct model_name n, again;
    struct error err = {0};
    char out[MODEL_NAME_BYTES];
    if (model_name_parse(&n, text, strlen(text), &err))
        fail_msg("%s: %s", text, err.text);
    model_name_print_whole(out, &n);
    assert_string_equal(out, whole);
    model_name_print(out, &n);
    assert_string_equal(out, shortest);
    assert_int_equal(model_name_parse(&again, out, strlen(out), &err), STATUS_OK);
    assert_true(model_name_equal(&n, &again));
}

static void test_names(void **state)
{
    (void)state;
    assert_name("qwen3", "registry.ollama.ai/library/qwen3:latest", "qwen3:latest");
    assert_name("qwen3:0.6b", "registry.ollama.ai/library/qwen3:0.6b", "qwen3:0.6b");
    assert_name("user/m", "registry.ollama.ai/user/m:latest", "user/m:latest");
    assert_name("library/m:a", "registry.ollama.ai/library/m:a", "m:a");
    assert_name("hf.co/user/Repo-GGUF:Q4_K_M", "hf.co/user/Repo-GGUF:Q4_K_M",
                "hf.co/user/Repo-GGUF:Q4_K_M");
    assert_name("localhost:5000/a/b", "localhost:5000/a/b:latest",
                "localhost:5000/a/b:latest");
    assert_name("https://h.example/a/b:c", "h.example/a/b:c", "h.example/a/b:c");
    assert_name("_a/_b:_c", "registry.ollama.ai/_a/_b:_c", "_a/_b:_c");
    assert_name("m.1-x_y:t.1-x_y", "registry.ollama.ai/library/m.1-x_y:t.1-x_y",
                "m.1-x_y:t.1-x_y");
    struct model_name a, b;
    assert_int_equal(model_name_parse(&a, "http://h/a/b", 12, NULL), STATUS_OK);
    assert_true(a.plain_http);
    assert_int_equal(model_name_parse(&b, "H/A/b:Latest", 12, NULL), STATUS_OK);
    assert_true(model_name_equal(&a, &b));
}

static void test_wrong_names(void **state)
{
    (void)state;
    char long_part[82], long_host[352], text[500];
    memset(long_part, 'a', 81);
    long_part[81] = 0;
    memset(long_host, 'a', 351);
    long_host[351] = 0;
    static const char *const wrong[] = {
        "",           ":",         "a:",           ":a",          "/a",        "a/",
        "..",         "../x",      "a/../b",       "a/b/../c",    "a//b",      "a:..",
        "a:../../b",  ".a",        "a:.b",         "-a",          "a b",       "a\nb",
        "a/b/c/d/e",  "http://a",  "https://a/b",  "/etc/passwd", "a\\b",      "~a",
        "a.b/c",      "a:b:c",     "a\xc3\xa4",    "a%2fb",       "a/b:c/d:e", "@a",
        "a@sha256:b", "h:1/a.b/c", "h/a/b:c/../d",
    };
    struct model_name n;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (model_name_parse(&n, wrong[i], strlen(wrong[i]), NULL) != STATUS_BAD_INPUT)
            fail_msg("'%s' is taken for a name", wrong[i]);
    assert_int_equal(model_name_parse(&n, "a\0b", 3, NULL), STATUS_BAD_INPUT);
    assert_int_equal(model_name_parse(&n, long_part, 81, NULL), STATUS_BAD_INPUT);
    assert_int_equal(model_name_parse(&n, long_part, 80, NULL), STATUS_OK);
    snprintf(text, sizeof text, "%s/a/b", long_host);
    assert_int_equal(model_name_parse(&n, text, strlen(text), NULL), STATUS_BAD_INPUT);
    assert_int_equal(model_name_parse(&n, text + 1, strlen(text) - 1, NULL), STATUS_OK);
    assert_false(model_name_from_parts(&n, "h", "..", "m", "t"));
    assert_false(model_name_from_parts(&n, "h", "s", "", "t"));
    assert_true(model_name_from_parts(&n, "h", "s", "m", "t"));
}

/* ---- manifests ---- */

#define CONFIG_MEDIA "application/vnd.docker.container.image.v1+json"
#define MODEL_MEDIA "application/vnd.ollama.image.model"
#define LAYER(media, digest, size) \
    "{\"mediaType\":\"" media "\",\"digest\":\"sha256:" digest "\",\"size\":" size "}"
#define MANIFEST(config, layers)                                                        \
    "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_MEDIA_TYPE "\",\"config\":" config \
    ",\"layers\":[" layers "]}\n"

static void test_manifest(void **state)
{
    (void)state;
    static const char text[] =
        MANIFEST(LAYER(CONFIG_MEDIA, EMPTY, "0"),
                 LAYER(MODEL_MEDIA, ABC, "3") "," LAYER("x/own", ABC, "3"));
    struct manifest m;
    struct digest d;
    struct error err;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(manifest_parse(&m, text, sizeof text - 1, &err), STATUS_OK);
    assert_int_equal(m.n_layer, 2);
    assert_true(m.has_config);
    assert_int_equal(m.config.kind, LAYER_CONFIG);
    assert_int_equal(m.layers[1].kind, LAYER_OTHER);
    assert_string_equal(m.layers[1].media_type, "x/own");
    assert_ptr_equal(manifest_find(&m, LAYER_MODEL), &m.layers[0]);
    assert_null(manifest_find(&m, LAYER_SYSTEM));
    assert_int_equal(manifest_bytes(&m), 6);
    digest_of(&d, text, sizeof text - 1, NULL);
    assert_true(digest_equal(&m.digest, &d));
    assert_int_equal(manifest_print(&b, &m, &err), STATUS_OK);
    assert_string_equal(b.data, text);
    manifest_drop(&m, LAYER_MODEL);
    assert_int_equal(m.n_layer, 1);
    manifest_release(&m);
    buf_release(&b);
}

static void test_damaged_manifests(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"", "manifest: line"},
        {"{", "manifest: line"},
        {"[]", "no JSON object"},
        {"{}", "schemaVersion is not 2"},
        {"{\"schemaVersion\":1,\"layers\":[]}", "schemaVersion is not 2"},
        {"{\"schemaVersion\":2}", "layers is no array"},
        {"{\"schemaVersion\":2,\"layers\":[1]}", "layers[0] is no object"},
        {"{\"schemaVersion\":2,\"layers\":[{}]}", "layers[0].mediaType"},
        {MANIFEST("{}", ""), "config.mediaType"},
        {MANIFEST("null", LAYER("x", "../../etc", "3")), "layers[0].digest"},
        {MANIFEST("null", LAYER("x", ABC, "-1")), "layers[0].size"},
        {MANIFEST("null", LAYER("x", ABC, "1.5")), "layers[0].size"},
        {MANIFEST("null", LAYER("x", ABC, "9007199254740993")), "layers[0].size"},
        {MANIFEST("null", LAYER("x", ABC, "\"3\"")), "layers[0].size"},
        {MANIFEST("null", LAYER("x", ABC, "3") "," LAYER("x", "A", "3")),
         "layers[1].digest"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct manifest m;
        struct error err = {0};
        assert_int_equal(manifest_parse(&m, wrong[i][0], strlen(wrong[i][0]), &err),
                         STATUS_BAD_FILE);
        if (!strstr(err.text, wrong[i][1]))
            fail_msg("'%s' does not say '%s'", err.text, wrong[i][1]);
        manifest_release(&m);
    }
}

/* ---- a store on disk ---- */

struct disk {
    char folder[256], other[256];
    struct store *store;
};

static int open_disk(void **state)
{
    struct disk *d = mem_array(1, sizeof *d);
    const char *temp = getenv("TMPDIR");
    char path[128];
    snprintf(path, sizeof path, "%s/turbine-store-XXXXXX", temp && *temp ? temp : "/tmp");
    if (!mkdtemp(path))
        return -1;
    snprintf(d->folder, sizeof d->folder, "%s/own/models", path);
    snprintf(d->other, sizeof d->other, "%s/other", path);
    const char *others[] = {d->other, "/nowhere"};
    mkdir(d->other, 0700);
    const struct store_folders f = {d->folder, others, 2};
    *state = d;
    return store_open(&d->store, &f, NULL) ? -1 : 0;
}

static int close_disk(void **state)
{
    struct disk *d = *state;
    char command[600];
    store_close(d->store);
    *strstr(d->folder, "/own/models") = 0;
    snprintf(command, sizeof command, "rm -rf '%s'", d->folder);
    mem_free(d);
    return system(command);
}

static struct model_name name_of(const char *text)
{
    struct model_name n;
    assert_int_equal(model_name_parse(&n, text, strlen(text), NULL), STATUS_OK);
    return n;
}

/* A model of two layers, one of them `shared`. */
static void add_model(struct store *s, const char *name, const char *own,
                      const char *shared)
{
    struct addition *a;
    struct manifest m = {0};
    struct digest d;
    struct error err = {0};
    struct buf json;
    const struct model_name n = name_of(name);
    buf_init(&json, 4096);
    assert_int_equal(addition_open(&a, s, &err), STATUS_OK);
    assert_int_equal(addition_bytes(a, own, strlen(own), &d, &err), STATUS_OK);
    assert_int_equal(manifest_add(&m, LAYER_MODEL, &d, strlen(own), &err), STATUS_OK);
    assert_int_equal(addition_bytes(a, shared, strlen(shared), &d, &err), STATUS_OK);
    assert_int_equal(manifest_add(&m, LAYER_LICENSE, &d, strlen(shared), &err),
                     STATUS_OK);
    assert_int_equal(manifest_print(&json, &m, &err), STATUS_OK);
    if (addition_put(a, &n, json.data, json.len, &err))
        fail_msg("%s", err.text);
    addition_close(a);
    manifest_release(&m);
    buf_release(&json);
}

static bool has_blob(const struct disk *d, const char *bytes)
{
    struct digest is;
    char path[STORE_PATH_BYTES];
    digest_of(&is, bytes, strlen(bytes), NULL);
    return !store_blob_path(d->store, &is, strlen(bytes), path, NULL);
}

static int n_problem(const struct disk *d);

static void test_add_and_remove(void **state)
{
    struct disk *d = *state;
    struct store_entry *list;
    struct manifest m;
    struct error err;
    int n;
    assert_int_equal(store_list(d->store, &list, &n, &err), STATUS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(access(d->folder, F_OK), -1); // nothing is made by looking
    struct model_name a = name_of("a"), b = name_of("b"), c = name_of("u/c:x");
    assert_int_equal(store_delete(d->store, &a, NULL, &err), STATUS_NOT_FOUND);
    assert_int_equal(access(d->folder, F_OK), -1);
    add_model(d->store, "a", "weights of a", "license");
    add_model(d->store, "b", "weights of b", "license");
    assert_int_equal(store_copy(d->store, &a, &c, &err), STATUS_OK);
    assert_int_equal(store_list(d->store, &list, &n, &err), STATUS_OK);
    assert_int_equal(n, 3);
    mem_free(list);
    uint64_t freed = 99;
    assert_int_equal(store_delete(d->store, &a, &freed, &err), STATUS_OK);
    assert_int_equal(freed, 0); // c has them
    assert_true(has_blob(d, "weights of a"));
    assert_int_equal(store_delete(d->store, &c, &freed, &err), STATUS_OK);
    assert_int_equal(freed, strlen("weights of a"));
    assert_false(has_blob(d, "weights of a"));
    assert_true(has_blob(d, "license"));
    const struct model_name upper = name_of("B:LATEST");
    struct store_entry e;
    assert_int_equal(store_find(d->store, &upper, &m, &e, &err), STATUS_OK);
    assert_string_equal(e.name.model, "b");
    manifest_release(&m);
    assert_int_equal(n_problem(d), 0);
    assert_int_equal(store_delete(d->store, &upper, &freed, &err), STATUS_OK);
    assert_false(has_blob(d, "license"));
    assert_int_equal(store_find(d->store, &b, &m, NULL, &err), STATUS_NOT_FOUND);
    assert_string_equal(err.text, "model 'b:latest' not found");
    manifest_release(&m);
}

static void count_problem(void *ctx, const struct store_problem *p)
{
    (void)p;
    ++*(int *)ctx;
}

static int n_problem(const struct disk *d)
{
    int n = 0;
    struct store_verified v;
    const struct store_watch w = {count_problem, NULL, &n};
    assert_int_equal(store_verify(d->store, NULL, &w, &v, NULL), STATUS_OK);
    assert_int_equal(v.n_problem, n);
    return n;
}

/* A model of the same name takes the blobs of the old one with it, if nobody needs them.
 */
static void test_replace(void **state)
{
    struct disk *d = *state;
    add_model(d->store, "a", "first", "license");
    add_model(d->store, "A:latest", "second", "license");
    struct store_entry *list;
    int n;
    assert_int_equal(store_list(d->store, &list, &n, NULL), STATUS_OK);
    assert_int_equal(n, 1); // the spelling stays
    assert_string_equal(list[0].name.model, "a");
    mem_free(list);
    assert_false(has_blob(d, "first"));
    assert_true(has_blob(d, "second") && has_blob(d, "license"));
}

static void test_put_checks(void **state)
{
    struct disk *d = *state;
    static const char text[] = MANIFEST("null", LAYER(MODEL_MEDIA, ABC, "3"));
    struct addition *a;
    struct digest digest;
    struct error err = {0};
    const struct model_name n = name_of("x");
    assert_int_equal(addition_open(&a, d->store, &err), STATUS_OK);
    assert_int_equal(addition_put(a, &n, text, sizeof text - 1, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "sha256:" ABC " of 3 bytes is not in the store"));
    assert_int_equal(addition_put(a, &n, "{}", 2, &err), STATUS_BAD_FILE);
    assert_int_equal(addition_bytes(a, "abc", 3, &digest, &err), STATUS_OK);
    assert_int_equal(addition_put(a, &n, text, sizeof text - 1, &err), STATUS_OK);
    addition_close(a);
}

/* Blobs that an addition put there or counts on stay while it lives, and go after it. */
static void test_claims(void **state)
{
    struct disk *d = *state;
    struct addition *a;
    struct digest digest;
    struct store_pruned p;
    struct error err = {0};
    bool present;
    const struct model_name n = name_of("m");
    add_model(d->store, "m", "weights", "license");
    assert_int_equal(addition_open(&a, d->store, &err), STATUS_OK);
    digest_of(&digest, "weights", 7, NULL);
    assert_int_equal(addition_claim(a, &digest, 7, &present, &err), STATUS_OK);
    assert_true(present);
    assert_int_equal(addition_bytes(a, "more", 4, &digest, &err), STATUS_OK);
    assert_int_equal(store_delete(d->store, &n, NULL, &err), STATUS_OK);
    assert_true(has_blob(d, "weights"));
    assert_false(has_blob(d, "license"));
    assert_int_equal(store_prune(d->store, 0, &p, &err), STATUS_OK);
    assert_int_equal(p.n_blob + p.n_file, 0);
    assert_true(has_blob(d, "more"));
    addition_close(a);
    assert_int_equal(store_prune(d->store, 3600, &p, &err), STATUS_OK);
    assert_int_equal(p.n_blob, 0); // too young
    assert_int_equal(store_prune(d->store, 0, &p, &err), STATUS_OK);
    assert_int_equal(p.n_blob, 2);
    assert_false(has_blob(d, "weights") || has_blob(d, "more"));
}

static void make_file(const char *folder, const char *name, const char *bytes,
                      int age_days)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(bytes, f);
    fclose(f);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    const struct utimbuf t = {st.st_atime, st.st_mtime - age_days * 86400};
    assert_int_equal(utime(path, &t), 0);
}

/* Leftovers go; what somebody has locked, and young parts of downloads, stay. */
static void test_prune_leftovers(void **state)
{
    struct disk *d = *state;
    struct store_pruned p;
    char incoming[300], path[400];
    add_model(d->store, "m", "weights", "license");
    snprintf(incoming, sizeof incoming, "%s/.turbine", d->folder);
    make_file(incoming, "tmp-dead", "1", 0);
    make_file(incoming, "tmp-alive", "1", 0);
    make_file(incoming, "claim-dead", "", 0);
    make_file(incoming, "old.part", "22", 8);
    make_file(incoming, "old.part.map", "3", 8);
    make_file(incoming, "held.part", "22", 8);
    make_file(incoming, "held.part.map", "3", 8);
    make_file(incoming, "young.part", "22", 6);
    make_file(incoming, "young.part.map", "3", 8);
    make_file(incoming, "alone.part.map", "3", 0);
    snprintf(path, sizeof path, "%s/tmp-alive", incoming);
    const int alive = open(path, O_RDONLY);
    snprintf(path, sizeof path, "%s/held.part", incoming);
    const int held = open(path, O_RDONLY);
    assert_int_equal(flock(alive, LOCK_EX) | flock(held, LOCK_EX), 0);
    assert_int_equal(store_prune(d->store, 0, &p, NULL), STATUS_OK);
    static const char *const left[] = {"tmp-alive", "held.part", "held.part.map",
                                       "young.part", "young.part.map"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "%s/%s", incoming, left[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    assert_int_equal(p.n_file, 5);
    assert_int_equal(p.n_blob, 0);
    close(alive);
    close(held);
}

static void test_writer(void **state)
{
    struct disk *d = *state;
    struct addition *a;
    struct blob_writer w;
    struct digest digest, other;
    struct store_pruned p;
    struct error err = {0};
    digest_of(&other, "xyz", 3, NULL);
    assert_int_equal(addition_open(&a, d->store, &err), STATUS_OK);
    /* fewer bytes than were said, more, another digest: nothing is kept */
    assert_int_equal(blob_writer_open(&w, a, 4, &err), STATUS_OK);
    assert_int_equal(blob_writer_write(&w, "abc", 3, &err), STATUS_OK);
    assert_int_equal(blob_writer_commit(&w, NULL, NULL, &err), STATUS_BAD_INPUT);
    assert_int_equal(blob_writer_open(&w, a, 2, &err), STATUS_OK);
    assert_int_equal(blob_writer_write(&w, "abc", 3, &err), STATUS_BAD_INPUT);
    blob_writer_close(&w);
    assert_int_equal(blob_writer_open(&w, a, FILE_SIZE_UNKNOWN, &err), STATUS_OK);
    assert_int_equal(blob_writer_write(&w, "abc", 3, &err), STATUS_OK);
    assert_int_equal(blob_writer_commit(&w, &other, NULL, &err), STATUS_BAD_INPUT);
    assert_non_null(strstr(err.text, ABC));
    assert_false(has_blob(d, "abc"));
    assert_int_equal(blob_writer_open(&w, a, (uint64_t)1 << 60, &err), STATUS_IO);
    blob_writer_close(&w);
    assert_int_equal(blob_writer_open(&w, a, 3, &err), STATUS_OK);
    assert_int_equal(blob_writer_write(&w, "abc", 3, &err), STATUS_OK);
    assert_int_equal(blob_writer_commit(&w, NULL, &digest, &err), STATUS_OK);
    blob_writer_close(&w);
    assert_true(has_blob(d, "abc"));
    /* a part that is complete */
    make_file(d->folder, ".turbine/p.part", "xyz", 0);
    assert_int_equal(addition_adopt(a, "p.part", &digest, &err), STATUS_BAD_INPUT);
    assert_int_equal(addition_adopt(a, "p.part", &other, &err), STATUS_OK);
    assert_true(has_blob(d, "xyz"));
    addition_close(a);
    assert_int_equal(store_prune(d->store, 0, &p, &err), STATUS_OK);
    assert_int_equal(p.n_file, 0);
    assert_int_equal(p.n_blob, 2);
}

/* A store by hand, as Ollama writes it, that is only read. */
static void test_other_folder(void **state)
{
    struct disk *d = *state;
    char path[STORE_PATH_BYTES], folder[700];
    struct manifest m;
    struct store_entry e;
    struct error err = {0};
    snprintf(folder, sizeof folder,
             "mkdir -p %s/blobs "
             "%s/manifests/registry.ollama.ai/library/m",
             d->other, d->other);
    assert_int_equal(system(folder), 0);
    make_file(d->other, "blobs/sha256-" ABC, "abc", 0);
    make_file(d->other, "manifests/registry.ollama.ai/library/m/1b",
              MANIFEST("null", LAYER(MODEL_MEDIA, ABC, "3")), 0);
    make_file(d->other, "manifests/registry.ollama.ai/library/m/-bad", "{}", 0);
    const struct model_name n = name_of("m:1b"), own = name_of("mine");
    assert_int_equal(store_find(d->store, &n, &m, &e, &err), STATUS_OK);
    manifest_release(&m);
    assert_int_equal(e.folder, 1);
    struct digest abc;
    digest_of(&abc, "abc", 3, NULL);
    assert_int_equal(store_blob_path(d->store, &abc, 3, path, &err), STATUS_OK);
    assert_memory_equal(path, d->other, strlen(d->other));
    assert_int_equal(store_blob_path(d->store, &abc, 4, path, &err), STATUS_BAD_FILE);
    assert_int_equal(store_delete(d->store, &n, NULL, &err), STATUS_BAD_ARG);
    assert_non_null(strstr(err.text, "only read"));
    assert_int_equal(store_copy(d->store, &n, &own, &err), STATUS_OK);
    assert_int_equal(store_find(d->store, &own, &m, &e, &err), STATUS_OK);
    manifest_release(&m);
    assert_int_equal(e.folder, 0);
    assert_int_equal(store_blob_path(d->store, &abc, 3, path, &err), STATUS_OK);
    assert_memory_equal(path, d->folder, strlen(d->folder));
    assert_int_equal(n_problem(d), 0);
    make_file(d->other, "blobs/sha256-" EMPTY, "x", 0);
    assert_int_equal(n_problem(d), 1);
}

/* Links to manifests that are blobs, as newer versions of Ollama write them. */
static void test_links(void **state)
{
    struct disk *d = *state;
    static const char text[] = MANIFEST("null", LAYER(MODEL_MEDIA, ABC, "3"));
    char hex[DIGEST_HEX_BYTES], name[200], target[300], path[700];
    struct digest digest;
    struct manifest m;
    struct error err = {0};
    add_model(d->store, "old", "weights", "license");
    digest_of(&digest, text, sizeof text - 1, NULL);
    digest_hex(hex, &digest);
    snprintf(name, sizeof name, "blobs/sha256-%s", hex);
    make_file(d->folder, name, text, 0);
    make_file(d->folder, "blobs/sha256-" ABC, "abc", 0);
    snprintf(path, sizeof path, "mkdir -p %s/manifests-v2/ollama.com/library/m",
             d->folder);
    assert_int_equal(system(path), 0);
    snprintf(target, sizeof target, "../../../../%s", name);
    snprintf(path, sizeof path, "%s/manifests-v2/ollama.com/library/m/1b", d->folder);
    assert_int_equal(symlink(target, path), 0);
    const struct model_name n = name_of("m:1b"), old = name_of("old");
    assert_int_equal(store_find(d->store, &n, &m, NULL, &err), STATUS_OK);
    assert_true(digest_equal(&m.digest, &digest));
    manifest_release(&m);
    assert_int_equal(store_delete(d->store, &old, NULL, &err), STATUS_OK);
    struct store_pruned p;
    assert_int_equal(store_prune(d->store, 0, &p, &err), STATUS_OK);
    assert_int_equal(p.n_blob, 0); // neither the weights nor the manifest itself
    assert_int_equal(n_problem(d), 0);
    add_model(d->store, "m:1b", "new", "license"); // takes the place of the link
    assert_int_equal(access(path, F_OK), -1);
    assert_false(has_blob(d, "abc"));
    assert_int_equal(n_problem(d), 0);
}

/* A manifest that cannot be read may name any blob: all stay. */
static void test_damaged(void **state)
{
    struct disk *d = *state;
    struct store_entry *list;
    struct store_pruned p;
    struct manifest m;
    struct error err = {0};
    int n;
    add_model(d->store, "a", "weights of a", "license");
    add_model(d->store, "b", "weights of b", "license");
    make_file(d->folder, "manifests/registry.ollama.ai/library/b/latest", "{", 0);
    const struct model_name a = name_of("a"), b = name_of("b");
    assert_int_equal(store_find(d->store, &b, &m, NULL, &err), STATUS_BAD_FILE);
    manifest_release(&m);
    assert_int_equal(store_list(d->store, &list, &n, &err), STATUS_OK);
    assert_int_equal(n, 2);
    assert_int_equal(list[0].damaged + list[1].damaged, 1);
    mem_free(list);
    assert_int_equal(store_delete(d->store, &a, NULL, &err), STATUS_OK);
    assert_true(has_blob(d, "weights of a") && has_blob(d, "weights of b"));
    assert_int_equal(store_prune(d->store, 0, &p, &err), STATUS_OK);
    assert_int_equal(p.n_blob, 0);
    assert_int_equal(p.n_damaged, 1);
    assert_int_equal(n_problem(d), 1);
    assert_int_equal(store_delete(d->store, &b, NULL, &err), STATUS_OK);
    assert_int_equal(store_prune(d->store, 0, &p, &err), STATUS_OK);
    assert_int_equal(p.n_blob, 3);
}

static void test_template_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum stored_template kind;
    } t[] = {
        {"", STORED_TEMPLATE_NONE},
        {"{{ .Prompt }}", STORED_TEMPLATE_GO},
        {"{{- if .System }}x{{ end }}", STORED_TEMPLATE_GO},
        {"{{- range $i, $m := .Messages }}", STORED_TEMPLATE_GO},
        {"[INST] {{ $x }}", STORED_TEMPLATE_GO},
        {"plain text", STORED_TEMPLATE_GO},
        {"{% for m in messages %}{{ m.content }}{% endfor %}", STORED_TEMPLATE_JINJA},
        {"{{ messages[0]['content'] }}", STORED_TEMPLATE_JINJA},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        assert_int_equal(stored_template_kind(t[i].text, strlen(t[i].text)), t[i].kind);
}

#define ON_DISK(f) cmocka_unit_test_setup_teardown(f, open_disk, close_disk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_wrong_names),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_damaged_manifests),
        cmocka_unit_test(test_template_kinds),
        ON_DISK(test_add_and_remove),
        ON_DISK(test_replace),
        ON_DISK(test_put_checks),
        ON_DISK(test_claims),
        ON_DISK(test_prune_leftovers),
        ON_DISK(test_writer),
        ON_DISK(test_other_folder),
        ON_DISK(test_links),
        ON_DISK(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
