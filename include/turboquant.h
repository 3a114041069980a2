/* turboquant.h - compressed key-value caches for attention.
 *
 * A codec describes how one role (keys or values) of one attention head is stored:
 * a type and a head dimension d.  Tokens live in pages of TQ_PAGE_TOKENS.  The page is
 * the unit of encoding; its bytes are specified in docs/format.md.
 *
 * The compressed types work in a rotated basis: the caller rotates every key, value and
 * query row once (tq_rotate) and turns the attention output back once (tq_unrotate).
 * Exact (f16, f32) pages may hold rotated or plain rows; the codec does not care.
 *
 * d = 576, the latent of multi-head latent attention, is two vectors with scales of their
 * own: channels 0 .. 511 and 512 .. 575.  A compressed page is that of a head of 512,
 * then that of one of 64 of the same role.  Values, which are the first 512, are read
 * from the key page: latent in struct tq_cache.
 *
 * Nothing here allocates, logs or keeps global state.  Threads may share what a function
 * takes as const (codecs, queries, pages), but not what it writes, scratch included.  For
 * a fixed machine and build every output row is a pure function of its own inputs: it
 * does not depend on how many rows, queries or tokens are processed in one call. */
#ifndef TURBOQUANT_H
#define TURBOQUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TQ_API __attribute__((visibility("default")))

/* Conventions.  Shapes are in C order, slowest first: x [n][d] is n rows of d, one after
 * the other.  Unless said otherwise arrays are aligned to their element, pages lie at any
 * even address, and what is written overlaps nothing else.  Only functions that return
 * bool refuse their arguments; the others do not check them and cannot fail.
 *
 * Binary interface: a program runs with every later library of the same soname,
 * libturboquant.so.0; whatever breaks one, or the bytes of a page, raises the number. */

enum { TQ_PAGE_TOKENS = 64, TQ_TILE_TOKENS = 16, TQ_DIM_MAX = 576 };

enum tq_type {
    TQ_F32,
    TQ_F16,
    TQ_TURBO8, // int8, two's complement, one f16 scale a row
    TQ_TURBO4, // 8-state tail-biting trellis, 4 bits a value, one f16 scale a row
    TQ_TURBO3,
    TQ_TURBO2,
    TQ_MSE4, // TurboQuant_mse of the paper: Lloyd-Max levels, one f16 norm a row
    TQ_MSE3,
    TQ_MSE2,
    TQ_PROD4, // TurboQuant_prod: 3 bits of mse, 1 of QJL on the residual; keys only
    TQ_PROD3,
    TQ_PROD2,
    TQ_MIX3_5, // two halves of the channels: mse of 4 bits and of 3
    TQ_MIX2_5,
    TQ_Q8_0, // llama.cpp's blocks of 32, rotated
    TQ_Q4_0,
    TQ_TYPE_COUNT
};

enum tq_role { TQ_KEY, TQ_VALUE };

/* Highest instruction set that a codec may use; TQ_ISA_BEST is what the CPU has.  Each
 * architecture counts its own from 1. */
enum tq_isa {
    TQ_ISA_C,
    TQ_ISA_AVX2,
    TQ_ISA_AVXVNNI,
    TQ_ISA_AVX512,     // F, BW, DQ, VL
    TQ_ISA_AVX512VNNI, // and VNNI, VBMI
    TQ_ISA_NEON = 1,
    TQ_ISA_DOTPROD,
    TQ_ISA_BEST = 255
};

/* "turbo4", static; aliases of other projects (tbq4, tq4_0, turbo4_0, turbo3_tcq ...)
 * parse too.  tq_type_parse returns false and leaves *out alone for an unknown name. */
TQ_API const char *tq_type_name(enum tq_type t);
TQ_API bool tq_type_parse(enum tq_type *out, const char *name);

/* Compressed types need rotated rows and pages encoded from exact ones. */
TQ_API bool tq_type_compressed(enum tq_type t);

/* 64, 80, 96, 112, 128, 192, 256, 512 and 576. */
TQ_API bool tq_dim_supported(int d);

