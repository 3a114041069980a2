#include "engine/chat_replay.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { TEXT_BYTES_MAX = 64 << 20, WORD_MAX = 48 };

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
    snprintf(c->word, sizeof c->word, "answer%016llxq", (unsigned long long)h);
}

/* The message without its calls, saying the i-th word. */
static json_t *with_word(const struct chat_replay *c, json_t *message, int i)
{
    char word[WORD_MAX];
    json_t *copy = json_copy(message);
    word_of(c, i, word);
    if (!copy || json_object_set_new(copy, "content", json_string(word))) {
        json_decref(copy);
        return NULL;
    }
    json_object_del(copy, "tool_calls");
    return copy;
}

static const char *content_of(const json_t *message)
{
    const char *s = json_string_value(json_object_get(message, "content"));
    return s ? s : "";
}

void chat_replay_init(struct chat_replay *c, struct replay *r, json_t *messages)
{
    const size_t n = json_array_size(messages);
    *c = (struct chat_replay){0};
    buf_init(&c->text, TEXT_BYTES_MAX);
    buf_init(&c->mark, TEXT_BYTES_MAX);
    if (!r)
        return;
    choose_word(c, messages);
    for (size_t i = 0; i < n; i++) {
        json_t *m = json_array_get(messages, i),
               *calls = json_object_get(m, "tool_calls");
        if (!calls || !replay_find(r, calls, content_of(m), &c->text, &c->mark))
            continue;
        if (!c->messages) {
            c->messages = json_copy(messages);
            c->end = mem_array(n, sizeof *c->end);
            c->at = mem_array(n, sizeof *c->at);
        }
        json_t *word = c->messages && c->end && c->at ? with_word(c, m, c->n) : NULL;
        if (!word || json_array_set_new(c->messages, i, word)) {
            chat_replay_release(c);
            return;
        }
        c->end[c->n++] = c->text.len;
    }
}

void chat_replay_release(struct chat_replay *c)
{
    json_decref(c->messages);
    buf_release(&c->text);
    buf_release(&c->mark);
    mem_free(c->end);
    mem_free(c->at);
    *c = (struct chat_replay){0};
}

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

bool chat_replay_check(struct chat_replay *c, const struct template_output *with,
                       const struct template_output *plain)
{
    const char *a = with->text.data, *b = plain->text.data;
    const size_t n = with->text.len, m = plain->text.len;
    size_t from = 0, in_plain = 0; // behind what was compared
    for (int i = 0; i < c->n; i++) {
        char word[WORD_MAX];
        const size_t len = word_of(c, i, word);
        const size_t at = find_text(a, n, from, word, len);
        if (at == n || find_text(a, n, 0, word, len) != at ||
            find_text(a, n, at + len, word, len) != n)
            return false;
        /* The text in front of the answer is the same. */
        const size_t gap = find_text(b, m, in_plain, a + from, at - from);
        if (gap == m || (i == 0 && gap != 0))
            return false;
        in_plain = gap + (at - from);
        c->at[i] = at;
        from = at + len;
    }
    const size_t rest = n - from;
    return m >= in_plain + rest && !memcmp(b + m - rest, a + from, rest);
}

bool chat_replay_splice(const struct chat_replay *c, struct template_output *t)
{
    struct template_output out;
    size_t from = 0, kept = 0;
    buf_init(&out.text, t->text.max + TEXT_BYTES_MAX);
    buf_init(&out.mark, t->mark.max + TEXT_BYTES_MAX);
    for (int i = 0; i < c->n; i++) {
        char word[WORD_MAX];
        const size_t len = word_of(c, i, word);
        buf_append(&out.text, t->text.data + from, c->at[i] - from);
        buf_append(&out.mark, t->mark.data + from, c->at[i] - from);
        buf_append(&out.text, c->text.data + kept, c->end[i] - kept);
        buf_append(&out.mark, c->mark.data + kept, c->end[i] - kept);
        from = c->at[i] + len;
        kept = c->end[i];
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
    size_t to = at, kept = 0;
    for (int i = 0; i < c->n && c->at[i] < at; i++) {
        char word[WORD_MAX];
        to = to + (c->end[i] - kept) - word_of(c, i, word);
        kept = c->end[i];
    }
    return to;
}
