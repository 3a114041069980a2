/* test_calibration.c - measuring means, and the file that keeps them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gguf/gguf.h"
#include "model/calibration.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { N = 200 };

static struct pool *pool;
static struct model *model;
static int32_t tokens[N];
static char folder[] = "/tmp/turbine-calibration.XXXXXX";

static enum status open_model(struct model **m, struct pool **p, const char *path,
                              int n_thread, struct error *err)
{
    struct gguf *g;
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    if (!(s = pool_open(p, n_thread, err)))
        s = model_open(m, g, *p, CPU_ISA_COUNT - 1, err);
    gguf_close(g);
    return s;
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    if (open_model(&model, &pool, "tests/golden/llama.gguf", 2, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (int i = 0; i < N; i++)
        tokens[i] =
            (int32_t)(rng_at(3, (uint64_t)i) % (uint64_t)model_hparams(model)->n_vocab);
    return mkdtemp(folder) ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    model_close(model);
    pool_close(pool);
    return rmdir(folder); // fails if a temporary file was left behind
}

static struct calibration *make(const int32_t *t, int n)
{
    struct calibration *cal = NULL;
    struct error err;
    assert_int_equal(calibration_make(&cal, model, t, n, &err), STATUS_OK);
    return cal;
}

static struct buf file_of(const struct calibration *cal)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    calibration_write(&b, cal, model, tokens, N);
    assert_false(b.failed);
    return b;
}

static enum status read_bytes(const void *p, size_t n)
{
    struct calibration *cal = NULL;
    struct error err;
    const enum status s = calibration_read(&cal, model, tokens, N, p, n, &err);
    calibration_close(cal);
    return s;
}

/* The values of layer 0 depend on the token alone, so their means are known for rows of
 * few different tokens; the first four do not count. */
static void test_means_of_values(void **state)
{
    (void)state;
    const int a = 5, b = 9, c = 17;
    int32_t only_a[104], only_b[104], both[104];
    for (int i = 0; i < 104; i++) {
        only_a[i] = i < 4 ? c : a;
        only_b[i] = b;
        both[i] = i < 4 ? c : i < 29 ? b : a;
    }
    struct calibration *ca = make(only_a, 104), *cb = make(only_b, 104),
                       *cab = make(both, 104), *short_a = make(only_a, 70);
    const int n = ca->n_head_kv * ca->head_dim_v;
    assert_int_equal(calibration_values(ca),
                     2 * ca->n_layer * ca->n_head_kv * ca->head_dim);
    double difference = 0;
    for (int i = 0; i < n; i++) {
        const double want = .75 * (double)ca->v[i] + .25 * (double)cb->v[i];
        assert_true(fabs((double)cab->v[i] - want) <= 1e-6);
        assert_true(fabs((double)(ca->v[i] - short_a->v[i])) <= 1e-6);
        difference += fabs((double)(ca->v[i] - cb->v[i]));
    }
    assert_true(difference / n > .01); // the tokens do differ
    calibration_close(ca);
    calibration_close(cb);
    calibration_close(cab);
    calibration_close(short_a);
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    struct pool *p = NULL;
    struct model *m = NULL;
    struct calibration *one = NULL, *two = make(tokens, N);
    struct error err;
    assert_int_equal(open_model(&m, &p, "tests/golden/llama.gguf", 1, &err), STATUS_OK);
    assert_true(model_digest(m) == model_digest(model));
    assert_int_equal(calibration_make(&one, m, tokens, N, &err), STATUS_OK);
    assert_memory_equal(one->k, two->k, calibration_values(two) * sizeof *two->k);
    calibration_close(one);
    calibration_close(two);
    model_close(m);
    pool_close(p);
}

static void test_models_without_means(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool useful;
    } cases[] = {
        {"llama", true}, {"gemma3", true}, {"qwen35", true}, {"kimi-linear", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[64];
        struct pool *p = NULL;
        struct model *m = NULL;
        struct error err;
        snprintf(path, sizeof path, "tests/golden/%s.gguf", cases[i].name);
        assert_int_equal(open_model(&m, &p, path, 1, &err), STATUS_OK);
        assert_int_equal(calibration_useful(m), cases[i].useful);
        model_close(m);
        pool_close(p);
    }
}