/* Whether tq_codec_init accepts these: a compressed type needs tq_dim_supported(d), an
 * exact one 1 <= d <= TQ_DIM_MAX; q8_0 and q4_0 need d % 32 == 0, prod needs TQ_KEY. */
TQ_API bool tq_type_supported(enum tq_type t, enum tq_role role, int d);

/* Whether attention can read values of dv channels, the first of keys of dk, from the key
 * pages, with a codec of type t, TQ_VALUE, dv: exact types can if 1 <= dv <= dk,
 * compressed ones, except prod, at dk = 576 and dv = 512. */
TQ_API bool tq_latent_supported(enum tq_type t, int dk, int dv);

/* Bytes of one token: 4d, 2d, 2 + d * bits / 8 (turbo4 at d = 128: 66); with 4 for 2 in
 * prod and mix; d / 32 * (2 + 4 bits) for q8_0 and q4_0.  576: 512 and 64 together, if
 * compressed. */
TQ_API size_t tq_row_bytes(enum tq_type t, int d);
/* TQ_PAGE_TOKENS rows; there is no padding. */
TQ_API size_t tq_page_bytes(enum tq_type t, int d);

struct tq_kernels;

/* Caller-owned and immutable after tq_codec_init; the fields are private. */
struct tq_codec {
    enum tq_type type;
    enum tq_role role;
    int d;
    const struct tq_kernels *kernels;
    const uint16_t *order; // [d] of mix types, or NULL
    uint64_t seed;         // of the sign matrix of prod types
};

/* false, and *c untouched, if tq_type_supported says no. */
TQ_API bool tq_codec_init(struct tq_codec *c, enum tq_type t, enum tq_role role, int d,
                          enum tq_isa limit);

/* Channel order of a mix type: channels order[0 .. d/2-1] get the higher rate; without it
 * channels d/2 .. d-1 do, the slow ones of interleaved RoPE.  The array is the caller's
 * and must outlive the codec; rows, queries and pages of one head must use one order.
 * false if it is no permutation of 0 .. d-1 or the type is not mix.  tq_order_by_energy
 * fills order[d] by descending energy[d], equal ones by ascending channel; NaN counts as
 * zero.  At d = 576 each part has an order of its channels: first one of 0 .. 511, then
 * one of 512 .. 575. */
TQ_API bool tq_codec_set_order(struct tq_codec *c, const uint16_t *order);
TQ_API void tq_order_by_energy(uint16_t *order, const float *energy, int d);

/* Rotation: x <- R x and x <- R' x for n rows of d, in place.  R is orthogonal: fixed
 * signs, then the Hadamard matrix of order d, over sqrt(d); mix types first reorder the
 * channels and then rotate each half by itself.  The two parts of 576 never mix.
 * Source: TurboQuant, arXiv 2504.19874, with the random matrix replaced. */
TQ_API void tq_rotate(const struct tq_codec *c, float *x, int n);
TQ_API void tq_unrotate(const struct tq_codec *c, float *x, int n);

/* Mean and scale of each channel of one head, in the rotated basis; scale > 0.  NULL is 0
 * for all means, 1 for all scales.  The arrays [d] are the caller's.
 *
 * Keys and values are seldom centred: a mean far from zero, as that of keys with a bias,
 * would eat the few levels of a code.  So store (R x - mean) / scale: every row of a
 * head's cache, in exact pages as in compressed ones.  Attention then needs only
 *
 *   keys     tq_affine_query on the rotated queries, which undoes the scale.  All scores
 *            of a query are less than they were by one number, q . mean, and softmax
 *            does not see that.
 *   values   tq_affine_output on what tq_finish gave, before tq_unrotate: weights sum to
 *            1, so the mean comes back whole.
 *
 * Where scores meet something that is not a stored key, add what they lost: the scores
 * that tq_attend sees are those of the plain keys less s = scale of tq_query_load times
 * tq_affine_shift.  A soft cap belongs on score + s (struct tq_cache).  A sink logit z
 * enters as a partial result {m = z - s, l = 1, o = the zero row after tq_affine_rows of
 * the values}. */
struct tq_affine {
    const float *mean, *scale;
};

