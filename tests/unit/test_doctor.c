/* test_doctor.c - what `turbine doctor` makes of conditions that one machine has not;
 * what Claude Code's settings mean. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/executable.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)

static struct doctor *sick; // a healthy one that a test changes
static struct doctor_findings *found;

static int setup(void **state)
{
    (void)state;
    sick = mem_array(1, sizeof *sick);
    found = mem_array(1, sizeof *found);
    if (!sick || !found)
        return -1;
    sick->machine = (struct doctor_machine){
        .cpu = "Processor",
        .level = "avx2",
        .n_cpu = 8,
        .n_core = 4,
        .memory = 32 * GIB,
        .available = 20 * GIB,
        .swap = 4 * GIB,
        .swap_free = 4 * GIB,
        .group_limit = DOCTOR_UNLIMITED,
        .commit_left = DOCTOR_UNLIMITED,
        .huge = "madvise",
        .files = 1024,
        .files_max = 1 << 20,
        .locked = DOCTOR_UNLIMITED,
        .space = DOCTOR_UNLIMITED,
        .processes = DOCTOR_UNLIMITED,
        .year = 2026,
    };
    sick->store.n_folder = 2;
    sick->store.folders[0] = (struct doctor_folder){
        .path = "/home/u/models",
        .own = true,
        .exists = true,
        .is_folder = true,
        .readable = true,
        .writable = true,
        .bytes_free = 100 * GIB,
        .bytes_total = 200 * GIB,
        .nodes_free = 100000,
        .nodes_total = 200000,
        .n_model = 1,
    };
    snprintf(sick->store.folders[1].path, sizeof sick->store.folders[1].path,
             "/usr/share/ollama/.ollama/models");
    sick->store.n_model = 1;
    sick->store.models[0] =
        (struct doctor_model){.name = "m:latest", .fit = {131072, 0, 200000}};
    snprintf(sick->server.url, sizeof sick->server.url, "http://127.0.0.1:11434");
    sick->server.local = true;
    sick->server.port = 11434;
    sick->server.owner.known = true;
    sick->n_client = 2;
    sick->clients[0] = (struct doctor_client){.name = "claude",
                                              .title = "Claude Code",
                                              .install = "npm install it",
                                              .path = "/usr/bin/claude",
                                              .version = "2.1.330 (Claude Code)"};
    sick->clients[1] = (struct doctor_client){.name = "ollama", .title = "Ollama"};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_free(sick);
    mem_free(found);
    return 0;
}

/* The i-th finding of a name. */
static const struct doctor_finding *find(const char *name, int i)
{
    for (int k = 0; k < found->n; k++)
        if (!strcmp(found->f[k].name, name) && i-- == 0)
            return &found->f[k];
    fail_msg("no finding %s", name);
    return NULL;
}

/* Judge, and see that this finding alone is not ok; every one that is not has a fix, in
 * one line. */
static void expect(const char *name, enum doctor_level level, const char *text,
                   const char *fix)
{
    doctor_judge(found, sick);
    const struct doctor_finding *f = find(name, 0);
    for (int i = 0; i < found->n; i++) {
        const struct doctor_finding *g = &found->f[i];
        if (g->level != DOCTOR_OK && strcmp(g->name, name))
            fail_msg("%s: %s", g->name, g->text);
        assert_int_equal(g->level != DOCTOR_OK, *g->fix != 0);
        assert_null(strpbrk(g->text, "\n\r\033"));
        assert_null(strpbrk(g->fix, "\n\r\033"));
    }
    if (f->level != level || !strstr(f->text, text) || strcmp(f->fix, fix))
        fail_msg("%s %s: %s; fix: %s", doctor_level_name(f->level), f->name, f->text,
                 f->fix);
}

static void test_healthy(void **state)
{
    (void)state;
    static const char *const names[] = {
        "cpu",         "cores",         "memory",
        "swap",        "overcommit",    "huge-pages",
        "open-files",  "locked-memory", "address-space",
        "threads",     "store",         "store-disk",
        "store-space", "models",        "ollama-store",
        "fits",        "server",        "claude",
        "ollama",      "environment",   "claude-settings"};
    expect("memory", DOCTOR_OK, "32.00 GiB, of which 20.00 GiB are available", "");
    expect("fits", DOCTOR_OK, "m:latest: 131072 tokens of context, as it was trained for",
           "");
    assert_int_equal(found->n, sizeof names / sizeof *names);
    for (int i = 0; i < found->n; i++)
        assert_string_equal(found->f[i].name, names[i]);
}

/* ---- the machine ---- */

