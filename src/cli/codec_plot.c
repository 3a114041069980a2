/* codec_plot.c - distortion against rate, and the distance to the Shannon bound, as SVG.
 * The formats of 8 bits and more are left out: they would halve the scale of the rest. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/codec_table.h"
#include "cli/svg.h"

enum { WIDTH = 960, HEIGHT = 984, LEFT = 84, RIGHT = 930 };

static const double rate_low = 1.9, rate_high = 5.0;

/* Rows of a family are joined by a line and drawn alike. */
static const struct family {
    const char *stem, *color, *marker; // of the marker around (0, 0)
    int width;                         // of the line, 0 for none
} families[] = {
    {"turbo", "#1257b8", "<circle r='6.5'/>", 3},
    {"mse", "#c2410c", "<circle r='5'/>", 2},
    {"prod", "#86198f", "<rect x='-5' y='-5' width='10' height='10'/>", 2},
    {"mix", "#a16207", "<path d='M0-7 6.5 5H-6.5z'/>", 0},
    {"q", "#15803d", "<path d='M0-7.5 7.5 0 0 7.5-7.5 0z'/>", 2},
    {"polar", "#475569", "<path d='M0-7 6.5 5H-6.5z' transform='rotate(180)'/>", 2},
};
enum { FAMILIES = sizeof families / sizeof *families };

/* Where the name of a format stands beside its marker: panel 0, panel 1; dx 0 centres it.
 * A tilted name runs along its line in panel 0. */
static const struct label {
    const char *name;
    int dx[2], dy[2];
    const char *anchor;
    bool tilted;
} labels[] = {
    {"turbo2", {0, 0}, {22, 25}, "start", true},
    {"turbo3", {0, 0}, {22, 25}, "start", true},
    {"turbo4", {0, 0}, {22, 25}, "start", true},
    {"mse2", {12, 10}, {-4, 18}, "start", false},
    {"mse3", {12, 0}, {-4, 19}, "start", false},
    {"mse4", {12, 0}, {-4, 19}, "start", false},
    {"prod2", {12, 0}, {-6, -13}, "start", false},
    {"prod3", {12, 0}, {-6, -13}, "start", false},
    {"prod4", {12, 0}, {-6, -13}, "start", false},
    {"mix2.5", {12, 12}, {-4, -2}, "start", false},
    {"mix3.5", {12, 12}, {-4, -2}, "start", false},
    {"q4_0", {14, 14}, {0, 2}, "start", false},
    {"polar", {12, 12}, {-4, -2}, "start", false},
};

struct panel {
    int top, bottom, index;
    double low, high; // of the vertical axis
};

static double x_of(double bits)
{
    return LEFT + (bits - rate_low) / (rate_high - rate_low) * (RIGHT - LEFT);
}

static double y_of(const struct panel *p, double v)
{
    return p->bottom - (v - p->low) / (p->high - p->low) * (p->bottom - p->top);
}

/* The height of a row in a panel: log10 of the distortion, or decibels. */
static double height_of(const struct panel *p, const struct codec_row *r)
{
    return p->index == 0 ? log10(r->nmse) : r->gap_db;
}

static void put_axes(struct buf *b, const struct panel *p, double step)
{
    char text[32];
    for (int i = 0; p->low + i * step <= p->high + 1e-9; i++) {
        const double v = p->low + i * step, y = y_of(p, v);
        buf_printf(b, "<path class='grid' d='M%d %.1fH%d'/>\n", LEFT, y, RIGHT);
        if (p->index == 0)
            snprintf(text, sizeof text, "%.*f", (int)-v, pow(10, v));
        else
            snprintf(text, sizeof text, "%.0f dB", v);
        svg_text(b, LEFT - 10, y + 5, "class='axis' text-anchor='end'", text);
    }
    for (int bits = 2; bits <= 5; bits++) {
        buf_printf(b, "<path class='grid' d='M%.1f %dV%d'/>\n", x_of(bits), p->top,
                   p->bottom);
        snprintf(text, sizeof text, "%d", bits);
        svg_text(b, x_of(bits), p->bottom + 22, "class='axis' text-anchor='middle'",
                 text);
    }
}

/* A line factor * 4^-bits: straight in both panels. */
static void put_bound(struct buf *b, const struct panel *p, double factor,
                      const char *style)
{
    double v[2] = {log10(factor) - rate_low * log10(4),
                   log10(factor) - rate_high * log10(4)};
    if (p->index)
        v[0] = v[1] = 10 * log10(factor);
    buf_printf(b, "<path d='M%d %.1fL%d %.1f' %s/>\n", LEFT, y_of(p, v[0]), RIGHT,
               y_of(p, v[1]), style);
}

/* The name without its digits: turbo4 is of turbo, q4_0 of q. */
static bool of_family(const struct codec_row *r, const struct family *f)
{
    return r->bits < rate_high && strcspn(r->name, "0123456789") == strlen(f->stem) &&
           !strncmp(r->name, f->stem, strlen(f->stem));
}

static void put_family(struct buf *b, const struct panel *p, const struct codec_table *t,
                       const struct family *f)
{
    char command = 'M';
    buf_printf(b, "<path fill='none' stroke='%s' stroke-width='%d' d='", f->color,
               f->width);
    for (int i = 0; i < t->n; i++)
        if (of_family(&t->rows[i], f)) {
            buf_printf(b, "%c%.1f %.1f", command, x_of(t->rows[i].bits),
                       y_of(p, height_of(p, &t->rows[i])));
            command = 'L';
        }
    buf_puts(b, command == 'L' ? "'/>\n" : "M0 0'/>\n");
    for (int i = 0; i < t->n; i++)
        if (of_family(&t->rows[i], f))
            buf_printf(b, "<g transform='translate(%.1f %.1f)' fill='%s'>%s</g>\n",
                       x_of(t->rows[i].bits), y_of(p, height_of(p, &t->rows[i])),
                       f->color, f->marker);
}

