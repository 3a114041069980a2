/* cmd_codec.c - the formats of the cache against theory. */
#include <stdio.h>

#include <jansson.h>

#include "cli/cli.h"
#include "cli/codec_table.h"
#include "cli/measure.h"

static struct {
    const char *plot;
    int dim;
    enum cpu_isa isa;
    bool json;
} codec_args;

static const struct cli_option codec_options[] = {
    {"--dim", CLI_INT, &codec_args.dim, 1, TQ_DIM_MAX,
     "D  64, 80, 96, 112, 128, 192, 256, 512 or 576; default 128"},
    {"--plot", CLI_STRING, &codec_args.plot, 0, 0,
     "FILE  write distortion against rate as SVG"},
    {"--cpu", CLI_CPU, &codec_args.isa, 0, 0, "LEVEL  highest instruction set to use"},
    {"--json", CLI_FLAG, &codec_args.json, 0, 0, "one JSON object"},
    {NULL, CLI_FLAG, NULL, 0, 0, NULL},
};
static const struct cli_command codec_command = {
    "codec",
    "",
    "distortion, inner products, softmax and speed of the cache formats",
    codec_options,
    0,
    0,
};

/* Three digits or more in eight columns. */
static void figure(char *buf, size_t cap, double v)
{
    if (v < .00001)
        snprintf(buf, cap, "%.1e", v);
    else
        snprintf(buf, cap, "%.*f", v < .001 ? 6 : v < .01 ? 5 : 4, v);
}

static void print_codec_table(const struct codec_table *t)
{
    char cpu[128], f[9][16];
    printf("%d dimensions, Gaussian keys and queries; %s, %s\n\n", t->d,
           measure_cpu_name(cpu, sizeof cpu), cpu_isa_name(codec_args.isa));
    printf("           bits/           paper    gap   inner product   paper  "
           "softmax KL, logit deviation    ns for 128\n");
    printf("format     value     NMSE  bound     dB  bias %%    error  bound  "
           "      1        2        4  encode  score\n");
    for (int i = 0; i < t->n; i++) {
        const struct codec_row *r = &t->rows[i];
        for (int k = 0; k < CODEC_KLS; k++)
            figure(f[k], sizeof f[k], r->kl[k]);
        figure(f[3], sizeof f[3], r->nmse);
        figure(f[4], sizeof f[4], r->ip_error);
        snprintf(f[5], sizeof f[5], r->paper_nmse > 0 ? "%.3f" : "-", r->paper_nmse);
        snprintf(f[6], sizeof f[6], r->paper_error > 0 ? "%.3f" : "-", r->paper_error);
        snprintf(f[7], sizeof f[7], r->encode_ns > 0 ? "%.0f" : "-", r->encode_ns);
        snprintf(f[8], sizeof f[8], r->score_ns > 0 ? "%.1f" : "-", r->score_ns);
        printf("%-8s  %6.3f %8s %6s %6.2f %7.2f %8s %6s %8s %8s %8s %7s %6s\n", r->name,
               r->bits, f[3], f[5], r->gap_db, 100 * r->ip_bias, f[4], f[6], f[0], f[1],
               f[2], f[7], f[8]);
    }
    printf(
        "\nNMSE     mean of |x - x'|^2 / |x|^2; the paper's figures are rounded\n"
        "gap      NMSE over the Shannon bound 4^-bits, at stored bits: scales included\n"
        "bias     slope of estimated against true inner products, less 1\n"
        "error    mean square of their difference for unit vectors, times dimension\n"
        "KL       of attention over %d keys\n"
        "encode   and score (one query, with its softmax): one thread, data in L2\n"
        "prod has a new sign matrix in each of %d sets of keys.  The channels are alike "
        "here,\nso the split of mix cannot gain.  polar is no cache type.\n",
        CODEC_KEYS, CODEC_SETS);
}

static json_t *json_figure(double v)
{
    return v > 0 ? json_real(v) : json_null();
}

static enum status print_codec_json(const struct codec_table *t, struct error *err)
{
    char cpu[128];
    json_t *rows = json_array();
    for (int i = 0; i < t->n; i++) {
        const struct codec_row *r = &t->rows[i];
        json_t *kl = json_array();
        for (int k = 0; k < CODEC_KLS; k++)
            json_array_append_new(kl, json_pack("{s:f, s:f}", "deviation",
                                                codec_deviation[k], "kl", r->kl[k]));
        json_array_append_new(
            rows,
            json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:o}", "format",
                      r->name, "bits_per_value", r->bits, "nmse", r->nmse, "gap_db",
                      r->gap_db, "inner_product_bias", r->ip_bias, "inner_product_error",
                      r->ip_error, "softmax_kl", kl, "encode_ns",
                      json_figure(r->encode_ns), "score_ns", json_figure(r->score_ns),
                      "paper_nmse", json_figure(r->paper_nmse),
                      "paper_inner_product_error", json_figure(r->paper_error)));
    }
    json_t *o = json_pack("{s:i, s:s, s:s, s:o}", "dim", t->d, "cpu",
                          measure_cpu_name(cpu, sizeof cpu), "isa",
                          cpu_isa_name(codec_args.isa), "results", rows);
    return measure_print_json(o, err);
}

static enum status run_codec(struct error *err)
{
    struct codec_table t;
    enum status s;
    if (!tq_dim_supported(codec_args.dim))
        return fail(
            err, STATUS_BAD_ARG,
            "no format for %d dimensions: use 64, 80, 96, 112, 128, 192, 256, 512 or 576",
            codec_args.dim);
    if ((s = codec_measure(&t, codec_args.dim, (enum tq_isa)codec_args.isa, err)))
        return s;
    if (codec_args.json)
        s = print_codec_json(&t, err);
    else
        print_codec_table(&t);
    if (!s && codec_args.plot)
        s = codec_plot(&t, codec_args.plot, err);
    if (!s && fflush(stdout))
        s = fail(err, STATUS_IO, "cannot write to standard output");
    return s;
}

int cmd_codec(int argc, char **argv)
{
    const char *none[1];
    codec_args.dim = 128;
    codec_args.isa = cpu_detect();
    const int rc = cli_parse(&codec_command, argc, argv, none);
    if (rc >= 0)
        return rc;
    struct error err;
    return run_codec(&err) ? cli_fail(&codec_command, &err) : CLI_OK;
}