static void test_processor(void **state)
{
    (void)state;
    sick->machine.plain = true;
    sick->machine.level = "c";
    expect("cpu", DOCTOR_WARNING, "without AVX2", "lscpu | grep -io -m1 'avx2\\|asimd'");
    sick->machine.plain = false;
    sick->machine.quota = 2;
    expect("cores", DOCTOR_OK, "the container grants the time of 2", "");
}

static void test_memory(void **state)
{
    (void)state;
    sick->machine.group_limit = 8 * GIB;
    expect("memory", DOCTOR_OK, "the control group has 8.00 GiB", "");
    sick->machine.available = 600 * MIB;
    expect("memory", DOCTOR_WARNING, "600 MiB", "ps -eo rss,pid,comm --sort=-rss | head");
    sick->machine.available = 0;
    expect("memory", DOCTOR_NOTE, "does not say", "turbine plan MODEL --memory 16G");
}

static void test_swap_and_overcommit(void **state)
{
    (void)state;
    sick->machine.swap_free = GIB;
    expect("swap", DOCTOR_NOTE, "3.00 GiB of 4.00 GiB",
           "ps -eo rss,pid,comm --sort=-rss | head");
    sick->machine.swap = sick->machine.swap_free = 0;
    expect("swap", DOCTOR_OK, "none", "");
    sick->machine.commit_left = 10 * GIB;
    expect("overcommit", DOCTOR_WARNING, "10.00 GiB",
           "sudo sysctl vm.overcommit_memory=0");
    sick->machine.commit_left = 0;
    expect("overcommit", DOCTOR_PROBLEM, "strict", "sudo sysctl vm.overcommit_memory=0");
}

