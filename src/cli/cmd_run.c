/* cmd_run.c - turbine run: one answer, or a chat. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/calibrate.h"
#include "cli/environment.h"
#include "cli/models.h"
#include "cli/run.h"

enum { CTX_DEFAULT = 8192, PROMPT_MAX = 64 << 20 };

/* Below zero, 0 (ctx, threads, max_tokens) or NULL: the model's, else the default. */
struct run_options {
    const char *kv, *system;
    int ctx, tail, threads, seed, top_k, max_tokens;
    int n_mark; // checkpoints of the session
    double temp, top_p, min_p, repeat_penalty;
    bool raw;
    enum cpu_isa cpu;
};

/* The prompt: PROMPT itself, or stdin for "-". */
static enum status read_prompt(struct buf *b, const char *arg, struct error *err)
{
    char block[4096];
    size_t n;
    if (strcmp(arg, "-"))
        buf_puts(b, arg);
    else
        while (!b->failed && (n = fread(block, 1, sizeof block, stdin)))
            buf_append(b, block, n);
    if (ferror(stdin))
        return fail(err, STATUS_IO, "cannot read standard input");
    if (b->failed)
        return fail(err, STATUS_LIMIT, "the prompt is larger than %d MiB",
                    PROMPT_MAX >> 20);
    if (!b->len)
        return fail(err, STATUS_BAD_INPUT, "the prompt is empty");
    return STATUS_OK;
}

static enum status make_prompt(struct run *r, const struct buf *text, struct tokens *out,
                               struct error *err)
{
    if (r->raw)
        return tokenizer_encode(r->engine.tokenizer, out, text->data, text->len, NULL,
                                TOKENIZER_SPECIAL | TOKENIZER_ADD, err);
    struct chat c;
    struct chat_stable stable;
    enum status s = run_start_chat(r, &c, err);
    if (!s)
        s = chat_add(&c, "user", text->data, text->len, err);
    if (!s)
        s = chat_prompt(&c, out, &stable, err);
    chat_close(&c);
    return s;
}

static int run_once(struct run *r, const char *arg)
{
    struct error err;
    struct session_stats stats;
    struct tokens prompt;
    struct buf text;
    int rc = CLI_FAILED;
    tokens_init(&prompt);
    buf_init(&text, PROMPT_MAX);
    if (read_prompt(&text, arg, &err) || make_prompt(r, &text, &prompt, &err))
        goto out;
    run_catch_interrupts(true);
    if (run_answer(r, &prompt, NULL, NULL, &stats, &err))
        goto out;
    putchar('\n');
    run_print_stats(r, &stats);
    rc = CLI_OK;
    /* The statistics are out: end as the shell expects of an interrupted program. */
    if (stats.end == SESSION_STOPPED && !fflush(stdout))
        raise(SIGINT);
out:
    if (rc)
        cli_fail(r->command, &err);
    tokens_release(&prompt);
    buf_release(&text);
    return rc;
}

/* What the command line leaves open is the model's PARAMETER, else the environment's,
 * else the default. */
static enum status take_parameters(struct run *r, struct run_options *o,
                                   const struct model_choice *m, struct error *err)
{
    struct sampler_params *p = &r->sampling;
    double threads = 0, max_tokens = 0, seed = -1;
    enum status s;
    *p = sampler_defaults;
    if ((s = models_sampling(m, p, err)) || (s = models_ctx(m, o->ctx, &o->ctx, err)) ||
        (s = models_number(m, "num_thread", 0, 256, &threads, err)) ||
        (s = models_number(m, "num_predict", -2, 1 << 30, &max_tokens, err)) ||
        (s = models_number(m, "seed", -0x1p53, 0x1p53, &seed, err)) ||
        (s = models_kv(m, o->kv, o->tail, &r->kv, err)))
        return s;
    o->threads = o->threads ? o->threads : (int)threads;
    if (!o->max_tokens && max_tokens > 0)
        o->max_tokens = (int)max_tokens;
    seed = o->seed >= 0 ? o->seed : seed;
    p->seed = seed >= 0 ? (uint64_t)seed : (uint64_t)time(NULL);
    p->temp = o->temp >= 0 ? (float)o->temp : p->temp;
    p->top_k = o->top_k >= 0 ? o->top_k : p->top_k;
    p->top_p = o->top_p >= 0 ? (float)o->top_p : p->top_p;
    p->min_p = o->min_p >= 0 ? (float)o->min_p : p->min_p;
    if (o->repeat_penalty >= 0)
        p->repeat_penalty = (float)o->repeat_penalty;
    r->max_tokens = o->max_tokens;
    r->system = o->system ? o->system : m->m.system.len ? m->m.system.data : NULL;
    r->messages = m->m.messages;
    return STATUS_OK;
}