/* x <- (x - mean) / scale for n rotated rows x [n][d], in place. */
TQ_API void tq_affine_rows(const struct tq_affine *a, float *x, int n, int d);
/* q <- q * scale for n rotated queries q [n][d], in place. */
TQ_API void tq_affine_query(const struct tq_affine *a, float *q, int n, int d);
/* x <- x * scale + mean for n rows of output x [n][d], in place. */
TQ_API void tq_affine_output(const struct tq_affine *a, float *x, int n, int d);
/* q . mean of a rotated query q [d], before tq_affine_query. */
TQ_API float tq_affine_shift(const struct tq_affine *a, const float *q, int d);

/* Store row x[d] as token `slot`, below TQ_PAGE_TOKENS, of a page of an exact type; the
 * rest of the page stays as it is.  Finite values beyond the
 * f16 range saturate; NaN and infinity stay what they are. */
TQ_API void tq_put(const struct tq_codec *c, void *page, int slot, const float *x);

/* Bytes of scratch that tq_encode needs for any type at d; any alignment. */
TQ_API size_t tq_encode_scratch_bytes(int d);

/* Encode a full page.
 *
 *   page     tq_page_bytes(c->type, c->d)     written
 *   exact    page of TQ_F16, same role and d, rows rotated
 *   scratch  tq_encode_scratch_bytes(c->d)    any alignment
 *
 * c must be of a compressed type.  Rows do not influence each other.  A row that contains
 * NaN or infinity, or is all zero, is stored as the zero vector.  Returns how many rows
 * were not finite.
 *
 * Sources: mse and prod, TurboQuant, arXiv 2504.19874, algorithms 1 and 2; turbo4 to
 * turbo2, Marcellin and Fischer 1990.  Bytes: docs/format.md. */
TQ_API int tq_encode(const struct tq_codec *c, void *page, const void *exact,
                     void *scratch);

/* x [TQ_PAGE_TOKENS][d] <- the rows of a page of c, in the basis they were stored in. Any
 * bytes decode to something finite or to what an exact page held. */
TQ_API void tq_decode(const struct tq_codec *c, float *x, const void *page);

/* A set of query rows of one kv head, prepared for scoring: in decode the query heads of
 * the group, in prefill those of a block of tokens.  Memory is the caller's. */
struct tq_query {
    int n, n_cap, d;
    int most;        // the largest |hi| of a row that is not zero
    float *x;        // [n][d], scaled
    int8_t *hi, *lo; // [n][d], limbs: x = step * (hi + lo / 128)
    float *step;     // [n]
    int32_t *sum_hi; // [n], sum of hi over d, and of lo
    int32_t *sum_lo; // [n]
    float *sx;       // [n][d], S x of prod keys; else unused
    /* d = 576: hi, lo and sx are [n_cap][512], then [n_cap][64]; step and sums are
     * [2][n_cap], one for each part. */
};

/* Bytes of memory for n_cap queries. */
TQ_API size_t tq_query_bytes(int d, int n_cap);
/* mem: tq_query_bytes(d, n_cap), 64-byte aligned; it must outlive the query. */
TQ_API void tq_query_init(struct tq_query *q, void *mem, int d, int n_cap);
/* Load n <= n_cap rows x [n][d] (row stride in floats), each multiplied by scale, in the
 * basis of the keys, in place of those loaded before.  k is the codec of the compressed
 * pages of a cache, for its exact pages too.  A row with NaN or infinity becomes NaN. */
TQ_API void tq_query_load(const struct tq_codec *k, struct tq_query *q, const float *x,
                          size_t stride, int n, float scale);

/* Scores of one key page, without softmax: for searches by inner product.
 *
 *   score    [q->n][TQ_PAGE_TOKENS]           written
 *   q        loaded with k
 *   page     tq_page_bytes(k->type, k->d)     read, all of it
 *   scratch  tq_attend_scratch_bytes(k->d, q->n), 64-byte aligned
 *
 * score[i][j] is the inner product of query i, as it was loaded, with key j, both in the
 * basis of the page; it does not depend on the other queries.  A query with NaN or
 * infinity has NaN for every score.  Error and clamping: docs/numerics.md, 1.3. */
