#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base/mem.h"

enum { ALIGN = 64, TABLE_MAX = 1 << 22 };

struct tensor_name tensor_name(int layer, const char *suffix)
{
    struct tensor_name n;
    snprintf(n.text, sizeof n.text, "blk.%d.%s", layer, suffix);
    return n;
}

/* What binding every tensor of the file can take at most. */
static bool total_bytes(size_t *total, const struct gguf *g)
{
    *total = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        /* Tiles round rows up to 16, in each of three matrices if they are fused and in
         * each expert; what may be a vector or a small table becomes f32. */
        size_t bytes, rows, elems;
        if (!mem_mul(&rows, (size_t)t->ne[1], (size_t)t->ne[2]) ||
            !mem_mul(&rows, rows, (size_t)t->ne[3]) ||
            !mem_mul(&elems, rows, (size_t)t->ne[0]))
            return false;
        const size_t row = t->bytes / (rows ? rows : 1);
        const size_t n_part = t->n_dims == 1 ? 1
                              : t->ne[2] > 1 ? 2 * (size_t)t->ne[2]
                                             : 3;
        if (!mem_mul(&bytes, row, 16 * n_part) || !mem_add(&bytes, t->bytes, bytes) ||
            !mem_add(total, *total, bytes + n_part * ALIGN))
            return false;
        if (t->n_dims == 1 || elems <= TABLE_MAX)
            *total += 4 * elems;
    }
    return true;
}

enum status weights_open(struct weights *w, const struct gguf *g, struct pool *pool,
                         struct error *err)
{
    *w = (struct weights){.g = g, .pool = pool};
    if (!total_bytes(&w->cap, g))
        return fail(err, STATUS_BAD_FILE, "tensor sizes overflow");
    const size_t available = mem_available();
    if (available && w->cap > available)
        return fail(err, STATUS_NO_MEMORY,
                    "the weights need %.0f MiB but %.0f MiB are available",
                    (double)w->cap / 0x1p20, (double)available / 0x1p20);
    w->mem = mem_pages(w->cap);
    w->bound = mem_array((size_t)gguf_n_tensors(g), sizeof *w->bound);
    w->hash = mem_array((size_t)gguf_n_tensors(g), sizeof *w->hash);
    if (w->mem && w->bound && w->hash)
        return STATUS_OK;
    const double mib = (double)w->cap / 0x1p20;
    weights_release(w);
    return fail(err, STATUS_NO_MEMORY, "no memory for %.0f MiB of weights", mib);
}

void weights_release(struct weights *w)
{
    mem_pages_free(w->mem, w->cap);
    mem_free(w->bound);
    mem_free(w->hash);
    pack_release(&w->pack);
    *w = (struct weights){0};
}

static uint64_t combine_hashes(const struct weights *w)
{
    const int n_file = gguf_n_files(w->g);
    uint64_t digest =
        XXH3_64bits(w->hash, (size_t)gguf_n_tensors(w->g) * sizeof *w->hash);
    for (int i = 0; i < n_file; i++) {
        size_t n;
        const uint8_t *head = gguf_head(w->g, i, &n);
        digest = XXH3_64bits_withSeed(head, n, digest);
    }
    return digest;
}

enum status weights_finish(struct weights *w, const char *arch, struct error *err)
{
    for (int i = 0; i < gguf_n_tensors(w->g); i++)
        if (!w->bound[i])
            return fail(
                err, STATUS_UNSUPPORTED,
                "tensor %s is not part of architecture '%s' as this build knows it",
                gguf_tensor_at(w->g, i)->name, arch);
    pack_run(&w->pack, w->hash, w->g, w->pool);
    w->digest = combine_hashes(w);
    pack_release(&w->pack);
    mem_free(w->bound);
    mem_free(w->hash);
    w->bound = NULL;
    w->hash = NULL;
    return STATUS_OK;
}

/* "[4][64]", in C order. */
struct tensor_shape {
    char text[96];
};