static void test_huge_pages(void **state)
{
    (void)state;
    snprintf(sick->machine.huge, sizeof sick->machine.huge, "never");
    expect("huge-pages", DOCTOR_NOTE, "off",
           "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
    *sick->machine.huge = 0;
    expect("huge-pages", DOCTOR_OK, "not known", "");
}

static void test_limits(void **state)
{
    (void)state;
    struct doctor_machine *m = &sick->machine;
    m->files = m->files_max = 1024;
    doctor_judge(found, sick);
    const struct doctor_finding *f = find("open-files", 0);
    assert_int_equal(f->level, DOCTOR_WARNING);
    assert_true(!strncmp(f->fix, "sudo prlimit --pid $$ --nofile=", 31));
    m->files = m->files_max = 200;
    doctor_judge(found, sick);
    assert_int_equal(find("open-files", 0)->level, DOCTOR_PROBLEM);
    m->files_max = DOCTOR_UNLIMITED;
    expect("open-files", DOCTOR_OK, "200, at most unlimited", "");
    m->space = 16 * GIB;
    expect("address-space", DOCTOR_WARNING, "16.00 GiB",
           "sudo prlimit --pid $$ --as=unlimited");
    m->space = GIB;
    expect("address-space", DOCTOR_PROBLEM, "1.00 GiB",
           "sudo prlimit --pid $$ --as=unlimited");
    m->space = DOCTOR_UNLIMITED;
    m->processes = 100;
    expect("threads", DOCTOR_WARNING, "100",
           "docker update --pids-limit 4096 \"$(hostname)\"");
    m->processes = 10;
    expect("threads", DOCTOR_PROBLEM, "10",
           "docker update --pids-limit 4096 \"$(hostname)\"");
    m->processes = 4096;
    m->locked = 64 * 1024;
    m->year = 1970;
    expect("clock", DOCTOR_WARNING, "1970", "sudo timedatectl set-ntp true");
}

/* ---- the store ---- */

static void test_folder(void **state)
{
    (void)state;
    struct doctor_folder *f = &sick->store.folders[0];
    f->exists = f->is_folder = f->readable = false;
    expect("store", DOCTOR_OK, "made by the first pull", "");
    f->writable = false;
    snprintf(f->path, sizeof f->path, "/it's/\033models");
    expect("store", DOCTOR_PROBLEM, "cannot be made",
           "sudo mkdir -p '/it'\\''s/?models' && sudo chown -R \"$(id -un)\" "
           "'/it'\\''s/?models'");
    f->exists = true;
    expect("store", DOCTOR_PROBLEM, "is no folder",
           "export TURBINE_MODELS=\"$HOME/turbine-models\"");
    f->is_folder = true;
    snprintf(f->path, sizeof f->path, "/m");
    expect("store", DOCTOR_PROBLEM, "cannot be read", "sudo chown -R \"$(id -un)\" /m");
    f->readable = true;
    expect("store", DOCTOR_PROBLEM, "cannot be written",
           "sudo mkdir -p /m && sudo chown -R \"$(id -un)\" /m");
    /* A part of it, for its rights; all of it, for what rights do not change. */
    snprintf(f->at, sizeof f->at, "/m/blobs");
    snprintf(f->why, sizeof f->why, "%s", strerror(EACCES));
    expect("store", DOCTOR_PROBLEM, "/m/blobs cannot be written: Permission denied",
           "sudo mkdir -p /m && sudo chown -R \"$(id -un)\" /m");
    snprintf(f->at, sizeof f->at, "/m");
    snprintf(f->why, sizeof f->why, "%s", strerror(EROFS));
    expect("store", DOCTOR_PROBLEM, "/m cannot be written: Read-only file system",
           "export TURBINE_MODELS=\"$HOME/turbine-models\"");
    f->exists = f->is_folder = f->readable = false;
    snprintf(f->path, sizeof f->path, "/file/below");
    snprintf(f->at, sizeof f->at, "/file");
    *f->why = 0;
    expect("store", DOCTOR_PROBLEM, "/file/below cannot be made: /file is no folder",
           "export TURBINE_MODELS=\"$HOME/turbine-models\"");
    *f->path = 0;
    expect("store", DOCTOR_PROBLEM, "no folder",
           "export TURBINE_MODELS=/var/tmp/turbine-models");
}

static void test_disk(void **state)
{
    (void)state;
    struct doctor_folder *f = &sick->store.folders[0];
    f->disk = DOCTOR_DISK_MEMORY;
    expect("store-disk", DOCTOR_WARNING, "in memory",
           "export TURBINE_MODELS=\"$HOME/turbine-models\"");
    f->disk = DOCTOR_DISK_NETWORK;
    expect("store-disk", DOCTOR_WARNING, "network",
           "export TURBINE_MODELS=\"$HOME/turbine-models\"");
    f->disk = DOCTOR_DISK;
    f->bytes_free = GIB;
    expect("store-space", DOCTOR_WARNING, "1.00 GiB", "turbine verify --prune");
    f->bytes_free = MIB;
    expect("store-space", DOCTOR_PROBLEM, "1.0 MiB", "turbine verify --prune");
    f->bytes_free = 100 * GIB;
    f->nodes_free = 10;
    expect("store-files", DOCTOR_WARNING, "room for 10 more", "df -i \"$HOME\"");
    f->nodes_total = f->nodes_free = 0; // a file system without a limit
    expect("store-space", DOCTOR_OK, "100.0 GiB", "");
}

static void test_models(void **state)
{
    (void)state;
    struct doctor_store *s = &sick->store;
    s->folders[0].n_damaged = 2;
    expect("models", DOCTOR_PROBLEM, "1; of 2 more the manifest cannot be read",
           "turbine verify");
    s->folders[0].n_damaged = 0;
    snprintf(s->error, sizeof s->error, "broken");
    expect("models", DOCTOR_PROBLEM, "broken", "turbine verify");
    *s->error = 0;
    s->folders[0].n_model = s->n_model = 0;
    expect("models", DOCTOR_NOTE, "none", "turbine pull smollm2:135m");
}

static void test_store_of_ollama(void **state)
{
    (void)state;
    struct doctor_folder *f = &sick->store.folders[1];
    f->exists = f->is_folder = true;
    expect("ollama-store", DOCTOR_NOTE, "cannot be read",
           "sudo chmod -R a+rX /usr/share/ollama/.ollama/models");
    /* Its parents are closed, too: they are opened, and no more than to pass. */
    snprintf(f->at, sizeof f->at, "/usr/share/ollama");
    expect("ollama-store", DOCTOR_NOTE, "cannot be read",
           "sudo chmod a+x /usr/share/ollama /usr/share/ollama/.ollama && "
           "sudo chmod -R a+rX /usr/share/ollama/.ollama/models");
    /* The service's: its group, which may read or has to be let. */
    f->of_service = f->group_may_read = true;
    expect("ollama-store", DOCTOR_NOTE, "before you are in group ollama",
           "sudo usermod -aG ollama \"$(id -un)\"");
    f->group_may_read = false;
    expect("ollama-store", DOCTOR_NOTE, "have logged in again",
           "sudo chmod g+x /usr/share/ollama /usr/share/ollama/.ollama && "
           "sudo chmod -R g+rX /usr/share/ollama/.ollama/models && "
           "sudo usermod -aG ollama \"$(id -un)\"");
    f->of_service = false;
    *f->at = 0;
    f->readable = true;
    f->n_model = 3;
    expect("ollama-store", DOCTOR_OK, "3 models, read in place", "");
    assert_string_equal(find("models", 0)->text, "4");
}

static void test_what_fits(void **state)
{
    (void)state;
    struct doctor_model *m = &sick->store.models[0];
    m->fit = (struct plan_fit){131072, 0, 20000};
    expect("fits", DOCTOR_NOTE, "m:latest: 20000 tokens of context, of the 131072",
           "turbine plan m:latest");
    m->fit = (struct plan_fit){131072, 0, 40000}; // enough, and less than is good
    expect("fits", DOCTOR_NOTE, "coding agents need 32768, and want 65536",
           "turbine plan m:latest");
    m->fit = (struct plan_fit){131072, 0, 70000};
    expect("fits", DOCTOR_OK, "m:latest: 70000 tokens of context", "");
    m->fit = (struct plan_fit){8192, 0, 40000};
    expect("fits", DOCTOR_OK, "m:latest: 8192 tokens of context, as it was trained for",
           "");
    m->fit = (struct plan_fit){131072, 4096, 200000};
    expect("fits", DOCTOR_OK, "131072 tokens of context; its Modelfile asks for 4096",
           "");
    m->fit = (struct plan_fit){131072, 0, 0};
    expect("fits", DOCTOR_WARNING, "not into the memory", "turbine plan m:latest");
    snprintf(m->error, sizeof m->error, "no GGUF");
    expect("fits", DOCTOR_WARNING, "m:latest: no GGUF", "turbine show m:latest");
}

/* ---- the server and its clients ---- */

static void test_server(void **state)
{
    (void)state;
    struct doctor_server *s = &sick->server;
    expect("server", DOCTOR_OK, "none runs, the port is free", "");
    s->owner = (struct port_owner){true, true, 1000, 77, "nc"};
    expect("server", DOCTOR_PROBLEM,
           "taken, and no server answers; it is process 77 (nc)",
           "export TURBINE_HOST=127.0.0.1:11435");
    s->kind = SERVER_LINK_OTHER;
    snprintf(s->why, sizeof s->why, "Ollama 0.33.0 answers there");
    s->owner = (struct port_owner){true, true, 64, 0, ""};
    expect("server", DOCTOR_WARNING,
           "Ollama 0.33.0 answers there, so that Turbine cannot",
           "export TURBINE_HOST=127.0.0.1:11435");
    assert_non_null(strstr(find("server", 0)->text, "belongs to user 64"));
    snprintf(s->why, sizeof s->why, "it wants its key, read from TURBINE_API_KEY");
    expect("server", DOCTOR_WARNING, "wants its key",
           "read -rs TURBINE_API_KEY && export TURBINE_API_KEY");
    s->kind = SERVER_LINK_TURBINE;
    snprintf(s->why, sizeof s->why, "Turbine 1 answers there");
    expect("server", DOCTOR_OK, "Turbine 1 answers there", "");
    s->kind = SERVER_LINK_NONE;
    s->local = false;
    s->owner = (struct port_owner){0};
    snprintf(s->why, sizeof s->why, "no server answers there");
    expect("server", DOCTOR_WARNING, "no server answers there",
           "unset TURBINE_HOST OLLAMA_HOST");
}

static void test_clients(void **state)
{
    (void)state;
    *sick->clients[0].version = 0;
    expect("claude", DOCTOR_NOTE, "does not say its version", "npm install it");
    *sick->clients[0].path = 0;
    expect("claude", DOCTOR_NOTE, "Claude Code is not on PATH", "npm install it");
}

static void set_variable(const char *name, bool same)
{
    const struct launch_variable *v = claude_find(name);
    assert_non_null(v);
    sick->settings.n_variable = 1;
    sick->settings.variables[0] = (struct doctor_variable){v, same};
}

static void test_variables(void **state)
{
    (void)state;
    set_variable("ANTHROPIC_API_ENDPOINT", false);
    expect("environment", DOCTOR_WARNING, "does nothing",
           "unset ANTHROPIC_API_ENDPOINT; export "
           "ANTHROPIC_BASE_URL=http://127.0.0.1:11434");
    set_variable("ANTHROPIC_BASE_URL", false);
    expect("environment", DOCTOR_NOTE, "another server",
           "export ANTHROPIC_BASE_URL=http://127.0.0.1:11434");
    set_variable("CLAUDE_CODE_USE_BEDROCK", false);
    expect("environment", DOCTOR_NOTE, "asks another server",
           "unset CLAUDE_CODE_USE_BEDROCK");
    set_variable("ANTHROPIC_API_KEY", false);
    expect("environment", DOCTOR_NOTE, "ANTHROPIC_API_KEY is set",
           "unset ANTHROPIC_API_KEY");
    set_variable("ANTHROPIC_BASE_URL", true);
    sick->settings.has_key = true;
    expect("environment", DOCTOR_OK, "nothing in the way; TURBINE_API_KEY is set", "");
    snprintf(sick->settings.unknown, sizeof sick->settings.unknown, "OLLAMA_A, OLLAMA_B");
    expect("environment", DOCTOR_NOTE, "OLLAMA_A, OLLAMA_B", "unset OLLAMA_A OLLAMA_B");
    snprintf(sick->settings.wrong, sizeof sick->settings.wrong, "OLLAMA_C is 'x'");
    snprintf(sick->settings.wrong_name, sizeof sick->settings.wrong_name, "OLLAMA_C");
    expect("environment", DOCTOR_PROBLEM, "OLLAMA_C is 'x'", "unset OLLAMA_C");
}

/* ---- Claude Code's settings ---- */

static int settings_of(const char *json, const char *url)
{
    json_t *root = json_loads(json, 0, NULL);
    const int n = claude_settings_of(sick->settings.files, 0, root, "/s.json", url);
    json_decref(root);
    return n;
}

static void test_settings(void **state)
{
    (void)state;
    static const char url[] = "http://127.0.0.1:11434";
    const struct claude_setting *f = sick->settings.files;
    static const char *const harmless[] = {
        "{}",
        "[]",
        "{\"env\": []}",
        "{\"env\": {\"OTHER\": \"x\"}}",
        "{\"env\": {\"ANTHROPIC_BASE_URL\": \"http://127.0.0.1:11434/v1\"}}",
        "{\"env\": {\"CLAUDE_CODE_USE_VERTEX\": \"0\"}}",
        "{\"env\": {\"CLAUDE_CODE_ATTRIBUTION_HEADER\": \"0\"}}",
    };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        assert_int_equal(settings_of(harmless[i], url), 0);
    assert_int_equal(settings_of("not JSON", url), 0);
    assert_int_equal(
        settings_of("{\"env\": {\"ANTHROPIC_BASE_URL\": \"http://127.0.0.1:1\"}}", url),
        1);
    assert_string_equal(f[0].name, "ANTHROPIC_BASE_URL");
    assert_true(f[0].elsewhere);
    assert_int_equal(settings_of("{\"env\": {\"CLAUDE_CODE_USE_VERTEX\": 1, "
                                 "\"API_TIMEOUT_MS\": \"1\"}, \"apiKeyHelper\": \"/x\"}",
                                 url),
                     3);
    assert_string_equal(f[0].name, "API_TIMEOUT_MS");
    assert_false(f[0].elsewhere);
    assert_string_equal(f[1].name, "CLAUDE_CODE_USE_VERTEX");
    assert_true(f[1].elsewhere);
    assert_string_equal(f[2].name, "apiKeyHelper");
    sick->settings.n_file = 2;
    expect("claude-settings", DOCTOR_WARNING, "/s.json sets API_TIMEOUT_MS",
           "${EDITOR:-vi} /s.json");
    assert_int_equal(find("claude-settings", 1)->level, DOCTOR_PROBLEM);
}

static void test_urls(void **state)
{
    (void)state;
    assert_true(claude_same_url("http://a:1", "http://a:1/v1/"));
    assert_true(claude_same_url("http://a:1/v1", "http://a:1/"));
    assert_false(claude_same_url("http://a:1", "http://a:12"));
    assert_false(claude_same_url("http://a:1", "https://a:1"));
    assert_false(claude_same_url("", "http://a:1"));
}

/* More than there is room for is cut, never written past. */
static void test_many(void **state)
{
    (void)state;
    found->n = 0;
    for (int i = 0; i < DOCTOR_FINDINGS_MAX + 10; i++)
        doctor_add(found, DOCTOR_OK, "x", "%d", i);
    assert_int_equal(found->n, DOCTOR_FINDINGS_MAX);
    char path[EXECUTABLE_PATH_BYTES];
    assert_false(executable_find(path, "sh", NULL));
    assert_false(executable_find(path, "sh", ""));
    assert_false(executable_find(path, "sh", ":::"));
    assert_true(executable_find(path, "sh", "::/nowhere:/bin:"));
    assert_string_equal(path, "/bin/sh");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_healthy),    T(test_processor),
        T(test_memory),     T(test_swap_and_overcommit),
        T(test_huge_pages), T(test_limits),
        T(test_folder),     T(test_disk),
        T(test_models),     T(test_store_of_ollama),
        T(test_what_fits),  T(test_server),
        T(test_clients),    T(test_variables),
        T(test_settings),   T(test_urls),
        T(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
