/* grammar.c - a source to a compiled grammar. */
#include "grammar/grammar.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "grammar/gbnf.h"
#include "grammar/grammar_impl.h"
#include "grammar/schema.h"

static bool trigger_add(struct triggers *t, const char *s)
{
    int at = 0;
    for (; *s; s++) {
        uint16_t *go = &t->go[at][(uint8_t)*s];
        if (!*go)
            *go = (uint16_t)t->n++;
        at = *go;
    }
    t->done[at] = true;
    return at > 0;
}

/* Moves that leave the tree go where the longest ending that is in the tree goes. */
static void trigger_links(struct triggers *t, uint16_t *link, uint16_t *queue)
{
    int n = 0;
    for (int c = 0; c < 256; c++)
        if (t->go[0][c])
            queue[n++] = t->go[0][c];
    for (int i = 0; i < n; i++) {
        const uint16_t at = queue[i];
        t->done[at] = t->done[at] || t->done[link[at]];
        for (int c = 0; c < 256; c++) {
            const uint16_t to = t->go[at][c], other = t->go[link[at]][c];
            if (to)
                link[to] = other, queue[n++] = to;
            else
                t->go[at][c] = other;
        }
    }
}

static enum status triggers_open(struct triggers *t, const struct grammar_source *src,
                                 struct error *err)
{
    size_t total = 1;
    if (src->n_trigger > TRIGGER_MAX)
        return fail(err, STATUS_LIMIT, "more than %d triggers", TRIGGER_MAX);
    for (int i = 0; i < src->n_trigger; i++)
        total += strlen(src->triggers[i]);
    if (total > TRIGGER_BYTES)
        return fail(err, STATUS_LIMIT, "the triggers have more than %d bytes",
                    TRIGGER_BYTES);
    t->go = mem_array(total, sizeof *t->go);
    t->done = mem_array(total, sizeof *t->done);
    uint16_t *link = mem_array(2 * total, sizeof *link);
    bool ok = t->go && t->done && link;
    enum status s =
        ok ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory for triggers");
    t->n = 1;
    for (int i = 0; ok && i < src->n_trigger; i++)
        if (!(ok = trigger_add(t, src->triggers[i])))
            s = fail(err, STATUS_BAD_ARG, "a trigger is empty");
    if (ok)
        trigger_links(t, link, link + total);
    mem_free(link);
    return s;
}

/* Bytes that a trigger tells apart are classes of their own. */
static void trigger_classes(struct program *p, const struct grammar_source *src)
{
    for (int i = 0; i < src->n_trigger; i++)
        for (const char *s = src->triggers[i]; *s; s++) {
            const uint8_t byte = (uint8_t)*s, class = p->byte_class[byte];
            int same = 0;
            for (int c = 0; c < 256; c++)
                same += p->byte_class[c] == class;
            if (same == 1)
                continue;
            p->byte_class[byte] = (uint8_t)p->n_class;
            p->class_byte[p->n_class++] = byte;
            for (int c = 0; c < 256; c++)
                if (p->byte_class[c] == class)
                    p->class_byte[class] = (uint8_t)c;
        }
}

static void compile_all(struct builder *b, const struct grammar_source *src)
{
    struct json_rules json;
    char name[32];
    for (int i = 0; i < src->n_schema; i++)
        build_rule(b, name, (size_t)snprintf(name, sizeof name, "schema-%d", i));
    if (src->gbnf) {
        gbnf_compile(b, src->gbnf, src->n, (uint32_t)src->n_schema);
    } else {
        b->p->root = build_rule(b, "root", 4);
        if (!b->status)
            b->p->rules[b->p->root].entry = build_call(b, 0, 0);
    }
    if (src->n_schema && !b->status)
        json_rules_build(b, &json);
    for (int i = 0; i < src->n_schema && !b->status; i++) {
        snprintf(name, sizeof name, "schema-%d", i);
        schema_compile(b, &json, src->schemas[i], name, (uint32_t)i);
    }
    program_finish(b);
}

enum status grammar_open(struct grammar **out, const struct grammar_source *src,
                         struct error *err)
{
    struct arena arena;
    struct builder b;
    *out = NULL;
    if (src->gbnf && src->n > GRAMMAR_SOURCE_BYTES)
        return fail(err, STATUS_LIMIT, "the grammar has more than %d bytes",
                    GRAMMAR_SOURCE_BYTES);
    if ((!src->gbnf && !src->n_schema) || src->n_schema >= GRAMMAR_RULES / 2)
        return fail(err, STATUS_BAD_ARG, "%d schemas, and %s grammar", src->n_schema,
                    src->gbnf ? "a" : "no");
    struct grammar *g = mem_array(1, sizeof *g);
    if (!g)
        return fail(err, STATUS_NO_MEMORY, "no memory for a grammar");
    g->once = src->once;
    arena_init(&arena, GRAMMAR_ARENA_BYTES);
    builder_init(&b, &g->program, &arena, err);
    compile_all(&b, src);
    enum status s = b.status;
    builder_release(&b);
    arena_release(&arena);
    if (s == STATUS_OK && src->n_trigger) {
        s = triggers_open(&g->triggers, src, err);
        if (s == STATUS_OK)
            trigger_classes(&g->program, src);
    }
    if (s == STATUS_OK)
        *out = g;
    else
        grammar_close(g);
    return s;
}

void grammar_close(struct grammar *g)
{
    if (!g)
        return;
    program_release(&g->program);
    mem_free(g->triggers.go);
    mem_free(g->triggers.done);
    mem_free(g);
}