static void put_labels(struct buf *b, const struct panel *p, const struct codec_table *t,
                       const struct family *f)
{
    for (int i = 0; i < t->n; i++)
        for (size_t k = 0; k < sizeof labels / sizeof *labels; k++) {
            const struct codec_row *r = &t->rows[i];
            const struct label *l = &labels[k];
            if (!of_family(r, f) || strcmp(r->name, l->name))
                continue;
            const bool centred = l->dx[p->index] == 0;
            char style[128], text[48];
            const double x = x_of(r->bits) + l->dx[p->index];
            const double y = y_of(p, height_of(p, r)) + l->dy[p->index];
            const double slope = log10(4) * (p->bottom - p->top) / (p->high - p->low) /
                                 (x_of(3) - x_of(2));
            snprintf(style, sizeof style,
                     "class='name' fill='%s' text-anchor='%s' "
                     "transform='rotate(%.1f %.1f %.1f)'",
                     f->color, centred ? "middle" : l->anchor,
                     l->tilted && p->index == 0 ? atan(slope) * 57.2958 : 0, x, y);
            if (p->index == 0)
                snprintf(text, sizeof text, "%s", r->name);
            else
                snprintf(text, sizeof text, "%s %.1f", r->name, r->gap_db);
            svg_text(b, x, y, style, text);
        }
}

static void put_panel(struct buf *b, const struct panel *p, const struct codec_table *t)
{
    put_axes(b, p, p->index ? 2 : 1);
    put_bound(b, p, sqrt(3) * acos(-1) / 2,
              "stroke='#64748b' stroke-width='1.5' stroke-dasharray='3 4'");
    put_bound(b, p, 1, "stroke='#0f172a' stroke-width='2.5'");
    for (int i = 0; i < FAMILIES; i++)
        put_family(b, p, t, &families[i]);
    for (int i = 0; i < FAMILIES; i++)
        put_labels(b, p, t, &families[i]);
}

static void put_legend(struct buf *b, int x, int y)
{
    static const char *const text[FAMILIES] = {
        "turbo: trellis code, this project",
        "mse: TurboQuant_mse, Lloyd-Max",
        "prod: TurboQuant_prod, last bit is QJL",
        "mix: the paper's split of channels",
        "q4_0: llama.cpp, rotated",
        "polar: PolarQuant's recursive transform",
    };
    buf_printf(b,
               "<rect x='%d' y='%d' width='322' height='146' rx='6' fill='#fff' "
               "stroke='#cbd5e1'/>\n",
               x, y);
    for (int i = 0; i < FAMILIES; i++) {
        char style[64];
        const int at = y + 24 + 22 * i;
        buf_printf(b, "<g transform='translate(%d %d)' fill='%s'>%s</g>\n", x + 20,
                   at - 5, families[i].color, families[i].marker);
        snprintf(style, sizeof style, "class='key' fill='%s'", families[i].color);
        svg_text(b, x + 38, at, style, text[i]);
    }
}

static void put_svg(struct buf *b, const struct codec_table *t)
{
    static const struct panel distortion = {96, 520, 0, -3, 0};
    static const struct panel gap = {634, 920, 1, 0, 15};
    char text[96];
    svg_begin(b, WIDTH, HEIGHT);
    snprintf(text, sizeof text, "Distortion of compressed cache formats, %d dimensions",
             t->d);
    svg_text(b, LEFT, 36, "class='title'", text);
    svg_text(b, LEFT, 62, "class='sub'",
             "Mean of |x - x'|\302\262 / |x|\302\262 for Gaussian vectors, against bits "
             "stored for each value, scales included");
    put_panel(b, &distortion, t);
    svg_text(b, x_of(4.32), y_of(&distortion, -4.32 * log10(4)) + 24,
             "class='sub' text-anchor='end' font-weight='bold'", "Shannon bound");
    svg_text(b, x_of(4.9), y_of(&distortion, log10(2.72) - 4.9 * log10(4)) + 22,
             "class='sub' text-anchor='end'", "paper's bound");
    put_legend(b, LEFT + 4, 370);
    svg_text(b, (LEFT + RIGHT) / 2, 560, "class='axis' text-anchor='middle'",
             "bits for each value");
    svg_text(b, LEFT, 602, "class='title'",
             "The same, in decibels above the Shannon bound");
    put_panel(b, &gap, t);
    svg_text(b, RIGHT - 6, y_of(&gap, 4.35) + 18, "class='sub' text-anchor='end'",
             "paper's bound 4.3");
    svg_text(b, RIGHT - 6, y_of(&gap, 0) - 8,
             "class='sub' text-anchor='end' font-weight='bold'", "Shannon bound");
    svg_text(b, (LEFT + RIGHT) / 2, HEIGHT - 14, "class='axis' text-anchor='middle'",
             "bits for each value; 6.02 dB are one bit");
    svg_end(b);
}

enum status codec_plot(const struct codec_table *t, const char *path, struct error *err)
{
    struct buf b;
    buf_init(&b, SVG_MAX);
    put_svg(&b, t);
    const enum status s = svg_write(&b, path, err);
    buf_release(&b);
    return s;
}
