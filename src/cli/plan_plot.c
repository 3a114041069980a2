/* plan_plot.c - memory against context, a line for each KV type, with lines where the
 * memory ends and where the weights do. */
#include <math.h>
#include <stdio.h>

#include "cli/plan.h"
#include "cli/svg.h"

enum { WIDTH = 960, HEIGHT = 640, LEFT = 84, RIGHT = 760, TOP = 104, BOTTOM = 560 };
enum { STEPS = 32 }; // of a line

struct memory_panel {
    const struct plan *p;
    double ctx; // at the right
    double top; // bytes
};

static double ctx_x(const struct memory_panel *a, double n_ctx)
{
    return LEFT + (RIGHT - LEFT) * n_ctx / a->ctx;
}

static double bytes_y(const struct memory_panel *a, double bytes)
{
    return BOTTOM - (BOTTOM - TOP) * bytes / a->top;
}

/* The least of 1, 2, 5, 10, 20 ... that divides `whole` into at most n parts. */
static double round_step(double whole, int n)
{
    double step = pow(10, floor(log10(whole / n)));
    for (int i = 0; whole / step > n; i++)
        step *= i % 3 == 1 ? 2.5 : 2;
    return step;
}

static void put_memory_grid(struct buf *b, const struct memory_panel *a)
{
    enum { ROWS = 8, COLUMNS = 8 };
    const double gib = round_step(a->top / 0x1p30, ROWS);
    char text[48];
    for (double v = 0; v * 0x1p30 < a->top * (1 + 1e-9); v += gib) {
        const double y = bytes_y(a, v * 0x1p30);
        buf_printf(b, "<path class='grid' d='M%d %.1fH%d'/>\n", LEFT, y, RIGHT);
        snprintf(text, sizeof text, "%.10g", v);
        svg_text(b, LEFT - 10, y + 5, "class='axis' text-anchor='end'", text);
    }
    for (int i = 0; i <= COLUMNS; i++) {
        const double n = floor(a->ctx * i / COLUMNS), x = ctx_x(a, n);
        buf_printf(b, "<path class='grid' d='M%.1f %dV%d'/>\n", x, TOP, BOTTOM);
        snprintf(text, sizeof text, "%.0f", n);
        svg_text(b, x, BOTTOM + 22, "class='axis' text-anchor='middle'", text);
    }
}

/* A line across, with its name at the left, above or below it. */
static void put_level(struct buf *b, const struct memory_panel *a, size_t bytes,
                      const char *name, const char *color, bool above)
{
    char text[96], size[PLAN_SIZE_BYTES], style[64];
    const double y = bytes_y(a, (double)bytes);
    buf_printf(
        b,
        "<path d='M%d %.1fH%d' stroke='%s' stroke-width='2' stroke-dasharray='7 5'/>\n",
        LEFT, y, RIGHT, color);
    snprintf(text, sizeof text, "%s %s", name, plan_size(size, bytes));
    snprintf(style, sizeof style, "class='name' fill='%s'", color);
    svg_text(b, LEFT + 8, y + (above ? -6 : 17), style, text);
}

static enum status put_type_line(struct buf *b, const struct memory_panel *a, int row,
                                 struct error *err)
{
    const struct plan_row *r = &a->p->rows[row];
    buf_printf(b, "<path fill='none' stroke='%s' stroke-width='2.5' d='", svg_color(row));
    for (int i = 0; i <= STEPS; i++) {
        struct plan_cell c;
        const int n = (int)fmax(1, floor(a->ctx * i / STEPS));
        const enum status s = plan_context(&c, a->p, &r->types, n, err);
        if (s)
            return s;
        buf_printf(b, "%c%.1f %.1f", i ? 'L' : 'M', ctx_x(a, n),
                   bytes_y(a, (double)c.total));
    }
    buf_puts(b, "'/>\n");
    if (r->largest.n_ctx && r->largest.n_ctx <= a->ctx)
        buf_printf(b, "<circle cx='%.1f' cy='%.1f' r='5' fill='%s'/>\n",
                   ctx_x(a, r->largest.n_ctx), bytes_y(a, (double)r->largest.total),
                   svg_color(row));
    return STATUS_OK;
}

