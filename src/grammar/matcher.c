/* matcher.c - masks of one answer.
 *
 * The mask of a state is found by a walk over the vocabulary's tree with the machine, and
 * kept.  What makes the walk short: where all characters below a node lead to the same
 * next state, as those of text do inside of a string, only the number of characters of
 * a token matters, and the tokens below are taken without a walk. */
#include <string.h>

#include "base/mem.h"
#include "grammar/machine.h"

enum { MATCHER_MASKS = 16 };

struct mask_slot {
    uint16_t state; // 0: free
    bool any, all;  // of all tokens with text
};

struct grammar_matcher {
    const struct grammar *g;
    const struct grammar_vocab *v;
    struct machine machine;
    uint16_t state;
    bool ended, open;
    enum status broken; // what reset could not do
    uint32_t *masks;    // [MATCHER_MASKS][n_word]
    size_t n_word;
    struct mask_slot slots[MATCHER_MASKS];
    int next_slot;
    uint16_t *path; // [deep + 2] states of the walk, and the one in work
};

static enum status too_large(struct error *err)
{
    return fail(err, STATUS_LIMIT,
                "the text can be read in too many ways for its grammar to be followed");
}

/* Forget what is not needed; the machine's numbers of states change. */
static bool make_room(struct grammar_matcher *m, uint32_t n_path)
{
    if (m->machine.fault != FAULT_FULL)
        return false;
    m->path[n_path] = m->state;
    machine_keep(&m->machine, m->path, n_path + 1);
    m->state = m->path[n_path];
    for (int i = 0; i < MATCHER_MASKS; i++)
        m->slots[i].state = 0;
    // What did not help once will not help again.
    return m->machine.n_state < MACHINE_STATES / 2 &&
           m->machine.n_frame < MACHINE_FRAMES / 2 &&
           m->machine.n_config < MACHINE_CONFIGS / 2;
}

static void set_bits(uint32_t *bits, const int32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        bits[(uint32_t)ids[i] >> 5] |= 1u << (ids[i] & 31);
}

/* Bits of those tokens ids[from .. to) that have at most so many characters. */
static uint32_t set_short(const struct grammar_vocab *v, uint32_t *bits, uint32_t from,
                          uint32_t to, int chars)
{
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++) {
        const uint32_t fits = v->chars[i] <= chars;
        bits[(uint32_t)v->ids[i] >> 5] |= fits << (v->ids[i] & 31);
        n += fits;
    }
    return n;
}

/* Whether every character of `left` more bytes, the next one in lo .. hi, leads to `to`.
 */
static bool chars_lead(struct machine *m, uint16_t at, uint16_t to, int left, uint8_t lo,
                       uint8_t hi)
{
    const uint8_t *class = m->g->program.byte_class;
    uint16_t done = MACHINE_FAULT;
    for (int byte = lo; byte <= hi; byte++) {
        if (byte > lo && class[byte] == class[byte - 1])
            continue;
        const uint16_t next = machine_step(m, at, (uint8_t)byte);
        if (next == done)
            continue;
        if (next == MACHINE_FAULT ||
            (left == 1 || next == MACHINE_DEAD
                 ? next != to
                 : !chars_lead(m, next, to, left - 1, 0x80, 0xbf)))
            return false;
        done = next;
    }
    return true;
}

/* The same for all characters of several bytes. */
static bool wide_chars_lead(struct machine *m, uint16_t state, uint16_t to)
{
    static const uint8_t kinds[][5] = {
        // first byte from and to, bytes behind it, the second from and to
        {0xc2, 0xdf, 1, 0x80, 0xbf}, {0xe0, 0xe0, 2, 0xa0, 0xbf},
        {0xe1, 0xec, 2, 0x80, 0xbf}, {0xed, 0xed, 2, 0x80, 0x9f},
        {0xee, 0xef, 2, 0x80, 0xbf}, {0xf0, 0xf0, 3, 0x90, 0xbf},
        {0xf1, 0xf3, 3, 0x80, 0xbf}, {0xf4, 0xf4, 3, 0x80, 0x8f}};
    const uint8_t *class = m->g->program.byte_class;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const uint8_t *k = kinds[i];
        for (int first = k[0]; first <= k[1]; first++) {
            if (first > k[0] && class[first] == class[first - 1])
                continue;
            const uint16_t next = machine_step(m, state, (uint8_t)first);
            if (next == MACHINE_FAULT || (next == MACHINE_DEAD && to != MACHINE_DEAD) ||
                (next != MACHINE_DEAD && !chars_lead(m, next, to, k[2], k[3], k[4])))
                return false;
        }
    }
    return true;
}