TQ_API void tq_score(const struct tq_codec *k, float *score, const struct tq_query *q,
                     const void *page, void *scratch);

/* Running softmax of n queries: weights are exp(score - m), l their sum, o the weighted
 * sum of value rows.  o rows are 64-byte aligned if o is and d % 16 == 0. */
struct tq_partial {
    float *m; // [n]
    float *l; // [n]
    float *o; // [n][d of values]
};

/* Nothing attended: m <- minus infinity, l and o <- 0 for n queries and values of d. */
TQ_API void tq_partial_reset(struct tq_partial *p, int n, int d);

/* Bytes of scratch for tq_attend and tq_score, with any types, head dimensions up to
 * d_max and at most n queries; 64-byte aligned. */
TQ_API size_t tq_attend_scratch_bytes(int d_max, int n);

/* Attend every query i to the tokens [lo, hi[i]) of one page and update p.
 *
 *   k, v          codecs of the two pages, of any types, independent of each other
 *   vpage         or NULL: values are the first v->d channels of kpage, a page of keys; v
 *                 has the type of k, and tq_latent_supported(k->type, k->d, v->d)
 *   kpage, vpage  only the 16-token tiles that hold tokens below max(hi) are read, and of
 *                 an exact value page only the rows below max(hi)
 *   hi            [q->n], each <= TQ_PAGE_TOKENS; hi[i] <= lo leaves query i unchanged
 *   scratch       tq_attend_scratch_bytes of the larger d, 64-byte aligned
 *
 * The output of a query with NaN or infinity is NaN; values are in the basis of vpage.
 * Order of operations, the same for every n: 16 scores a tile, page maximum, weights,
 * sum of weights by lanes then tree, values in token order.  Errors: docs/numerics.md.
 * Source of the running softmax: Milakov and Gimelshein, arXiv 1805.02867. */
TQ_API void tq_attend(const struct tq_codec *k, const struct tq_codec *v,
                      struct tq_partial *p, const struct tq_query *q, const void *kpage,
                      const void *vpage, int lo, const uint8_t *hi, void *scratch);

/* into <- into (+) from, for n queries and values of d: attention to the tokens of both.
 * A partial result of no token changes nothing.  Rounding depends on the order of merges:
 * where equal bits matter, use the tree below. */
TQ_API void tq_merge(struct tq_partial *into, const struct tq_partial *from, int n,
                     int d);

/* out [n][d] (row stride in floats) <- o / l; zero where l is 0, that is for a query that
 * saw no token. */
TQ_API void tq_finish(const struct tq_partial *p, float *out, size_t stride, int n,
                      int d);

/* ---- attention over a whole cache ----
 *
 * TQ_LEAF_TOKENS tokens at absolute positions make a leaf, whose pages are visited in
 * order.  Leaves are merged in a balanced tree over their numbers: node i of level k is
 * the merge of nodes 2 i and 2 i + 1 of level k - 1, or the first of them if there is no
 * other.  So the work can be cut between leaves anywhere, for threads or for machines,
 * and the result has the same bits.  That is so with a window too: leaves before it hold
 * nothing and take no time, but they are leaves of the tree. */
enum { TQ_LEAF_TOKENS = 1024, TQ_TREE_NODES = 48 };

/* The cache of one kv head.  Page i holds the tokens 64 i .. 64 i + 63; its keys are at
 * base + stride * (table ? table[i] : i) + k_offset, its values at v_offset.
 *
 * Some tokens can be read from exact pages instead, which hold rows in the same basis
 * (zero, where there are none): the first n_sink (at most 64) from sink_k and sink_v,
 * which hold at least these tokens in the slots of a page, and whole pages from
 * exact_page on from exact_kpages[page - exact_page] and exact_vpages.
 *
 * With a window > 0 a query that sees n tokens attends to the last `window` of them only:
 * to token j iff n - window <= j < n, sinks included.  Pages and sinks that no query of a
 * call attends to are not read, nor their entries of exact_kpages and exact_vpages, so
 * they need not exist; nor do entries of table before the first page that one attends
 * to.
 *
 * With a softcap c > 0 a score s becomes c tanh(s / c) before softmax.  Where keys are
 * stored without their means, shift [n of the queries of the call] (NULL: zeros) is what
 * that took from each query's scores (s of tq_affine); it is added inside tanh, and
 * scores are whole afterwards.
 *
 * In a latent cache the values of a token are the first v->d channels of its key, in the
 * rotated basis too.  Everything is stored once, as keys: v_offset, sink_v and
 * exact_vpages are not used, v has the type of k and exact_v that of exact_k, both
 * tq_latent_supported; tq_unrotate of v turns the output, tq_affine_output takes the
 * means of the keys, and a mix type the first v->d of their channel order.  Bits are
 * those of separate value pages with the same rows, up to what tells keys from values of
 * turbo4, turbo3 and turbo2 (docs/numerics.md, 1.5). */
