/* show_parts.h - what a model says of itself, part by part: for show and for /show. */
#ifndef CLI_SHOW_PARTS_H
#define CLI_SHOW_PARTS_H

#include "base/buf.h"
#include "store/stored_model.h"

enum show_part {
    SHOW_SUMMARY,
    SHOW_MODELFILE,
    SHOW_PARAMETERS,
    SHOW_TEMPLATE,
    SHOW_SYSTEM,
    SHOW_LICENSE
};

enum { SHOW_BYTES = 32 << 20 }; // of what is printed

/* Append one part; nothing where the model has none.  A file that is no model of the
 * store is one with its path alone. */
enum status show_put(struct buf *b, const struct stored_model *m, enum show_part part,
                     struct error *err);

/* Of the summary: "    name                value", nothing without a value; the first
 * lines of a text below its title. */
void show_line(struct buf *b, const char *name, const char *value);
void show_first_lines(struct buf *b, const char *title, const struct buf *text);

/* Texts of others on a terminal: nothing that moves a cursor. */
void show_harmless(struct buf *b);

#endif