static bool group_leads(struct grammar_matcher *m, uint16_t state, int group, uint16_t to)
{
    if (group == VOCAB_CHARS)
        return wide_chars_lead(&m->machine, state, to);
    for (int byte = 0; byte < 128; byte++)
        if (m->v->group[byte] == group &&
            machine_step(&m->machine, state, (uint8_t)byte) != to)
            return false;
    return true;
}

/* Where most characters lead: the state itself inside of text, the one with a count more
 * where characters are counted. */
static uint16_t usual_next(struct grammar_matcher *m, uint16_t state)
{
    static const char usual[] = "a0A ";
    struct machine_state *s = &m->machine.states[state];
    for (const char *c = usual; *c && s->usual == MACHINE_FAULT; c++) {
        const uint16_t to = machine_step(&m->machine, state, (uint8_t)*c);
        if (to != MACHINE_DEAD || !c[1])
            s->usual = to;
    }
    return s->usual;
}

/* Whether all characters of these groups lead to the usual next state. */
static bool all_lead(struct grammar_matcher *m, uint16_t state, uint64_t groups)
{
    struct machine_state *s = &m->machine.states[state];
    const uint16_t to = usual_next(m, state);
    while (to != MACHINE_FAULT) {
        const uint64_t need = groups & ~s->leads;
        if (!need || need & s->known)
            return !need;
        int group = 0;
        while (!(need >> group & 1))
            group++;
        const bool leads = group_leads(m, state, group, to);
        if (m->machine.fault)
            break;
        s->known |= 1ull << group;
        s->leads |= (uint64_t)leads << group;
    }
    m->machine.fault = FAULT_NONE; // the walk finds out
    return false;
}

/* How many characters below a node can be read from the state, if that is all that
 * decides: then tokens of at most so many may follow, and no others.  -1: it is not. */
static int readable_chars(struct grammar_matcher *m, uint16_t state,
                          const struct vocab_node *node)
{
    if (node->below & 1ull << VOCAB_BROKEN)
        return -1;
    int n = 0;
    for (; n < node->deep && all_lead(m, state, node->below); n++) {
        const uint16_t to = m->machine.states[state].usual;
        if (to == state)
            return node->deep;
        if (to == MACHINE_DEAD)
            return n;
        state = to;
    }
    return n < node->deep ? -1 : n;
}

/* bits gets those tokens of the tree that may follow path[0]; *n <- how many. */
static bool tree_walk(struct grammar_matcher *m, uint32_t *bits, uint32_t *n)
{
    const struct grammar_vocab *v = m->v;
    *n = 0;
    for (uint32_t i = 1; i < v->n_node;) {
        const struct vocab_node *node = &v->nodes[i];
        uint16_t to = machine_step(&m->machine, m->path[node->depth - 1], node->byte);
        if (to != MACHINE_FAULT && to != MACHINE_DEAD && node->deep &&
            m->machine.states[to].slack >= node->deep)
            to = machine_frozen(&m->machine, to);
        if (to == MACHINE_FAULT) {
            if (!make_room(m, node->depth))
                return false;
            continue;
        }
        if (to == MACHINE_DEAD) {
            i = node->end;
            continue;
        }
        const int chars = node->deep ? readable_chars(m, to, node) : -1;
        const uint32_t below = v->nodes[i + 1].token;
        set_bits(bits, v->ids + node->token, below - node->token);
        *n += below - node->token;
        m->path[node->depth] = to;
        i++;
        if (chars >= 0) {
            *n +=
                set_short(v, bits, below, v->nodes[node->end].token, node->chars + chars);
            i = node->end;
        }
    }
    return true;
}