struct tq_cache {
    const struct tq_codec *k, *v;
    const void *base;
    size_t stride;
    const int32_t *table;
    size_t k_offset, v_offset;
    const struct tq_codec *exact_k, *exact_v;
    int n_sink;
    int window; // 0: none
    const void *sink_k, *sink_v;
    int exact_page;
    const void *const *exact_kpages, *const *exact_vpages;
    bool latent;
    float softcap; // 0: none
    const float *shift;
};

/* Bytes of scratch, 64-byte aligned, for at most n queries, head dimensions up to d_max
 * (of keys and of values) and n_token tokens.  With n_token = 0: for
 * tq_attend_leaves. */
TQ_API size_t tq_attention_scratch_bytes(int d_max, int n, int n_token);

/* One call for the queries of a step.
 *
 *   out      [q->n][d of values] (row stride in floats)  written, in the basis of the
 *            stored rows
 *   lse      [q->n] or NULL, log of the sum of exp(score)   written
 *   n_token  that every query sees, from token 0 on; seen [q->n] that each sees, >= 0
 *
 * A query that sees nothing gives zeros and -infinity.  One with NaN gives NaN.  Bits do
 * not depend on which queries go together.  Source: FlashAttention-2,
 * arXiv 2307.08691, for the merging; docs/numerics.md. */
TQ_API void tq_attention_decode(const struct tq_cache *c, float *out, size_t stride,
                                float *lse, const struct tq_query *q, int n_token,
                                void *scratch);
TQ_API void tq_attention_prefill(const struct tq_cache *c, float *out, size_t stride,
                                 float *lse, const struct tq_query *q,
                                 const int32_t *seen, void *scratch);

/* The same in pieces.  A tree holds the merge of the leaves first .. next_leaf - 1 for n
 * queries, as the few nodes that have no sibling among them. */
struct tq_node {
    int level, leaf; // leaves leaf .. leaf + 2^level - 1
    struct tq_partial partial;
};

struct tq_tree {
    int n, d;
    int next_leaf;
    int n_node;
    struct tq_node node[TQ_TREE_NODES];
};

/* Leaves of n_token tokens. */
TQ_API int tq_count_leaves(int n_token);

/* mem: tq_tree_bytes of the same arguments, 64-byte aligned.  The tree is empty, its
 * first leaf will be leaf0, and it has room for n_leaf. */
TQ_API size_t tq_tree_bytes(int n, int d, int leaf0, int n_leaf);
TQ_API void tq_tree_init(struct tq_tree *t, void *mem, int n, int d, int leaf0,
                         int n_leaf);

/* Add the leaves t->next_leaf .. leaf_end - 1 of queries that see n_token tokens or, if
 * seen is not NULL, seen[i] <= n_token of them. */
TQ_API void tq_attend_leaves(struct tq_tree *t, const struct tq_cache *c,
                             const struct tq_query *q, int n_token, const int32_t *seen,
                             int leaf_end, void *scratch);

/* Add the leaves of `from`, the first of which is into->next_leaf. */
TQ_API void tq_tree_append(struct tq_tree *into, const struct tq_tree *from);

/* The result of a tree from leaf 0 on, as above; the tree is empty afterwards. */
TQ_API void tq_tree_finish(struct tq_tree *t, float *out, size_t stride, float *lse);

#ifdef __cplusplus
}
#endif

#endif
