/* test_attn_split.c - items of attention cover every query and every leaf once. */
#include <string.h>

#include "base/rng.h"
#include "model/attn_split.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { CTX = 40000, RUNS_MAX = 24, HEADS_MAX = 8, CHUNK_MAX = 700, PARTS_MAX = 4096 };

static uint64_t n_dice;

static int dice(int n) // 0 .. n - 1
{
    return (int)(rng_at(5, n_dice++) % (uint64_t)n);
}

/* Chunks first, as in a step. */
static int make_runs(struct run *runs, struct attn_run *attn)
{
    const int n_run = 1 + dice(RUNS_MAX), n_chunk = dice(n_run + 1);
    int row = 0;
    for (int i = 0; i < n_run; i++) {
        const int n = i < n_chunk ? 2 + dice(CHUNK_MAX - 1) : 1;
        const int pos = dice(2) ? dice(200) : dice(CTX - n + 1);
        runs[i] = (struct run){.pos = pos, .n = n, .row = row};
        attn[i] = (struct attn_run){.run = &runs[i]};
        row += n;
    }
    return n_run;
}

/* Take all items of a split; what a (run, head) has from each is counted. */
static void take_items(const struct attn_split *s, int parts_max)
{
    static uint8_t queries[RUNS_MAX][HEADS_MAX][CHUNK_MAX + 1], used[PARTS_MAX];
    static int next_leaf[RUNS_MAX][HEADS_MAX];
    memset(queries, 0, sizeof queries);
    memset(used, 0, sizeof used);
    memset(next_leaf, 0, sizeof next_leaf);
    for (int item = 0; item < s->n_item; item++) {
        const struct attn_piece p = attn_split_piece(s, item);
        const int i = (int)(p.r - s->runs);
        assert_in_range(p.head, 0, s->n_head_kv - 1);
        if (p.r->n_part > 1) {
            /* Merging appends the trees of a head in their order. */
            assert_int_equal(p.leaf, next_leaf[i][p.head]);
            assert_true(p.leaf_end > p.leaf);
            next_leaf[i][p.head] = p.leaf_end;
            assert_in_range(p.part, 0, parts_max - 1);
            assert_int_equal((p.part - p.r->part0) / p.r->n_part, p.head);
            assert_int_equal(used[p.part]++, 0);
            continue;
        }
        const int first = p.r->run->pos + p.from, last = first + p.n - 1;
        assert_true(p.n > 0);
        assert_int_equal(first / s->block, last / s->block);
        for (int t = p.from; t < p.from + p.n; t++)
            assert_int_equal(queries[i][p.head][t]++, 0);
    }
    for (int i = 0; i < s->n_run; i++)
        for (int head = 0; head < s->n_head_kv; head++) {
            const struct attn_run *r = &s->runs[i];
            if (r->n_part > 1)
                assert_int_equal(next_leaf[i][head], tq_count_leaves(r->run->pos + 1));
            for (int t = 0; t < r->run->n; t++)
                assert_int_equal(queries[i][head][t], r->n_part == 1);
        }
}

static void test_items_cover_everything_once(void **state)
{
    (void)state;
    int cut = 0;
    for (int i = 0; i < 400; i++) {
        struct run runs[RUNS_MAX];
        struct attn_run attn[RUNS_MAX];
        struct attn_split s = {.runs = attn,
                               .n_run = make_runs(runs, attn),
                               .n_head_kv = 1 + dice(HEADS_MAX),
                               .block = 1 << dice(7)};
        const int n_thread = 1 + dice(9);
        const int most = attn_split_parts_max(n_thread, s.n_head_kv, s.n_run, CTX);
        attn_split_init(&s, n_thread);
        assert_in_range(most, 0, PARTS_MAX);
        assert_in_range(s.n_part, 0, most);
        take_items(&s, most);
        cut += s.n_part > 0;
    }
    assert_in_range(cut, 100, 399);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_cover_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
