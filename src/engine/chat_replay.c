#include "engine/chat_replay.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { TEXT_BYTES_MAX = 64 << 20, WORD_MAX = 48, EDITS_MAX = 100000 };

static size_t word_of(const struct chat_replay *c, int i, char *out)
{
    return (size_t)snprintf(out, WORD_MAX, "%s%dq", c->word, i);
}

/* Letters and digits that depend on the conversation, so that a message cannot hold them
 * but on purpose; that is found out later. */
static void choose_word(struct chat_replay *c, json_t *messages)
{
    uint64_t h = json_array_size(messages);
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        json_t *content = json_object_get(m, "content");
        const char *s = json_string_value(content);
        const size_t n = json_string_length(content);
        h = rng_mix(h + n);
        for (size_t k = 0; k < n; k += n / 16 + 1)
            h = rng_mix(h * 31 + (unsigned char)s[k]);
    }
    snprintf(c->word, sizeof c->word, "kept%016llxq", (unsigned long long)h);
}

static json_t *call_name(json_t *call)
{
    return json_object_get(json_object_get(call, "function"), "name");
}

/* The message saying the i-th word, or calling it. */
static json_t *with_word(const struct chat_replay *c, json_t *message, int i)
{
    char word[WORD_MAX];
    json_t *copy = json_copy(message);
    word_of(c, i, word);
    if (c->names) {
        json_t *call = json_array_get(json_object_get(message, "tool_calls"), 0);
        json_array_append(c->names, call_name(call));
        json_object_set_new(copy, "tool_calls",
                            json_pack("[{s:O, s:s, s:{s:s, s:{}}}]", "id",
                                      json_object_get(call, "id"), "type", "function",
                                      "function", "name", word, "arguments"));
    } else {
        json_object_set_new(copy, "content", json_string(word));
        json_object_del(copy, "tool_calls");
    }
    return copy;
}

static const char *content_of(const json_t *message)
{
    const char *s = json_string_value(json_object_get(message, "content"));
    return s ? s : "";
}

void chat_replay_init(struct chat_replay *c, struct replay *r,
                      const struct output_format *f, json_t *messages)
{
    const size_t n = json_array_size(messages);
    *c = (struct chat_replay){0};
    buf_init(&c->text, TEXT_BYTES_MAX);
    buf_init(&c->mark, TEXT_BYTES_MAX);
    if (!r)
        return;
    if (output_format_frame(f, &c->author, &c->end))
        c->names = json_array();
    choose_word(c, messages);
    for (size_t i = 0; i < n; i++) {
        json_t *m = json_array_get(messages, i),
               *calls = json_object_get(m, "tool_calls");
        if (!calls || (c->names && json_array_size(calls) != 1) ||
            !replay_find(r, calls, content_of(m), &c->text, &c->mark))
            continue;
        if (!c->messages) {
            c->messages = json_copy(messages);
            c->kept = mem_array(n, sizeof *c->kept);
        }
        json_t *word = c->messages && c->kept ? with_word(c, m, c->n) : NULL;
        if (!word || json_array_set_new(c->messages, i, word)) {
            chat_replay_release(c);
            return;
        }
        c->kept[c->n++] = c->text.len;
    }
}

void chat_replay_release(struct chat_replay *c)
{
    json_decref(c->messages);
    json_decref(c->names);
    buf_release(&c->text);
    buf_release(&c->mark);
    mem_free(c->kept);
    mem_free(c->edit);
    *c = (struct chat_replay){0};
}

/* ---- the places ---- */

/* First place of s [n] in text [len] from `from` on; len if there is none. */
static size_t find_text(const char *text, size_t len, size_t from, const char *s,
                        size_t n)
{
    while (n && from + n <= len) {
        const char *p = memchr(text + from, s[0], len - n - from + 1);
        if (!p)
            return len;
        from = (size_t)(p - text);
        if (!memcmp(p, s, n))
            return from;
        from++;
    }
    return n ? len : from;
}

static bool add_edit(struct chat_replay *c, struct chat_edit e)
{
    if (c->n_edit % 64 == 0) {
        struct chat_edit *more =
            c->n_edit < EDITS_MAX
                ? mem_resize(c->edit, (size_t)c->n_edit + 64, sizeof *more)
                : NULL;
        if (!more)
            return false;
        c->edit = more;
    }
    c->edit[c->n_edit++] = e;
    return true;
}

/* Make the edit of a call from its author on, or the whole message if the answer brings
 * its own, up to its end.  false: it has no such frame. */
