/* vocab.c - a vocabulary as a tree of bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "grammar/grammar_impl.h"

int vocab_group(uint8_t byte)
{
    static const char own[] = "\t\n\r !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    const char *at = byte ? memchr(own, byte, sizeof own - 1) : NULL;
    if (at)
        return 20 + (int)(at - own);
    if (byte >= '0' && byte <= '9')
        return byte == '0' ? 0 : byte <= '4' ? 1 : 2;
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') // four letters each
        return (byte >= 'a' ? 3 : 10) + ((byte | 0x20) - 'a') / 4;
    return byte == 0x7f ? 17 : 18;
}

/* How far UTF-8 is in a character: how many bytes are missing, and which the next one may
 * be. */
struct utf8_at {
    uint8_t missing, lo, hi;
    bool bad;
};

static struct utf8_at utf8_move(struct utf8_at s, uint8_t byte)
{
    if (s.bad)
        return s;
    if (s.missing)
        return byte >= s.lo && byte <= s.hi
                   ? (struct utf8_at){(uint8_t)(s.missing - 1), 0x80, 0xbf, false}
                   : (struct utf8_at){.bad = true};
    if (byte < 0x80)
        return s;
    if (byte < 0xc2 || byte > 0xf4)
        return (struct utf8_at){.bad = true};
    if (byte < 0xe0)
        return (struct utf8_at){1, 0x80, 0xbf, false};
    if (byte < 0xf0)
        return (struct utf8_at){2, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf,
                                false};
    return (struct utf8_at){3, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf,
                            false};
}

struct vocab_sort {
    const struct grammar_piece *piece;
    int32_t id;
};

