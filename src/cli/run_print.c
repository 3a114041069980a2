/* run_print.c - an answer on the terminal: words wrapped, reasoning dim, progress, and
 * what it took. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/run.h"
#include "cli/words.h"

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

const atomic_bool *run_interrupt_flag(void)
{
    return &interrupted;
}

/* ---- text ---- */

void run_printer_init(struct run_printer *p)
{
    *p = (struct run_printer){.terminal = isatty(STDOUT_FILENO),
                              .err_terminal = isatty(STDERR_FILENO),
                              .wordwrap = true};
    buf_init(&p->text, RUN_TEXT_MAX);
    buf_init(&p->thinking, RUN_TEXT_MAX);
}

void run_printer_release(struct run_printer *p)
{
    buf_release(&p->text);
    buf_release(&p->thinking);
}

static void clear_progress(struct run_printer *p)
{
    if (p->progress)
        fputs("\r\033[K", stderr);
    p->progress = false;
}

void run_print_begin(struct run_printer *p)
{
    struct winsize size = {0};
    buf_clear(&p->text);
    buf_clear(&p->thinking);
    p->failed = p->dim = false;
    p->column = p->word_columns = 0;
    p->n_word = 0;
    p->width = 0;
    if (p->terminal && p->wordwrap && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
        p->width = size.ws_col;
}

static void write_out(struct run_printer *p, const char *text, size_t n)
{
    if (n && fwrite(text, 1, n, stdout) < n)
        p->failed = true;
}

static void write_word(struct run_printer *p)
{
    if (p->column && p->column + p->word_columns > p->width) {
        write_out(p, "\n", 1);
        p->column = 0;
    }
    write_out(p, p->word, p->n_word);
    p->column += p->word_columns;
    p->n_word = 0;
    p->word_columns = 0;
}

/* A word is held until what follows it, or until it fills a line.  A column for each
 * character: wide ones wrap late. */
static void write_wrapped(struct run_printer *p, char c)
{
    if (c == ' ' || c == '\t' || c == '\n') {
        write_word(p);
        if (c != '\n' && p->column + 1 > p->width) {
            c = '\n';
        }
        write_out(p, &c, 1);
        p->column = c == '\n' ? 0 : p->column + 1;
        return;
    }
    const bool starts = ((unsigned char)c & 0xc0) != 0x80;
    if (starts && (p->word_columns + 1 >= p->width || p->n_word + 8 > sizeof p->word))
        write_word(p);
    if (p->n_word < sizeof p->word)
        p->word[p->n_word++] = c;
    p->word_columns += starts;
}

/* What a model says goes to a terminal: nothing that moves its cursor or changes it. */
static void write_safely(struct run_printer *p, const char *text, size_t n)
{
    if (!p->terminal) {
        write_out(p, text, n);
        return;
    }
    for (size_t i = 0, control; i < n; i += control ? control : 1) {
        control = words_control(text + i, n - i);
        const char shown = control ? '?' : text[i];
        if (p->width > 0)
            write_wrapped(p, shown);
        else
            write_out(p, &shown, 1);
    }
}

static void end_thinking(struct run_printer *p)
{
    if (!p->dim)
        return;
    write_word(p);
    fputs("\n...done thinking.\033[0m\n\n", stdout);
    p->dim = false;
    p->column = 0;
}

static void begin_thinking(struct run_printer *p)
{
    if (p->dim)
        return;
    write_word(p);
    fputs("\033[2mThinking...\n", stdout);
    p->dim = true;
    p->column = 0;
}

bool run_print_text(struct run_printer *p, bool reasoning, const char *text, size_t n)
{
    if (!n)
        return !p->failed;
    clear_progress(p);
    buf_append(reasoning ? &p->thinking : &p->text, text, n);
    if (reasoning && (!p->terminal || p->hide_thinking))
        return !p->failed;
    if (reasoning)
        begin_thinking(p);
    else
        end_thinking(p);
    write_safely(p, text, n);
    p->failed = p->failed || fflush(stdout);
    return !p->failed;
}

void run_print_progress(struct run_printer *p, int done, int total)
{
    clear_progress(p);
    if (done == total || !p->err_terminal)
        return;
    fprintf(stderr, "reading %d of %d tokens (%d %%)", done, total,
            (int)(100.0 * done / total));
    p->progress = true;
}

void run_print_end(struct run_printer *p)
{
    clear_progress(p);
    write_word(p);
    if (p->dim)
        fputs("\033[0m", stdout);
    p->dim = false;
    putchar('\n');
    p->failed = fflush(stdout) || p->failed;
}

void run_print_abandon(struct run_printer *p)
{
    clear_progress(p);
}

/* ---- statistics ---- */

static void print_duration(const char *name, uint64_t us)
{
    if (us >= 1000000)
        fprintf(stderr, "%-22s%.6fs\n", name, (double)us / 1e6);
    else
        fprintf(stderr, "%-22s%.3fms\n", name, (double)us / 1e3);
}

static void print_counted(const char *what, int n, uint64_t us)
{
    char name[32];
    snprintf(name, sizeof name, "%s count:", what);
    fprintf(stderr, "%-22s%d token(s)\n", name, n);
    snprintf(name, sizeof name, "%s duration:", what);
    print_duration(name, us);
    snprintf(name, sizeof name, "%s rate:", what);
    fprintf(stderr, "%-22s%.2f tokens/s\n", name, us ? n * 1e6 / (double)us : 0);
}

void run_print_table(const struct run_stats *s)
{
    print_duration("total duration:", s->total_us);
    print_duration("load duration:", s->load_us);
    print_counted("prompt eval", s->n_prompt, s->prefill_us);
    if (s->n_cached >= 0)
        fprintf(stderr, "%-22s%d token(s)\n", "of it from cache:", s->n_cached);
    print_counted("eval", s->n_decoded, s->decode_us);
}

void run_print_statistics(const struct run_place *p, enum run_statistics how,
                          const struct run_stats *s)
{
    if (how == RUN_LINE)
        p->ops->print_stats(p, s);
    if (how == RUN_VERBOSE) {
        fputc('\n', stderr);
        run_print_table(s);
    }
}
