/* cmd_eval.c - what a compressed cache costs in quality: perplexity and, against the f16
 * cache, KL divergence and agreement of the most likely token.
 *
 * Windows follow llama.cpp's perplexity tool, so that figures compare: the text is one
 * row of ids cut into windows of --ctx; if the model asks for a bos, it replaces the
 * first id of each window; in each window position i in [ctx/2, ctx-1) predicts i + 1.
 * All caches are stepped together, a few rows at a time: nothing is kept but scores. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/mem.h"
#include "cli/calibrate.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "cli/models.h"
#include "engine/evaluate.h"

enum { TYPES_MAX = 16, ROWS = 64 };

static struct {
    const char *text, *tokens, *kv;
    int n_ctx, n_window, threads;
    enum cpu_isa isa;
    bool json;
} eval_args;

static const struct cli_option eval_options[] = {
    {"--text", CLI_STRING, &eval_args.text, 0, 0, "FILE  to predict"},
    {"--tokens", CLI_STRING, &eval_args.tokens, 0, 0,
     "FILE  token ids instead of a text"},
    {"--kv", CLI_STRING, &eval_args.kv, 0, 0,
     "LIST  of KV types, keys[/values]; default f16,turbo8,turbo4,turbo3,turbo2"},
    {"--ctx", CLI_INT, &eval_args.n_ctx, 4, 1 << 24, "N  tokens a window, default 2048"},
    {"--windows", CLI_INT, &eval_args.n_window, 1, 1 << 20, "N  at most, default 8"},
    {"--threads", CLI_INT, &eval_args.threads, 1, 256, "N  default: physical cores"},
    {"--cpu", CLI_CPU, &eval_args.isa, 0, 0,
     "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni, amx"},
    {"--json", CLI_FLAG, &eval_args.json, 0, 0, "one JSON object"},
    {NULL, CLI_FLAG, NULL, 0, 0, NULL},
};
static const struct cli_command eval_command = {
    "eval",
    "MODEL --text FILE",
    "perplexity and divergence of compressed caches",
    eval_options,
    1,
    1,
};

/* Cache 0 is the f16 reference; the others are those of the list. */
struct eval_run {
    struct engine engine;
    struct tokens ids;
    int n_cache, n_window;
    struct kv_types types[TYPES_MAX + 1];
    struct context *caches[TYPES_MAX + 1];
    struct eval_score *scores[TYPES_MAX + 1]; // [n_scored]
    size_t n_scored, n_done;
    double *p;       // [threads][n_vocab]
    double *scratch; // [n_scored]
    /* the rows at work */
    const float *logits[TYPES_MAX + 1]; // [ROWS][n_vocab]
    const int32_t *targets;             // [ROWS]
};

static enum status open_ids(struct eval_run *r, struct error *err)
{
    enum status s;
    if (eval_args.tokens) {
        s = measure_read_ids(&r->ids, eval_args.tokens,
                             model_hparams(r->engine.model)->n_vocab, err);
    } else {
        struct buf b;
        buf_init(&b, SIZE_MAX / 2);
        s = measure_read_file(&b, eval_args.text, err);
        if (!s)
            s = tokenizer_encode(r->engine.tokenizer, &r->ids, b.data ? b.data : "",
                                 b.len, NULL, TOKENIZER_ADD, err);
        buf_release(&b);
    }
    if (s)
        return s;
    const size_t n_ctx = (size_t)eval_args.n_ctx, n_window = r->ids.n / n_ctx;
    if (n_window == 0)
        return fail(err, STATUS_BAD_INPUT,
                    "%s has %zu tokens, less than one window of %d: use a smaller --ctx",
                    eval_args.tokens ? eval_args.tokens : eval_args.text, r->ids.n,
                    eval_args.n_ctx);
    r->n_window =
        n_window < (size_t)eval_args.n_window ? (int)n_window : eval_args.n_window;
    r->n_scored = (size_t)r->n_window * (n_ctx - 1 - n_ctx / 2);
    return STATUS_OK;
}

