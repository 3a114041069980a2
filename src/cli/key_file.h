/* key_file.h - the API key of a server or router. */
#ifndef CLI_KEY_FILE_H
#define CLI_KEY_FILE_H

#include "base/status.h"

enum { KEY_BYTES = 512 };

/* out <- the first line of the file (NULL: there is none), else TURBINE_API_KEY, else "":
 * never of the command line, which others see.  A file that others can read is
 * STATUS_BAD_ARG. */
enum status key_find(char out[KEY_BYTES], const char *file, struct error *err);

#endif
