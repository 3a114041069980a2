/* svg.h - what the pictures of the commands share: one look, and a file that is there
 * whole or not at all. */
#ifndef CLI_SVG_H
#define CLI_SVG_H

#include "base/buf.h"
#include "base/status.h"

enum { SVG_MAX = 1 << 20 }; // bytes of a picture

/* The opening tag in pixels, a white ground, and the style classes: grid for lines; axis,
 * name (bold, with a halo), key, title and sub for text. */
void svg_begin(struct buf *b, int width, int height);
void svg_end(struct buf *b);

/* Text with its attributes, as "class='axis' text-anchor='end'".  Any bytes: what XML
 * cannot hold becomes '?'. */
void svg_text(struct buf *b, double x, double y, const char *style, const char *text);

/* A color for the i-th of some lines; they repeat after 8. */
const char *svg_color(int i);

/* Move labels of one column apart where they would meet: y [n], n <= SVG_LABELS_MAX, keep
 * their order and get `gap` from each other; the last is not below `bottom`. */
enum { SVG_LABELS_MAX = 32 };
void svg_spread(double *y, int n, double gap, double bottom);

/* Whether svg_write could write there now, before long work. */
enum status svg_check(const char *path, struct error *err);

/* Write all of b, over a file that may be there; on failure that one stays as it was. */
enum status svg_write(const struct buf *b, const char *path, struct error *err);

#endif
