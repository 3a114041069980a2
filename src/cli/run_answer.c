#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/run.h"
#include "engine/answer_text.h"

enum { TEXT_BYTES = 2048 }; // of the session's text at a time, at most

static atomic_bool interrupted; // by Ctrl-C

static void on_interrupt(int sig)
{
    (void)sig;
    atomic_store(&interrupted, true);
}

void run_catch_interrupts(bool once)
{
    struct sigaction act = {.sa_handler = on_interrupt,
                            .sa_flags = once ? (int)SA_RESETHAND : 0};
    sigaction(SIGINT, &act, NULL);
}

void run_forget_interrupt(void)
{
    atomic_store(&interrupted, false);
}

bool run_interrupted(void)
{
    return atomic_load(&interrupted);
}

struct output {
    struct answer_text stops; // of which one ends the answer
    bool has_stops;
    struct buf *text;
    bool progress; // a progress line is on the terminal
    bool failed;   // stdout does not take text
};

static void clear_progress(struct output *o)
{
    if (o->progress)
        fputs("\r\033[K", stderr);
    o->progress = false;
}

static bool print_text(struct output *o, const char *text, size_t n)
{
    clear_progress(o);
    if (o->text)
        buf_append(o->text, text, n);
    o->failed = fwrite(text, 1, n, stdout) < n || fflush(stdout);
    return !o->failed;
}

static bool on_text(void *ctx, const char *text, size_t n)
{
    struct output *o = ctx;
    if (!o->has_stops)
        return print_text(o, text, n);
    text = answer_text_put(&o->stops, text, n, &n);
    return print_text(o, text, n) && o->stops.stopped < 0;
}

static void on_progress(void *ctx, int done, int total)
{
    struct output *o = ctx;
    clear_progress(o);
    if (done == total || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "reading %d of %d tokens (%d %%)", done, total,
            (int)(100.0 * done / total));
    o->progress = true;
}

enum status run_answer(struct run *r, const struct tokens *prompt,
                       const struct chat_stable *stable, struct buf *text,
                       struct session_stats *stats, struct error *err)
{
    struct output out = {.text = text, .has_stops = r->n_stop > 0};
    const struct session_request request = {
        .prompt = prompt,
        .stable = stable ? stable->at : NULL,
        .n_stable = stable ? stable->n : 0,
        .max_tokens = r->max_tokens,
        .sampling = r->sampling,
        .stop = &interrupted,
        .emit = on_text,
        .progress = on_progress,
        .ctx = &out,
    };
    enum status s = STATUS_OK;
    if (out.has_stops)
        s = answer_text_open(&out.stops, r->stop, r->n_stop, TEXT_BYTES, err);
    if (s)
        return s;
    s = session_generate(r->session, &request, stats, err);
    clear_progress(&out);
    if (!s && out.has_stops && out.stops.stopped >= 0) {
        stats->end = SESSION_EOG;
    } else if (!s && out.has_stops) {
        size_t n;
        const char *rest = answer_text_flush(&out.stops, &n);
        print_text(&out, rest, n);
    }
    answer_text_close(&out.stops);
    if (!s && out.failed)
        return fail(err, STATUS_IO, "cannot write to standard output");
    return s;
}

static double rate(int n, uint64_t us)
{
    return us ? n * 1e6 / (double)us : 0;
}

void run_print_stats(const struct run *r, const struct session_stats *s)
{
    static const char *const end[] = {"", ", stopped by --max-tokens",
                                      ", stopped because the context is full",
                                      ", interrupted"};
    const struct context_memory m = context_memory(session_context(r->session));
    char kv[KV_NAME_BYTES], again[48] = "";
    /* The cache held them, but could not be cut there. */
    if (s->n_again)
        snprintf(again, sizeof again, ", %d read again", s->n_again);
    fprintf(
        stderr,
        "prefill %d tokens (%d cached%s) in %.2f s, %.1f tokens/s; decode %d tokens in "
        "%.2f s, %.1f tokens/s%s; kv %s %.1f MiB + %.1f MiB exact for %d tokens\n",
        s->n_read, s->n_cached, again, (double)s->prefill_us / 1e6,
        rate(s->n_read, s->prefill_us), s->n_decoded, (double)s->decode_us / 1e6,
        rate(s->n_step, s->decode_us), end[s->end], kv_types_name(kv, &r->kv),
        (double)m.pages / 0x1p20, (double)m.exact / 0x1p20,
        context_n_ctx(session_context(r->session)));
}

void run_print_kv(const struct run *r)
{
    const struct context *c = session_context(r->session);
    const struct context_memory m = context_memory(c);
    char kv[KV_NAME_BYTES];
    const int used = (context_pos(c) + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    printf("kv type     %s, %.1f bytes a token\n", kv_types_name(kv, &r->kv),
           (double)m.page_bytes / TQ_PAGE_TOKENS);
    printf("context     %d of %d tokens\n", context_pos(c), context_n_ctx(c));
    printf("pages       %.1f of %.1f MiB in use\n", (double)m.page_bytes * used / 0x1p20,
           (double)m.pages / 0x1p20);
    printf("exact f16   %.1f MiB (first tokens, tail, windows, states)\n",
           (double)m.exact / 0x1p20);
    printf("checkpoints %.1f MiB (copies of these, to go on from)\n",
           (double)m.mark / 0x1p20);
    printf("scratch     %.1f MiB\n", (double)m.scratch / 0x1p20);
    printf("weights     %.1f MiB\n", (double)model_bytes(r->engine.model) / 0x1p20);
    printf("process     %.1f MiB resident\n", (double)mem_resident() / 0x1p20);
}
