/* test_planned.c - a planned model takes what a loaded one does, and cannot compute. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "model/kv_policy.h"
#include "model/model.h"
#include "model/weights.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct pool *pool;

static int setup(void **state)
{
    (void)state;
    struct error err;
    return (int)pool_open(&pool, 2, &err);
}

static int teardown(void **state)
{
    (void)state;
    pool_close(pool);
    return 0;
}

#define assert_ok(call)               \
    do {                              \
        if (call)                     \
            fail_msg("%s", err.text); \
    } while (0)

/* Loaded and planned from one file; false if both refuse it, with the same words. */
static bool open_both(struct model **loaded, struct model **planned, const char *path)
{
    struct error err, again;
    struct gguf *g;
    assert_ok(gguf_open(&g, path, &err));
    const enum status s = model_open(loaded, g, pool, CPU_ISA_COUNT - 1, &err);
    assert_int_equal(model_plan(planned, g, NULL, pool, CPU_ISA_COUNT - 1, &again), s);
    if (s)
        assert_string_equal(again.text, err.text);
    gguf_close(g);
    return !s;
}

static void compare_contexts(const struct model *loaded, const struct model *planned,
                             const char *kv)
{
    struct error err;
    struct context_options o = {.n_ctx = 300, .n_seq = 2, .n_mark = 3};
    struct context_memory plan;
    struct context *c;
    assert_ok(kv_types_parse(&o.kv, kv, &err));
    if (context_open(&c, loaded, &o, &err)) { // a head size that the type does not have
        assert_int_equal(context_plan(&plan, planned, &o, &err), STATUS_UNSUPPORTED);
        return;
    }
    const struct context_memory real = context_memory(c);
    assert_ok(context_plan(&plan, planned, &o, &err));
    assert_int_equal(plan.pages, real.pages);
    assert_int_equal(plan.exact, real.exact);
    assert_int_equal(plan.mark, real.mark);
    assert_int_equal(plan.scratch, real.scratch);
    assert_int_equal(plan.page_bytes, real.page_bytes);
    context_close(c);
}

static bool compare_file(const char *path)
{
    static const char *const kinds[] = {"f16", "turbo4", "tiny", "q8_0"};
    struct model *loaded, *planned;
    if (!open_both(&loaded, &planned, path))
        return false;
    assert_int_equal(model_bytes(planned), model_bytes(loaded));
    assert_int_equal(model_params(planned), model_params(loaded));
    const struct token_work a = model_logits_work(loaded), b = model_logits_work(planned);
    assert_memory_equal(&a, &b, sizeof a);
    assert_false(model_is_planned(loaded));
    assert_true(model_is_planned(planned));
    assert_int_equal(model_digest(planned), 0);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        compare_contexts(loaded, planned, kinds[i]);
    model_close(loaded);
    model_close(planned);
    return true;
}

static void test_all_architectures(void **state)
{
    (void)state;
    int n = 0;
    DIR *dir = opendir("tests/golden");
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char path[300];
        if (!strstr(e->d_name, ".gguf"))
            continue;
        snprintf(path, sizeof path, "tests/golden/%s", e->d_name);
        n += compare_file(path);
    }
    closedir(dir);
    assert_true(n >= 11); // architectures
}

static void test_no_context(void **state)
{
    (void)state;
    struct error err;
    struct model *loaded, *planned;
    struct context *c = NULL;
    struct context_options o = {.n_ctx = 64};
    assert_true(open_both(&loaded, &planned, "tests/golden/llama.gguf"));
    assert_ok(kv_types_parse(&o.kv, "f16", &err));
    assert_int_equal(context_open(&c, planned, &o, &err), STATUS_BAD_ARG);
    assert_null(c);
    assert_non_null(strstr(err.text, "no weights"));
    model_close(loaded);
    model_close(planned);
}

/* ---- shapes ---- */

/* Metadata of a llama of 1 layer, 64 wide, 2 heads of 32, 96 hidden values. */
static struct gguf *tiny_metadata(struct buf *image, int n_vocab)
{
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"llama.block_count", 1},          {"llama.context_length", 128},
        {"llama.embedding_length", 64},    {"llama.feed_forward_length", 96},
        {"llama.attention.head_count", 2},
    };
    struct error err;
    struct gguf_writer *w;
    struct gguf *g;
    assert_ok(gguf_writer_open_memory(&w, &err));
    gguf_put_str(w, "general.architecture", "llama");
    gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        gguf_put_u32(w, numbers[i].key, numbers[i].value);
    if (n_vocab)
        gguf_put_u32(w, "llama.vocab_size", (uint32_t)n_vocab);
    buf_init(image, 1 << 16);
    assert_ok(gguf_writer_close_memory(w, image, &err));
    assert_ok(gguf_open_memory(&g, image->data, image->len, &err));
    return g;
}

