#include "cli/paths.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/environment.h"
#include "model/model.h"

/* $XDG_CACHE_HOME counts if it is absolute, as its specification says. */
static bool cache_folder(char path[CLI_PATH_BYTES])
{
    const char *xdg = environment_folder("XDG_CACHE_HOME");
    const char *home = environment_folder("HOME");
    int n = CLI_PATH_BYTES;
    if (xdg)
        n = snprintf(path, CLI_PATH_BYTES, "%s", xdg);
    else if (home)
        n = snprintf(path, CLI_PATH_BYTES, "%s/.cache", home);
    return n < CLI_PATH_BYTES;
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

bool paths_model(char path[CLI_PATH_BYTES], const char *file)
{
    if (!cache_folder(path))
        return false;
    const size_t at = strlen(path), left = CLI_PATH_BYTES - at;
    if ((size_t)snprintf(path + at, left, "/turbine/models/%s", file) >= left)
        return false;
    make_folders(path);
    return true;
}