/* The state behind a token's bytes; MACHINE_FAULT after a failure. */
static uint16_t read_token(struct grammar_matcher *m, uint16_t state, int32_t id)
{
    const struct grammar_vocab *v = m->v;
    for (uint32_t i = v->offset[id]; i < v->offset[id + 1] && state != MACHINE_DEAD;) {
        const uint16_t to = machine_step(&m->machine, state, (uint8_t)v->text[i]);
        if (to != MACHINE_FAULT) {
            state = to;
            i++;
            continue;
        }
        m->path[0] = state;
        if (!make_room(m, 1))
            return MACHINE_FAULT;
        state = m->path[0];
    }
    return state;
}

/* The state whose mask is that of the matcher's state. */
static uint16_t mask_state(struct grammar_matcher *m)
{
    if (m->machine.states[m->state].slack < (uint32_t)m->v->deep)
        return m->state;
    uint16_t s = machine_frozen(&m->machine, m->state);
    if (s == MACHINE_FAULT && make_room(m, 0))
        s = machine_frozen(&m->machine, m->state);
    return s;
}

/* Bits of control tokens that may come in free text; *n <- how many. */
static bool hidden_bits(struct grammar_matcher *m, uint32_t *bits, int *n)
{
    *n = 0;
    for (int i = 0; m->machine.states[m->state].free && i < m->v->n_hidden; i++) {
        const uint16_t to = read_token(m, m->state, m->v->hidden[i]);
        if (to == MACHINE_FAULT)
            return false;
        if (to != MACHINE_DEAD)
            set_bits(bits, &m->v->hidden[i], 1), ++*n;
    }
    return true;
}

/* The slot with the mask of the matcher's state; NULL if it cannot be followed. */
static struct mask_slot *mask_find(struct grammar_matcher *m, uint32_t **bits)
{
    uint32_t n = 0;
    int n_hidden = 0;
    m->machine.effort = 0;
    uint16_t state = mask_state(m);
    if (state == MACHINE_FAULT)
        return NULL;
    const uint16_t kept = m->machine.states[state].slot;
    if (kept && m->slots[kept - 1].state == state) {
        *bits = m->masks + (size_t)(kept - 1) * m->n_word;
        return &m->slots[kept - 1];
    }
    const int at = m->next_slot;
    struct mask_slot *slot = &m->slots[at];
    m->next_slot = (at + 1) % MATCHER_MASKS;
    slot->state = 0;
    *bits = m->masks + (size_t)at * m->n_word;
    memset(*bits, 0, m->n_word * sizeof **bits);
    if (!hidden_bits(m, *bits, &n_hidden))
        return NULL;
    m->path[0] = mask_state(m); // its number, if room was made
    if (m->path[0] == MACHINE_FAULT || !tree_walk(m, *bits, &n))
        return NULL;
    *slot = (struct mask_slot){.state = m->path[0],
                               .any = n || n_hidden,
                               .all = n == m->v->n_id && n_hidden == m->v->n_hidden};
    m->machine.states[m->path[0]].slot = (uint16_t)(at + 1);
    return slot;
}

static bool may_end_here(const struct grammar_matcher *m)
{
    const struct machine_state *s = &m->machine.states[m->state];
    return m->ended || s->accept || s->free;
}

/* Whether every token may come, which only free text allows. */
static enum status find_open(struct grammar_matcher *m, struct error *err)
{
    m->open = false;
    if (m->ended || !m->machine.states[m->state].free)
        return STATUS_OK;
    if (m->machine.states[m->state].open < 0) {
        uint32_t *bits;
        const struct mask_slot *slot = mask_find(m, &bits);
        if (!slot)
            return too_large(err);
        m->machine.states[m->state].open = slot->all;
    }
    m->open = m->machine.states[m->state].open;
    return STATUS_OK;
}

