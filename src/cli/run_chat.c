/* run_chat.c - the interactive chat: line editing by libedit on a terminal, plain lines
 * otherwise. */
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/run.h"

enum { MESSAGE_MAX = 16 << 20, HISTORY_LINES = 500 };

struct input {
    EditLine *el; // NULL if this is not a terminal
    History *history;
    struct buf line; // of a pipe
    bool more;       // inside a """ block
};

static char *prompt_text(EditLine *el)
{
    static char first[] = ">>> ", next[] = "... ";
    const struct input *in;
    el_get(el, EL_CLIENTDATA, &in);
    return in->more ? next : first;
}

/* A byte of the terminal; -1 with errno EINTR after Ctrl-C, 0 at the end.  The flag is
 * looked at between waits, because a signal that comes while no read waits, or to another
 * thread, would interrupt nothing. */
static int read_byte(char *byte)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    do {
        if (run_interrupted()) {
            errno = EINTR;
            return -1;
        }
    } while (poll(&in, 1, 100) <= 0);
    return (int)read(STDIN_FILENO, byte, 1);
}

/* The reader of the line editor: one character of UTF-8.  A Ctrl-D that was typed before
 * the editor took the terminal over comes as NUL, which it would take for the command to
 * insert the next key as it is: left out. */
static int read_character(EditLine *el, wchar_t *out)
{
    (void)el;
    mbstate_t state = {0};
    char byte;
    for (int n; (n = read_byte(&byte)) != 0;) {
        if (n < 0)
            return -1;
        const size_t r = mbrtowc(out, &byte, 1, &state);
        if (r == 0)
            continue;
        if (r == (size_t)-1)
            state = (mbstate_t){0}; // not a character: leave it out
        else if (r != (size_t)-2)
            return 1;
    }
    return 0;
}

/* The line editor takes characters that the locale knows: any locale's UTF-8 will do. */
static void use_utf8(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))
        setlocale(LC_CTYPE, "C.UTF-8");
}

static void close_editor(struct input *in)
{
    if (in->el)
        el_end(in->el);
    if (in->history)
        history_end(in->history);
    in->el = NULL;
    in->history = NULL;
}

static void input_open(struct input *in)
{
    *in = (struct input){0};
    buf_init(&in->line, MESSAGE_MAX);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return;
    use_utf8();
    in->el = el_init("turbine", stdin, stdout, stderr);
    in->history = history_init();
    if (!in->el || !in->history) {
        close_editor(in);
        return;
    }
    HistEvent ev;
    history(in->history, &ev, H_SETSIZE, HISTORY_LINES);
    el_set(in->el, EL_CLIENTDATA, in);
    el_set(in->el, EL_PROMPT, prompt_text);
    el_set(in->el, EL_EDITOR, "emacs");
    el_set(in->el, EL_SIGNAL, 0);
    el_set(in->el, EL_GETCFN, read_character);
    el_set(in->el, EL_HIST, history, in->history);
}

static void input_close(struct input *in)
{
    close_editor(in);
    buf_release(&in->line);
}

enum line { LINE_TEXT, LINE_INTERRUPTED, LINE_END };

/* A line that is too long is read to its end; in->line.failed tells. */
static enum line read_pipe_line(struct input *in)
{
    int c;
    buf_clear(&in->line);
    while ((c = getc(stdin)) != EOF && c != '\n') {
        const char byte = (char)c;
        buf_append(&in->line, &byte, 1);
    }
    return c == EOF && !in->line.len && !in->line.failed ? LINE_END : LINE_TEXT;
}

/* The next line without its end, at *text [*n]. */
static enum line read_line(struct input *in, const char **text, size_t *n)
{
    if (!in->el) {
        const enum line l = read_pipe_line(in);
        *text = in->line.len ? in->line.data : "";
        *n = in->line.len;
        return l;
    }
    int count = 0;
    errno = 0;
    const char *line = el_gets(in->el, &count);
    if (!line && errno == EINTR) {
        el_reset(in->el);
        fputs("\n(Ctrl-D or /exit leaves)\n", stdout);
        return LINE_INTERRUPTED;
    }
    if (!line)
        return LINE_END;
    HistEvent ev;
    if (count > 1)
        history(in->history, &ev, H_ENTER, line);
    *text = line;
    *n = strcspn(line, "\n");
    return LINE_TEXT;
}