static void test_digest_sees_every_part(void **state)
{
    (void)state;
    static const char *const others[] = {"llama-hd80", "llama-linear", "llama-yarn"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        struct pool *p = NULL;
        struct model *m = NULL;
        struct error err;
        snprintf(path, sizeof path, "tests/golden/%s.gguf", others[i]);
        assert_int_equal(open_model(&m, &p, path, 1, &err), STATUS_OK);
        assert_true(model_digest(m) != model_digest(model));
        model_close(m);
        pool_close(p);
    }
    /* One bit of the last tensor (a vector), of the ends of the first one (a matrix), and
     * of the metadata. */
    FILE *f = fopen("tests/golden/llama.gguf", "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    const size_t n = (size_t)st.st_size;
    uint8_t *bytes = mem_array(n, 1);
    assert_int_equal(fread(bytes, 1, n, f), n);
    fclose(f);
    struct gguf *g;
    struct error err;
    assert_int_equal(gguf_open_memory(&g, bytes, n, &err), STATUS_OK);
    const struct gguf_tensor *t = gguf_tensor_at(g, gguf_n_tensors(g) - 1);
    const size_t last = (size_t)(t->data - bytes);
    const struct gguf_tensor *matrix = gguf_tensor_at(g, 0);
    assert_int_equal(matrix->n_dims, 2);
    const size_t first = (size_t)(matrix->data - bytes), end = first + matrix->bytes;
    size_t n_head;
    const uint8_t *head = gguf_head(g, 0, &n_head);
    assert_true(head == bytes && n_head > 100 && n_head < last);
    static const char key[] = "llama.context_length";
    size_t at = 0;
    while (memcmp(bytes + at, key, sizeof key - 1))
        at++;
    gguf_close(g);
    const size_t flip[] = {n, last, first, end - 1, at + sizeof key - 1 + 4}; // n: none
    for (size_t i = 0; i < sizeof flip / sizeof *flip; i++) {
        struct model *m = NULL;
        if (flip[i] < n)
            bytes[flip[i]] ^= 1;
        assert_int_equal(gguf_open_memory(&g, bytes, n, &err), STATUS_OK);
        assert_int_equal(model_open(&m, g, pool, CPU_ISA_COUNT - 1, &err), STATUS_OK);
        assert_int_equal(model_digest(m) == model_digest(model), i == 0);
        model_close(m);
        gguf_close(g);
        if (flip[i] < n)
            bytes[flip[i]] ^= 1;
    }
    mem_free(bytes);
}

static void test_file_comes_back(void **state)
{
    (void)state;
    char path[64];
    struct error err;
    struct calibration *cal = make(tokens, N), *back = NULL;
    snprintf(path, sizeof path, "%s/a.cal", folder);
    assert_int_equal(calibration_load(&back, model, tokens, N, path, &err),
                     STATUS_NOT_FOUND);
    for (int i = 0; i < 2; i++) // the second time over a file
        assert_int_equal(calibration_save(cal, model, tokens, N, path, &err), STATUS_OK);
    assert_int_equal(calibration_load(&back, model, tokens, N, path, &err), STATUS_OK);
    assert_memory_equal(back->k, cal->k, calibration_values(cal) * sizeof *cal->k);
    assert_ptr_equal(back->v, back->k + (cal->v - cal->k));
    calibration_close(back);
    /* One byte more, on disk. */
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fputc(0, f), 0);
    fclose(f);
    back = NULL;
    assert_int_equal(calibration_load(&back, model, tokens, N, path, &err),
                     STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "a.cal"));
    assert_int_equal(unlink(path), 0);
    /* No files, and no place for one. */
    assert_int_equal(calibration_load(&back, model, tokens, N, folder, &err),
                     STATUS_BAD_FILE);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(calibration_load(&back, model, tokens, N, path, &err),
                     STATUS_BAD_FILE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(
        calibration_save(cal, model, tokens, N, "/proc/nothing/here.cal", &err),
        STATUS_IO);
    assert_null(back);
    calibration_close(cal);
}

static void test_damage_is_seen(void **state)
{
    (void)state;
    struct calibration *cal = make(tokens, N);
    struct buf b = file_of(cal);
    uint8_t *p = (uint8_t *)b.data;
    assert_int_equal(read_bytes(p, b.len), STATUS_OK);
    assert_int_equal(b.len, 64 - 8 + 4 * calibration_values(cal) + 8);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(read_bytes(p, n), STATUS_BAD_FILE);
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(read_bytes(p, b.len), STATUS_BAD_FILE);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(read_bytes(p, b.len), STATUS_OK);
    buf_release(&b);
    calibration_close(cal);
}

/* Well formed, but wrong: the checksum cannot tell. */
static void test_wrong_contents(void **state)
{
    (void)state;
    struct calibration *cal = make(tokens, N), *back = NULL;
    struct error err;
    struct buf b = file_of(cal);
    int32_t other[N];
    memcpy(other, tokens, sizeof other);
    other[7] ^= 1;
    assert_int_equal(calibration_read(&back, model, other, N, b.data, b.len, &err),
                     STATUS_BAD_FILE);
    assert_int_equal(calibration_read(&back, model, tokens, N - 1, b.data, b.len, &err),
                     STATUS_BAD_FILE);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        memcpy(b.data + 56 + 4 * 10, &bad[i], sizeof bad[i]);
        const uint64_t sum = XXH3_64bits(b.data, b.len - 8);
        for (size_t j = 0; j < 8; j++)
            b.data[b.len - 8 + j] = (char)(sum >> (8 * j));
        assert_int_equal(read_bytes(b.data, b.len), STATUS_BAD_FILE);
    }
    assert_int_equal(calibration_make(&back, model, tokens, CALIBRATION_SKIP, &err),
                     STATUS_BAD_ARG);
    assert_null(back);
    buf_release(&b);
    calibration_close(cal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means_of_values),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_models_without_means),
        cmocka_unit_test(test_digest_sees_every_part),
        cmocka_unit_test(test_file_comes_back),
        cmocka_unit_test(test_damage_is_seen),
        cmocka_unit_test(test_wrong_contents),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
