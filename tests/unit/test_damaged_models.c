/* test_damaged_models.c - files of every architecture with one thing wrong: an error of
 * one line that says where, or a model that runs in the memory that it was given. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "gguf_image.h"
#include "model/model.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { ENTRY_MAX = 128, HEAD_MAX = 32 << 10, ALIGNMENT = 32, CTX = 70 };

static struct pool *pool;

static int setup(void **state)
{
    (void)state;
    struct error err;
    return pool_open(&pool, 1, &err) != STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    pool_close(pool);
    return 0;
}

/* ---- a file in pieces ---- */

struct entry {
    size_t at, n;    // the whole entry, in file.bytes
    char name[96];   // of a key or a tensor
    size_t body;     // behind the name
    uint32_t n_dims; // of a tensor
    uint64_t offset; // of its data
};

struct file {
    uint8_t *bytes;
    size_t n, data; // size, where the data start
    int n_kv, n_tensor;
    struct entry kv[ENTRY_MAX], tensor[ENTRY_MAX];
};

static uint64_t number_at(const struct file *f, size_t at, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)f->bytes[at + (size_t)i] << (8 * i);
    return v;
}

static size_t value_bytes(const struct file *f, size_t at, uint32_t type)
{
    static const size_t fixed[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == T_STR)
        return 8 + number_at(f, at, 8);
    if (type != T_ARR)
        return fixed[type];
    const uint32_t elem = (uint32_t)number_at(f, at, 4);
    size_t n = 12;
    for (uint64_t i = number_at(f, at + 4, 8); i > 0; i--)
        n += value_bytes(f, at + n, elem);
    return n;
}

/* The entry at `at`; returns what is behind its name. */
static size_t read_name(const struct file *f, struct entry *e, size_t at)
{
    const size_t n = number_at(f, at, 8);
    assert_true(n < sizeof e->name);
    memcpy(e->name, f->bytes + at + 8, n);
    e->name[n] = 0;
    e->at = at;
    e->body = at + 8 + n;
    return e->body;
}

