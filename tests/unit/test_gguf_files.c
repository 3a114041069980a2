/* test_gguf_files.c - on disk: writer, split files, files that change while mapped. */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pool.h" // before cmocka.h, which makes fail() a macro
#include "gguf/gguf.h"
#include "gguf/writer.h"

#include <cmocka.h>

#include "gguf_image.h"

static struct image im;
static char dir[] = "/tmp/turbine-gguf-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[4][400];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static void save(const char *name)
{
    FILE *f = fopen(in_dir(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(im.b, 1, im.n, f), im.n);
    assert_int_equal(fclose(f), 0);
}

static int files_in_dir(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int clean(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlink(in_dir(e->d_name));
    closedir(d);
    return 0;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    clean(state);
    return rmdir(dir);
}

static void refused(const char *file, int line, const char *path, enum status want,
                    const char *text)
{
    struct gguf *g = NULL;
    struct error err = {0};
    const enum status st = gguf_open(&g, path, &err);
    if (st != want || g || !strstr(err.text, text)) {
        print_error("%s:%d: status %d, text '%s', expected %d '%s'\n", file, line,
                    (int)st, err.text, (int)want, text);
        fail();
    }
}
#define REFUSED(path, status, text) \
    refused(__FILE__, __LINE__, path, STATUS_##status, text)

/* ---- opening ---- */

static void test_paths(void **state)
{
    (void)state;
    REFUSED(in_dir("none.gguf"), NOT_FOUND, "none.gguf: No such file or directory");
    REFUSED(dir, IO, "not a regular file");
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    REFUSED(in_dir("fifo"), IO, "not a regular file");
    im.n = 0;
    save("empty.gguf");
    REFUSED(in_dir("empty.gguf"), BAD_FILE, "it is empty");
    im_raw(&im, "# Turbine\n", 10);
    save("readme");
    REFUSED(in_dir("readme"), BAD_FILE,
            "readme: not a GGUF file: it starts with bytes 23");
}

static void test_file_equals_memory(void **state)
{
    (void)state;
    struct gguf *g;
    struct error err = {0};
    im_valid(&im);
    save("a.gguf");
    assert_int_equal(gguf_open(&g, in_dir("a.gguf"), &err), STATUS_OK);
    assert_string_equal(gguf_path(g), in_dir("a.gguf"));
    assert_int_equal(gguf_n_kv(g), 19);
    assert_int_equal(gguf_file_bytes(g), im.n);
    const struct gguf_tensor *t = gguf_tensor_find(g, "w.f16");
    assert_memory_equal(t->data, im.b + im.n - 10, 10);
    gguf_drop(g, t->data, t->bytes);
    assert_memory_equal(t->data, im.b + im.n - 10, 10);
    gguf_close(g);
    for (size_t n = im.n; n-- > 1;) {
        assert_int_equal(truncate(in_dir("a.gguf"), (off_t)n), 0);
        assert_int_not_equal(gguf_open(&g, in_dir("a.gguf"), &err), STATUS_OK);
        assert_non_null(strstr(err.text, "a.gguf: "));
    }
}

/* Metadata of several megabytes come in steps. */
static void test_large_metadata(void **state)
{
    (void)state;
    enum { N = 300000 };
    struct error err = {0};
    struct gguf_writer *w;
    static char text[N][24];
    static const char *v[N];
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "token %d", i);
        v[i] = text[i];
    }
    assert_int_equal(gguf_writer_open(&w, in_dir("big.gguf"), &err), STATUS_OK);
    gguf_put_str_array(w, "tokens", v, N);
    gguf_put_u32(w, "after", 7);
    assert_int_equal(gguf_writer_close(w, &err), STATUS_OK);
    struct gguf *g;
    struct gguf_strings a;
    int64_t after;
    assert_int_equal(gguf_open(&g, in_dir("big.gguf"), &err), STATUS_OK);
    assert_true(gguf_file_bytes(g) > 4 << 20);
    assert_int_equal(gguf_int(g, "after", 7, 7, &after, &err), STATUS_OK);
    assert_int_equal(gguf_strings_open(&a, g, "tokens", &err), STATUS_OK);
    assert_int_equal(a.n, N);
    for (size_t i = 0; i < N; i++) {
        const struct gguf_str s = gguf_strings_at(&a, i);
        assert_int_equal(s.n, strlen(v[i]));
        assert_memory_equal(s.s, v[i], s.n);
    }
    /* Metadata are a copy: no later change of the file reaches them. */
    assert_int_equal(truncate(in_dir("big.gguf"), 0), 0);
    assert_memory_equal(gguf_strings_at(&a, N - 1).s, "token 299999", 12);
    gguf_strings_close(&a);
    gguf_close(g);
}

/* ---- writer ---- */

static void test_writer_bytes(void **state)
{
    (void)state;
    struct error err = {0};
    struct gguf_writer *w;
    static const int64_t ne[] = {3, 2}, ne1[] = {1};
    static const float f[] = {1, -2, 0.5f};
    static const int32_t i[] = {-1, 1 << 30};
    static const char *const s[] = {"x", ""};
    static const uint8_t data[25] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
    assert_int_equal(gguf_writer_open(&w, in_dir("w.gguf"), &err), STATUS_OK);
    gguf_put_u32(w, "general.alignment", 64);
    gguf_put_f32(w, "f", 0.15625f);
    gguf_put_bool(w, "b", 5);
    gguf_put_str(w, "s", "text");
    gguf_put_str_array(w, "as", s, 2);
    gguf_put_f32_array(w, "af", f, 3);
    gguf_put_i32_array(w, "ai", i, 2);
    gguf_put_tensor(w, "t", DTYPE_F32, 2, ne);
    gguf_put_tensor(w, "u", DTYPE_I8, 1, ne1);
    assert_int_equal(files_in_dir(), 1);
    assert_int_equal(access(in_dir("w.gguf"), F_OK), -1);
    gguf_write_data(w, data, 10); // pieces need not be whole tensors
    gguf_write_data(w, data + 10, 15);
    assert_int_equal(gguf_writer_close(w, &err), STATUS_OK);

    im_head(&im, 3, 2, 7);
    im_int(&im, "general.alignment", T_U32, 64, 4);
    im_key(&im, "f", T_F32), im_f32(&im, 0.15625f);
    im_int(&im, "b", T_BOOL, 1, 1);
    im_key(&im, "s", T_STR), im_text(&im, "text");
    im_arr(&im, "as", T_STR, 2), im_text(&im, "x"), im_text(&im, "");
    im_arr(&im, "af", T_F32, 3), im_f32(&im, 1), im_f32(&im, -2), im_f32(&im, 0.5f);
    im_arr(&im, "ai", T_I32, 2), im_le(&im, 0xffffffff, 4), im_le(&im, 0x40000000, 4);
    im_tensor(&im, "t", 3, 2, 0, 0);
    im_tensor(&im, "u", 1, 0, 24, 64);
    im_pad(&im, 64);
    im_raw(&im, data, 24), im_pad(&im, 64);
    im_raw(&im, data + 24, 1), im_pad(&im, 64);
    static struct image got;
    FILE *file = fopen(in_dir("w.gguf"), "rb");
    got.n = fread(got.b, 1, sizeof got.b, file);
    fclose(file);
    assert_int_equal(got.n, im.n);
    assert_memory_equal(got.b, im.b, im.n);
    assert_int_equal(files_in_dir(), 1);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct error err = {0};
    struct gguf_writer *w;
    static const int64_t ne[] = {32}, odd[] = {33}, zero[] = {0};
    static const int64_t huge[] = {1ll << 40, 1ll << 40};
    static const uint8_t data[64];
    assert_int_equal(gguf_writer_open(&w, in_dir("no/w.gguf"), &err), STATUS_IO);
    assert_null(w);
    for (int c = 0; c < 9; c++) {
        assert_int_equal(gguf_writer_open(&w, in_dir("w.gguf"), &err), STATUS_OK);
        const char *text = "";
        switch (c) {
        case 0:
            gguf_put_tensor(w, "t", DTYPE_Q8_0, 1, ne);
            gguf_write_data(w, data, 33);
            text = "data of 1 of 1 tensors are missing";
            break;
        case 1:
            gguf_put_tensor(w, "t", DTYPE_Q8_0, 1, ne);
            gguf_write_data(w, data, 35);
            text = "more of them than tensors";
            break;
        case 2:
            gguf_put_tensor(w, "t", DTYPE_Q8_0, 1, odd);
            text = "'t': a shape or type";
            break;
        case 3:
            gguf_put_tensor(w, "t", DTYPE_F32, 1, zero);
            text = "'t': a shape or type";
            break;
        case 4:
            gguf_put_tensor(w, "t", DTYPE_F32, 2, huge);
            text = "'t': a shape or type";
            break;
        case 5:
            gguf_put_u32(w, "k", 1);
            gguf_put_bool(w, "k", 1);
            text = "key 'k' occurs twice";
            break;
        case 6:
            gguf_put_u32(w, "general.alignment", 48);
            text = "'general.alignment': not a power of two";
            break;
        case 7:
            gguf_put_tensor(w, "t", DTYPE_I8, 1, ne);
            gguf_write_data(w, data, 32);
            gguf_put_u32(w, "late", 1);
            text = "'late': declared after data";
            break;
        case 8:
            gguf_put_str(w, "", "no name");
            text = "a name of 0 bytes";
            break;
        }
        assert_int_not_equal(gguf_writer_close(w, &err), STATUS_OK);
        if (!strstr(err.text, text))
            fail_msg("case %d: %s", c, err.text);
        assert_int_equal(files_in_dir(), 0);
    }
}

/* A file that is there survives a failed attempt; a full disk leaves nothing behind. */
static void test_writer_disk_full(void **state)
{
    (void)state;
    struct error err = {0};
    struct gguf_writer *w;
    static const int64_t ne[] = {1 << 20};
    static const uint8_t data[1 << 20];
    im_valid(&im);
    save("w.gguf");
    const struct rlimit small = {.rlim_cur = 1 << 16, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit limit = small;
    limit.rlim_max = before.rlim_max;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(gguf_writer_open(&w, in_dir("w.gguf"), &err), STATUS_OK);
    gguf_put_tensor(w, "t", DTYPE_I8, 1, ne);
    gguf_write_data(w, data, sizeof data);
    const enum status st = gguf_writer_close(w, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    assert_int_equal(st, STATUS_IO);
    assert_non_null(strstr(err.text, strerror(EFBIG)));
    assert_int_equal(files_in_dir(), 1);
    struct gguf *g;
    assert_int_equal(gguf_open(&g, in_dir("w.gguf"), &err), STATUS_OK);
    assert_non_null(gguf_tensor_find(g, "w.q8_0"));
    gguf_close(g);
}

/* ---- split files ---- */

/* Part no (from 0) of count, with one tensor of 4 bytes that hold `no`. */
static void save_part(const char *file, uint64_t no, uint64_t count, uint64_t total,
                      const char *tensor)
{
    im_head(&im, 3, 1, no == 0 ? 4 : 3);
    if (no == 0)
        im_int(&im, "only.first", T_U8, 42, 1);
    im_int(&im, "split.no", T_U16, no, 2);
    im_int(&im, "split.count", T_U16, count, 2);
    im_int(&im, "split.tensors.count", T_I32, total, 4);
    im_tensor(&im, tensor, 1, 0, 0, 0);
    im_pad(&im, 32);
    im_le(&im, no, 4);
    save(file);
}

static void save_split(void)
{
    save_part("m-00001-of-00003.gguf", 0, 3, 3, "a");
    save_part("m-00002-of-00003.gguf", 1, 3, 3, "b");
    save_part("m-00003-of-00003.gguf", 2, 3, 3, "c");
}

static void test_split(void **state)
{
    (void)state;
    struct gguf *g;
    struct error err = {0};
    save_split();
    assert_int_equal(gguf_open(&g, in_dir("m-00001-of-00003.gguf"), &err), STATUS_OK);
    assert_int_equal(gguf_n_files(g), 3);
    assert_int_equal(gguf_n_tensors(g), 3);
    assert_int_equal(gguf_n_kv(g), 4);
    size_t bytes = 0;
    for (int i = 0; i < gguf_n_files(g); i++) {
        struct stat st;
        char name[32];
        snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i + 1);
        assert_int_equal(stat(in_dir(name), &st), 0);
        bytes += (size_t)st.st_size;
    }
    assert_int_equal(gguf_file_bytes(g), bytes);
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        const struct gguf_tensor *t = gguf_tensor_find(g, names[i]);
        assert_ptr_equal(t, gguf_tensor_at(g, i));
        assert_int_equal(t->data[0], i);
    }
    gguf_close(g);
}

static void test_split_refused(void **state)
{
    (void)state;
    char first[400];
    snprintf(first, sizeof first, "%s", in_dir("m-00001-of-00003.gguf"));
    save_split();
    REFUSED(in_dir("m-00002-of-00003.gguf"), BAD_FILE,
            "part 2 of 3; open the first part");
    rename(in_dir("m-00001-of-00003.gguf"), in_dir("other.gguf"));
    REFUSED(in_dir("other.gguf"), BAD_FILE, "must be named <prefix>-00001-of-00003.gguf");
    save_split();
    unlink(in_dir("m-00003-of-00003.gguf"));
    REFUSED(first, NOT_FOUND, "m-00003-of-00003.gguf: No such file");
    save_part("m-00003-of-00003.gguf", 1, 3, 3, "c");
    REFUSED(first, BAD_FILE, "m-00003-of-00003.gguf: says it is part 2 of 3");
    save_part("m-00003-of-00003.gguf", 2, 4, 3, "c");
    REFUSED(first, BAD_FILE, "m-00003-of-00003.gguf: says it is part 3 of 4");
    save_part("m-00003-of-00003.gguf", 2, 3, 3, "a");
    REFUSED(first, BAD_FILE, "tensor 'a' occurs twice");
    im_valid(&im);
    save("m-00003-of-00003.gguf");
    REFUSED(first, BAD_FILE, "m-00003-of-00003.gguf: not part 3 of a split");
    im.n = 100;
    save("m-00003-of-00003.gguf");
    REFUSED(first, BAD_FILE, "m-00003-of-00003.gguf: truncated or malformed: 3 tensors");
    save_split();
    save_part("m-00001-of-00003.gguf", 0, 3, 4, "a");
    REFUSED(first, BAD_FILE, "3 tensors in 3 files, key 'split.tensors.count' says 4");
    save_part("m-00001-of-00003.gguf", 0, 1000, 3, "a");
    REFUSED(first, BAD_FILE, "'split.count': 1000 is outside");
    save_part("m-00001-of-00003.gguf", 0, 2, 3, "a");
    REFUSED(first, BAD_FILE, "must be named <prefix>-00001-of-00002.gguf");
    im_head(&im, 3, 0, 1);
    im_int(&im, "split.count", T_U16, 2, 2);
    save("m-00001-of-00002.gguf");
    REFUSED(in_dir("m-00001-of-00002.gguf"), NOT_FOUND, "'split.no' is missing");
}

/* ---- SIGBUS ---- */

enum { BIG = 1 << 20 };

/* A file with one I8 tensor of BIG bytes of value 1. */
static struct gguf *open_big(void)
{
    struct error err = {0};
    struct gguf_writer *w;
    struct gguf *g;
    static const int64_t ne[] = {BIG};
    static uint8_t data[BIG];
    memset(data, 1, sizeof data);
    assert_int_equal(gguf_writer_open(&w, in_dir("big.gguf"), &err), STATUS_OK);
    gguf_put_str(w, "name", "big");
    gguf_put_tensor(w, "t", DTYPE_I8, 1, ne);
    gguf_write_data(w, data, sizeof data);
    assert_int_equal(gguf_writer_close(w, &err), STATUS_OK);
    assert_int_equal(gguf_open(&g, in_dir("big.gguf"), &err), STATUS_OK);
    return g;
}

struct sum {
    const struct gguf_tensor *t;
    struct pool *pool;
    uint64_t sum[16];
    enum status result;
};

static void sum_item(void *ctx, int item, int thread)
{
    struct sum *s = ctx;
    (void)thread;
    const size_t n = s->t->bytes / 16;
    s->sum[item] = 0;
    for (size_t i = 0; i < n; i++)
        s->sum[item] += s->t->data[(size_t)item * n + i];
}

static enum status sum_all(void *ctx, struct error *err)
{
    struct sum *s = ctx;
    (void)err;
    if (s->pool)
        pool_run(s->pool, 16, sum_item, s);
    else
        for (int i = 0; i < 16; i++)
            sum_item(s, i, 0);
    return s->result;
}

static uint64_t total(const struct sum *s)
{
    uint64_t n = 0;
    for (int i = 0; i < 16; i++)
        n += s->sum[i];
    return n;
}

static void guard_case(struct pool *pool)
{
    struct error err = {0};
    struct gguf *g = open_big();
    struct sum s = {.t = gguf_tensor_find(g, "t"), .pool = pool};
    assert_int_equal(gguf_guard(g, sum_all, &s, &err), STATUS_OK);
    assert_int_equal(total(&s), BIG);
    gguf_drop(g, s.t->data, s.t->bytes); // comes back from the file
    assert_int_equal(gguf_guard(g, sum_all, &s, &err), STATUS_OK);
    assert_int_equal(total(&s), BIG);
    s.result = STATUS_NUMERIC; // what fn says goes through
    assert_int_equal(gguf_guard(g, sum_all, &s, &err), STATUS_NUMERIC);
    s.result = STATUS_OK;
    assert_int_equal(truncate(in_dir("big.gguf"), BIG / 4), 0);
    assert_int_equal(gguf_guard(g, sum_all, &s, &err), STATUS_IO);
    assert_non_null(strstr(err.text, "truncated or changed while in use: "));
    assert_non_null(strstr(err.text, "big.gguf"));
    assert_true(total(&s) < BIG); // the lost part reads as zero
    /* It stays broken, even when the file is whole again. */
    assert_int_equal(truncate(in_dir("big.gguf"), BIG * 2), 0);
    assert_int_equal(gguf_guard(g, sum_all, &s, &err), STATUS_IO);
    struct gguf_str name;
    assert_int_equal(gguf_str(g, "name", &name, &err), STATUS_OK);
    assert_memory_equal(name.s, "big", 3);
    gguf_close(g);
    /* The place in the table of mappings is free for the next file. */
    g = open_big();
    s.t = gguf_tensor_find(g, "t");
    assert_int_equal(gguf_guard(g, sum_all, &s, &err), STATUS_OK);
    gguf_close(g);
}

static void test_guard(void **state)
{
    (void)state;
    guard_case(NULL);
}

static void test_guard_pool(void **state)
{
    (void)state;
    struct pool *p;
    struct error err = {0};
    assert_int_equal(pool_open(&p, 4, &err), STATUS_OK);
    for (int i = 0; i < 5; i++)
        guard_case(p);
    pool_close(p);
}

/* Two files: only the damaged one is reported. */
static void test_guard_two(void **state)
{
    (void)state;
    struct error err = {0};
    struct gguf *g = open_big();
    rename(in_dir("big.gguf"), in_dir("old.gguf"));
    struct gguf *h = open_big();
    struct sum sg = {.t = gguf_tensor_find(g, "t")}, sh = {.t = gguf_tensor_find(h, "t")};
    assert_int_equal(truncate(in_dir("old.gguf"), 4096), 0);
    assert_int_equal(gguf_guard(h, sum_all, &sh, &err), STATUS_OK);
    assert_int_equal(gguf_guard(g, sum_all, &sg, &err), STATUS_IO);
    assert_int_equal(gguf_guard(h, sum_all, &sh, &err), STATUS_OK);
    assert_int_equal(total(&sh), BIG);
    gguf_close(g);
    gguf_close(h);
}

static enum status nothing(void *ctx, struct error *err)
{
    (void)ctx;
    (void)err;
    return STATUS_OK;
}

static void exit_42(int sig)
{
    (void)sig;
    _exit(42);
}

/* In a child process; never returns. */
static void raise_bus_error(struct gguf *g, void (*before)(int), bool sent)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGBUS, before);
    if (gguf_guard(g, nothing, NULL, NULL)) // puts the handler in front of `before`
        _exit(1);
    if (sent) {
        kill(getpid(), SIGBUS);
    } else {
        const int fd = open(in_dir("hole"), O_RDWR | O_CREAT, 0600);
        volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        (void)*p;
    }
    _exit(0);
}

