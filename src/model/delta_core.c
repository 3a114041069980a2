#include "model/delta_core.h"

#include <math.h>
#include <string.h>

#include "tensor/linear.h"

enum {
    CHANNELS = 2048, // of the convolution in an item
    ROWS = 32,       // of a head's state in an item: they stay in the first-level cache
};

int delta_channels(const struct hparams *hp)
{
    const struct linear_params *l = &hp->linear;
    return 2 * l->n_key_head * l->d_k + l->n_value_head * l->d_v;
}

static size_t conv_values(const struct hparams *hp)
{
    return (size_t)(hp->linear.n_tap - 1) * (size_t)delta_channels(hp);
}

size_t delta_state_bytes(const struct hparams *hp)
{
    const struct linear_params *l = &hp->linear;
    return sizeof(float) *
           (conv_values(hp) + (size_t)l->n_value_head * (size_t)l->d_v * (size_t)l->d_k);
}

enum kv_store delta_store(const struct model *m, int layer)
{
    (void)m, (void)layer;
    return KV_STATE;
}

enum status delta_need(struct state_need *out, const struct model *m, int layer,
                       const struct kv_types *types, int n_ctx, struct error *err)
{
    (void)layer, (void)types, (void)n_ctx, (void)err;
    *out = (struct state_need){.seq_bytes = delta_state_bytes(&m->hp)};
    return STATUS_OK;
}

void delta_work(struct token_work *sum, const struct hparams *hp)
{
    const struct linear_params *l = &hp->linear;
    sum->cache_bytes += 2 * delta_state_bytes(hp); // read and written
    sum->macs += (uint64_t)l->n_tap * (uint64_t)delta_channels(hp) +
                 3 * (uint64_t)l->n_value_head * (uint64_t)l->d_v * (uint64_t)l->d_k;
}

/* Channels of the range of an item. */
static int range_width(int n_channel, int from)
{
    return n_channel - from < CHANNELS ? n_channel - from : CHANNELS;
}

void delta_transpose(float *weight, int n_channel, int from, const float *tensor, int n,
                     int n_tap)
{
    for (int i = 0; tensor && i < n; i++) {
        const int range = (from + i) / CHANNELS * CHANNELS;
        const int width = range_width(n_channel, range);
        for (int t = 0; t < n_tap; t++)
            weight[range * n_tap + t * width + (from + i - range)] =
                tensor[i * n_tap + t];
    }
}

static size_t carve_delta(struct delta_core *d, uint8_t *base, const struct context *c,
                          int n_decay)
{
    const struct hparams *hp = &c->m->hp;
    const struct linear_params *l = &hp->linear;
    const size_t n_tok = (size_t)c->n_batch, n_channel = (size_t)delta_channels(hp);
    const size_t n_value = (size_t)l->n_value_head;
    const size_t n_thread = (size_t)pool_threads(c->m->pool);
    struct carve v = {base, 0};
    d->u = carve_take(&v, n_tok * n_channel, sizeof(float));
    d->y = carve_take(&v, n_tok * n_channel, sizeof(float));
    d->decay = carve_take(&v, n_tok * n_value * (size_t)n_decay, sizeof(float));
    d->beta = carve_take(&v, n_tok * n_value, sizeof(float));
    d->out = carve_take(&v, n_tok * n_value * (size_t)l->d_v, sizeof(float));
    d->window = carve_take(&v, n_thread * (size_t)l->n_tap, CHANNELS * sizeof(float));
    return v.used;
}

size_t delta_core_bytes(const struct context *c, int n_decay)
{
    struct delta_core d;
    return carve_delta(&d, NULL, c, n_decay);
}

static float *state_of(const struct delta_core *d, const struct run *r)
{
    return (float *)(void *)(kv_seq_state(r->seq->kv) + d->c->state_offset[d->layer]);
}

void delta_core_open(struct delta_core *d, struct context *c, const struct step *s,
                     int layer, int n_decay, void *mem)
{
    *d = (struct delta_core){
        .c = c,
        .s = s,
        .layer = layer,
        .n_channel = delta_channels(&c->m->hp),
        .n_decay = n_decay,
    };
    carve_delta(d, mem, c, n_decay);
    for (int i = 0; i < s->n_run; i++)
        if (s->runs[i].pos == 0)
            memset(state_of(d, &s->runs[i]), 0, delta_state_bytes(&c->m->hp));
}

/* ---- convolution ---- */

