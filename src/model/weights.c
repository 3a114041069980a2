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

/* load_floats takes it. */
static bool is_float(enum dtype t)
{
    const struct dtype_traits *traits = dtype_find(t);
    return traits->block_elems == 1 && traits->dequant;
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
        if (is_float(t->dtype) && (t->n_dims == 1 || elems <= TABLE_MAX))
            *total += 4 * elems;
    }
    return true;
}

static enum status note_tensors(struct weights *w, struct error *err)
{
    if (!total_bytes(&w->cap, w->g))
        return fail(err, STATUS_BAD_FILE, "tensor sizes overflow");
    w->bound = mem_array((size_t)gguf_n_tensors(w->g), sizeof *w->bound);
    return w->bound ? STATUS_OK
                    : fail(err, STATUS_NO_MEMORY, "no memory for names of tensors");
}

enum status weights_open(struct weights *w, const struct gguf *g, struct pool *pool,
                         struct error *err)
{
    *w = (struct weights){.g = g, .pool = pool};
    const enum status s = note_tensors(w, err);
    if (s)
        return s;
    const size_t available = mem_available();
    if (available && w->cap > available)
        return fail(err, STATUS_NO_MEMORY,
                    "the weights need %.0f MiB but %.0f MiB are available",
                    (double)w->cap / 0x1p20, (double)available / 0x1p20);
    w->mem = mem_pages(w->cap);
    w->hash = mem_array((size_t)gguf_n_tensors(g), sizeof *w->hash);
    if (w->mem && w->hash)
        return STATUS_OK;
    const double mib = (double)w->cap / 0x1p20;
    weights_release(w);
    return fail(err, STATUS_NO_MEMORY, "no memory for %.0f MiB of weights", mib);
}

enum status weights_plan(struct weights *w, const struct gguf *g,
                         const struct weights_shape *shape, struct error *err)
{
    *w = (struct weights){.g = g, .planned = true, .shape = shape, .cap = SIZE_MAX};
    return shape ? STATUS_OK : note_tensors(w, err);
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
    for (int i = 0; w->bound && i < gguf_n_tensors(w->g); i++)
        if (!w->bound[i])
            return fail(
                err, STATUS_UNSUPPORTED,
                "tensor %s is not part of architecture '%s' as this build knows it",
                gguf_tensor_at(w->g, i)->name, arch);
    if (!w->planned) {
        pack_run(&w->pack, w->hash, w->g, w->pool);
        w->digest = combine_hashes(w);
        pack_release(&w->pack);
    }
    mem_free(w->bound);
    mem_free(w->hash);
    w->bound = NULL;
    w->hash = NULL;
    w->shape = NULL;
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
    return w->shape ? w->shape->has(w->shape->ctx, name)
                    : gguf_tensor_find(w->g, name) != NULL;
}

/* The tensor of that name, or NULL.  One of a shape is what the binder expects, since it
 * can only be that: [n_expert][n_rows][n_in]. */
static const struct gguf_tensor *find_tensor(struct weights *w, const char *name,
                                             int n_expert, int n_rows, int n_in)
{
    if (w->shape) {
        w->shaped = (struct gguf_tensor){
            .name = name, .n_dims = 3, .ne = {n_in, n_rows, n_expert, 1}};
        return &w->shaped;
    }
    const struct gguf_tensor *t = gguf_tensor_find(w->g, name);
    if (t)
        w->bound[gguf_tensor_index(w->g, t)] = true;
    return t;
}

/* *out <- memory, NULL if it is planned; false if there is no more. */
static bool weights_take(void **out, struct weights *w, size_t bytes)
{
    *out = w->mem ? w->mem + w->used : NULL;
    w->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return w->used <= w->cap;
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
    void *tiles;
    if (!weights_take(&tiles, w, matrix_bytes(t->dtype, n_out, n_in)))
        return fail(err, STATUS_NO_MEMORY,
                    "%s: more weights than the file's tensors hold", t->name);
    *m = (struct matrix){.dtype = t->dtype, .n_out = n_out, .n_in = n_in, .tiles = tiles};
    w->n_param += (uint64_t)n_out * (uint64_t)n_in;
    if (w->planned)
        return STATUS_OK;
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
    if (w->shape) // too few bytes to count
        return STATUS_OK;
    find_tensor(w, companion(name, ".input_scale").text, 1, 1, 1);
    if (!t)
        return STATUS_OK;
    const int n = t->ne[0] == 1 ? 1 : n_expert;
    const enum status s = weights_vector(&values, w, scale.text, n, false, err);
    for (int i = 0; !s && values && i < n_expert; i++) {
        m[i].scaled = true;
        m[i].scale = values[n == 1 ? 0 : i];
    }
    return s;
}

enum status weights_experts(struct matrix *m, struct weights *w, const char *name,
                            int n_expert, int n_rows, int row, int n_out, int n_in,
                            struct error *err)
{
    const struct gguf_tensor *t = find_tensor(w, name, n_expert, n_rows, n_in);
    if (!t)
        return fail(err, STATUS_BAD_FILE, "tensor %s is missing", name);
    if (w->shape)
        w->shaped.dtype = w->shape->type(w->shape->ctx, name, n_in);
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

/* A tensor of n_row rows of n, those in any dimensions; `shape` says how that is told. */
static enum status load_floats(float **out, struct weights *w, const char *name,
                               int n_row, int n, const char *shape, bool optional,
                               struct error *err)
{
    *out = NULL;
    if (optional && !weights_has(w, name))
        return STATUS_OK;
    const struct gguf_tensor *t = find_tensor(w, name, 1, n_row, n);
    if (!t)
        return fail(err, STATUS_BAD_FILE, "tensor %s is missing", name);
    if (t->ne[0] != n || t->ne[1] * t->ne[2] * t->ne[3] != n_row)
        return fail(err, STATUS_BAD_FILE, "%s: expected %s[%d], file has %s", name, shape,
                    n, tensor_shape(t).text);
    const struct dtype_traits *traits = dtype_find(t->dtype);
    if (!is_float(t->dtype))
        return fail(err, STATUS_UNSUPPORTED, "%s: a vector of type %s is not supported",
                    name, traits->name);
    const size_t count = (size_t)n_row * (size_t)n;
    if (t->n_dims > 1 && count > TABLE_MAX)
        return fail(err, STATUS_UNSUPPORTED, "%s: a table of %zu values", name, count);
    void *to;
    if (!weights_take(&to, w, sizeof(float) * count))
        return fail(err, STATUS_NO_MEMORY,
                    "%s: more weights than the file's tensors hold", name);
    w->n_param += count;
    if (w->planned)
        return STATUS_OK;
    float *v = to;
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
    return load_floats(out, w, name, 1, n, "", optional, err);
}

enum status weights_table(float **out, struct weights *w, const char *name, int n_row,
                          int n, bool optional, struct error *err)
{
    char rows[24];
    snprintf(rows, sizeof rows, "[%d]", n_row);
    return load_floats(out, w, name, n_row, n, rows, optional, err);
}

void weights_ignore_layer(struct weights *w, int layer)
{
    const struct tensor_name prefix = tensor_name(layer, "");
    for (int i = 0; w->bound && i < gguf_n_tensors(w->g); i++)
        if (!strncmp(gguf_tensor_at(w->g, i)->name, prefix.text, strlen(prefix.text)))
            w->bound[i] = true;
}