static bool frame_edit(const struct chat_replay *c, const struct template_output *t,
                       struct chat_edit *e, size_t before)
{
    const size_t author = strlen(c->author), n = t->text.len;
    size_t from = n;
    for (size_t at = before;
         (at = find_text(t->text.data, e->at, at, c->author, author)) < e->at; at++)
        if (!t->mark.data[at])
            from = at;
    size_t to = e->at;
    do
        to = find_text(t->text.data, n, to + 1, c->end, strlen(c->end));
    while (to < n && t->mark.data[to]);
    if (from == n || to == n)
        return false;
    const bool whole = e->len >= author && !memcmp(e->text, c->author, author);
    e->at = whole ? from : from + author;
    e->n = to - e->at;
    return true;
}

/* Add the edit of a word [len] at `at`: the next answer, or the name of one before. */
static bool word_edit(struct chat_replay *c, const struct template_output *t, int i,
                      int *n_found, size_t at, size_t len)
{
    struct chat_edit e = {.at = at, .n = len};
    const struct chat_edit *last = c->n_edit ? &c->edit[c->n_edit - 1] : NULL;
    if (i < *n_found && c->names) {
        json_t *name = json_array_get(c->names, (size_t)i);
        e.text = json_string_value(name);
        e.len = json_string_length(name);
        return name && add_edit(c, e);
    }
    if (i != *n_found || i >= c->n)
        return false;
    const size_t kept = i ? c->kept[i - 1] : 0;
    e.text = c->text.data + kept;
    e.mark = c->mark.data + kept;
    e.len = c->kept[i] - kept;
    ++*n_found;
    return (!c->names || frame_edit(c, t, &e, last ? last->at + last->n : 0)) &&
           add_edit(c, e);
}

/* The edits of all words in the text.  false: they are not all there, in their order. */
static bool find_words(struct chat_replay *c, const struct template_output *t)
{
    const char *s = t->text.data;
    const size_t n = t->text.len, prefix = strlen(c->word);
    int found = 0;
    for (size_t at = 0; (at = find_text(s, n, at, c->word, prefix)) < n;) {
        size_t end = at + prefix;
        int i = 0;
        for (; end < n && s[end] >= '0' && s[end] <= '9' && i < EDITS_MAX; end++)
            i = i * 10 + (s[end] - '0');
        if (end == n || s[end] != 'q' || !word_edit(c, t, i, &found, at, end + 1 - at))
            return false;
        at = c->edit[c->n_edit - 1].at + c->edit[c->n_edit - 1].n;
    }
    return found == c->n;
}

bool chat_replay_check(struct chat_replay *c, const struct template_output *with,
                       const struct template_output *plain)
{
    const char *a = with->text.data, *b = plain->text.data;
    const size_t n = with->text.len, m = plain->text.len;
    size_t from = 0, in_plain = 0; // behind what was compared
    if (find_text(b, m, 0, c->word, strlen(c->word)) < m)
        return false; // somebody said the word
    if (!find_words(c, with))
        return false;
    for (int i = 0; i < c->n_edit; i++) {
        const struct chat_edit *e = &c->edit[i];
        if (e->at < from)
            return false;
        /* The text in front of the answer is the same. */
        const size_t gap = find_text(b, m, in_plain, a + from, e->at - from);
        if (gap == m || (i == 0 && gap != 0))
            return false;
        in_plain = gap + (e->at - from);
        from = e->at + e->n;
    }
    const size_t rest = n - from;
    return m >= in_plain + rest && !memcmp(b + m - rest, a + from, rest);
}

bool chat_replay_splice(const struct chat_replay *c, struct template_output *t)
{
    struct template_output out;
    size_t from = 0;
    buf_init(&out.text, t->text.max + TEXT_BYTES_MAX);
    buf_init(&out.mark, t->mark.max + TEXT_BYTES_MAX);
    for (int i = 0; i < c->n_edit; i++) {
        const struct chat_edit *e = &c->edit[i];
        buf_append(&out.text, t->text.data + from, e->at - from);
        buf_append(&out.mark, t->mark.data + from, e->at - from);
        buf_append(&out.text, e->text, e->len);
        for (size_t k = 0; k < e->len; k++)
            buf_append(&out.mark, e->mark ? e->mark + k : "\1", 1);
        from = e->at + e->n;
    }
    buf_append(&out.text, t->text.data + from, t->text.len - from);
    buf_append(&out.mark, t->mark.data + from, t->mark.len - from);
    const bool ok = !out.text.failed && !out.mark.failed;
    template_output_release(ok ? t : &out);
    if (ok)
        *t = out;
    return ok;
}

size_t chat_replay_moved(const struct chat_replay *c, size_t at)
{
    size_t to = at;
    for (int i = 0; i < c->n_edit && c->edit[i].at < at; i++)
        to = to + c->edit[i].len - c->edit[i].n;
    return to;
}
