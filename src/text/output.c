/* output.c - the parser of answers: pieces to bytes, text and reasoning, events. */
#include <string.h>

#include "base/mem.h"
#include "text/output_impl.h"

bool output_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

enum output_match output_match(const char *s, size_t n, const char *text)
{
    const size_t len = strlen(text);
    if (n > len || memcmp(s, text, n) != 0)
        return OUTPUT_NO;
    return n == len ? OUTPUT_WHOLE : OUTPUT_PART;
}

/* ---- events ---- */

static void flush(struct output_parser *p)
{
    const size_t n = p->n_out;
    p->n_out = 0;
    if (n)
        p->o.emit(p->o.ctx, &(struct output_event){p->out_kind, p->out, n});
}

void output_emit(struct output_parser *p, enum output_kind kind, const char *s, size_t n)
{
    flush(p);
    p->o.emit(p->o.ctx, &(struct output_event){kind, s, n});
}

void output_add(struct output_parser *p, enum output_kind kind, char c)
{
    const bool starts = (c & 0xc0) != 0x80; // a character
    if (p->out_kind != kind || p->n_out == OUTPUT_CHUNK ||
        (starts && p->n_out + 4 > OUTPUT_CHUNK))
        flush(p);
    p->out_kind = kind;
    p->out[p->n_out++] = c;
}

/* ---- text and reasoning ---- */

static void drop_space(struct output_parser *p)
{
    buf_clear(&p->space);
}

static enum output_kind text_kind(const struct output_parser *p)
{
    return p->mode == OUTPUT_IN_REASONING ? OUTPUT_REASONING : OUTPUT_TEXT;
}

static void add_space(struct output_parser *p)
{
    for (size_t i = 0; i < p->space.len; i++)
        output_add(p, text_kind(p), p->space.data[i]);
    drop_space(p);
}

void output_set_mode(struct output_parser *p, enum output_mode mode)
{
    if (p->mode == OUTPUT_IN_REASONING)
        p->answer_start = p->n_fed;
    drop_space(p);
    p->mode = mode;
    p->blank = p->trim = p->line_start = true;
    p->said = true;
}

static void plain_space(struct output_parser *p, char c)
{
    p->line_start = p->line_start || c == '\n';
    if (p->trim && p->blank) {
        if (p->answer_start + 1 == p->n_fed)
            p->answer_start = p->n_fed; // the answer begins behind the white space
        return;
    }
    /* What does not end is not the border of anything. */
    if (p->space.len >= OUTPUT_SPACE_MAX || !buf_append(&p->space, &c, 1)) {
        add_space(p);
        output_add(p, text_kind(p), c);
        p->said = true;
    }
}

static void plain_byte(struct output_parser *p, char c)
{
    if (output_is_space(c)) {
        plain_space(p, c);
        return;
    }
    if (p->tail && p->blank && c && strchr("}]`;", c))
        return; // one bracket too many behind a call
    p->tail = NULL;
    add_space(p);
    output_add(p, text_kind(p), c);
    p->blank = p->line_start = false;
    p->said = true;
}

void output_plain(struct output_parser *p, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        plain_byte(p, s[i]);
}

/* Whether the mark means something here. */
static bool applies(const struct output_parser *p, const struct output_mark *m)
{
    if (m->flags & OUTPUT_FRAME)
        return true;
    if (!p->o.tools || (m->flags & OUTPUT_FIRST && !p->blank))
        return false;
    return p->mode == OUTPUT_IN_TEXT || (m->flags & OUTPUT_THINKING && p->line_start);
}

static void take_mark(struct output_parser *p, const struct output_mark *m)
{
    p->n_match = 0;
    if (m->reader)
        output_call_start(p, m);
    else
        output_set_mode(p, OUTPUT_IN_TEXT);
}

