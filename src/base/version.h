/* version.h - the release that this source is, as the Makefile has it. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define TURBINE_VERSION "0.1.0"

#endif