void grammar_matcher_reset(struct grammar_matcher *m)
{
    m->ended = m->open = false;
    m->broken = STATUS_OK;
    m->machine.effort = 0;
    m->state = machine_start(&m->machine);
    if (m->state == MACHINE_FAULT && m->machine.fault == FAULT_FULL) {
        machine_clear(&m->machine);
        for (int i = 0; i < MATCHER_MASKS; i++)
            m->slots[i].state = 0;
        m->state = machine_start(&m->machine);
    }
    if (m->state == MACHINE_FAULT) {
        m->state = MACHINE_DEAD;
        m->broken = STATUS_LIMIT;
    } else if (find_open(m, NULL)) {
        m->broken = STATUS_LIMIT;
    }
}

enum status grammar_matcher_open(struct grammar_matcher **out, const struct grammar *g,
                                 const struct grammar_vocab *v, struct error *err)
{
    *out = NULL;
    struct grammar_matcher *m = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory to follow a grammar");
    m->g = g;
    m->v = v;
    m->n_word = ((size_t)v->n_vocab + 31) / 32;
    m->masks = mem_array(MATCHER_MASKS * m->n_word, sizeof *m->masks);
    m->path = mem_array((size_t)v->deep + 4, sizeof *m->path);
    enum status s = machine_open(&m->machine, g, err);
    if (s == STATUS_OK && (!m->masks || !m->path))
        s = fail(err, STATUS_NO_MEMORY, "no memory to follow a grammar");
    if (s == STATUS_OK) {
        grammar_matcher_reset(m);
        if (m->broken)
            s = too_large(err);
    }
    if (s == STATUS_OK)
        *out = m;
    else
        grammar_matcher_close(m);
    return s;
}

void grammar_matcher_close(struct grammar_matcher *m)
{
    if (!m)
        return;
    machine_close(&m->machine);
    mem_free(m->masks);
    mem_free(m->path);
    mem_free(m);
}

bool grammar_matcher_is_open(const struct grammar_matcher *m)
{
    return m->open;
}

enum status grammar_matcher_mask(struct grammar_matcher *m, uint32_t *bits,
                                 struct error *err)
{
    bool any = false;
    if (m->broken)
        return too_large(err);
    if (m->ended) {
        memset(bits, 0, m->n_word * sizeof *bits);
    } else {
        uint32_t *found;
        const struct mask_slot *slot = mask_find(m, &found);
        if (!slot)
            return too_large(err);
        memcpy(bits, found, m->n_word * sizeof *bits);
        any = slot->any;
    }
    if (may_end_here(m)) {
        set_bits(bits, m->v->ends, (uint32_t)m->v->n_end);
        any = any || m->v->n_end;
    }
    return any ? STATUS_OK
               : fail(
                     err, STATUS_LIMIT,
                     may_end_here(m)
                         ? "the grammar is complete, and the vocabulary has no token "
                           "that ends an answer"
                         : "no token of the vocabulary can follow, or the text is nested "
                           "too deep");
}

enum status grammar_matcher_accept(struct grammar_matcher *m, int32_t id,
                                   struct error *err)
{
    if (m->broken)
        return too_large(err);
    if (id < 0 || id >= m->v->n_vocab)
        return fail(err, STATUS_BAD_ARG, "token %d is not in the vocabulary", (int)id);
    const uint8_t kind = m->v->kind[id];
    const bool is_free = !m->ended && m->machine.states[m->state].free;
    if (kind == VOCAB_END && may_end_here(m)) {
        m->ended = true;
        m->open = false;
        return STATUS_OK;
    }
    uint16_t to = MACHINE_DEAD;
    m->machine.effort = 0;
    if (!m->ended && (kind == VOCAB_TEXT || (kind != VOCAB_END && is_free)))
        to = read_token(m, m->state, id);
    if (to == MACHINE_FAULT)
        return too_large(err);
    if (to == MACHINE_DEAD)
        return fail(err, STATUS_BAD_ARG, "token %d cannot follow by the grammar",
                    (int)id);
    m->state = to;
    return find_open(m, err);
}