static void read_file(struct file *f, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/%s.gguf", name);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fseek(in, 0, SEEK_END), 0);
    *f = (struct file){.n = (size_t)ftell(in)};
    rewind(in);
    f->bytes = mem_array(f->n, 1);
    assert_int_equal(fread(f->bytes, 1, f->n, in), f->n);
    fclose(in);
    f->n_tensor = (int)number_at(f, 8, 8);
    f->n_kv = (int)number_at(f, 16, 8);
    assert_true(f->n_tensor < ENTRY_MAX && f->n_kv < ENTRY_MAX);
    size_t at = 24;
    for (int i = 0; i < f->n_kv; i++) {
        struct entry *e = &f->kv[i];
        at = read_name(f, e, at);
        at += 4 + value_bytes(f, at + 4, (uint32_t)number_at(f, at, 4));
        e->n = at - e->at;
    }
    for (int i = 0; i < f->n_tensor; i++) {
        struct entry *e = &f->tensor[i];
        at = read_name(f, e, at);
        e->n_dims = (uint32_t)number_at(f, at, 4);
        at += 4 + 8 * e->n_dims + 4;
        e->offset = number_at(f, at, 8);
        at += 8;
        e->n = at - e->at;
    }
    f->data = (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The file with entry `gone` of the kind replaced by `by`, or left out if that is NULL.
 */
static struct image *rebuild(const struct file *f, const struct entry *gone,
                             const struct image *by)
{
    struct image *m = mem_array(1, sizeof *m);
    assert_non_null(m);
    im_head(m, 3, 0, 0);
    int n_kv = 0, n_tensor = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < (pass ? f->n_tensor : f->n_kv); i++) {
            const struct entry *e = pass ? &f->tensor[i] : &f->kv[i];
            if (e == gone && !by)
                continue;
            if (e == gone)
                im_raw(m, by->b, by->n);
            else
                im_raw(m, f->bytes + e->at, e->n);
            *(pass ? &n_tensor : &n_kv) += 1;
        }
    im_pad(m, ALIGNMENT);
    im_raw(m, f->bytes + f->data, f->n - f->data);
    m->b[8] = (uint8_t)n_tensor;
    m->b[16] = (uint8_t)n_kv;
    return m;
}

/* ---- what becomes of it ---- */

static int n_refused, n_ran, n_not_finite;

/* One line that has this name in it, if any. */
static void assert_sentence(const struct error *err, const char *name)
{
    const bool good =
        err->text[0] && !strchr(err->text, '\n') && (!name || strstr(err->text, name));
    if (!good)
        fprintf(stderr, "%s: %s\n", name ? name : "", err->text);
    assert_true(good);
}

static void run_context(const struct model *m)
{
    const char *kv = n_ran % 2 ? "f16" : "turbo4";
    const float *logits;
    struct context_options o = {.n_ctx = CTX, .n_batch = 33};
    struct context_memory memory;
    struct context *c;
    struct error err;
    int32_t tokens[CTX];
    for (int i = 0; i < CTX; i++)
        tokens[i] = (i * 7 + 3) % model_hparams(m)->n_vocab;
    assert_int_equal(kv_types_parse(&o.kv, kv, &err), STATUS_OK);
    enum status s = context_plan(&memory, m, &o, &err);
    if (s) {
        assert_int_equal(s, STATUS_UNSUPPORTED);
        assert_sentence(&err, NULL);
        n_refused++;
        return;
    }
    assert_true(memory.pages + memory.exact + memory.mark + memory.scratch < 64 << 20);
    assert_int_equal(context_open(&c, m, &o, &err), STATUS_OK);
    s = context_eval(c, tokens, CTX, 1, &logits, &err);
    if (s) {
        assert_int_equal(s, STATUS_NUMERIC);
        n_not_finite++;
    } else {
        n_ran++;
    }
    context_close(c);
}

/* Opens and runs what rebuild made, and frees it.  An error must have the name in it. */
static void try_image(struct image *image, const char *name)
{
    struct gguf *g = NULL;
    struct model *m = NULL;
    struct error err;
    enum status s = gguf_open_memory(&g, image->b, image->n, &err);
    if (!s)
        s = model_open(&m, g, pool, CPU_ISA_COUNT - 1, &err);
    if (s) {
        assert_sentence(&err, name);
        n_refused++;
    } else {
        run_context(m);
    }
    model_close(m);
    gguf_close(g);
    mem_free(image);
}

/* ---- keys ---- */

static const struct value {
    uint32_t type;
    uint64_t bits;
    int bytes;
} values[] = {
    {T_U32, 0, 4},          {T_U32, 1, 4},          {T_U32, 2, 4},
    {T_U32, 7, 4},          {T_U32, 64, 4},         {T_U32, 1 << 20, 4},
    {T_U32, 1 << 24, 4},    {T_U32, UINT32_MAX, 4}, {T_I32, UINT32_MAX, 4}, // -1
    {T_U64, UINT64_MAX, 8}, {T_F32, 0x7fc00000, 4},                         // NaN
    {T_F32, 0x7f800000, 4},                                                 // infinity
    {T_F32, 1, 4},                                                          // the least
    {T_F32, 0x7149f2ca, 4},                                                 // 1e30
    {T_F32, 0xbf800000, 4},                                                 // -1
    {T_BOOL, 1, 1},         {T_STR, 0, 8},                                  // empty
};

static const char *const models[] = {"gemma3-hd128", "gpt-oss-hd96",    "kimi-linear-576",
                                     "phi3",         "qwen35-mtp",      "qwen35moe",
                                     "qwen3-yarn",   "qwen3next-ssm-in"};
enum { N_MODEL = sizeof models / sizeof *models };

static void damage_key(const struct file *f, const struct entry *e)
{
    struct image by;
    try_image(rebuild(f, e, NULL), NULL);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        by.n = 0;
        im_int(&by, e->name, values[i].type, values[i].bits, values[i].bytes);
        try_image(rebuild(f, e, &by), NULL);
    }
    for (uint64_t n = 0; n < 6; n++) // arrays of 0 and 1
        for (uint32_t ones = 0; ones < 3; ones++) {
            by.n = 0;
            im_arr(&by, e->name, ones ? T_I32 : T_BOOL, n);
            for (uint64_t i = 0; i < n; i++)
                im_le(&by, ones == 2 || i % 2, ones ? 4 : 1);
            try_image(rebuild(f, e, &by), NULL);
        }
}

