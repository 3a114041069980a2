/* cmd_run.c - turbine run: one answer, or a chat. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/calibrate.h"
#include "cli/run.h"

enum { CTX_DEFAULT = 8192, PROMPT_MAX = 64 << 20 };

struct run_options {
    const char *kv, *system;
    int ctx, threads, seed, top_k, max_tokens;
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
    enum status s = chat_open(&c, &r->engine, err);
    if (!s && r->system)
        s = chat_add(&c, "system", r->system, strlen(r->system), err);
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

static enum status open_run(struct run *r, const struct run_options *o, const char *path,
                            struct error *err)
{
    enum status s;
    if ((s = kv_types_parse(&r->kv, o->kv, err)) ||
        (s = engine_open(&r->engine, path, ENGINE_TEXT, o->threads, o->cpu, err)))
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
    struct run_options o = {.kv = "turbo4", .cpu = CPU_ISA_COUNT - 1, .seed = -1};
    const struct sampler_params d = sampler_defaults;
    o.temp = (double)d.temp, o.top_p = (double)d.top_p, o.min_p = (double)d.min_p;
    o.top_k = d.top_k, o.repeat_penalty = (double)d.repeat_penalty;
    const struct cli_option options[] = {
        {"--kv", CLI_STRING, &o.kv, 0, 0,
         "K[/V]  type of the cache: turbo4 (default), turbo8/turbo4, f16 ..."},
        {"--ctx", CLI_INT, &o.ctx, 1, 1 << 24,
         "N  tokens of context (default: the model's, at most 8192)"},
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
        "Answer PROMPT ('-': read it from stdin), or chat if there is none.  MODEL is a "
        ".gguf file.",
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
    struct run r = {.command = &command,
                    .max_tokens = o.max_tokens,
                    .system = o.system,
                    .raw = o.raw};
    r.sampling = (struct sampler_params){
        .temp = (float)o.temp,
        .top_k = o.top_k,
        .top_p = (float)o.top_p,
        .min_p = (float)o.min_p,
        .typical_p = d.typical_p,
        .repeat_penalty = (float)o.repeat_penalty,
        .repeat_last_n = d.repeat_last_n,
        .seed = o.seed >= 0 ? (uint64_t)o.seed : (uint64_t)time(NULL),
    };
    o.n_mark = arg[1] ? 1 : RUN_CHAT_MARKS; // one answer never goes back
    if (open_run(&r, &o, arg[0], &err))
        rc = cli_fail(&command, &err);
    else
        rc = arg[1] ? run_once(&r, arg[1]) : run_chat(&r);
    session_close(r.session);
    engine_close(&r.engine);
    return rc;
}