static enum status eval_open(struct eval_run *r, const char *path, struct error *err)
{
    char file[STORE_PATH_BYTES];
    enum status s;
    if ((s = measure_kv_list(r->types + 1, &r->n_cache, TYPES_MAX, eval_args.kv, err)) ||
        (s = kv_types_parse(&r->types[0], "f16", err)))
        return s;
    r->n_cache++;
    if ((s = models_path(file, path, err)))
        return s;
    s = engine_open(&r->engine, file, eval_args.text ? ENGINE_TEXT : ENGINE_ANY,
                    eval_args.threads, eval_args.isa, err);
    if (s || (s = open_ids(r, err)))
        return s;
    if ((s = cli_calibrate(&r->engine, "eval", r->types, r->n_cache, err)))
        return s;
    const size_t n_vocab = (size_t)model_hparams(r->engine.model)->n_vocab;
    r->p = mem_array((size_t)pool_threads(r->engine.pool) * n_vocab, sizeof *r->p);
    r->scratch = mem_array(r->n_scored, sizeof *r->scratch);
    bool memory = r->p && r->scratch;
    for (int i = 0; memory && i < r->n_cache; i++) {
        const struct context_options o = {.kv = r->types[i],
                                          .calibration = r->engine.calibration,
                                          .n_ctx = eval_args.n_ctx,
                                          .n_logits = ROWS};
        if ((s = context_open(&r->caches[i], r->engine.model, &o, err)))
            return s;
        r->scores[i] = mem_array(r->n_scored, sizeof *r->scores[i]);
        memory = r->scores[i];
    }
    if (!memory)
        return fail(err, STATUS_NO_MEMORY, "no memory for %zu scores", r->n_scored);
    return STATUS_OK;
}

static void eval_close(struct eval_run *r)
{
    for (int i = 0; i < r->n_cache; i++) {
        context_close(r->caches[i]);
        mem_free(r->scores[i]);
    }
    mem_free(r->p);
    mem_free(r->scratch);
    tokens_release(&r->ids);
    engine_close(&r->engine);
}

/* Score one row of all caches. */
static void score_item(void *ctx, int row, int thread)
{
    struct eval_run *r = ctx;
    const size_t n_vocab = (size_t)model_hparams(r->engine.model)->n_vocab;
    const size_t at = (size_t)row * n_vocab;
    struct eval_reference ref;
    eval_reference_init(&ref, r->logits[0] + at, r->p + (size_t)thread * n_vocab,
                        n_vocab);
    for (int i = 0; i < r->n_cache; i++)
        r->scores[i][r->n_done + (size_t)row] =
            eval_compare(&ref, r->logits[i] + at, r->targets[row]);
}

/* Tokens [at, at + n) of a window through every cache; logits too if `score`. */
static enum status step_caches(struct eval_run *r, const int32_t *ids, int n, bool score,
                               struct error *err)
{
    for (int i = 0; i < r->n_cache; i++) {
        const enum status s = context_eval(r->caches[i], ids, n, score ? n : 0,
                                           score ? &r->logits[i] : NULL, err);
        if (s)
            return s;
    }
    return STATUS_OK;
}

static void show_progress(int window, int n_window, int at)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rwindow %d of %d, %d of %d tokens ", window + 1, n_window, at,
                eval_args.n_ctx);
}

static enum status run_window(struct eval_run *r, int window, struct error *err)
{
    const int n_ctx = eval_args.n_ctx, first = n_ctx / 2;
    const struct tokenizer *t = r->engine.tokenizer;
    int32_t *ids = r->ids.id + (size_t)window * (size_t)n_ctx;
    if (eval_args.text && tokenizer_add_bos(t) && tokenizer_bos(t) >= 0)
        ids[0] = tokenizer_bos(t);
    for (int i = 0; i < r->n_cache; i++)
        context_reset(r->caches[i]);
    show_progress(window, r->n_window, 0);
    enum status s = step_caches(r, ids, first, false, err);
    for (int at = first; !s && at < n_ctx - 1; at += ROWS) {
        const int n = n_ctx - 1 - at < ROWS ? n_ctx - 1 - at : ROWS;
        show_progress(window, r->n_window, at);
        if ((s = step_caches(r, ids + at, n, true, err)))
            break;
        r->targets = ids + at + 1;
        pool_run(r->engine.pool, n, score_item, r);
        r->n_done += (size_t)n;
    }
    return s;
}

