#include "cli/paths.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/environment.h"
#include "model/model.h"

/* A variable of XDG counts if it is absolute, as its specification says. */
static bool xdg_folder(char path[CLI_PATH_BYTES], const char *name, const char *in_home)
{
    const char *xdg = environment_folder(name);
    const char *home = environment_folder("HOME");
    int n = CLI_PATH_BYTES;
    if (xdg)
        n = snprintf(path, CLI_PATH_BYTES, "%s", xdg);
    else if (home)
        n = snprintf(path, CLI_PATH_BYTES, "%s/%s", home, in_home);
    return n < CLI_PATH_BYTES;
}

static bool cache_folder(char path[CLI_PATH_BYTES])
{
    return xdg_folder(path, "XDG_CACHE_HOME", ".cache");
}

/* Each folder on the way to the last name.  What fails here fails again, with its
 * reason, when the file is written. */
static void make_folders(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
}

bool paths_calibration(char path[CLI_PATH_BYTES], const struct model *m)
{
    if (!cache_folder(path))
        return false;
    const size_t at = strlen(path), left = CLI_PATH_BYTES - at;
    const int n = snprintf(path + at, left, "/turbine/calibration/%016" PRIx64 "-%s.cal",
                           model_digest(m), cpu_isa_name(model_isa(m)));
    if ((size_t)n >= left)
        return false;
    make_folders(path);
    return true;
}

static bool file_in(char path[CLI_PATH_BYTES], const char *folder, const char *file)
{
    if (!cache_folder(path))
        return false;
    const size_t at = strlen(path), left = CLI_PATH_BYTES - at;
    if ((size_t)snprintf(path + at, left, "/turbine/%s/%s", folder, file) >= left)
        return false;
    make_folders(path);
    return true;
}

bool paths_model(char path[CLI_PATH_BYTES], const char *file)
{
    return file_in(path, "models", file);
}

bool paths_log(char path[CLI_PATH_BYTES], const char *file)
{
    return file_in(path, "log", file);
}

bool paths_history(char path[CLI_PATH_BYTES])
{
    static const char name[] = "/turbine/history";
    if (!xdg_folder(path, "XDG_STATE_HOME", ".local/state") ||
        strlen(path) + sizeof name > CLI_PATH_BYTES)
        return false;
    memcpy(path + strlen(path), name, sizeof name);
    make_folders(path);
    return true;
}
