/* test_prefix.c - the prefix tree against a list of everything that was put into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kv/prefix.h"

#include <cmocka.h>

enum { TOKENS_MAX = 400, PUTS_MAX = 4000, PAGE = KV_PAGE_TOKENS };

static uint64_t counter;

static int roll(int n)
{
    return (int)(rng_at(7, counter++) % (uint64_t)n);
}

struct text {
    int32_t id[TOKENS_MAX];
    int n;
};

/* What a sequence that holds n tokens has as its state. */
static uint64_t state_of(const int32_t *id, int n)
{
    uint64_t h = 1;
    for (int i = 0; i < n; i++)
        h = rng_mix(h + (uint64_t)id[i]);
    return h;
}

struct fixture {
    struct kv_pool *pool;
    struct kv_prefix *tree;
    size_t state_bytes;
    struct text puts[PUTS_MAX]; // places where a sequence can go on
    int n_put;
};

static struct fixture f;

static void start(int n_page, size_t state_bytes, int n_state, bool recurrent)
{
    f.state_bytes = state_bytes;
    f.n_put = 0;
    assert_int_equal(
        kv_pool_open(&f.pool, PAGE * sizeof(int32_t), n_page, state_bytes, 8, NULL),
        STATUS_OK);
    const struct kv_prefix_options o = {f.pool, state_bytes, n_state, recurrent};
    assert_int_equal(kv_prefix_open(&f.tree, &o, NULL), STATUS_OK);
}

static void finish(int n_page)
{
    kv_prefix_close(f.tree);
    assert_int_equal(kv_pool_free(f.pool), n_page);
    kv_pool_close(f.pool);
}

static void append(struct kv_seq *s, const struct text *t, int pos, int n)
{
    for (int i = pos; i < pos + n; i++)
        ((int32_t *)(void *)kv_seq_page(s, i / PAGE))[i % PAGE] = t->id[i];
    if (f.state_bytes)
        *(uint64_t *)(void *)kv_seq_state(s) = state_of(t->id, pos + n);
}

/* A full page holds its tokens; of the last one only those below pos count. */
static void check_content(const struct kv_seq *s, const struct text *t, int pos)
{
    for (int i = 0; i < pos; i++)
        assert_int_equal(((int32_t *)(void *)kv_seq_page(s, i / PAGE))[i % PAGE],
                         t->id[i]);
}

/* Tokens from an alphabet of two, so that texts share much, mostly behind a start of an
 * earlier one. */
static void make_text(struct text *t)
{
    const struct text *from = f.n_put ? &f.puts[roll(f.n_put)] : NULL;
    int n = from && roll(4) ? roll(from->n + 1) : 0;
    memcpy(t->id, from ? from->id : t->id, (size_t)n * sizeof *t->id);
    for (t->n = 1 + n + roll(TOKENS_MAX - n - 1); n < t->n; n++)
        t->id[n] = roll(2);
}

static int common(const struct text *a, const struct text *b)
{
    int i = 0;
    while (i < a->n && i < b->n && a->id[i] == b->id[i])
        i++;
    return i;
}

/* The farthest position that what was put allows, when nothing was forgotten. */
static int expected(const struct text *t, int limit, bool recurrent)
{
    int best = 0;
    for (int i = 0; i < f.n_put; i++) {
        const int same = common(t, &f.puts[i]), reach = same < limit ? same : limit;
        int pos = f.puts[i].n;
        if (!f.state_bytes ||
            (!recurrent && pos > reach && reach / PAGE == (pos - 1) / PAGE))
            pos = pos < reach ? pos : reach;
        if (pos <= reach && pos > best)
            best = pos;
    }
    return best;
}

static void put(struct kv_seq *s, const struct text *t, int pos, bool state)
{
    kv_prefix_put(f.tree, t->id, pos, s, state);
    check_content(s, t, pos / PAGE * PAGE);
    if (!state && (f.state_bytes || pos < PAGE))
        return;
    assert_true(f.n_put < PUTS_MAX);
    f.puts[f.n_put] = *t;
    f.puts[f.n_put++].n = state ? pos : pos / PAGE * PAGE;
}

/* One request: go on where the tree says, run to the end in pieces, leave checkpoints. */
static void request(bool exact, bool recurrent)
{
    static struct text t;
    struct kv_seq *s;
    make_text(&t);
    assert_int_equal(kv_seq_open(&s, f.pool, NULL), STATUS_OK);
    const struct kv_hit hit = kv_prefix_find(f.tree, t.id, t.n, t.n - 1);
    if (exact)
        assert_int_equal(hit.pos, expected(&t, t.n - 1, recurrent));
    assert_in_range(hit.common, hit.pos, t.n);
    if (kv_prefix_load(f.tree, &hit, s, t.n, NULL)) {
        assert_false(exact);
        assert_int_equal(kv_seq_pages(s), 0);
        kv_seq_close(s);
        return;
    }
    check_content(s, &t, hit.pos);
    if (hit.pos && f.state_bytes && (recurrent || hit.pos % PAGE == 0))
        assert_true(*(uint64_t *)(void *)kv_seq_state(s) == state_of(t.id, hit.pos) ||
                    !recurrent);
    for (int pos = hit.pos; pos < t.n;) {
        const int n = 1 + roll(t.n - pos);
        append(s, &t, pos, n);
        pos += n;
        if (pos == t.n || roll(2))
            put(s, &t, pos, roll(3) > 0);
    }
    kv_seq_close(s);
}

