/* run_chat.c - the interactive chat: line editing by libedit on a terminal, plain lines
 * otherwise. */
#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/run.h"

enum { MESSAGE_MAX = 16 << 20, HISTORY_LINES = 500 };

struct input {
    EditLine *el; // NULL if stdin is not a terminal
    History *history;
    char *line; // of getline
    size_t line_cap;
    bool more; // inside a """ block
};

static char *prompt_text(EditLine *el)
{
    static char first[] = ">>> ", next[] = "... ";
    const struct input *in;
    el_get(el, EL_CLIENTDATA, &in);
    return in->more ? next : first;
}

static void input_open(struct input *in)
{
    *in = (struct input){0};
    if (!isatty(STDIN_FILENO))
        return;
    in->el = el_init("turbine", stdin, stdout, stderr);
    in->history = history_init();
    if (!in->el || !in->history)
        return;
    HistEvent ev;
    history(in->history, &ev, H_SETSIZE, HISTORY_LINES);
    el_set(in->el, EL_CLIENTDATA, in);
    el_set(in->el, EL_PROMPT, prompt_text);
    el_set(in->el, EL_EDITOR, "emacs");
    el_set(in->el, EL_SIGNAL, 0);
    el_set(in->el, EL_HIST, history, in->history);
}

static void input_close(struct input *in)
{
    if (in->el)
        el_end(in->el);
    if (in->history)
        history_end(in->history);
    mem_free(in->line);
}

static void on_interrupt_line(int sig)
{
    (void)sig;
}

/* The next line with its newline; NULL at the end of input, "" after Ctrl-C. */
static const char *read_line(struct input *in)
{
    if (!in->el) {
        ssize_t n = getline(&in->line, &in->line_cap, stdin);
        return n < 0 ? NULL : in->line;
    }
    struct sigaction act = {.sa_handler = on_interrupt_line}, before;
    sigaction(SIGINT, &act, &before);
    int n = 0;
    errno = 0;
    const char *line = el_gets(in->el, &n);
    const bool interrupted = !line && errno == EINTR;
    sigaction(SIGINT, &before, NULL);
    if (interrupted) {
        el_reset(in->el);
        fputs("\n(Ctrl-D or /exit leaves)\n", stdout);
        return "";
    }
    HistEvent ev;
    if (line && n > 1)
        history(in->history, &ev, H_ENTER, line);
    return line;
}

/* Read one message: a line, or several between lines that start and end with """. */
static bool read_message(struct input *in, struct buf *b)
{
    buf_clear(b);
    in->more = false;
    do {
        const char *line = read_line(in);
        if (!line)
            return b->len > 0;
        size_t n = strcspn(line, "\n");
        const bool fence_start = !in->more && !strncmp(line, "\"\"\"", 3);
        if (!in->more && !fence_start)
            return buf_append(b, line, n);
        if (fence_start) {
            in->more = true;
            line += 3;
            n -= 3;
        }
        if (n >= 3 && !memcmp(line + n - 3, "\"\"\"", 3)) {
            in->more = false;
            n -= 3;
        }
        buf_append(b, line, n);
        if (in->more)
            buf_append(b, "\n", 1);
    } while (in->more);
    return true;
}

static void print_chat_help(void)
{
    puts("/help    this text\n"
         "/kv      memory of the cache\n"
         "/clear   forget the conversation\n"
         "/exit    leave (or Ctrl-D)\n"
         "\"\"\"      starts and ends a message of several lines\n"
         "Ctrl-C   stops an answer");
}

/* true if the message was a command; *leave is set by /exit. */
static bool run_command(struct run *r, struct chat *c, const char *text, bool *leave)
{
    if (text[0] != '/')
        return false;
    if (!strcmp(text, "/help") || !strcmp(text, "/?"))
        print_chat_help();
    else if (!strcmp(text, "/kv"))
        run_print_kv(r);
    else if (!strcmp(text, "/clear"))
        chat_clear(c);
    else if (!strcmp(text, "/exit") || !strcmp(text, "/bye") || !strcmp(text, "/quit"))
        *leave = true;
    else
        printf("unknown command '%.20s'; /help lists them\n", text);
    return true;
}

/* Answer one message; a failed one is taken back, so that the chat can go on. */
static enum status answer(struct run *r, struct chat *c, const struct buf *message,
                          struct tokens *prompt, struct error *err)
{
    struct buf text;
    struct session_stats stats;
    size_t n_stable;
    enum status s = chat_add(c, "user", message->data, message->len, err);
    if (s)
        return s;
    buf_init(&text, MESSAGE_MAX);
    if ((s = chat_prompt(c, prompt, &n_stable, err)) ||
        (s = run_answer(r, prompt, n_stable, &text, &stats, err))) {
        chat_drop_last(c);
    } else {
        putchar('\n');
        run_print_stats(r, &stats);
        s = chat_add(c, "assistant", text.data ? text.data : "", text.len, err);
        if (s)
            chat_drop_last(c);
    }
    buf_release(&text);
    return s;
}

static enum status start_chat(struct run *r, struct chat *c, struct error *err)
{
    enum status s = chat_open(c, &r->engine, err);
    if (!s && r->system)
        s = chat_add(c, "system", r->system, strlen(r->system), err);
    return s;
}

int run_chat(struct run *r)
{
    struct error err;
    struct chat c;
    struct input in;
    struct buf message;
    struct tokens prompt;
    if (start_chat(r, &c, &err)) {
        chat_close(&c);
        return cli_fail(r->command, &err);
    }
    input_open(&in);
    tokens_init(&prompt);
    buf_init(&message, MESSAGE_MAX);
    if (in.el)
        puts("/help lists the commands, Ctrl-D leaves");
    bool leave = false;
    while (!leave && read_message(&in, &message)) {
        if (message.failed) {
            fputs("turbine run: the message is too long\n", stderr);
        } else if (message.len && !run_command(r, &c, message.data, &leave)) {
            if (answer(r, &c, &message, &prompt, &err))
                cli_fail(r->command, &err);
        }
    }
    buf_release(&message);
    tokens_release(&prompt);
    input_close(&in);
    chat_close(&c);
    return CLI_OK;
}