static const struct run *run_of(const struct step *s, int row)
{
    int low = 0, high = s->n_run - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (s->runs[middle].row <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return &s->runs[low];
}

/* Channels [from, from + n) of the input t tokens after the first of a run; those before
 * it are in the state, oldest first. */
static const float *input_at(const struct delta_core *d, const struct run *r, int t,
                             int from)
{
    const int n_before = d->c->m->hp.linear.n_tap - 1;
    const size_t n_channel = (size_t)d->n_channel;
    return t < 0 ? state_of(d, r) + (size_t)(n_before + t) * n_channel + from
                 : d->u + (size_t)(r->row + t) * n_channel + from;
}

static int count_ranges(const struct delta_core *d)
{
    return (d->n_channel + CHANNELS - 1) / CHANNELS;
}

static void conv_item(void *ctx, int item, int thread)
{
    const struct delta_core *d = ctx;
    const int n_tap = d->c->m->hp.linear.n_tap, n_range = count_ranges(d);
    const int row = item / n_range, from = item % n_range * CHANNELS;
    const int n = range_width(d->n_channel, from);
    const struct run *r = run_of(d->s, row);
    const int first = row - r->row - (n_tap - 1);
    const float *window = input_at(d, r, first, from);
    size_t stride = (size_t)d->n_channel;
    float *own = d->window + (size_t)thread * (size_t)n_tap * CHANNELS;
    if (first < 0) { // some of it is in the state
        for (int t = 0; t < n_tap; t++)
            memcpy(own + (size_t)t * CHANNELS, input_at(d, r, first + t, from),
                   (size_t)n * sizeof *own);
        window = own;
        stride = CHANNELS;
    }
    op_conv_silu(d->c->m->kernels, d->y + (size_t)row * (size_t)d->n_channel + from,
                 window, stride, d->conv + from * n_tap, n_tap, n);
}

/* The state's inputs become the last of the run. */
static void keep_item(void *ctx, int i, int thread)
{
    (void)thread;
    const struct delta_core *d = ctx;
    const struct run *r = &d->s->runs[i];
    const int n_before = d->c->m->hp.linear.n_tap - 1;
    const size_t n_channel = (size_t)d->n_channel;
    float *state = state_of(d, r);
    for (int t = 0; t < n_before; t++) // in rising order, so that moves read ahead
        memmove(state + (size_t)t * n_channel, input_at(d, r, r->n - n_before + t, 0),
                n_channel * sizeof *state);
}

/* ---- heads ---- */

static void norm_item(void *ctx, int row, int thread)
{
    (void)thread;
    const struct delta_core *d = ctx;
    const struct hparams *hp = &d->c->m->hp;
    const struct linear_params *l = &hp->linear;
    float *q = d->y + (size_t)row * (size_t)d->n_channel;
    const float scale = 1.0f / sqrtf((float)l->d_k);
    for (int h = 0; h < 2 * l->n_key_head; h++, q += l->d_k) // queries, then keys
        op_l2_norm(d->c->m->kernels, q, q, l->d_k, hp->rms_eps,
                   h < l->n_key_head ? scale : 1.0f);
}

static int row_blocks(const struct linear_params *l)
{
    return (l->d_v + ROWS - 1) / ROWS;
}

/* Some rows of the state of one head, through all tokens of a run. */
static void step_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct delta_core *d = ctx;
    const struct hparams *hp = &d->c->m->hp;
    const struct linear_params *l = &hp->linear;
    const int n_block = row_blocks(l), block = item % n_block;
    const int head = item / n_block % l->n_value_head;
    const struct run *r = &d->s->runs[item / (n_block * l->n_value_head)];
    const int row0 = block * ROWS, n_row = l->d_v - row0 < ROWS ? l->d_v - row0 : ROWS;
    const int key_head = d->map == HEADS_TILED ? head % l->n_key_head
                                               : head / (l->n_value_head / l->n_key_head);
    float *state = state_of(d, r) + conv_values(hp) +
                   ((size_t)head * (size_t)l->d_v + (size_t)row0) * (size_t)l->d_k;
    for (int t = 0; t < r->n; t++) {
        const size_t tok = (size_t)(r->row + t);
        const size_t at = tok * (size_t)l->n_value_head + (size_t)head;
        const float *q = d->y + tok * (size_t)d->n_channel + key_head * l->d_k;
        const float *k = q + l->n_key_head * l->d_k;
        const float *v = d->y + tok * (size_t)d->n_channel + 2 * l->n_key_head * l->d_k +
                         head * l->d_v + row0;
        op_delta_step(d->c->m->kernels, state, d->out + at * (size_t)l->d_v + row0, q, k,
                      v, d->decay + at * (size_t)d->n_decay, d->n_decay, d->beta[at],
                      l->d_k, n_row);
    }
}

void delta_core_run(struct delta_core *d)
{
    struct pool *pool = d->c->m->pool;
    const struct linear_params *l = &d->c->m->hp.linear;
    const int n_tok = d->s->n_tok;
    pool_run(pool, n_tok * count_ranges(d), conv_item, d);
    pool_run(pool, d->s->n_run, keep_item, d);
    pool_run(pool, n_tok, norm_item, d);
    pool_run(pool, d->s->n_run * l->n_value_head * row_blocks(l), step_item, d);
}