static void test_hits_are_the_best(void **state)
{
    (void)state;
    const size_t bytes[3] = {0, 8, 8};
    for (int kind = 0; kind < 3; kind++) {
        start(2000, bytes[kind], 1000, kind == 2);
        for (int i = 0; i < 200; i++)
            request(true, kind == 2);
        finish(2000);
    }
}

/* Few pages and places: whatever is forgotten, what is found is right. */
static void test_small_pools(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        start(20, kind ? 8 : 0, 3, kind == 2);
        for (int i = 0; i < 800; i++)
            request(false, kind == 2);
        finish(20);
    }
}

/* Two sequences with the same tokens end with the same pages. */
static void test_equal_pages_are_shared(void **state)
{
    (void)state;
    struct kv_seq *a, *b;
    static struct text t = {.n = 3 * PAGE};
    start(10, 8, 4, true);
    kv_seq_open(&a, f.pool, NULL);
    kv_seq_open(&b, f.pool, NULL);
    kv_seq_reserve(a, t.n, NULL);
    kv_seq_reserve(b, t.n, NULL);
    append(a, &t, 0, t.n);
    append(b, &t, 0, t.n);
    assert_int_equal(kv_pool_free(f.pool), 4);
    kv_prefix_put(f.tree, t.id, t.n, a, false);
    kv_prefix_put(f.tree, t.id, t.n, b, true);
    assert_int_equal(kv_pool_free(f.pool), 7);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kv_seq_index(a, i), kv_seq_index(b, i));
    assert_int_equal(kv_prefix_spare(f.tree), 0);
    kv_seq_close(a);
    kv_seq_close(b);
    assert_int_equal(kv_prefix_spare(f.tree), 3);
    finish(10);
}

/* The start that everybody uses stays, what was used once goes. */
static void test_the_least_recently_used_goes(void **state)
{
    (void)state;
    static struct text t = {.n = 4 * PAGE};
    start(8, 0, 0, false);
    for (int i = 0; i < 20; i++) {
        struct kv_seq *s;
        for (int k = 2 * PAGE; k < t.n; k++)
            t.id[k] = i + 1;
        kv_seq_open(&s, f.pool, NULL);
        const struct kv_hit hit = kv_prefix_find(f.tree, t.id, t.n, t.n - 1);
        assert_int_equal(hit.pos, i ? 2 * PAGE : 0);
        assert_int_equal(kv_prefix_load(f.tree, &hit, s, t.n, NULL), STATUS_OK);
        append(s, &t, hit.pos, t.n - hit.pos);
        kv_prefix_put(f.tree, t.id, t.n, s, true);
        kv_seq_close(s);
    }
    finish(8);
}

/* A million tokens are looked up, shared and thrown out without anybody noticing: the
 * time grows with the pages, not with their square. */
static void test_long_texts_take_no_time(void **state)
{
    (void)state;
    enum { PAGES = 16384, TOKENS = PAGES * PAGE, MOST_US = 250000 };
    int32_t *id = mem_array(TOKENS, sizeof *id);
    struct kv_seq *s;
    assert_non_null(id);
    for (int i = 0; i < TOKENS; i++)
        id[i] = i;
    start(PAGES, 0, 0, false);
    assert_int_equal(kv_seq_open(&s, f.pool, NULL), STATUS_OK);
    assert_int_equal(kv_prefix_reserve(f.tree, s, TOKENS, NULL), STATUS_OK);
    kv_prefix_put(f.tree, id, TOKENS, s, false);
    kv_seq_release(s);
    assert_int_equal(kv_prefix_spare(f.tree), PAGES);
    uint64_t from = clock_us();
    const struct kv_hit hit = kv_prefix_find(f.tree, id, TOKENS, TOKENS);
    assert_int_equal(hit.pos, TOKENS);
    assert_int_equal(kv_prefix_load(f.tree, &hit, s, TOKENS, NULL), STATUS_OK);
    assert_true(clock_us() - from < MOST_US);
    for (int i = 1; i < PAGES; i++)
        assert_true(kv_seq_index(s, i) != kv_seq_index(s, i - 1));
    kv_seq_release(s);
    from = clock_us();
    assert_int_equal(kv_prefix_reserve(f.tree, s, TOKENS, NULL), STATUS_OK);
    assert_true(clock_us() - from < MOST_US);
    assert_int_equal(kv_prefix_spare(f.tree), 0);
    kv_seq_close(s);
    finish(PAGES);
    mem_free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hits_are_the_best),
        cmocka_unit_test(test_small_pools),
        cmocka_unit_test(test_equal_pages_are_shared),
        cmocka_unit_test(test_the_least_recently_used_goes),
        cmocka_unit_test(test_long_texts_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