static struct tensor_shape tensor_shape(const struct gguf_tensor *t)
{
    struct tensor_shape shape = {""};
    size_t n = 0;
    for (int i = t->n_dims - 1; i >= 0; i--)
        n += (size_t)snprintf(shape.text + n, sizeof shape.text - n, "[%lld]",
                              (long long)t->ne[i]);
    return shape;
}

bool weights_has(const struct weights *w, const char *name)
{
    return gguf_tensor_find(w->g, name) != NULL;
}

static const struct gguf_tensor *find_tensor(struct weights *w, const char *name)
{
    const struct gguf_tensor *t = gguf_tensor_find(w->g, name);
    if (t)
        w->bound[gguf_tensor_index(w->g, t)] = true;
    return t;
}

static void *weights_take(struct weights *w, size_t bytes)
{
    uint8_t *p = w->mem + w->used;
    w->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return w->used <= w->cap ? p : NULL;
}

/* Rows [row, row + n_out) of all rows of a tensor. */
static enum status bind_rows(struct matrix *m, struct weights *w,
                             const struct gguf_tensor *t, int64_t row, int n_out,
                             int n_in, struct error *err)
{
    const struct dtype_traits *traits = dtype_find(t->dtype);
    if (!traits->dequant)
        return fail(err, STATUS_UNSUPPORTED,
                    "%s: block type %s is not supported by this build; take a file of "
                    "another type, such as Q4_K_M or IQ4_XS",
                    t->name, traits->name);
    if (!matrix_supported(t->dtype, n_in))
        return fail(
            err, STATUS_UNSUPPORTED,
            "%s: block type %s with rows of %d values is not supported by this build",
            t->name, traits->name, n_in);
    *m = (struct matrix){.dtype = t->dtype, .n_out = n_out, .n_in = n_in};
    m->tiles = weights_take(w, matrix_bytes(t->dtype, n_out, n_in));
    if (!m->tiles)
        return fail(err, STATUS_NO_MEMORY,
                    "%s: more weights than the file's tensors hold", t->name);
    const size_t row_bytes =
        (size_t)(n_in / traits->block_elems) * (size_t)traits->block_bytes;
    if (!pack_add(&w->pack, m, t->data + (size_t)row * row_bytes,
                  gguf_tensor_index(w->g, t), (int)row))
        return fail(err, STATUS_NO_MEMORY, "%s: no memory to bind it", t->name);
    return STATUS_OK;
}

/* Name of a tensor that belongs to `name`, which ends with ".weight". */
static struct tensor_name companion(const char *name, const char *suffix)
{
    struct tensor_name other;
    const size_t n = strlen(name), cut = sizeof ".weight" - 1;
    snprintf(other.text, sizeof other.text, "%.*s%s", (int)(n > cut ? n - cut : n), name,
             suffix);
    return other;
}

/* Types with coarse scales (NVFP4) come with a factor for all of a matrix: one, or one
 * for each expert.  That of activations is for hardware that quantises them so. */
static enum status bind_scales(struct matrix *m, struct weights *w, const char *name,
                               int n_expert, struct error *err)
{
    const struct tensor_name scale = companion(name, ".scale");
    const struct gguf_tensor *t = gguf_tensor_find(w->g, scale.text);
    float *values;
    find_tensor(w, companion(name, ".input_scale").text);
    if (!t)
        return STATUS_OK;
    const int n = t->ne[0] == 1 ? 1 : n_expert;
    const enum status s = weights_vector(&values, w, scale.text, n, false, err);
    for (int i = 0; !s && i < n_expert; i++) {
        m[i].scaled = true;
        m[i].scale = values[n == 1 ? 0 : i];
    }
    return s;
}