static void test_keys(void **state)
{
    (void)state;
    n_refused = n_ran = n_not_finite = 0;
    for (int i = 0; i < N_MODEL; i++) {
        struct file f;
        read_file(&f, models[i]);
        for (int k = 0; k < f.n_kv; k++)
            damage_key(&f, &f.kv[k]);
        mem_free(f.bytes);
    }
    print_message("%d refused, %d ran, %d not finite\n", n_refused, n_ran, n_not_finite);
}

/* ---- tensors ---- */

/* The entry of a tensor with other dimensions or another type. */
static void put_tensor(struct image *m, const char *name, const uint64_t *ne, int n_dims,
                       uint32_t type, uint64_t offset)
{
    m->n = 0;
    im_text(m, name);
    im_le(m, (uint64_t)n_dims, 4);
    for (int i = 0; i < n_dims; i++)
        im_le(m, ne[i], 8);
    im_le(m, type, 4);
    im_le(m, offset, 8);
}

static void damage_shape(const struct file *f, const struct entry *e)
{
    uint64_t ne[4] = {1, 1, 1, 1};
    struct image by;
    const int n_dims = (int)e->n_dims;
    for (int i = 0; i < n_dims; i++)
        ne[i] = number_at(f, e->body + 4 + 8 * (size_t)i, 8);
    const uint32_t type = (uint32_t)number_at(f, e->body + 4 + 8 * e->n_dims, 4);
    static const uint32_t types[] = {1, 8, 16, 26, 39, 99};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        put_tensor(&by, e->name, ne, n_dims, types[i], e->offset);
        try_image(rebuild(f, e, &by), e->name);
    }
    const uint64_t shapes[][4] = {{ne[1], ne[0], ne[2], 1},     {ne[0], ne[1], ne[2], 2},
                                  {ne[0] / 2, ne[1], ne[2], 1}, {1, ne[0], 1, 1},
                                  {ne[0], ne[1] - 1, ne[2], 1}, {ne[0], ne[1] + 1, 1, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        put_tensor(&by, e->name, shapes[i], 4, type, e->offset);
        try_image(rebuild(f, e, &by), e->name);
    }
}

static void damage_values(struct file *f, const struct entry *e)
{
    static const uint8_t not_finite[][4] = {{0, 0, 0xc0, 0x7f}, {0, 0, 0x80, 0x7f}};
    uint8_t *p = f->bytes + f->data + e->offset, saved[4];
    memcpy(saved, p, 4);
    for (int i = 0; i < 2; i++) {
        memcpy(p, not_finite[i], 4);
        try_image(rebuild(f, NULL, NULL), e->name);
    }
    memcpy(p, saved, 4);
}

static void test_tensors(void **state)
{
    (void)state;
    n_refused = n_ran = n_not_finite = 0;
    for (int i = 0; i < N_MODEL; i++) {
        struct file f;
        read_file(&f, models[i]);
        for (int k = 0; k < f.n_tensor; k++) {
            try_image(rebuild(&f, &f.tensor[k], NULL), NULL);
            damage_shape(&f, &f.tensor[k]);
            damage_values(&f, &f.tensor[k]);
        }
        mem_free(f.bytes);
    }
    print_message("%d refused, %d ran, %d not finite\n", n_refused, n_ran, n_not_finite);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