static bool starts_block(const char *s, size_t n)
{
    return n >= 3 && !memcmp(s, "\"\"\"", 3);
}

/* Read one message: a line, or several between lines that start and end with """.
 * Ctrl-C gives up what was typed of it.  false at the end of input. */
static bool read_message(struct input *in, struct buf *b)
{
    buf_clear(b);
    in->more = false;
    do {
        const char *text;
        size_t n;
        const enum line l = read_line(in, &text, &n);
        if (l == LINE_END)
            return b->len || b->failed;
        if (l == LINE_INTERRUPTED) {
            buf_clear(b);
            return true;
        }
        b->failed = b->failed || in->line.failed;
        if (!in->more && !starts_block(text, n)) {
            buf_append(b, text, n);
            return true;
        }
        if (!in->more) {
            in->more = true;
            text += 3;
            n -= 3;
        }
        if (n >= 3 && starts_block(text + n - 3, 3)) {
            in->more = false;
            n -= 3;
        }
        buf_append(b, text, n);
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
    struct chat_stable stable;
    enum status s = chat_add(c, "user", message->data, message->len, err);
    if (s)
        return s;
    buf_init(&text, MESSAGE_MAX);
    if ((s = chat_prompt(c, prompt, &stable, err)) ||
        (s = run_answer(r, prompt, &stable, &text, &stats, err))) {
        chat_drop_last(c);
    } else {
        putchar('\n');
        run_print_stats(r, &stats);
        if (stats.end == SESSION_STOPPED && !text.len)
            chat_drop_last(c); // interrupted before an answer: as if not asked
        else
            s = chat_add(c, "assistant", text.data ? text.data : "", text.len, err);
        if (s)
            chat_drop_last(c);
    }
    buf_release(&text);
    return s;
}

enum status run_start_chat(const struct run *r, struct chat *c, struct error *err)
{
    enum status s = chat_open(c, &r->engine, err);
    if (!s && r->system && *r->system)
        s = chat_add(c, "system", r->system, strlen(r->system), err);
    for (size_t i = 0; !s && i < json_array_size(r->messages); i++) {
        const json_t *m = json_array_get(r->messages, i);
        const json_t *content = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role"));
        if (!role || !json_is_string(content))
            return fail(err, STATUS_BAD_FILE, "message %zu of the model is none", i + 1);
        s = chat_add(c, role, json_string_value(content), json_string_length(content),
                     err);
    }
    return s;
}

int run_chat(struct run *r)
{
    struct error err;
    struct chat c;
    struct input in;
    struct buf message;
    struct tokens prompt;
    if (run_start_chat(r, &c, &err)) {
        chat_close(&c);
        return cli_fail(r->command, &err);
    }
    input_open(&in);
    tokens_init(&prompt);
    buf_init(&message, MESSAGE_MAX);
    const bool terminal = in.el;
    if (terminal) {
        puts("/help lists the commands, Ctrl-D leaves");
        run_catch_interrupts(false);
    }
    bool leave = false, failed = false;
    for (; !leave && read_message(&in, &message); run_forget_interrupt()) {
        err.status = STATUS_OK;
        if (message.failed) {
            failed = fail(&err, STATUS_LIMIT, "a message of more than %d MiB",
                          MESSAGE_MAX >> 20);
            cli_fail(r->command, &err);
        } else if (message.len && !run_command(r, &c, message.data, &leave) &&
                   answer(r, &c, &message, &prompt, &err)) {
            failed = true;
            cli_fail(r->command, &err);
            leave = err.status == STATUS_IO; // nobody reads the answers
        }
    }
    if (terminal && !leave)
        putchar('\n'); // behind the prompt at which Ctrl-D was pressed
    buf_release(&message);
    tokens_release(&prompt);
    input_close(&in);
    chat_close(&c);
    /* Who types has seen what went wrong; a script looks at the exit code. */
    return failed && (!terminal || err.status == STATUS_IO) ? CLI_FAILED : CLI_OK;
}
