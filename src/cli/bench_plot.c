/* bench_plot.c - decode and prefill speed against depth, a line for each KV type, and the
 * machine's limit as a dashed one of the same colour. */
#include <math.h>
#include <stdio.h>

#include "cli/bench.h"
#include "cli/svg.h"

enum { WIDTH = 960, LEFT = 84, RIGHT = 780, PANEL_HEIGHT = 340, LABEL_HEIGHT = 18 };

/* One of the two pictures: what it shows, and where. */
struct speed_panel {
    const struct bench *b;
    bool prefill;
    int top;
    double low, high; // log10 of tokens a second at the bottom and the top
};

static double speed_of(const struct speed_panel *p, const struct bench_row *r)
{
    return p->prefill ? bench_rate(p->b->n_prefill, r->prefill.best)
                      : bench_rate(p->b->n_decode, r->decode.best);
}

static double limit_rate(const struct speed_panel *p, const struct bench_row *r)
{
    return p->prefill ? r->prefill_limit.rate : r->decode_limit.rate;
}

static double depth_x(const struct bench *b, int depth)
{
    const int deepest = b->depths[b->n_depth - 1];
    return LEFT + 16 + (RIGHT - LEFT - 32) * (double)depth / (deepest ? deepest : 1);
}

static double speed_y(const struct speed_panel *p, double speed)
{
    return p->top + PANEL_HEIGHT * (p->high - log10(speed)) / (p->high - p->low);
}

/* 1, 2 and 5 times the powers of ten: the i-th of them. */
static double round_number(int i)
{
    static const int digit[] = {1, 2, 5};
    const int power = (int)floor(i / 3.0);
    return digit[i - 3 * power] * pow(10, power);
}

/* The axis goes from the last round number below every value to the first above. */
static void fit_axis(struct speed_panel *p)
{
    enum { FIRST = -30, LAST = 60 }; // 1e-10 to 1e20
    double least = INFINITY, most = 0;
    for (int i = 0; i < p->b->n_row; i++) {
        const struct bench_row *r = &p->b->rows[i];
        const double speed = speed_of(p, r), limit = limit_rate(p, r);
        least = fmin(least, limit > 0 ? fmin(speed, limit) : speed);
        most = fmax(most, fmax(speed, limit));
    }
    int low = FIRST, high = LAST;
    while (low < LAST && round_number(low + 1) <= least)
        low++;
    while (high > low + 1 && round_number(high - 1) >= most)
        high--;
    p->low = log10(round_number(low));
    p->high = log10(round_number(high));
}

static void put_grid(struct buf *b, const struct speed_panel *p)
{
    enum { DEPTH_GAP = 60 }; // pixels between numbers
    char text[32];
    for (int i = (int)lround(3 * floor(p->low)); log10(round_number(i)) < p->high + 1e-9;
         i++) {
        const double v = round_number(i), y = speed_y(p, v);
        if (log10(v) < p->low - 1e-9)
            continue;
        buf_printf(b, "<path class='grid' d='M%d %.1fH%d'/>\n", LEFT, y, RIGHT);
        snprintf(text, sizeof text, "%.10g", v);
        svg_text(b, LEFT - 10, y + 5, "class='axis' text-anchor='end'", text);
    }
    double last = -INFINITY;
    for (int i = 0; i < p->b->n_depth; i++) {
        const double x = depth_x(p->b, p->b->depths[i]);
        if (x - last < DEPTH_GAP)
            continue;
        last = x;
        buf_printf(b, "<path class='grid' d='M%.1f %dv%d'/>\n", x, p->top, PANEL_HEIGHT);
        snprintf(text, sizeof text, "%d", p->b->depths[i]);
        svg_text(b, x, p->top + PANEL_HEIGHT + 22, "class='axis' text-anchor='middle'",
                 text);
    }
}

/* A line through one figure of the rows [first, first + n), all above 0. */
static void put_line(struct buf *b, const struct speed_panel *p, int first,
                     double (*figure)(const struct speed_panel *,
                                      const struct bench_row *),
                     const char *style)
{
    buf_puts(b, "<path fill='none' d='");
    for (int i = 0; i < p->b->n_depth; i++) {
        const struct bench_row *r = &p->b->rows[first + i];
        buf_printf(b, "%c%.1f %.1f", i ? 'L' : 'M', depth_x(p->b, r->depth),
                   speed_y(p, figure(p, r)));
    }
    buf_printf(b, "' %s/>\n", style);
}

