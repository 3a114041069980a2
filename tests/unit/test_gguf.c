/* test_gguf.c - the reader: values, every refusal, damaged images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h" // before cmocka.h, which makes fail() a macro

#include <cmocka.h>

#include "gguf_image.h"

static struct image im;

static struct gguf *opened(const struct image *m)
{
    struct gguf *g = NULL;
    struct error err = {0};
    const enum status st = gguf_open_memory(&g, m->b, m->n, &err);
    if (st)
        fail_msg("%s", err.text);
    return g;
}

static void refused(const char *file, int line, enum status want, const char *text)
{
    struct gguf *g = NULL;
    struct error err = {0};
    /* A copy of the exact size, so that the sanitizer sees every read past its end. */
    uint8_t *copy = malloc(im.n ? im.n : 1);
    memcpy(copy, im.b, im.n);
    const enum status st = gguf_open_memory(&g, copy, im.n, &err);
    if (st != want || g || err.status != want || !strstr(err.text, text) ||
        strchr(err.text, '\n')) {
        print_error("%s:%d: status %d, text '%s', expected %d '%s'\n", file, line,
                    (int)st, err.text, (int)want, text);
        fail();
    }
    free(copy);
}
#define REFUSED(status, text) refused(__FILE__, __LINE__, STATUS_##status, text)

/* ---- values ---- */

static void test_tables(void **state)
{
    (void)state;
    im_valid(&im);
    struct gguf *g = opened(&im);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_n_files(g), 1);
    assert_int_equal(gguf_file_bytes(g), im.n);
    assert_int_equal(gguf_n_kv(g), 19);
    assert_string_equal(gguf_kv_key(g, 0), "v.u8");
    assert_int_equal(gguf_find(g, "v.u8"), 0);
    assert_int_equal(gguf_find(g, "a.none"), 18);
    assert_int_equal(gguf_find(g, "v.u"), -1);
    assert_int_equal(gguf_find(g, ""), -1);
    assert_int_equal(gguf_kv_type(g, 17), GGUF_ARR);
    assert_int_equal(gguf_kv_elem_type(g, 17), GGUF_I16);
    assert_int_equal(gguf_kv_count(g, 17), 2);
    assert_int_equal(gguf_kv_count(g, 18), 0);
    assert_int_equal(gguf_kv_count(g, 0), 1);
    assert_string_equal(gguf_type_name(GGUF_F64), "f64");
    gguf_close(g);
}

static void test_tensors(void **state)
{
    (void)state;
    im_valid(&im);
    struct gguf *g = opened(&im);
    assert_int_equal(gguf_n_tensors(g), 3);
    const struct gguf_tensor *t = gguf_tensor_find(g, "w.f32");
    assert_non_null(t);
    assert_ptr_equal(t, gguf_tensor_at(g, 0));
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->ne[0], 3);
    assert_int_equal(t->ne[1], 2);
    assert_int_equal(t->ne[2], 1);
    assert_int_equal(t->ne[3], 1);
    assert_int_equal(t->dtype, DTYPE_F32);
    assert_int_equal(t->bytes, 24);
    assert_int_equal(t->data[0], 1);
    assert_int_equal(t->data[23], 24);
    t = gguf_tensor_find(g, "w.q8_0");
    assert_int_equal(t->bytes, 34);
    assert_int_equal(gguf_tensor_index(g, t), 1);
    assert_int_equal(t->data[0], 50);
    t = gguf_tensor_find(g, "w.f16");
    assert_int_equal(t->bytes, 10);
    assert_int_equal(t->data[9], 209);
    assert_ptr_equal(t->data + t->bytes, im.b + im.n);
    assert_null(gguf_tensor_find(g, "w"));
    assert_null(gguf_tensor_find(g, "w.f32x"));
    gguf_drop(g, t->data, t->bytes); // the memory is the caller's: it must stay as it is
    assert_int_equal(t->data[9], 209);
    gguf_close(g);
}

