/* pull_settings.h - what the environment says of pulls: turbine pull, and serve's. */
#ifndef CLI_PULL_SETTINGS_H
#define CLI_PULL_SETTINGS_H

#include "store/pull.h"

/* Registry, hub, their tokens, defaults, and Python packages, fetched without a word;
 * other functions and ctx are the caller's.  Texts are those of the environment. */
void pull_settings_read(struct pull_options *out);
/* A token without the registry that it is for is STATUS_BAD_ARG. */
enum status pull_settings_check(const struct pull_options *o, struct error *err);

#endif