static enum status open_run(struct run *r, struct run_options *o,
                            const struct model_choice *m, struct error *err)
{
    enum status s;
    if ((s = environment_check(err)) || (s = take_parameters(r, o, m, err)) ||
        (s = engine_open(&r->engine, m->path, ENGINE_TEXT, o->threads, o->cpu, err)) ||
        (!o->raw && (s = models_template(m, "run", &r->engine, err))))
        return s;
    if (!o->raw && !r->engine.template) { // before anything is calibrated or reserved
        *err = r->engine.template_error;
        return err->status;
    }
    const int n_train = model_hparams(r->engine.model)->n_ctx_train;
    const int n_ctx = o->ctx ? o->ctx : n_train < CTX_DEFAULT ? n_train : CTX_DEFAULT;
    if ((s = cli_calibrate(&r->engine, "run", &r->kv, 1, err)))
        return s;
    const struct context_options co = {
        .kv = r->kv,
        .calibration = r->engine.calibration,
        .n_ctx = n_ctx,
        .n_mark = o->n_mark,
    };
    if ((s = session_open(&r->session, &r->engine, &co, err)))
        return s;
    if (n_ctx > n_train)
        fprintf(stderr,
                "turbine run: note: the model was trained for %d tokens of context\n",
                n_train);
    return STATUS_OK;
}

int cmd_run(int argc, char **argv)
{
    struct run_options o = {.cpu = CPU_ISA_COUNT - 1,
                            .tail = -1,
                            .seed = -1,
                            .temp = -1,
                            .top_k = -1,
                            .top_p = -1,
                            .min_p = -1,
                            .repeat_penalty = -1};
    const struct cli_option options[] = {
        {"--kv", CLI_STRING, &o.kv, 0, 0,
         "K[/V]  type of the cache: turbo4 (default), turbo8/turbo4, f16 ..."},
        {"--ctx", CLI_INT, &o.ctx, 1, 1 << 24,
         "N  tokens of context (default: the model's, at most 8192)"},
        {"--tail", CLI_INT, &o.tail, 0, KV_TAIL_MAX,
         "N  tokens behind the newest that the cache keeps exact (default 128)"},
        {"--threads", CLI_INT, &o.threads, 1, 256,
         "N  compute threads (default: physical cores)"},
        {"--seed", CLI_INT, &o.seed, 0, 2147483647,
         "N  makes sampling repeatable (default: the clock)"},
        {"--temp", CLI_FLOAT, &o.temp, 0, 100,
         "X  temperature, 0 for the most likely token (default 0.8)"},
        {"--top-k", CLI_INT, &o.top_k, 0, 1 << 24,
         "N  sample from the N most likely (default 40, 0: all)"},
        {"--top-p", CLI_FLOAT, &o.top_p, 0, 1,
         "X  sample from this much probability (default 0.95)"},
        {"--min-p", CLI_FLOAT, &o.min_p, 0, 1,
         "X  drop tokens below X times the best (default 0.05)"},
        {"--repeat-penalty", CLI_FLOAT, &o.repeat_penalty, 0.01, 100,
         "X  for tokens of the last 64 (default 1: off)"},
        {"--max-tokens", CLI_INT, &o.max_tokens, 1, 1 << 24,
         "N  longest answer (default: what fits)"},
        {"--system", CLI_STRING, &o.system, 0, 0, "TEXT  system message"},
        {"--raw", CLI_FLAG, &o.raw, 0, 0, "no chat template: continue the prompt"},
        {"--cpu", CLI_CPU, &o.cpu, 0, 0,
         "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni"},
        {0},
    };
    const struct cli_command command = {
        "run",
        "MODEL [PROMPT]",
        "Answer PROMPT ('-': read it from stdin), or chat if there is none.  " MODELS_HELP
        "\nWhat its Modelfile says is the default of the options below.",
        options,
        1,
        2,
    };
    const char *arg[2];
    int rc = cli_parse(&command, argc, argv, arg);
    if (rc >= 0)
        return rc;
    if (o.raw && !arg[1]) {
        fputs("turbine run: --raw needs a PROMPT\n", stderr);
        return CLI_USAGE;
    }
    struct error err;
    struct model_choice model;
    const char *stops[MODELS_STOP_MAX];
    struct run r = {.command = &command, .stop = stops, .raw = o.raw};
    o.n_mark = arg[1] ? 1 : RUN_CHAT_MARKS; // one answer never goes back
    if (models_choose(&model, arg[0], &err) ||
        models_stops(&model, stops, &r.n_stop, &err) || open_run(&r, &o, &model, &err))
        rc = cli_fail(&command, &err);
    else
        rc = arg[1] ? run_once(&r, arg[1]) : run_chat(&r);
    session_close(r.session);
    engine_close(&r.engine);
    models_close(&model);
    return rc;
}