/* SIGBUS from elsewhere, or sent by a process, does what it did before. */
static void test_other_bus_errors(void **state)
{
    (void)state;
    struct gguf *g = open_big();
    static const struct {
        void (*before)(int);
        bool sent;
        int exit, signal;
    } want[] = {
        {SIG_DFL, false, -1, SIGBUS}, {SIG_DFL, true, -1, SIGBUS}, {SIG_IGN, true, 0, 0},
        {SIG_IGN, false, -1, SIGBUS}, {exit_42, false, 42, 0},     {exit_42, true, 42, 0},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const pid_t pid = fork();
        if (pid == 0)
            raise_bus_error(g, want[i].before, want[i].sent);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, want[i].exit);
        assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, want[i].signal);
    }
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_paths, clean),
        cmocka_unit_test_teardown(test_file_equals_memory, clean),
        cmocka_unit_test_teardown(test_large_metadata, clean),
        cmocka_unit_test_teardown(test_writer_bytes, clean),
        cmocka_unit_test_teardown(test_writer_refuses, clean),
        cmocka_unit_test_teardown(test_writer_disk_full, clean),
        cmocka_unit_test_teardown(test_split, clean),
        cmocka_unit_test_teardown(test_split_refused, clean),
        cmocka_unit_test_teardown(test_guard, clean),
        cmocka_unit_test_teardown(test_guard_pool, clean),
        cmocka_unit_test_teardown(test_guard_two, clean),
        cmocka_unit_test_teardown(test_other_bus_errors, clean),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