enum status weights_experts(struct matrix *m, struct weights *w, const char *name,
                            int n_expert, int n_rows, int row, int n_out, int n_in,
                            struct error *err)
{
    const struct gguf_tensor *t = find_tensor(w, name);
    if (!t)
        return fail(err, STATUS_BAD_FILE, "tensor %s is missing", name);
    if (t->ne[0] != n_in || t->ne[1] != n_rows || t->ne[2] != n_expert || t->ne[3] != 1) {
        char shape[32] = "";
        if (n_expert > 1)
            snprintf(shape, sizeof shape, "[%d]", n_expert);
        return fail(err, STATUS_BAD_FILE, "%s: expected %s[%d][%d], file has %s", name,
                    shape, n_rows, n_in, tensor_shape(t).text);
    }
    for (int i = 0; i < n_expert; i++) {
        const enum status s =
            bind_rows(&m[i], w, t, (int64_t)i * n_rows + row, n_out, n_in, err);
        if (s)
            return s;
    }
    return bind_scales(m, w, name, n_expert, err);
}

enum status weights_rows(struct matrix *m, struct weights *w, const char *name,
                         int n_rows, int row, int n_out, int n_in, struct error *err)
{
    return weights_experts(m, w, name, 1, n_rows, row, n_out, n_in, err);
}

enum status weights_matrix(struct matrix *m, struct weights *w, const char *name,
                           int n_out, int n_in, struct error *err)
{
    return weights_rows(m, w, name, n_out, 0, n_out, n_in, err);
}

/* ne[0] == n and the product of the others n_row. */
static enum status load_floats(float **out, struct weights *w, const char *name,
                               int n_row, int n, bool optional, struct error *err)
{
    *out = NULL;
    const struct gguf_tensor *t = find_tensor(w, name);
    if (!t && optional)
        return STATUS_OK;
    if (!t)
        return fail(err, STATUS_BAD_FILE, "tensor %s is missing", name);
    const struct dtype_traits *traits = dtype_find(t->dtype);
    if (traits->block_elems != 1 || !traits->dequant)
        return fail(err, STATUS_UNSUPPORTED, "%s: a vector of type %s is not supported",
                    name, traits->name);
    const size_t count = (size_t)n_row * (size_t)n;
    if (t->n_dims > 1 && count > TABLE_MAX)
        return fail(err, STATUS_UNSUPPORTED, "%s: a table of %zu values", name, count);
    float *v = weights_take(w, sizeof(float) * count);
    if (!v)
        return fail(err, STATUS_NO_MEMORY,
                    "%s: more weights than the file's tensors hold", name);
    w->hash[gguf_tensor_index(w->g, t)] = XXH3_64bits(t->data, t->bytes);
    traits->dequant(v, t->data, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(v[i]))
            return fail(err, STATUS_BAD_FILE, "%s: value %zu is not finite", name, i);
    *out = v;
    return STATUS_OK;
}

enum status weights_vector(float **out, struct weights *w, const char *name, int n,
                           bool optional, struct error *err)
{
    const struct gguf_tensor *t = gguf_tensor_find(w->g, name);
    if (t && (t->ne[0] != n || t->ne[1] * t->ne[2] * t->ne[3] != 1))
        return fail(err, STATUS_BAD_FILE, "%s: expected [%d], file has %s", name, n,
                    tensor_shape(t).text);
    return load_floats(out, w, name, 1, n, optional, err);
}

enum status weights_table(float **out, struct weights *w, const char *name, int n_row,
                          int n, bool optional, struct error *err)
{
    const struct gguf_tensor *t = gguf_tensor_find(w->g, name);
    if (t && (t->ne[0] != n || t->ne[1] * t->ne[2] * t->ne[3] != n_row))
        return fail(err, STATUS_BAD_FILE, "%s: expected [%d][%d], file has %s", name,
                    n_row, n, tensor_shape(t).text);
    return load_floats(out, w, name, n_row, n, optional, err);
}

void weights_ignore_layer(struct weights *w, int layer)
{
    const struct tensor_name prefix = tensor_name(layer, "");
    for (int i = 0; i < gguf_n_tensors(w->g); i++)
        if (!strncmp(gguf_tensor_at(w->g, i)->name, prefix.text, strlen(prefix.text)))
            w->bound[i] = true;
}