static void print_table(const struct eval_run *r, const struct eval_summary *sum)
{
    printf("%zu predictions: %d windows of %d tokens, from position %d\n", r->n_scored,
           r->n_window, eval_args.n_ctx, eval_args.n_ctx / 2);
    printf("%-14s %6s %10s %9s %8s %10s %10s %10s %10s %8s\n", "kv", "bits", "cache MiB",
           "PPL", "/ f16", "KL mean", "median", "99 %", "99.9 %", "same top");
    for (int i = 0; i < r->n_cache; i++) {
        char name[KV_NAME_BYTES];
        const struct eval_summary *x = &sum[i];
        printf("%-14s %6.3f %10.2f %9.4f %8.5f", kv_types_name(name, &r->types[i]),
               measure_bits(r->engine.model, &r->types[i]),
               (double)measure_cache_bytes(r->caches[i]) / 0x1p20, x->ppl,
               x->ppl / sum[0].ppl);
        if (i == 0)
            puts("  (reference)");
        else
            printf(" %10.3e %10.3e %10.3e %10.3e %6.2f %%\n", x->kl_mean, x->kl_median,
                   x->kl_99, x->kl_999, 100 * x->same_top);
    }
}

static json_t *json_cache(const struct eval_run *r, const struct eval_summary *sum, int i)
{
    char name[KV_NAME_BYTES];
    const struct eval_summary *x = &sum[i];
    json_t *o =
        json_pack("{s:s, s:f, s:I, s:f}", "kv", kv_types_name(name, &r->types[i]), "bits",
                  measure_bits(r->engine.model, &r->types[i]), "cache_bytes",
                  (json_int_t)measure_cache_bytes(r->caches[i]), "ppl", x->ppl);
    json_t *kl = i == 0 ? NULL
                        : json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "ppl_ratio",
                                    x->ppl / sum[0].ppl, "kl_mean", x->kl_mean,
                                    "kl_median", x->kl_median, "kl_99", x->kl_99,
                                    "kl_999", x->kl_999, "same_top", x->same_top);
    json_object_update(o, kl);
    json_decref(kl);
    return o;
}

static enum status print_json(const struct eval_run *r, const struct eval_summary *sum,
                              const char *path, struct error *err)
{
    json_t *caches = json_array();
    for (int i = 1; i < r->n_cache; i++)
        json_array_append_new(caches, json_cache(r, sum, i));
    json_t *o = json_pack(
        "{s:s, s:s, s:i, s:i, s:I, s:i, s:s, s:o, s:o}", "model", path, "text",
        eval_args.tokens ? eval_args.tokens : eval_args.text, "ctx", eval_args.n_ctx,
        "windows", r->n_window, "scored", (json_int_t)r->n_scored, "threads",
        pool_threads(r->engine.pool), "isa", cpu_isa_name(eval_args.isa), "reference",
        json_cache(r, sum, 0), "caches", caches);
    return measure_print_json(o, err);
}

static enum status run_eval(const char *path, struct error *err)
{
    struct eval_run r = {0};
    tokens_init(&r.ids);
    enum status s = eval_open(&r, path, err);
    for (int w = 0; !s && w < r.n_window; w++)
        s = run_window(&r, w, err);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%40s\r", "");
    if (!s) {
        struct eval_summary sum[TYPES_MAX + 1];
        for (int i = 0; i < r.n_cache; i++)
            sum[i] = eval_summarise(r.scores[i], r.scratch, r.n_scored);
        if (eval_args.json)
            s = print_json(&r, sum, path, err);
        else
            print_table(&r, sum);
    }
    eval_close(&r);
    if (!s && fflush(stdout))
        s = fail(err, STATUS_IO, "cannot write to standard output");
    return s;
}

int cmd_eval(int argc, char **argv)
{
    const char *path;
    eval_args.kv = "f16,turbo8,turbo4,turbo3,turbo2";
    eval_args.n_ctx = 2048;
    eval_args.n_window = 8;
    eval_args.isa = cpu_detect();
    const int rc = cli_parse(&eval_command, argc, argv, &path);
    if (rc >= 0)
        return rc;
    if (!eval_args.text == !eval_args.tokens)
        return measure_usage(&eval_command, "give one of --text and --tokens");
    struct error err;
    return run_eval(path, &err) ? cli_fail(&eval_command, &err) : CLI_OK;
}
