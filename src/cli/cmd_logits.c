/* cmd_logits.c - logits of every position as raw f32, to compare with other engines. */
#include <stdio.h>

#include "cli/calibrate.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "cli/models.h"

static struct {
    const char *tokens, *kv;
    int batch, threads;
    enum cpu_isa isa;
} logits_args;

static const struct cli_option logits_options[] = {
    {"--tokens", CLI_STRING, &logits_args.tokens, 0, 0, "FILE  token ids"},
    {"--kv", CLI_STRING, &logits_args.kv, 0, 0, "TYPE  of keys[/values], default f16"},
    {"--batch", CLI_INT, &logits_args.batch, 1, 4096, "N  tokens a step, default 64"},
    {"--threads", CLI_INT, &logits_args.threads, 1, 256, "N  default: physical cores"},
    {"--cpu", CLI_CPU, &logits_args.isa, 0, 0,
     "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni, amx"},
    {NULL, CLI_FLAG, NULL, 0, 0, NULL},
};
static const struct cli_command logits_command = {
    "logits",
    "MODEL --tokens FILE",
    "f32 logits [n_tok][n_vocab] on standard output",
    logits_options,
    1,
    1,
};

static enum status stream_logits(struct context *c, const struct tokens *t, int n_vocab,
                                 struct error *err)
{
    const size_t batch = (size_t)context_n_batch(c);
    for (size_t at = 0; at < t->n; at += batch) {
        const size_t n = t->n - at < batch ? t->n - at : batch;
        const float *logits;
        const enum status s = context_eval(c, t->id + at, (int)n, (int)n, &logits, err);
        if (s)
            return s;
        if (fwrite(logits, sizeof *logits * (size_t)n_vocab, n, stdout) != n)
            return fail(err, STATUS_IO, "cannot write to standard output");
    }
    if (fflush(stdout))
        return fail(err, STATUS_IO, "cannot write to standard output");
    return STATUS_OK;
}

static enum status run_logits(const char *path, struct error *err)
{
    struct engine e = {0};
    struct tokens t;
    struct context *c = NULL;
    struct context_options o = {.n_batch = logits_args.batch,
                                .n_logits = logits_args.batch};
    char file[STORE_PATH_BYTES];
    enum status s;
    tokens_init(&t);
    if ((s = kv_types_parse(&o.kv, logits_args.kv, err)) ||
        (s = models_path(file, path, err)) ||
        (s = engine_open(&e, file, ENGINE_ANY, logits_args.threads, logits_args.isa,
                         err)))
        goto out;
    const int n_vocab = model_hparams(e.model)->n_vocab;
    if ((s = measure_read_ids(&t, logits_args.tokens, n_vocab, err)))
        goto out;
    if ((s = cli_calibrate(&e, "logits", &o.kv, 1, err)))
        goto out;
    o.calibration = e.calibration;
    o.n_ctx = (int)t.n;
    if ((s = context_open(&c, e.model, &o, err)))
        goto out;
    s = stream_logits(c, &t, n_vocab, err);
out:
    context_close(c);
    tokens_release(&t);
    engine_close(&e);
    return s;
}

int cmd_logits(int argc, char **argv)
{
    const char *path;
    logits_args.kv = "f16";
    logits_args.batch = 64;
    logits_args.isa = cpu_detect();
    const int rc = cli_parse(&logits_command, argc, argv, &path);
    if (rc >= 0)
        return rc;
    if (!logits_args.tokens)
        return measure_usage(&logits_command, "--tokens FILE is missing");
    struct error err;
    return run_logits(path, &err) ? cli_fail(&logits_command, &err) : CLI_OK;
}