static void test_elements(void **state)
{
    (void)state;
    im_valid(&im);
    struct gguf *g = opened(&im);
    int64_t i = 0;
    double f = 0;
    struct gguf_str s;
    const int arr = gguf_find(g, "a.i16"), str = gguf_find(g, "a.str");
    assert_true(gguf_kv_elem_int(g, arr, 1, &i));
    assert_int_equal(i, -7);
    assert_true(gguf_kv_elem_f64(g, arr, 0, &f));
    assert_true(f == 7);
    assert_false(gguf_kv_elem_int(g, arr, 2, &i));
    assert_false(gguf_kv_elem_f64(g, arr, 2, &f));
    assert_false(gguf_kv_elem_str(g, arr, 0, &s));
    assert_true(gguf_kv_elem_str(g, str, 2, &s));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.s, "ccc", 3);
    assert_false(gguf_kv_elem_str(g, str, 3, &s));
    assert_false(gguf_kv_elem_int(g, str, 0, &i));
    assert_false(gguf_kv_elem_f64(g, str, 0, &f));
    assert_false(gguf_kv_elem_int(g, gguf_find(g, "v.f32"), 0, &i));
    assert_false(gguf_kv_elem_int(g, gguf_find(g, "v.u64max"), 0, &i));
    assert_true(gguf_kv_elem_f64(g, gguf_find(g, "v.u64max"), 0, &f));
    assert_true(f == 0x1p64);
    assert_false(gguf_kv_elem_f64(g, gguf_find(g, "v.true"), 0, &f));
    assert_false(gguf_kv_elem_f64(g, gguf_find(g, "a.none"), 0, &f));
    gguf_close(g);
}

static void test_int(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t v;
    } want[] = {
        {"v.u8", 200},         {"v.i8", -5},
        {"v.u16", 60000},      {"v.i16", -300},
        {"v.u32", 4000000000}, {"v.i32", -70000},
        {"v.u64", 1ll << 40},  {"v.i64", -(1ll << 40)},
        {"v.true", 1},         {"v.false", 0},
    };
    im_valid(&im);
    struct gguf *g = opened(&im);
    struct error err = {0};
    int64_t v;
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        const int64_t w = want[k].v;
        v = 12345;
        assert_int_equal(gguf_int(g, want[k].key, w, w, &v, &err), STATUS_OK);
        assert_true(v == w);
        assert_int_equal(gguf_int(g, want[k].key, w + 1, w + 9, &v, &err),
                         STATUS_BAD_FILE);
        assert_non_null(strstr(err.text, want[k].key));
        assert_int_equal(gguf_int(g, want[k].key, w - 9, w - 1, &v, &err),
                         STATUS_BAD_FILE);
    }
    assert_int_equal(gguf_int(g, "none", 0, 1, &v, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "'none'"));
    assert_int_equal(gguf_int(g, "v.f32", 0, 1, &v, &err), STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "f32"));
    assert_int_equal(gguf_int(g, "v.str", 0, 1, &v, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_int(g, "a.i16", 0, 9, &v, &err), STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "array"));
    assert_int_equal(gguf_int(g, "v.u64max", 0, INT64_MAX, &v, &err), STATUS_BAD_FILE);
    assert_non_null(strstr(err.text, "18446744073709551615"));
    /* _or: the default only if the key is missing. */
    assert_int_equal(gguf_int_or(g, "none", 0, 1, 77, &v, &err), STATUS_OK);
    assert_int_equal(v, 77);
    assert_int_equal(gguf_int_or(g, "v.u8", 0, 255, 77, &v, &err), STATUS_OK);
    assert_int_equal(v, 200);
    assert_int_equal(gguf_int_or(g, "v.u8", 0, 100, 77, &v, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_int_or(g, "v.str", 0, 100, 77, &v, &err), STATUS_BAD_FILE);
    gguf_close(g);
}

