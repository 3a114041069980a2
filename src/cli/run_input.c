/* run_input.c - messages that are typed: line editing by libedit on a terminal, plain
 * lines otherwise. */
#include "cli/run_input.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/mem.h"
#include "cli/environment.h"
#include "cli/paths.h"
#include "cli/run.h"

enum { HISTORY_LINES = 500 };

/* What a terminal puts around text that is pasted, where it is asked to (bracketed paste
 * of xterm's control sequences): "\033[200~" and "\033[201~". */
enum { MARK_BYTES = 6 };
static const char paste_mark[] = "\033[20?~";

struct run_input {
    EditLine *el; // NULL if this is not a terminal
    History *history;
    int fd;                    // of the terminal
    char ahead[MARK_BYTES];    // read, and no mark
    int n_ahead;               // of it
    bool pasting;              // between the marks
    struct buf line;           // of a pipe
    bool more;                 // inside a """ block
    bool keep;                 // lines in the history
    char file[CLI_PATH_BYTES]; // of the history; "": none
};

static char *prompt_text(EditLine *el)
{
    static char first[] = ">>> ", next[] = "... ";
    const struct run_input *in;
    el_get(el, EL_CLIENTDATA, &in);
    return in->more || in->pasting ? next : first;
}

/* The terminal of stdin once more, so that reading it need not block: what poll saw may
 * be gone when a Ctrl-C empties the terminal's queue, and no signal would end a read that
 * begins behind it.  stdin itself is shared with whoever started us: it stays as it is.
 */
static int open_terminal(void)
{
    const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    const char *name = ttyname(STDIN_FILENO);
    int fd = name ? open(name, flags) : -1;
    if (fd < 0)
        fd = open("/dev/tty", flags);
    return fd < 0 ? STDIN_FILENO : fd;
}

/* A byte of the terminal; -1 with errno EINTR after Ctrl-C, 0 at the end.  The flag is
 * looked at between waits, because a signal that comes while nothing waits, or to another
 * thread, would interrupt nothing. */
static int read_byte(int fd, char *byte)
{
    struct pollfd in = {.fd = fd, .events = POLLIN};
    for (;;) {
        if (run_interrupted()) {
            errno = EINTR;
            return -1;
        }
        if (poll(&in, 1, 100) <= 0)
            continue;
        const ssize_t n = read(fd, byte, 1);
        if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            return (int)n;
    }
}

static bool is_waiting(int fd)
{
    enum { SAME_PASTE_MS = 50 };
    struct pollfd in = {.fd = fd, .events = POLLIN};
    return poll(&in, 1, SAME_PASTE_MS) > 0;
}

/* As read_byte, without the marks of a paste. */
static int read_unmarked(struct run_input *in, char *byte)
{
    for (;;) {
        int n = 0;
        if (in->n_ahead > 0) {
            *byte = in->ahead[0];
            memmove(in->ahead, in->ahead + 1, (size_t)--in->n_ahead);
            return 1;
        }
        if ((n = read_byte(in->fd, byte)) <= 0 || *byte != paste_mark[0])
            return n;
        while (in->n_ahead < MARK_BYTES - 1 && is_waiting(in->fd)) {
            char *next = &in->ahead[in->n_ahead];
            const char want = paste_mark[in->n_ahead + 1];
            if (read_byte(in->fd, next) <= 0)
                break;
            in->n_ahead++;
            if (want == '?' ? *next != '0' && *next != '1' : *next != want)
                break;
        }
        if (in->n_ahead < MARK_BYTES - 1 || in->ahead[in->n_ahead - 1] != '~')
            return 1; // another key: its first byte, then the rest
        in->pasting = in->ahead[3] == '0';
        in->n_ahead = 0;
    }
}

/* The reader of the line editor: one character of UTF-8.  A Ctrl-D that was typed before
 * the editor took the terminal over comes as NUL, which it would take for the command to
 * insert the next key as it is: left out. */