static const struct plan_cell *last_cell(const struct plan *p, int row)
{
    return &p->rows[row].cells[p->n_ctx - 1];
}

static void put_type_names(struct buf *b, const struct memory_panel *a)
{
    enum { LABEL_GAP = 18 };
    double y[PLAN_TYPES_MAX];
    int shown[PLAN_TYPES_MAX], n = 0;
    for (int i = 0; i < a->p->n_row; i++)
        if (!a->p->rows[i].refused.status) {
            y[n] = bytes_y(a, (double)last_cell(a->p, i)->total);
            shown[n++] = i;
        }
    svg_spread(y, n, LABEL_GAP, BOTTOM);
    for (int i = 0; i < n; i++) {
        const int row = shown[i];
        char text[128], size[PLAN_SIZE_BYTES], style[64];
        snprintf(text, sizeof text, "%s %s", a->p->rows[row].name,
                 plan_size(size, last_cell(a->p, row)->total));
        snprintf(style, sizeof style, "class='name' fill='%s'", svg_color(row));
        svg_text(b, RIGHT + 8, y[i] + 5, style, text);
    }
}

static void put_titles(struct buf *b, const struct plan *p, bool is_far)
{
    const struct model *m = p->p.model;
    char text[256], number[PLAN_SIZE_BYTES];
    snprintf(text, sizeof text, "%.120s: memory against context", p->name);
    svg_text(b, LEFT, 36, "class='title'", text);
    snprintf(text, sizeof text,
             "%s, %d layers, %s parameters, trained for %d tokens; weights, cache, "
             "checkpoints and scratch",
             model_arch(m), model_hparams(m)->n_layer,
             plan_count(number, model_params(m)), model_hparams(m)->n_ctx_train);
    svg_text(b, LEFT, 62, "class='sub'", text);
    snprintf(text, sizeof text, "Memory in GiB; a dot is the largest context that fits");
    if (is_far)
        snprintf(text, sizeof text, "Memory in GiB; far more is there: %s",
                 plan_size(number, p->memory));
    svg_text(b, LEFT, 90, "class='sub' font-weight='bold'", text);
}

static enum status put_plan(struct buf *b, const struct plan *p, struct error *err)
{
    enum { FAR = 3 }; // times what is shown: the lines would lie on the ground
    const size_t weights = model_bytes(p->p.model);
    struct memory_panel a = {p, p->ctx[p->n_ctx - 1], (double)weights};
    for (int i = 0; i < p->n_row; i++)
        a.top = fmax(a.top, (double)last_cell(p, i)->total);
    const bool is_far = (double)p->memory > FAR * a.top;
    a.top = 1.04 * (is_far ? a.top : fmax(a.top, (double)p->memory));
    svg_begin(b, WIDTH, HEIGHT);
    put_titles(b, p, is_far);
    put_memory_grid(b, &a);
    for (int i = 0; i < p->n_row; i++) {
        if (p->rows[i].refused.status)
            continue;
        const enum status s = put_type_line(b, &a, i, err);
        if (s)
            return s;
    }
    if (!is_far)
        put_level(b, &a, p->memory, p->memory_given ? "memory" : "memory available",
                  "#b91c1c", true);
    put_level(b, &a, weights, "weights", "#475569", false);
    put_type_names(b, &a);
    svg_text(b, (LEFT + RIGHT) / 2, BOTTOM + 46, "class='axis' text-anchor='middle'",
             "tokens of context");
    svg_end(b);
    return STATUS_OK;
}

enum status plan_plot(const struct plan *p, const char *path, struct error *err)
{
    struct buf svg;
    buf_init(&svg, SVG_MAX);
    enum status s = put_plan(&svg, p, err);
    if (!s)
        s = svg_write(&svg, path, err);
    buf_release(&svg);
    return s;
}