/* The marks of reasoning, and the tail of a call. */
static enum output_match match_border(struct output_parser *p)
{
    const char *open = p->o.format->think[0], *close = p->o.format->think[1];
    const bool thinking = p->mode == OUTPUT_IN_REASONING;
    enum output_match m = OUTPUT_NO, k;
    if (open && p->blank && (thinking || !p->said)) {
        m = output_match(p->match, p->n_match, open);
        if (m == OUTPUT_WHOLE) {
            output_set_mode(p, OUTPUT_IN_REASONING);
            return m;
        }
    }
    if (open && (thinking || p->stray_close)) {
        k = output_match(p->match, p->n_match, close);
        m = k > m ? k : m;
        if (k == OUTPUT_WHOLE) {
            p->stray_close = false;
            output_set_mode(p, OUTPUT_IN_TEXT);
            return m;
        }
    }
    if (p->tail && p->blank && !thinking) {
        k = output_match(p->match, p->n_match, p->tail);
        m = k > m ? k : m;
        if (k == OUTPUT_WHOLE)
            p->tail = NULL;
        else if (!strcmp(p->tail, "</tool_call>")) {
            k = output_match(p->match, p->n_match, "</function>");
            m = k > m ? k : m;
        }
    }
    return m;
}

/* match [n_match] was extended: take a mark, wait, or let its first byte go. */
static void text_byte(struct output_parser *p, char c)
{
    p->match[p->n_match++] = c;
    while (p->n_match) {
        enum output_match best = match_border(p);
        if (best == OUTPUT_WHOLE) {
            p->n_match = 0;
            return;
        }
        for (const struct output_mark *m = p->o.format->marks; m->text; m++) {
            const enum output_match k =
                applies(p, m) ? output_match(p->match, p->n_match, m->text) : OUTPUT_NO;
            if (k == OUTPUT_WHOLE) {
                take_mark(p, m);
                return;
            }
            best = k > best ? k : best;
        }
        if (best == OUTPUT_PART)
            return;
        plain_byte(p, p->match[0]);
        memmove(p->match, p->match + 1, --p->n_match);
    }
}

void output_put(struct output_parser *p, char c)
{
    while (p->mode == OUTPUT_IN_CALL)
        if (p->reader->byte(p, c) == OUTPUT_TAKEN)
            return;
    text_byte(p, c);
}

/* ---- the parser ---- */

enum status output_parser_open(struct output_parser **out, const struct output_options *o,
                               struct error *err)
{
    struct output_parser *p = mem_array(1, sizeof *p);
    *out = p;
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for the parser of an answer");
    const size_t max = o->max_bytes;
    p->o = *o;
    buf_init(&p->space, OUTPUT_SPACE_MAX);
    buf_init(&p->held, max + OUTPUT_MARK_MAX);
    buf_init(&p->name, OUTPUT_NAME_MAX);
    buf_init(&p->raw, max + OUTPUT_MARK_MAX);
    buf_init(&p->json, 8 * max + 4096); // an escape may take 6 bytes for one
    p->blank = p->line_start = true;
    p->mode = OUTPUT_IN_TEXT;
    if (o->reasoning && o->format->think[0]) {
        p->mode = OUTPUT_IN_REASONING;
        p->trim = true;
    } else if (o->format->first) {
        output_call_start(p, o->format->first);
    }
    return STATUS_OK;
}

void output_parser_close(struct output_parser *p)
{
    if (!p)
        return;
    buf_release(&p->space);
    buf_release(&p->held);
    buf_release(&p->name);
    buf_release(&p->raw);
    buf_release(&p->json);
    output_json_release(&p->scan);
    mem_free(p);
}

void output_parser_feed(struct output_parser *p, const char *text, size_t n, bool special)
{
    if (special && !output_format_knows(p->o.format, text, n)) {
        p->n_fed += n;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        p->n_fed++;
        output_put(p, text[i]);
    }
    flush(p);
}

void output_parser_end(struct output_parser *p)
{
    if (p->mode == OUTPUT_IN_CALL)
        p->reader->end(p);
    output_plain(p, p->match, p->n_match);
    p->n_match = 0;
    if (p->mode == OUTPUT_IN_TEXT)
        add_space(p);
    if (p->mode == OUTPUT_IN_REASONING)
        p->answer_start = p->n_fed;
    flush(p);
}

size_t output_parser_answer_start(const struct output_parser *p)
{
    return p->answer_start;
}