static int read_character(EditLine *el, wchar_t *out)
{
    struct run_input *in;
    mbstate_t state = {0};
    char byte;
    el_get(el, EL_CLIENTDATA, &in);
    for (int n; (n = read_unmarked(in, &byte)) != 0;) {
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

static void close_editor(struct run_input *in)
{
    if (in->el)
        el_end(in->el);
    if (in->history)
        history_end(in->history);
    if (in->fd != STDIN_FILENO)
        close(in->fd);
    in->el = NULL;
    in->history = NULL;
    in->fd = STDIN_FILENO;
}

/* Through a file of its own, so that the old one stays until the new one is whole.  For
 * the eyes of its owner. */
static bool save_history(struct run_input *in)
{
    HistEvent ev;
    char temp[CLI_PATH_BYTES + 8];
    snprintf(temp, sizeof temp, "%s.XXXXXX", in->file);
    const int fd = mkstemp(temp);
    if (fd < 0)
        return false;
    close(fd);
    if (history(in->history, &ev, H_SAVE, temp) >= 0 && !rename(temp, in->file))
        return true;
    const int why = errno;
    unlink(temp);
    errno = why;
    return false;
}

/* Behind each line: a chat may end in any way. */
static void keep_line(struct run_input *in, const char *line)
{
    HistEvent ev;
    history(in->history, &ev, H_ENTER, line);
    if (!*in->file || save_history(in))
        return;
    fprintf(stderr, "turbine run: note: the history is not kept: %s: %s\n", in->file,
            strerror(errno));
    *in->file = 0; // said once
}

static void load_history(struct run_input *in)
{
    HistEvent ev;
    if (!paths_history(in->file))
        *in->file = 0;
    else
        history(in->history, &ev, H_LOAD, in->file); // none there: it begins
}

static void open_editor(struct run_input *in, bool keep)
{
    HistEvent ev;
    use_utf8();
    in->el = el_init("turbine", stdin, stdout, stderr);
    in->history = history_init();
    in->fd = open_terminal();
    if (!in->el || !in->history) {
        close_editor(in);
        return;
    }
    history(in->history, &ev, H_SETSIZE, HISTORY_LINES);
    if (keep)
        load_history(in);
    el_set(in->el, EL_CLIENTDATA, in);
    el_set(in->el, EL_PROMPT, prompt_text);
    el_set(in->el, EL_EDITOR, "emacs");
    el_set(in->el, EL_SIGNAL, 0);
    el_set(in->el, EL_GETCFN, read_character);
    el_set(in->el, EL_HIST, history, in->history);
}

enum status run_input_open(struct run_input **out, bool keep, struct error *err)
{
    struct run_input *in = mem_array(1, sizeof *in);
    if (!in)
        return fail(err, STATUS_NO_MEMORY, "no memory for a chat");
    in->keep = keep;
    in->fd = STDIN_FILENO;
    buf_init(&in->line, RUN_MESSAGE_MAX);
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        open_editor(in, keep);
    *out = in;
    return STATUS_OK;
}

void run_input_close(struct run_input *in)
{
    if (!in)
        return;
    close_editor(in);
    buf_release(&in->line);
    mem_free(in);
}

bool run_input_edits(const struct run_input *in)
{
    return in->el;
}

void run_input_history(struct run_input *in, bool keep)
{
    in->keep = keep;
}

enum line { LINE_TEXT, LINE_INTERRUPTED, LINE_END };

/* A line that is too long is read to its end; in->line.failed tells. */
static enum line read_pipe_line(struct run_input *in)
{
    int c;
    buf_clear(&in->line);
    while ((c = getc(stdin)) != EOF && c != '\n') {
        const char byte = (char)c;
        buf_append(&in->line, &byte, 1);
    }
    return c == EOF && !in->line.len && !in->line.failed ? LINE_END : LINE_TEXT;
}

/* Ask the terminal for the marks of a paste, or for none. */
static void set_marks(bool on)
{
    const char *term = environment_foreign("TERM");
    if (!term || !strcmp(term, "dumb"))
        return;
    fputs(on ? "\033[?2004h" : "\033[?2004l", stdout);
    fflush(stdout);
}

/* The next line without its end, at *text [*n]. */
static enum line read_line(struct run_input *in, const char **text, size_t *n)
{
    if (!in->el) {
        const enum line l = read_pipe_line(in);
        *text = in->line.len ? in->line.data : "";
        *n = in->line.len;
        return l;
    }
    int count = 0;
    errno = 0;
    set_marks(true);
    const char *line = el_gets(in->el, &count);
    const int why = errno;
    set_marks(false);
    if (!line && why == EINTR) {
        el_reset(in->el);
        in->pasting = false;
        in->n_ahead = 0;
        fputs("\n(Ctrl-D or /bye leaves)\n", stdout);
        return LINE_INTERRUPTED;
    }
    if (!line)
        return LINE_END;
    if (count > 1 && in->keep)
        keep_line(in, line);
    *text = line;
    *n = strcspn(line, "\n");
    return LINE_TEXT;
}

static const char *behind_blanks(const char *s, const char *end)
{
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    return s;
}

/* Where a block of several lines begins: behind """ at the start of a message or of the
 * text of /set system.  NULL: there is none. */
static const char *find_block(const char *s, size_t n)
{
    static const char command[] = "/set system";
    const char *end = s + n, *at = s;
    if (n > sizeof command - 1 && !memcmp(s, command, sizeof command - 1))
        at = behind_blanks(s + sizeof command - 1, end);
    return end - at >= 3 && !memcmp(at, "\"\"\"", 3) ? at : NULL;
}

static bool ends_block(const char *s, size_t n)
{
    return n >= 3 && !memcmp(s + n - 3, "\"\"\"", 3);
}

/* The line that may open a block; true: more lines are to come.  *whole: the message is
 * the block. */
static bool take_first_line(struct buf *b, const char *text, size_t n, bool *whole)
{
    const char *block = find_block(text, n), *end = text + n;
    *whole = block == text;
    if (!block) {
        buf_append(b, text, n);
        return false;
    }
    buf_append(b, text, (size_t)(block - text));
    block += 3;
    const bool closed = ends_block(block, (size_t)(end - block));
    buf_append(b, block, (size_t)(end - block) - (closed ? 3 : 0));
    return !closed;
}

bool run_input_read(struct run_input *in, struct buf *b, bool *quoted)
{
    bool first = true, pasted = false;
    buf_clear(b);
    *quoted = false;
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
        if (first) {
            in->more = take_first_line(b, text, n, quoted);
        } else if (in->more) {
            in->more = !ends_block(text, n);
            buf_append(b, "\n", 1);
            buf_append(b, text, n - (in->more ? 0 : 3));
        } else { // of a paste
            buf_append(b, "\n", 1);
            buf_append(b, text, n);
        }
        first = false;
        pasted = pasted || in->pasting;
    } while (in->more || in->pasting);
    *quoted = *quoted || pasted;
    while (b->len && pasted && b->data[b->len - 1] == '\n')
        b->data[--b->len] = 0;
    return true;
}