static int piece_order(const void *x, const void *y)
{
    const struct vocab_sort *a = x, *b = y;
    const size_t n = a->piece->n < b->piece->n ? a->piece->n : b->piece->n;
    const int c = memcmp(a->piece->text, b->piece->text, n);
    if (c)
        return c;
    if (a->piece->n != b->piece->n)
        return a->piece->n < b->piece->n ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static size_t shared_bytes(const struct grammar_piece *x, const struct grammar_piece *y)
{
    size_t n = 0;
    while (n < x->n && n < y->n && x->text[n] == y->text[n])
        n++;
    return n;
}

/* Finish node `at`, below which all nodes are: what is below its parent. */
static void node_close(struct grammar_vocab *v, const uint32_t *way, uint32_t depth,
                       const struct utf8_at *state)
{
    struct vocab_node *node = &v->nodes[way[depth]];
    node->end = v->n_node;
    if (depth == 0)
        return;
    struct vocab_node *parent = &v->nodes[way[depth - 1]];
    uint64_t below = node->below;
    // A token that ends inside of a character can be read where all characters can.
    if (state[depth].bad)
        below |= 1ull << VOCAB_BROKEN;
    else if (node->byte < 0x80)
        below |= 1ull << vocab_group(node->byte);
    else
        below |= 1ull << VOCAB_CHARS;
    parent->below |= below;
    // Inside of a character there are no whole ones.
    if (state[depth].bad || state[depth].missing)
        node->below |= 1ull << VOCAB_BROKEN;
    if (parent->deep < node->deep + 1)
        parent->deep = (uint16_t)(node->deep + 1);
}

/* sorted [n]; nodes have room. */
static void tree_fill(struct grammar_vocab *v, const struct vocab_sort *sorted, size_t n,
                      uint32_t *way, struct utf8_at *state)
{
    uint32_t depth = 0;
    v->n_node = 1;
    way[0] = 0;
    state[0] = (struct utf8_at){0};
    for (size_t i = 0; i < n; i++) {
        const struct grammar_piece *p = sorted[i].piece;
        const size_t same = i ? shared_bytes(sorted[i - 1].piece, p) : 0;
        for (; depth > same; depth--)
            node_close(v, way, depth, state);
        for (; depth < p->n; depth++) {
            const uint8_t byte = (uint8_t)p->text[depth];
            state[depth + 1] = utf8_move(state[depth], byte);
            way[depth + 1] = v->n_node;
            const uint16_t chars = v->nodes[way[depth]].chars;
            v->nodes[v->n_node++] =
                (struct vocab_node){.token = v->n_id,
                                    .depth = (uint16_t)(depth + 1),
                                    .chars = (uint16_t)(chars + ((byte & 0xc0) != 0x80)),
                                    .byte = byte};
        }
        v->chars[v->n_id] = v->nodes[way[depth]].chars;
        v->ids[v->n_id++] = sorted[i].id;
    }
    for (; depth > 0; depth--)
        node_close(v, way, depth, state);
    node_close(v, way, 0, state);
    v->nodes[v->n_node].token = v->n_id;
    v->deep = v->nodes[0].deep;
}

static enum status tree_open(struct grammar_vocab *v, const struct grammar_piece *pieces,
                             struct error *err)
{
    size_t n = 0, n_node = 2;
    struct vocab_sort *sorted = mem_array((size_t)v->n_vocab + 1, sizeof *sorted);
    for (int id = 0; sorted && id < v->n_vocab; id++)
        if (v->kind[id] == VOCAB_TEXT)
            sorted[n++] = (struct vocab_sort){&pieces[id], id};
    if (sorted)
        qsort(sorted, n, sizeof *sorted, piece_order);
    for (size_t i = 0; i < n; i++)
        n_node += sorted[i].piece->n -
                  (i ? shared_bytes(sorted[i - 1].piece, sorted[i].piece) : 0);
    v->nodes = n_node < UINT32_MAX ? mem_array(n_node, sizeof *v->nodes) : NULL;
    v->ids = mem_array(n + 1, sizeof *v->ids);
    v->chars = mem_array(n + 1, sizeof *v->chars);
    uint32_t *way = mem_array(VOCAB_TOKEN_BYTES + 1, sizeof *way);
    struct utf8_at *state = mem_array(VOCAB_TOKEN_BYTES + 1, sizeof *state);
    const bool ok = sorted && v->nodes && v->ids && v->chars && way && state;
    if (ok)
        tree_fill(v, sorted, n, way, state);
    mem_free(sorted);
    mem_free(way);
    mem_free(state);
    return ok ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory for the vocabulary");
}

static enum status text_open(struct grammar_vocab *v, const struct grammar_piece *pieces,
                             struct error *err)
{
    size_t total = 0;
    for (int id = 0; id < v->n_vocab; id++)
        total += pieces[id].n;
    v->kind = mem_array((size_t)v->n_vocab + 1, sizeof *v->kind);
    v->offset = mem_array((size_t)v->n_vocab + 1, sizeof *v->offset);
    v->ends = mem_array((size_t)v->n_vocab + 1, sizeof *v->ends);
    v->hidden = mem_array((size_t)v->n_vocab + 1, sizeof *v->hidden);
    v->text = total < UINT32_MAX ? mem_array(total + 1, 1) : NULL;
    if (!v->kind || !v->offset || !v->ends || !v->hidden || !v->text)
        return fail(err, STATUS_NO_MEMORY, "no memory for the vocabulary");
    total = 0;
    for (int id = 0; id < v->n_vocab; id++) {
        const struct grammar_piece *p = &pieces[id];
        if (p->n)
            memcpy(v->text + total, p->text, p->n);
        total += p->n;
        v->offset[id + 1] = (uint32_t)total;
        v->kind[id] = p->end                              ? VOCAB_END
                      : p->hidden                         ? VOCAB_HIDDEN
                      : p->n && p->n <= VOCAB_TOKEN_BYTES ? VOCAB_TEXT
                                                          : VOCAB_EMPTY;
        if (p->end)
            v->ends[v->n_end++] = id;
        else if (p->hidden)
            v->hidden[v->n_hidden++] = id;
    }
    return STATUS_OK;
}

enum status grammar_vocab_open(struct grammar_vocab **out,
                               const struct grammar_piece *pieces, int n_vocab,
                               struct error *err)
{
    *out = NULL;
    struct grammar_vocab *v = n_vocab > 0 ? mem_array(1, sizeof *v) : NULL;
    if (!v)
        return fail(err, n_vocab > 0 ? STATUS_NO_MEMORY : STATUS_BAD_ARG,
                    "no memory for the vocabulary, or it is empty");
    v->n_vocab = n_vocab;
    for (int byte = 0; byte < 128; byte++)
        v->group[byte] = (uint8_t)vocab_group((uint8_t)byte);
    enum status s = text_open(v, pieces, err);
    if (s == STATUS_OK)
        s = tree_open(v, pieces, err);
    if (s == STATUS_OK)
        *out = v;
    else
        grammar_vocab_close(v);
    return s;
}

void grammar_vocab_close(struct grammar_vocab *v)
{
    if (!v)
        return;
    mem_free(v->nodes);
    mem_free(v->ids);
    mem_free(v->chars);
    mem_free(v->ends);
    mem_free(v->hidden);
    mem_free(v->text);
    mem_free(v->offset);
    mem_free(v->kind);
    mem_free(v);
}