static void test_f64_bool_str(void **state)
{
    (void)state;
    im_valid(&im);
    struct gguf *g = opened(&im);
    struct error err = {0};
    double f;
    bool b;
    struct gguf_str s;
    assert_int_equal(gguf_f64(g, "v.f32", 0.15625, 0.15625, &f, &err), STATUS_OK);
    assert_true(f == 0.15625);
    assert_int_equal(gguf_f64(g, "v.f64", -3, 0, &f, &err), STATUS_OK);
    assert_true(f == -2.5);
    assert_int_equal(gguf_f64(g, "v.i8", -10, 0, &f, &err), STATUS_OK);
    assert_true(f == -5);
    assert_int_equal(gguf_f64(g, "v.f64", 0, 9, &f, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_f64(g, "v.nan", -1e300, 1e300, &f, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_f64(g, "v.str", 0, 9, &f, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_f64(g, "none", 0, 9, &f, &err), STATUS_NOT_FOUND);
    assert_int_equal(gguf_f64_or(g, "none", 0, 9, 99.5, &f, &err), STATUS_OK);
    assert_true(f == 99.5);
    assert_int_equal(gguf_f64_or(g, "v.nan", 0, 9, 1, &f, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_bool_or(g, "v.true", false, &b, &err), STATUS_OK);
    assert_true(b);
    assert_int_equal(gguf_bool_or(g, "v.false", true, &b, &err), STATUS_OK);
    assert_false(b);
    assert_int_equal(gguf_bool_or(g, "none", true, &b, &err), STATUS_OK);
    assert_true(b);
    assert_int_equal(gguf_bool_or(g, "v.u8", true, &b, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_str(g, "v.str", &s, &err), STATUS_OK);
    assert_int_equal(s.n, 5);
    assert_memory_equal(s.s, "hello", 5);
    assert_int_equal(gguf_str(g, "v.empty", &s, &err), STATUS_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(gguf_str(g, "a.str", &s, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_str(g, "v.u8", &s, &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_str(g, "none", &s, &err), STATUS_NOT_FOUND);
    gguf_close(g);
}

static void test_strings(void **state)
{
    (void)state;
    im_valid(&im);
    struct gguf *g = opened(&im);
    struct error err = {0};
    struct gguf_strings a;
    assert_int_equal(gguf_strings_open(&a, g, "a.str", &err), STATUS_OK);
    assert_int_equal(a.n, 3);
    assert_memory_equal(gguf_strings_at(&a, 2).s, "ccc", 3);
    assert_int_equal(gguf_strings_at(&a, 1).n, 0);
    assert_memory_equal(gguf_strings_at(&a, 0).s, "a", 1);
    gguf_strings_close(&a);
    assert_int_equal(gguf_strings_open(&a, g, "a.i16", &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_strings_open(&a, g, "v.str", &err), STATUS_BAD_FILE);
    assert_int_equal(gguf_strings_open(&a, g, "none", &err), STATUS_NOT_FOUND);
    gguf_strings_close(&a);
    gguf_close(g);
}

/* ---- refusals ---- */

static void test_header(void **state)
{
    (void)state;
    im.n = 0;
    REFUSED(BAD_FILE, "not a GGUF file");
    im_raw(&im, "GGU", 3);
    REFUSED(BAD_FILE, "not a GGUF file");
    im.n = 0;
    im_raw(&im, "GGML\3\0\0\0", 8);
    REFUSED(BAD_FILE, "47 47 4d 4c");
    im.n = 0;
    im_raw(&im, "GGUF\3\0", 6);
    REFUSED(BAD_FILE, "truncated: 4 bytes expected at offset 4, 2 left");
    static const uint32_t versions[] = {0, 1, 4, 0x10003};
    for (size_t i = 0; i < 4; i++) {
        im_head(&im, versions[i], 0, 0);
        REFUSED(UNSUPPORTED, "version");
    }
    im_head(&im, 0x03000000, 0, 0);
    REFUSED(UNSUPPORTED, "big-endian");
    im_head(&im, 2, 0, 0);
    struct gguf *g = opened(&im);
    assert_int_equal(gguf_version(g), 2);
    assert_int_equal(gguf_n_tensors(g) + gguf_n_kv(g), 0);
    gguf_close(g);
}

static void test_counts(void **state)
{
    (void)state;
    static const uint64_t bad[] = {1,          65537,     1u << 31,   1ull << 32,
                                   1ull << 61, INT64_MAX, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        im_head(&im, 3, bad[i], 0);
        REFUSED(BAD_FILE, "tensors claimed");
        im_head(&im, 3, 0, bad[i]);
        REFUSED(BAD_FILE, "metadata keys claimed");
        if (i == 0)
            continue;
        for (uint32_t t = 0; t < 13; t++) {
            im_head(&im, 3, 0, 1);
            im_arr(&im, "big", t, bad[i]);
            im_le(&im, 1, 8);
            if (t == T_ARR)
                REFUSED(UNSUPPORTED, "key 'big': an array of arrays");
            else
                REFUSED(BAD_FILE, "key 'big': ");
        }
        im_head(&im, 3, 0, 1);
        im_key(&im, "text", T_STR), im_le(&im, bad[i], 8);
        REFUSED(BAD_FILE, i == 1 ? "metadata key 'text': 65537" : "': a string of ");
        im_head(&im, 3, 0, 1);
        im_arr(&im, "texts", T_STR, 1), im_le(&im, bad[i], 8);
        REFUSED(BAD_FILE, i == 1 ? "metadata key 'texts': 65537" : "': a string of ");
    }
    /* One more than what is there, for each element size. */
    im_head(&im, 3, 0, 1);
    im_arr(&im, "u64", T_U64, 3), im_le(&im, 0, 8), im_le(&im, 0, 8);
    REFUSED(BAD_FILE, "key 'u64': 3 array elements claimed with 16 bytes left");
    im_head(&im, 3, 0, 1);
    im_key(&im, "text", T_STR), im_le(&im, (16 << 20) + 1, 8);
    REFUSED(BAD_FILE, "key 'text': a string of 16777217 bytes");
}

static void test_keys(void **state)
{
    (void)state;
    static char name[1026];
    memset(name, 'k', 1025);
    im_head(&im, 3, 0, 1);
    im_int(&im, "", T_U32, 0, 4), im_le(&im, 0, 8);
    REFUSED(BAD_FILE, "metadata key 0: a name of 0 bytes");
    im_head(&im, 3, 0, 1);
    im_int(&im, name, T_U8, 0, 1);
    REFUSED(BAD_FILE, "1025 bytes");
    name[1024] = 0;
    im_head(&im, 3, 0, 1);
    im_int(&im, name, T_U8, 0, 1);
    struct gguf *g = opened(&im);
    assert_int_equal(gguf_find(g, name), 0);
    gguf_close(g);
    im_head(&im, 3, 0, 1);
    im_le(&im, 3, 8), im_raw(&im, "a\0b", 3), im_le(&im, T_U8, 4), im_le(&im, 0, 1);
    REFUSED(BAD_FILE, "a 0 byte in its name 'a?b'");
    im_head(&im, 3, 0, 3);
    im_int(&im, "same", T_U8, 0, 1), im_int(&im, "other", T_U8, 0, 1);
    im_int(&im, "same", T_U16, 0, 2);
    REFUSED(BAD_FILE, "key 'same' occurs twice");
    im_head(&im, 3, 0, 1);
    im_int(&im, "k", 13, 0, 8);
    REFUSED(BAD_FILE, "key 'k': unknown value type 13");
    im_head(&im, 3, 0, 1);
    im_arr(&im, "k", 13, 0);
    REFUSED(BAD_FILE, "key 'k': unknown value type 13");
    im_head(&im, 3, 0, 1);
    im_int(&im, "k\n\x1b[1m", T_BOOL, 2, 1);
    REFUSED(BAD_FILE, "key 'k??[1m': a bool of value 2");
    im_head(&im, 3, 0, 1);
    im_arr(&im, "k", T_BOOL, 3), im_raw(&im, "\1\0\xff", 3);
    REFUSED(BAD_FILE, "key 'k': a bool of value 255");
}

static void test_alignment(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0,  1,  4,      7,           9,
                                   33, 48, 131072, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        im_head(&im, 3, 0, 1);
        im_int(&im, "general.alignment", T_U32, bad[i], 4);
        REFUSED(BAD_FILE, "'general.alignment'");
    }
    im_head(&im, 3, 0, 1);
    im_int(&im, "general.alignment", T_U64, 32, 8);
    REFUSED(BAD_FILE, "type u64, u32 expected");
    static const uint32_t good[] = {8, 64, 65536};
    for (size_t i = 0; i < 3; i++) {
        im_head(&im, 3, 2, 1);
        im_int(&im, "general.alignment", T_U32, good[i], 4);
        im_tensor(&im, "a", 2, 0, 24, 0);
        im_tensor(&im, "b", 1, 0, 24, good[i]);
        im_pad(&im, good[i]);
        const size_t start = im.n;
        im_data(&im, 2, 10), im_pad(&im, good[i]), im_data(&im, 1, 90);
        struct gguf *g = opened(&im);
        assert_ptr_equal(gguf_tensor_find(g, "a")->data, im.b + start);
        assert_int_equal(gguf_tensor_find(g, "b")->data[0], 90);
        gguf_close(g);
    }
}

/* One tensor described by the arguments, with 64 bytes of data. */
static void one_tensor(const char *name, uint32_t n_dims, const uint64_t *ne,
                       uint32_t type, uint64_t offset)
{
    im_head(&im, 3, 1, 0);
    im_text(&im, name);
    im_le(&im, n_dims, 4);
    for (uint32_t d = 0; d < n_dims && d < 8; d++)
        im_le(&im, ne[d], 8);
    im_le(&im, type, 4);
    im_le(&im, offset, 8);
    im_pad(&im, 32);
    im_data(&im, 64, 0);
}

static void test_tensor_names(void **state)
{
    (void)state;
    static const uint64_t ne[] = {4};
    char name[129];
    memset(name, 'n', 128);
    name[128] = 0;
    one_tensor("", 1, ne, 0, 0);
    REFUSED(BAD_FILE, "tensor 0: a name of 0 bytes");
    one_tensor(name, 1, ne, 0, 0);
    REFUSED(BAD_FILE, "a name of 128 bytes");
    name[127] = 0;
    one_tensor(name, 1, ne, 0, 0);
    gguf_close(opened(&im));
    im_head(&im, 3, 2, 0);
    im_tensor(&im, "same", 4, 0, 0, 0);
    im_tensor(&im, "same", 4, 0, 0, 32);
    im_pad(&im, 32), im_data(&im, 64, 0);
    REFUSED(BAD_FILE, "tensor 'same' occurs twice");
}

static void test_tensor_shapes(void **state)
{
    (void)state;
    const uint64_t big = 1ull << 62;
    static const uint64_t none[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    one_tensor("t", 0, none, 0, 0);
    REFUSED(BAD_FILE, "tensor 't': 0 dimensions");
    one_tensor("t", 5, none, 0, 0);
    REFUSED(BAD_FILE, "tensor 't': 5 dimensions");
    one_tensor("t", 4, none, 0, 0);
    gguf_close(opened(&im));
    for (uint32_t d = 0; d < 4; d++) {
        uint64_t ne[4] = {32, 1, 1, 1};
        ne[d] = 0;
        one_tensor("t", 4, ne, 0, 0);
        REFUSED(BAD_FILE, "tensor 't': dimension");
        ne[d] = 1ull << 63;
        one_tensor("t", 4, ne, 0, 0);
        REFUSED(BAD_FILE, "tensor 't': dimension");
        ne[d] = big;
        one_tensor("t", 4, ne, 0, 0);
        REFUSED(BAD_FILE, "size overflows");
        ne[d] = (1ull << 42) + 32; // the dimension of a known attack
        one_tensor("t", 4, ne, 8, 0);
        REFUSED(BAD_FILE, "truncated or malformed: tensor 't' needs");
    }
    const uint64_t wraps[][4] = {
        {1ull << 32, 1ull << 32, 1, 1},
        {1ull << 31, 1ull << 31, 4, 1},
        {1ull << 16, 1ull << 16, 1ull << 16, 1ull << 16},
        {32, 1ull << 60, 1, 1},
    };
    for (size_t i = 0; i < 4; i++) {
        one_tensor("t", 4, wraps[i], 8, 0);
        REFUSED(BAD_FILE, "size overflows");
    }
    /* 2^63 values of 1.125 bits: the bytes fit, the number of values does not. */
    static const uint64_t many[] = {128, 1ull << 56};
    one_tensor("t", 2, many, 41, 0);
    REFUSED(BAD_FILE, "size overflows");
    static const uint64_t rows[] = {48, 1};
    one_tensor("t", 2, rows, 8, 0);
    REFUSED(BAD_FILE, "tensor 't': rows of 48 values, but Q8_0 has blocks of 32");
}

static void test_tensor_types(void **state)
{
    (void)state;
    static const uint64_t ne[] = {256};
    static const struct {
        uint32_t id;
        const char *text;
    } bad[] = {
        {4, "tensor 't': type id 4 (Q4_2) is removed"},
        {5, "(Q4_3) is removed"},
        {9, "(Q8_1) is a type of activations"},
        {15, "(Q8_K) is a type of activations"},
        {31, "(Q4_0_4_4) is removed"},
        {33, "(Q4_0_8_8) is removed"},
        {36, "(IQ4_NL_4_4) is removed"},
        {38, "(IQ4_NL_8_8) is removed"},
        {43, "type id 43 (TURBO3_0) is a cache type of a llama.cpp fork"},
        {44, "type id 44 (TURBO4_0) is a cache type of a llama.cpp fork"},
        {96, "type id 96 (no known name) is unknown"},
        {97, "type id 97 (no known name) is private to the ik_llama.cpp fork"},
        {137, "type id 137 (IQ2_K) is private"},
        {UINT32_MAX, "ik_llama.cpp"},
        {9999, "ik_llama.cpp"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        one_tensor("t", 1, ne, bad[i].id, 0);
        REFUSED(UNSUPPORTED, bad[i].text);
    }
}

/* Two tensors of type 42, [n_row][256], the second `second` bytes behind the first and
 * with `last` bytes of data. */
static void two_of_id_42(uint64_t n_row, size_t second, size_t last)
{
    im_head(&im, 3, 2, 0);
    im_tensor(&im, "a", 256, n_row, 42, 0);
    im_tensor(&im, "b", 256, n_row, 42, second);
    im_pad(&im, 32);
    im_data(&im, second + last, 1);
}

/* A row of 256 values has 72 bytes in Q2_0 and 68 in TURBO2_0. */
static void test_tensor_type_42(void **state)
{
    (void)state;
    two_of_id_42(64, 64 * 72, 64 * 72);
    struct gguf *g = opened(&im);
    assert_int_equal(gguf_tensor_find(g, "a")->dtype, DTYPE_Q2_0);
    assert_int_equal(gguf_tensor_find(g, "b")->bytes, 64 * 72);
    gguf_close(g);
    two_of_id_42(64, 64 * 68, 64 * 68);
    REFUSED(UNSUPPORTED,
            "tensor 'a': type id 42 (TURBO2_0, for it has 4352 bytes and Q2_0 "
            "would take 4608) is a cache type of a llama.cpp fork");
    two_of_id_42(64, 64 * 72, 64 * 68); // the end of the file decides
    REFUSED(UNSUPPORTED, "tensor 'b': type id 42 (TURBO2_0");
    two_of_id_42(64, 64 * 72, 64 * 68 - 1); // neither
    REFUSED(BAD_FILE, "tensor 'b' needs 4608 bytes at data offset 4608");
    two_of_id_42(1, 96, 72); // the same with padding
    gguf_close(opened(&im));
    two_of_id_42(64, 1 << 13, 64 * 72); // a gap
    gguf_close(opened(&im));
    static const uint64_t ne[] = {64, 10}; // no multiple of 128: never TURBO2_0
    one_tensor("t", 2, ne, 42, 0);
    REFUSED(BAD_FILE, "tensor 't' needs 180 bytes");
}

static void test_tensor_places(void **state)
{
    (void)state;
    static const uint64_t ne16[] = {16}, ne8[] = {8}, ne17[] = {17};
    one_tensor("t", 1, ne16, 0, 0);
    gguf_close(opened(&im));
    one_tensor("t", 1, ne8, 0, 32);
    gguf_close(opened(&im));
    one_tensor("t", 1, ne17, 0, 0);
    REFUSED(BAD_FILE,
            "tensor 't' needs 68 bytes at data offset 0, the data section has 64");
    one_tensor("t", 1, ne16, 0, 32);
    REFUSED(BAD_FILE, "needs 64 bytes at data offset 32");
    one_tensor("t", 1, ne8, 0, 16);
    REFUSED(BAD_FILE, "tensor 't': offset 16 is not a multiple of 32");
    static const uint64_t far[] = {64, 96, 1ull << 40, 1ull << 63, UINT64_MAX - 31};
    for (size_t i = 0; i < 5; i++) {
        one_tensor("t", 1, ne8, 0, far[i]);
        REFUSED(BAD_FILE, "truncated or malformed: tensor 't'");
    }
    /* No data section at all: the infos end the file. */
    im_head(&im, 3, 1, 0);
    im_tensor(&im, "t", 1, 0, 24, 0);
    REFUSED(BAD_FILE, "truncated or malformed: tensor 't'");
}

/* ---- damage ---- */

/* Reads everything that the interface gives; the sum keeps the compiler from skipping. */
static uint64_t walk(const struct gguf *g)
{
    uint64_t sum = (uint64_t)gguf_version(g);
    for (int i = 0; i < gguf_n_kv(g); i++) {
        sum += strlen(gguf_kv_key(g, i)) + gguf_kv_type(g, i);
        assert_int_equal(gguf_find(g, gguf_kv_key(g, i)), i);
        for (uint64_t j = 0; j < gguf_kv_count(g, i); j++) {
            int64_t v = 0;
            double f;
            struct gguf_str s = {NULL, 0};
            if (gguf_kv_elem_int(g, i, j, &v))
                sum += (uint64_t)v;
            if (gguf_kv_elem_f64(g, i, j, &f))
                sum += f > 0;
            if (gguf_kv_elem_str(g, i, j, &s))
                for (size_t k = 0; k < s.n; k++)
                    sum += (uint8_t)s.s[k];
        }
    }
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        assert_ptr_equal(gguf_tensor_find(g, t->name), t);
        assert_true(t->bytes > 0 && dtype_find((uint32_t)t->dtype));
        for (size_t k = 0; k < t->bytes; k++)
            sum += t->data[k];
    }
    return sum;
}

static volatile uint64_t walked;

/* n bytes of im, alone in their allocation; true if they open. */
static bool damaged(size_t n)
{
    struct gguf *g = NULL;
    struct error err = {0};
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, im.b, n);
    const enum status st = gguf_open_memory(&g, copy, n, &err);
    if (st) {
        assert_null(g);
        assert_int_equal(err.status, st);
        assert_true(err.text[0] != 0 && !strchr(err.text, '\n'));
    } else {
        walked += walk(g);
        gguf_close(g);
    }
    free(copy);
    return st == STATUS_OK;
}

static void test_truncation(void **state)
{
    (void)state;
    im_valid(&im);
    for (size_t n = 0; n < im.n; n++)
        assert_false(damaged(n));
    assert_true(damaged(im.n));
    /* The same where nothing behind the metadata could notice. */
    im_head(&im, 3, 0, 2);
    im_int(&im, "int", T_U64, 0, 8);
    im_key(&im, "text", T_STR), im_text(&im, "abc");
    for (size_t n = 0; n < im.n; n++)
        assert_false(damaged(n));
    assert_true(damaged(im.n));
}

static void test_bit_flips(void **state)
{
    (void)state;
    im_valid(&im);
    size_t opens = 0;
    for (size_t bit = 0; bit < im.n * 8; bit++) {
        im.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        opens += damaged(im.n);
        im.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* Flips in values, names and data are no damage that a reader can see. */
    assert_true(opens > 0 && opens < im.n * 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_elements),      cmocka_unit_test(test_int),
        cmocka_unit_test(test_f64_bool_str),  cmocka_unit_test(test_strings),
        cmocka_unit_test(test_header),        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_tensor_names),  cmocka_unit_test(test_tensor_shapes),
        cmocka_unit_test(test_tensor_types),  cmocka_unit_test(test_tensor_type_42),
        cmocka_unit_test(test_tensor_places), cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bit_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