struct asked {
    bool biases;
    int n_type; // matrices that asked for their type
};

static bool tiny_has(const void *ctx, const char *name)
{
    const struct asked *a = ctx;
    return !strcmp(name, "blk.0.ffn_gate.weight") ||
           (a->biases && strstr(name, ".bias") && !strstr(name, "qkv"));
}

static enum dtype tiny_type(const void *ctx, const char *name, int n_in)
{
    ((struct asked *)(uintptr_t)ctx)->n_type++;
    assert_int_equal(n_in, strstr(name, "ffn_down") ? 96 : 64);
    return DTYPE_Q8_0;
}

/* What the weights of the shape take, from the specification of Q8_0 (34 bytes for 32
 * values), tiles of 16 rows and places of 64 bytes. */
static size_t tiny_bytes(int n_vocab, bool biases)
{
    const size_t vocab_rows = ((size_t)n_vocab + 15) / 16 * 16;
    const size_t rows =
        vocab_rows + 4 * 64 + 2 * 96; // of 64 values: all a multiple of 64
    size_t sum = rows * 64 / 32 * 34 + 64 * 96 / 32 * 34;
    sum += 3 * 64 * 4; // norms
    return sum + (biases ? (4 * 64 + 2 * 96 + 64) * 4 : 0);
}

static void test_shape(void **state)
{
    (void)state;
    enum { VOCAB = 100 };
    for (int biases = 0; biases < 2; biases++) {
        struct error err;
        struct buf image;
        struct model *m;
        struct asked asked = {.biases = biases};
        const struct weights_shape shape = {&asked, tiny_has, tiny_type};
        struct gguf *g = tiny_metadata(&image, VOCAB);
        assert_ok(model_plan(&m, g, &shape, pool, CPU_ISA_COUNT - 1, &err));
        gguf_close(g);
        buf_release(&image);
        assert_int_equal(model_hparams(m)->n_vocab, VOCAB);
        assert_int_equal(asked.n_type, 8);
        assert_int_equal(model_bytes(m), tiny_bytes(VOCAB, biases));
        assert_int_equal(model_params(m), VOCAB * 64 + 4 * 64 * 64 + 3 * 96 * 64 +
                                              3 * 64 + biases * (4 * 64 + 2 * 96 + 64));
        model_close(m);
    }
}

static enum dtype odd_type(const void *ctx, const char *name, int n_in)
{
    (void)ctx, (void)name, (void)n_in;
    return DTYPE_Q4_K; // rows of 64 are no blocks of 256
}

static void test_shape_errors(void **state)
{
    (void)state;
    struct error err;
    struct buf image;
    struct model *m;
    struct asked asked = {0};
    struct weights_shape shape = {&asked, tiny_has, tiny_type};
    struct gguf *g = tiny_metadata(&image, 0); // no vocabulary
    assert_int_equal(model_plan(&m, g, &shape, pool, CPU_ISA_COUNT - 1, &err),
                     STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "token_embd.weight"));
    gguf_close(g);
    buf_release(&image);

    g = tiny_metadata(&image, 100);
    shape.type = odd_type;
    assert_int_equal(model_plan(&m, g, &shape, pool, CPU_ISA_COUNT - 1, &err),
                     STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "Q4_K"));
    /* Without tensors it is no model to load, and none to plan as a file. */
    assert_int_equal(model_open(&m, g, pool, CPU_ISA_COUNT - 1, &err), STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "token_embd.weight is missing"));
    assert_int_equal(model_plan(&m, g, NULL, pool, CPU_ISA_COUNT - 1, &err),
                     STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "token_embd.weight is missing"));
    gguf_close(g);
    buf_release(&image);
}

static void test_image_without_tensors(void **state)
{
    (void)state;
    struct error err;
    struct gguf_writer *w;
    struct buf image;
    const int64_t ne[1] = {4};
    buf_init(&image, 1 << 12);
    assert_ok(gguf_writer_open_memory(&w, &err));
    gguf_put_tensor(w, "t", DTYPE_F32, 1, ne);
    assert_int_equal(gguf_writer_close_memory(w, &image, &err), STATUS_BAD_ARG);
    buf_release(&image);
    buf_init(&image, 32); // too small
    assert_ok(gguf_writer_open_memory(&w, &err));
    gguf_put_str(w, "general.name", "a name");
    assert_int_equal(gguf_writer_close_memory(w, &image, &err), STATUS_NO_MEMORY);
    buf_release(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_architectures),
        cmocka_unit_test(test_no_context),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_shape_errors),
        cmocka_unit_test(test_image_without_tensors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
