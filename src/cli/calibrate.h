/* calibrate.h - calibration as the commands do it. */
#ifndef CLI_CALIBRATE_H
#define CLI_CALIBRATE_H

#include "engine/engine.h"

/* Calibrate the engine if any of the n types wants it.  What is to be said goes to
 * stderr: progress on a terminal, warnings always. */
enum status cli_calibrate(struct engine *e, const char *command,
                          const struct kv_types *types, int n, struct error *err);

#endif
