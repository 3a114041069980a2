/* cmd_run.c - turbine run: one answer, or a chat; in this process, or at a server. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/environment.h"
#include "cli/models.h"
#include "cli/pull_view.h"
#include "cli/run.h"
#include "cli/server_link.h"
#include "dialect/ollama_keep_alive.h"

/* Below zero, 0 (ctx, threads, max_tokens) or NULL: the model's, else the default. */
struct run_options {
    const char *kv, *system, *format, *think, *keep_alive;
    int ctx, tail, threads, seed, top_k, max_tokens;
    double temp, top_p, min_p, repeat_penalty;
    bool raw, local, verbose, quiet, no_wrap, hide_thinking;
    enum cpu_isa cpu;
};

/* ---- settings ---- */

static enum status take_options(struct run_settings *s, const struct run_options *o,
                                struct error *err)
{
    json_t *p = s->options;
    enum status st = STATUS_OK;
    int failed = 0;
    if (o->kv)
        failed |= json_object_set_new(p, "kv_cache_type", json_string(o->kv));
    const struct {
        const char *name;
        int value, least;
    } whole[] = {{"num_ctx", o->ctx, 1},        {"kv_tail", o->tail, 0},
                 {"num_thread", o->threads, 1}, {"seed", o->seed, 0},
                 {"top_k", o->top_k, 0},        {"num_predict", o->max_tokens, 1}};
    const struct {
        const char *name;
        double value;
    } real[] = {{"temperature", o->temp},
                {"top_p", o->top_p},
                {"min_p", o->min_p},
                {"repeat_penalty", o->repeat_penalty}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (whole[i].value >= whole[i].least)
            failed |= json_object_set_new(p, whole[i].name, json_integer(whole[i].value));
    for (size_t i = 0; i < sizeof real / sizeof *real; i++)
        if (real[i].value >= 0)
            failed |= json_object_set_new(p, real[i].name, json_real(real[i].value));
    if (o->system && !(s->system = json_string(o->system)))
        return fail(err, STATUS_BAD_INPUT, "the system message is not valid UTF-8");
    s->raw = o->raw;
    s->keep_alive = o->keep_alive;
    s->max_tokens = o->max_tokens;
    if (failed)
        return fail(err, STATUS_BAD_INPUT, "an option is not valid UTF-8");
    if (o->think)
        st = run_set_think(s, o->think, err);
    if (!st && o->format)
        st = run_set_format(s, o->format, err);
    json_t *keep = run_keep_alive(o->keep_alive);
    int64_t us;
    if (!st && o->keep_alive && !(keep && ollama_keep_alive(keep, &us)))
        st = fail(err, STATUS_BAD_ARG,
                  "--keepalive takes seconds or a duration, as 300, 10m or 1h30m, not "
                  "'%.40s'",
                  o->keep_alive);
    json_decref(keep);
    return st;
}

/* ---- where ---- */

/* What a server has fixed, or could only pretend to do. */
static bool needs_this_process(const struct run_options *o)
{
    return o->local || o->kv || o->tail >= 0 || o->ctx || o->threads ||
           o->cpu != CPU_ISA_COUNT - 1;
}

/* Never silent where a person looks, of what is there and not used. */
static void note_place(const struct run_options *o, const char *what, const char *url,
                       const char *why)
{
    if (o->verbose || isatty(STDERR_FILENO))
        fprintf(stderr, "turbine run: %s: %s%s%s\n", what, url, *why ? ": " : "", why);
}

/* *out stays NULL where no server of ours has the model; url "": there is none. */
static enum status try_server(struct run_place **out, const struct cli_command *c,
                              const char *model, const struct run_settings *set,
                              const struct run_options *o,
                              char url[SERVER_LINK_URL_BYTES], struct error *why)
{
    char text[SERVER_LINK_TEXT_BYTES];
    if (!server_link_url(url, SERVER_LINK_URL_BYTES, NULL))
        return fail(why, STATUS_BAD_ARG, "this is no address of a server: %s", url);
    const enum server_link_kind kind = server_link_kind(url, text);
    if (kind == SERVER_LINK_OTHER)
        note_place(o, "in this process, not at the server", url, text);
    if (kind == SERVER_LINK_TURBINE)
        return run_remote_open(out, c, url, model, set, why);
    *url = 0;
    return STATUS_OK;
}

/* *name: it can be the name of a model, and is no file. */
static bool is_stored(const char *model, bool *name)
{
    struct model_name n;
    struct manifest m = {0};
    struct store *store = NULL;
    *name = !models_is_path(model) && !models_name(&n, model, NULL);
    const bool stored = *name && !models_open(&store, NULL) &&
                        store_find(store, &n, &m, NULL, NULL) != STATUS_NOT_FOUND;
    manifest_release(&m);
    store_close(store);
    return stored;
}

/* Nobody has the model: fetch it, to the server (url, else "") where one runs.  url
 * becomes "" where it is fetched to our own store. */
static enum status fetch(const struct cli_command *c, const char *model,
                         char url[SERVER_LINK_URL_BYTES], struct error *err)
{
    struct error why;
    int http_status = 0;
    enum status s = STATUS_OK;
    char text[MODEL_NAME_BYTES + SERVER_LINK_URL_BYTES + 64];
    if (*url) {
        snprintf(text, sizeof text, "pulling %.200s, which is not here, to %s", model,
                 url);
        cli_message(c, text);
        s = pull_view_server(c, url, model, &http_status, &why);
    }
    if (http_status == 501) { // it has the model that it was started with alone
        cli_message(c,
                    "that server keeps no models: pulling to the store of this machine");
        *url = 0;
    }
    if (!*url)
        s = pull_view_missing(c, model, &why);
    if (s == STATUS_STOPPED)
        return fail(err, s, "%s", why.text);
    return s ? fail(err, s,
                    "'%.200s' is no file and no model of the store, and cannot be "
                    "pulled: %s",
                    model, why.text)
             : s;
}

static enum status open_place(struct run_place **out, const struct cli_command *c,
                              const char *model, const struct run_settings *set,
                              const struct run_options *o, int n_mark, struct error *err)
{
    char where[600], url[SERVER_LINK_URL_BYTES] = "";
    struct error why;
    bool is_name;
    enum status s = environment_check(err);
    if (s)
        return s;
    const bool here = is_stored(model, &is_name);
    if (!models_is_path(model) && !needs_this_process(o)) {
        s = try_server(out, c, model, set, o, url, &why);
        if (s && s != STATUS_NOT_FOUND) {
            *err = why;
            return s;
        }
        if (s && here)
            note_place(o, "in this process, not at the server", url, why.text);
        s = STATUS_OK;
    }
    if (!*out && is_name && !here && !(s = fetch(c, model, url, err)) && *url)
        s = run_remote_open(out, c, url, model, set, err);
    if (!s && !*out)
        s = run_local_open(out, c, model, set, o->cpu, n_mark, err);
    if (!s && o->verbose) {
        (*out)->ops->where(*out, where, sizeof where);
        fprintf(stderr, "turbine run: %s runs %s\n", (*out)->model, where);
    }
    return s;
}

/* ---- one answer ---- */

static enum status read_standard_input(struct buf *b, struct error *err)
{
    char block[4096];
    size_t n;
    while (!b->failed && (n = fread(block, 1, sizeof block, stdin)))
        buf_append(b, block, n);
    return ferror(stdin)
               ? fail(err, STATUS_IO, "cannot read standard input: %s", strerror(errno))
               : STATUS_OK;
}

/* What comes through a pipe, then PROMPT, with a space between, as Ollama has it; "-" is
 * the pipe alone. */
static enum status read_prompt(struct buf *b, const char *arg, struct error *err)
{
    const bool standard = arg && !strcmp(arg, "-");
    enum status s = STATUS_OK;
    if (standard || !isatty(STDIN_FILENO))
        s = read_standard_input(b, err);
    if (s)
        return s;
    if (arg && !standard) {
        buf_puts(b, b->len && *arg ? " " : "");
        buf_puts(b, arg);
    }
    return b->failed ? fail(err, STATUS_LIMIT, "the prompt is larger than %d MiB",
                            RUN_TEXT_MAX >> 20)
                     : STATUS_OK;
}

static enum status answer_once(struct run_chat *c, const char *arg,
                               struct run_stats *stats, bool *loaded, struct error *err)
{
    struct buf text;
    buf_init(&text, RUN_TEXT_MAX);
    enum status s = read_prompt(&text, arg, err);
    /* Ollama's way to load a model; an answer would begin from nothing. */
    if (!s && !text.len && c->place->stays) {
        buf_release(&text);
        *loaded = true;
        return s;
    }
    if (!s && !text.len)
        s = fail(err, STATUS_BAD_INPUT,
                 "the prompt is empty, and no server runs that would keep the model");
    c->messages = json_array();
    if (!s)
        s = run_add_message(c->messages, "user", &text, NULL, err);
    const struct run_question q = {
        .set = c->set, .messages = c->set->raw ? NULL : c->messages, .prompt = &text};
    run_catch_interrupts(true);
    run_print_begin(c->out);
    if (!s)
        s = c->place->ops->answer(c->place, &q, c->out, stats, err);
    if (s && !c->out->text.len && !c->out->thinking.len)
        run_print_abandon(c->out);
    else
        run_print_end(c->out);
    if (!s && c->out->failed)
        s = fail(err, STATUS_IO, "cannot write to standard output");
    json_decref(c->messages);
    buf_release(&text);
    return s;
}

static int run_once(struct run_chat *c, const char *arg)
{
    struct error err;
    struct run_stats stats;
    bool loaded = false;
    if (answer_once(c, arg, &stats, &loaded, &err))
        return cli_fail(c->command, &err);
    if (loaded)
        return CLI_OK;
    run_print_statistics(c->place, c->statistics, &stats);
    /* The statistics are out: end as the shell expects of an interrupted program. */
    if (stats.end == SESSION_STOPPED && !fflush(stdout))
        raise(SIGINT);
    return CLI_OK;
}

/* ---- the command ---- */

/* Ollama's --think may come without a value. */
static void complete_think(int argc, char **argv)
{
    static char yes[] = "--think=true";
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--think"))
            argv[i] = yes;
}

static int run(const struct cli_command *command, const struct run_options *o,
               const char *model, const char *prompt)
{
    struct error err;
    struct run_settings set;
    struct run_printer printer;
    const bool once = prompt || !isatty(STDIN_FILENO);
    struct run_chat c = {.command = command,
                         .set = &set,
                         .out = &printer,
                         .statistics = o->quiet     ? RUN_QUIET
                                       : o->verbose ? RUN_VERBOSE
                                                    : RUN_LINE};
    int rc;
    run_settings_init(&set);
    run_printer_init(&printer);
    printer.wordwrap = !o->no_wrap;
    printer.hide_thinking = o->hide_thinking;
    /* One answer never goes back. */
    if (take_options(&set, o, &err) ||
        open_place(&c.place, command, model, &set, o, once ? 1 : RUN_CHAT_MARKS, &err))
        rc = cli_fail(command, &err);
    else
        rc = once ? run_once(&c, prompt) : run_chat(&c);
    if (c.place)
        c.place->ops->close(c.place);
    run_printer_release(&printer);
    run_settings_release(&set);
    return rc;
}

/* Several words are one prompt, as Ollama has it. */
static int run_words(const struct cli_command *command, const struct run_options *o,
                     const char *model, const char *const *word)
{
    struct buf text;
    int rc = CLI_FAILED;
    if (!word[0] || !word[1])
        return run(command, o, model, word[0]);
    buf_init(&text, RUN_TEXT_MAX);
    for (int i = 0; word[i]; i++) {
        buf_puts(&text, i ? " " : "");
        buf_puts(&text, word[i]);
    }
    if (text.failed)
        fputs("turbine run: no memory for the prompt\n", stderr);
    else
        rc = run(command, o, model, text.data);
    buf_release(&text);
    return rc;
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
        {"--local", CLI_FLAG, &o.local, 0, 0, "in this process, whatever server runs"},
        {"--kv", CLI_STRING, &o.kv, 0, 0,
         "K[/V]  type of the cache: turbo4 (default), turbo8/turbo4, f16 ...; --local"},
        {"--ctx", CLI_INT, &o.ctx, 1, 1 << 24,
         "N  tokens of context (default: the model's, at most 8192); --local"},
        {"--tail", CLI_INT, &o.tail, 0, KV_TAIL_MAX,
         "N  tokens behind the newest that the cache keeps exact (default 128); --local"},
        {"--threads", CLI_INT, &o.threads, 1, 256,
         "N  compute threads (default: physical cores); --local"},
        {"--cpu", CLI_CPU, &o.cpu, 0, 0,
         "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni, amx; --local"},
        {"--seed", CLI_INT, &o.seed, 0, 2147483647,
         "N  makes sampling repeatable (default: the clock)"},
        {"--temp", CLI_FLOAT, &o.temp, 0, 100,
         "X  temperature, 0 for the most likely token (default 0.8)"},
        {"--top-k", CLI_INT, &o.top_k, 0, 1 << 24,
         "N  sample from the N most likely (default 40, 0: all)"},
        {"--top-p", CLI_FLOAT, &o.top_p, 0, 1,
         "X  sample from this much probability (default 0.9)"},
        {"--min-p", CLI_FLOAT, &o.min_p, 0, 1,
         "X  drop tokens below X times the best (default 0: off)"},
        {"--repeat-penalty", CLI_FLOAT, &o.repeat_penalty, 0.01, 100,
         "X  for tokens of the last 64 (default 1: off)"},
        {"--max-tokens", CLI_INT, &o.max_tokens, 1, 1 << 24,
         "N  longest answer (default: what fits)"},
        {"--system", CLI_STRING, &o.system, 0, 0, "TEXT  system message"},
        {"--format", CLI_STRING, &o.format, 0, 0, "json  or a JSON schema of the answer"},
        {"--think", CLI_STRING, &o.think, 0, 0,
         "[=WHAT]  reason first: true, false, low, medium, high"},
        {"--hidethinking", CLI_FLAG, &o.hide_thinking, 0, 0,
         "show the answer alone; a pipe never has more"},
        {"--keepalive", CLI_STRING, &o.keep_alive, 0, 0,
         "TIME  how long a server keeps the model: 10m, 0, -1"},
        {"--nowordwrap", CLI_FLAG, &o.no_wrap, 0, 0,
         "lines end where the terminal ends them"},
        {"--verbose", CLI_FLAG, &o.verbose, 0, 0, "where it runs, and all that it took"},
        {"--quiet", CLI_FLAG, &o.quiet, 0, 0, "no line of statistics"},
        {"--raw", CLI_FLAG, &o.raw, 0, 0, "no chat template: continue the prompt"},
        {0},
    };
    const struct cli_command command = {
        "run",
        "MODEL [PROMPT]",
        "Answer PROMPT, behind what standard input has if that is no terminal ('-': that "
        "alone), or chat if\nthere is neither.  " MODELS_HELP
        "\nA name that is nowhere is pulled first.  It is answered by the Turbine server "
        "at TURBINE_HOST, OLLAMA_HOST or "
        "127.0.0.1:11434, if one\nruns and has it (TURBINE_API_KEY is its key); a file, "
        "and options with --local, by this process.\nWhat its Modelfile says is the "
        "default of the options below.",
        options,
        1,
        argc,
    };
    const char **arg = mem_array((size_t)argc + 1, sizeof *arg); // NULL behind the last
    if (!arg) {
        fputs("turbine run: no memory for the arguments\n", stderr);
        return CLI_FAILED;
    }
    complete_think(argc, argv);
    int rc = cli_parse(&command, argc, argv, arg);
    if (rc < 0 && o.raw && !arg[1]) {
        fputs("turbine run: --raw needs a PROMPT\n", stderr);
        rc = CLI_USAGE;
    }
    if (rc < 0)
        rc = run_words(&command, &o, arg[0], arg + 1);
    mem_free(arg);
    return rc;
}