static void put_type(struct buf *b, const struct speed_panel *p, int type)
{
    const int first = type * p->b->n_depth;
    const char *color = svg_color(type);
    char style[96];
    if (limit_rate(p, &p->b->rows[first]) > 0) {
        snprintf(style, sizeof style,
                 "stroke='%s' stroke-width='1' stroke-dasharray='4 4'", color);
        put_line(b, p, first, limit_rate, style);
    }
    snprintf(style, sizeof style, "stroke='%s' stroke-width='2.5'", color);
    put_line(b, p, first, speed_of, style);
    for (int i = 0; i < p->b->n_depth; i++) {
        const struct bench_row *r = &p->b->rows[first + i];
        buf_printf(b, "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'/>\n",
                   depth_x(p->b, r->depth), speed_y(p, speed_of(p, r)), color);
    }
}

/* The names at the ends of the lines. */
static void put_names(struct buf *b, const struct speed_panel *p)
{
    const int n = p->b->n_type;
    double y[BENCH_TYPES_MAX];
    for (int i = 0; i < n; i++)
        y[i] = speed_y(p, speed_of(p, &p->b->rows[(i + 1) * p->b->n_depth - 1]));
    svg_spread(y, n, LABEL_HEIGHT, p->top + PANEL_HEIGHT);
    for (int i = 0; i < n; i++) {
        const struct bench_row *r = &p->b->rows[(i + 1) * p->b->n_depth - 1];
        char name[KV_NAME_BYTES], text[KV_NAME_BYTES + 32], style[64];
        const double speed = speed_of(p, r);
        const int digits = speed < 10 ? 2 : speed < 100 ? 1 : 0;
        snprintf(text, sizeof text, "%s %.*f", kv_types_name(name, &r->type), digits,
                 speed);
        snprintf(style, sizeof style, "class='name' fill='%s'", svg_color(i));
        svg_text(b, RIGHT - 4, y[i] + 5, style, text);
    }
}

/* A panel whose title is at y; the place below it. */
static int put_speed(struct buf *b, const struct bench *bench, bool prefill, int y)
{
    struct speed_panel p = {.b = bench, .prefill = prefill, .top = y + 26};
    char text[96];
    fit_axis(&p);
    if (prefill)
        snprintf(text, sizeof text, "Prefill of %d tokens, tokens/s", bench->n_prefill);
    else
        snprintf(text, sizeof text, "Decode of %d tokens, tokens/s", bench->n_decode);
    svg_text(b, LEFT, y, "class='sub' font-weight='bold'", text);
    put_grid(b, &p);
    for (int i = 0; i < bench->n_type; i++)
        put_type(b, &p, i);
    put_names(b, &p);
    svg_text(b, (LEFT + RIGHT) / 2, p.top + PANEL_HEIGHT + 42,
             "class='axis' text-anchor='middle'", "depth: tokens in the cache before");
    return p.top + PANEL_HEIGHT + 84;
}

enum status bench_plot(const struct bench *b, const char *path, struct error *err)
{
    enum { HEAD = 118 };
    struct buf svg;
    char text[256];
    const int n_panel = (b->n_decode > 0) + (b->n_prefill > 0);
    int y = HEAD;
    buf_init(&svg, SVG_MAX);
    svg_begin(&svg, WIDTH, HEAD + n_panel * (26 + PANEL_HEIGHT + 84) - 20);
    snprintf(text, sizeof text, "%.120s: speed against depth", b->path);
    svg_text(&svg, LEFT, 36, "class='title'", text);
    snprintf(text, sizeof text, "%s, %d threads, %s; best of %d",
             model_arch(b->engine.model), pool_threads(b->engine.pool),
             cpu_isa_name(b->isa), b->repeat);
    svg_text(&svg, LEFT, 62, "class='sub'", text);
    snprintf(
        text, sizeof text,
        "dashed: the machine's limit, reading %.1f GB/s and multiplying %.1f G int8/s",
        probe_best(&b->read) * 1e-9, probe_best(&b->int8) * 1e-9);
    svg_text(&svg, LEFT, 84, "class='sub'", b->read.n ? text : "limit not measured");
    if (b->n_decode)
        y = put_speed(&svg, b, false, y);
    if (b->n_prefill)
        put_speed(&svg, b, true, y);
    svg_end(&svg);
    const enum status s = svg_write(&svg, path, err);
    buf_release(&svg);
    return s;
}
