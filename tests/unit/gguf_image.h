/* gguf_image.h - builds GGUF images byte by byte, from the layout in the specification
 * (ggml/docs/gguf.md), independently of the writer under test. */
#ifndef TESTS_GGUF_IMAGE_H
#define TESTS_GGUF_IMAGE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    T_U8,
    T_I8,
    T_U16,
    T_I16,
    T_U32,
    T_I32,
    T_F32,
    T_BOOL,
    T_STR,
    T_ARR,
    T_U64,
    T_I64,
    T_F64
};

struct image {
    size_t n;
    uint8_t b[160 << 10];
};

static inline void im_le(struct image *m, uint64_t v, int bytes)
{
    assert(m->n + 8 < sizeof m->b);
    for (int i = 0; i < bytes; i++)
        m->b[m->n++] = (uint8_t)(v >> (8 * i));
}

static inline void im_raw(struct image *m, const void *p, size_t n)
{
    assert(m->n + n < sizeof m->b);
    memcpy(m->b + m->n, p, n);
    m->n += n;
}

static inline void im_text(struct image *m, const char *s)
{
    im_le(m, strlen(s), 8);
    im_raw(m, s, strlen(s));
}

static inline void im_f32(struct image *m, float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    im_le(m, u, 4);
}

static inline void im_f64(struct image *m, double f)
{
    uint64_t u;
    memcpy(&u, &f, 8);
    im_le(m, u, 8);
}

static inline void im_head(struct image *m, uint32_t version, uint64_t n_tensors,
                           uint64_t n_kv)
{
    m->n = 0;
    im_raw(m, "GGUF", 4);
    im_le(m, version, 4);
    im_le(m, n_tensors, 8);
    im_le(m, n_kv, 8);
}

static inline void im_key(struct image *m, const char *key, uint32_t type)
{
    im_text(m, key);
    im_le(m, type, 4);
}

static inline void im_int(struct image *m, const char *key, uint32_t type, uint64_t v,
                          int bytes)
{
    im_key(m, key, type);
    im_le(m, v, bytes);
}

static inline void im_arr(struct image *m, const char *key, uint32_t elem, uint64_t n)
{
    im_key(m, key, T_ARR);
    im_le(m, elem, 4);
    im_le(m, n, 8);
}

/* One dimension if ne1 is 0, else two. */
static inline void im_tensor(struct image *m, const char *name, uint64_t ne0,
                             uint64_t ne1, uint32_t type, uint64_t offset)
{
    im_text(m, name);
    im_le(m, ne1 ? 2 : 1, 4);
    im_le(m, ne0, 8);
    if (ne1)
        im_le(m, ne1, 8);
    im_le(m, type, 4);
    im_le(m, offset, 8);
}

static inline void im_pad(struct image *m, size_t align)
{
    while (m->n % align)
        im_le(m, 0, 1);
}

static inline void im_data(struct image *m, size_t n, uint8_t first)
{
    for (size_t i = 0; i < n; i++)
        im_le(m, (uint8_t)(first + i), 1);
}

/* Every value type, arrays, and three tensors with data. */
static inline void im_valid(struct image *m)
{
    im_head(m, 3, 3, 19);
    im_int(m, "v.u8", T_U8, 200, 1);
    im_int(m, "v.i8", T_I8, (uint64_t)-5, 1);
    im_int(m, "v.u16", T_U16, 60000, 2);
    im_int(m, "v.i16", T_I16, (uint64_t)-300, 2);
    im_int(m, "v.u32", T_U32, 4000000000u, 4);
    im_int(m, "v.i32", T_I32, (uint64_t)-70000, 4);
    im_key(m, "v.f32", T_F32), im_f32(m, 0.15625f);
    im_int(m, "v.true", T_BOOL, 1, 1);
    im_int(m, "v.false", T_BOOL, 0, 1);
    im_key(m, "v.str", T_STR), im_text(m, "hello");
    im_key(m, "v.empty", T_STR), im_text(m, "");
    im_int(m, "v.u64", T_U64, 1ull << 40, 8);
    im_int(m, "v.u64max", T_U64, UINT64_MAX, 8);
    im_int(m, "v.i64", T_I64, (uint64_t) - (1ll << 40), 8);
    im_key(m, "v.f64", T_F64), im_f64(m, -2.5);
    im_key(m, "v.nan", T_F32), im_le(m, 0x7fc00000, 4);
    im_arr(m, "a.str", T_STR, 3), im_text(m, "a"), im_text(m, ""), im_text(m, "ccc");
    im_arr(m, "a.i16", T_I16, 2), im_le(m, 7, 2), im_le(m, (uint64_t)-7, 2);
    im_arr(m, "a.none", T_F64, 0);
    im_tensor(m, "w.f32", 3, 2, 0, 0);    // 24 bytes
    im_tensor(m, "w.q8_0", 32, 0, 8, 32); // 34 bytes
    im_tensor(m, "w.f16", 5, 0, 1, 96);   // 10 bytes
    im_pad(m, 32);
    im_data(m, 24, 1), im_pad(m, 32);
    im_data(m, 34, 50), im_pad(m, 32);
    im_data(m, 10, 200);
}

#endif
