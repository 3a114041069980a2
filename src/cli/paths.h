/* paths.h - where Turbine keeps files of its own. */
#ifndef CLI_PATHS_H
#define CLI_PATHS_H

#include <stdbool.h>
#include <stddef.h>

struct model;

enum { CLI_PATH_BYTES = 4096 };

/* The calibration of m: ${XDG_CACHE_HOME:-$HOME/.cache}/turbine/calibration/ and the
 * digest and instruction set.  Folders on the way are made if they can be.  false if the
 * environment names no folder. */
bool paths_calibration(char path[CLI_PATH_BYTES], const struct model *m);

/* A file of the folder where script/model puts models: ${XDG_CACHE_HOME:-$HOME/.cache}/
 * turbine/models/FILE.  Folders and false as above. */
bool paths_model(char path[CLI_PATH_BYTES], const char *file);

/* A file of the logs of servers that commands start: ${XDG_CACHE_HOME:-$HOME/.cache}/
 * turbine/log/FILE.  Folders and false as above. */
bool paths_log(char path[CLI_PATH_BYTES], const char *file);

/* What was typed in chats: ${XDG_STATE_HOME:-$HOME/.local/state}/turbine/history. Folders
 * and false as above. */
bool paths_history(char path[CLI_PATH_BYTES]);

#endif
