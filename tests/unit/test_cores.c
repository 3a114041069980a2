/* test_cores.c - counting cores and quotas on made-up file systems. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cores.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static char root[64];

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test_cores.XXXXXX");
    return !mkdtemp(root);
}

static int remove_root(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command) != 0;
}

/* Write a file below root, with the folders on the way. */
static void put(const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *at = name + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(name, 0700);
        *at = '/';
    }
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_siblings(int cpu, const char *file, const char *list)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, file);
    put(path, list);
}

static void test_threads_of_a_core_count_once(void **state)
{
    (void)state;
    /* Four cores; siblings 4 apart, as Intel's and AMD's servers number them. */
    static const char *const lists[8] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n",
                                         "0,4\n", "1,5\n", "2,6\n", "3,7\n"};
    for (int i = 0; i < 8; i++)
        put_siblings(i, "thread_siblings_list", lists[i]);
    assert_int_equal(cores_count(root, (int[]){0, 1, 2, 3, 4, 5, 6, 7}, 8), 4);
    assert_int_equal(cores_count(root, (int[]){0, 4}, 2), 1);
    assert_int_equal(cores_count(root, (int[]){0, 1, 5}, 3), 2);
    assert_int_equal(cores_count(root, (int[]){6}, 1), 1); // its sibling is not ours
    assert_int_equal(cores_count(root, (int[]){3, 4, 7}, 3), 2);
}

static void test_ranges_and_the_newer_name(void **state)
{
    (void)state;
    /* Two cores of two neighbours and two without; the older file is not asked. */
    static const char *const lists[6] = {"0-1\n", "0-1\n", "2-3\n", "2-3\n", "4\n", "5"};
    for (int i = 0; i < 6; i++) {
        put_siblings(i, "core_cpus_list", lists[i]);
        put_siblings(i, "thread_siblings_list", "0-5\n");
    }
    assert_int_equal(cores_count(root, (int[]){0, 1, 2, 3, 4, 5}, 6), 4);
    put_siblings(12, "core_cpus_list", "1-3,12-15\n"); // several ranges
    put_siblings(14, "core_cpus_list", "1-3,12-15\n");
    assert_int_equal(cores_count(root, (int[]){5, 12, 14}, 3), 2);
}

static void test_no_topology(void **state)
{
    (void)state;
    assert_int_equal(cores_count(root, (int[]){0, 1, 2}, 3), 3);
    put_siblings(0, "core_cpus_list", "");
    put_siblings(1, "core_cpus_list", "what\n");
    assert_int_equal(cores_count(root, (int[]){0, 1, 2}, 3), 3);
}

static void test_quota(void **state)
{
    (void)state;
    assert_int_equal(cores_quota(root), 0);
    put("/proc/self/cgroup", "3:cpuset:/\n1:cpu:/other\n0::/a/b\n");
    assert_int_equal(cores_quota(root), 0);
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(cores_quota(root), 0);
    put("/sys/fs/cgroup/a/cpu.max", "400000 100000\n"); // around it
    assert_int_equal(cores_quota(root), 4);
    put("/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    assert_int_equal(cores_quota(root), 2); // one and a half
    put("/sys/fs/cgroup/a/b/cpu.max", "20000 50000\n");
    assert_int_equal(cores_quota(root), 1);
    put("/sys/fs/cgroup/a/b/cpu.max", "-1 0\n");
    assert_int_equal(cores_quota(root), 4);
    put("/proc/self/cgroup", "0::/\n"); // the root of a namespace
    assert_int_equal(cores_quota(root), 0);
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_int_equal(cores_quota(root), 3);
    put("/proc/self/cgroup", "1:cpu:/a\n"); // version 1 only
    assert_int_equal(cores_quota(root), 0);
}

static void test_this_machine(void **state)
{
    (void)state;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    assert_in_range(cores_available(), 1, online);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads_of_a_core_count_once, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(test_ranges_and_the_newer_name, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(test_no_topology, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_quota, make_root, remove_root),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
