#define _DEFAULT_SOURCE
#include "cli/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/words.h"

enum { DRAW_US = 100000, BAR_MOST = 40, BAR_LEAST = 10, TEXT_COLUMNS = 70 };

void progress_init(struct progress *p, FILE *to)
{
    *p = (struct progress){.to = to, .terminal = isatty(fileno(to))};
}

static void print_left(char out[16], double seconds)
{
    const int s = seconds > 359999 ? 359999 : (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, 16, "%dh%02dm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, 16, "%dm%02ds", s / 60, s % 60);
    else
        snprintf(out, 16, "%ds", s);
}

static int bar_columns(const struct progress *p)
{
    struct winsize w = {0};
    if (ioctl(fileno(p->to), TIOCGWINSZ, &w) || !w.ws_col)
        return BAR_LEAST;
    const int n = (int)w.ws_col - TEXT_COLUMNS;
    return n > BAR_MOST ? BAR_MOST : n < 0 ? 0 : n;
}

static void measure_speed(struct progress *p, uint64_t done, uint64_t now)
{
    const double seconds = (double)(now - p->drawn_us) / 1e6;
    const double last = done > p->last ? (double)(done - p->last) / seconds : 0;
    // Of the last three seconds, about.
    const double weight = seconds > 3 ? 1 : seconds / 3;
    const double since = (double)(now - p->began_us) / 1e6;
    const double mean = done > p->began ? (double)(done - p->began) / since : 0;
    p->speed = since < 3 ? mean : p->speed + weight * (last - p->speed);
    p->last = done;
    p->drawn_us = now;
}

static void draw(struct progress *p, uint64_t done, uint64_t size)
{
    char has[24], all[24], speed[24], left[16] = "";
    const int percent = size ? (int)(100.0 * (double)done / (double)size) : 100;
    words_bytes(has, done);
    words_bytes(all, size);
    words_bytes(speed, (uint64_t)p->speed);
    if (p->speed > 0 && done < size)
        print_left(left, (double)(size - done) / p->speed);
    if (!p->terminal) {
        fprintf(p->to, "%s: %d%%, %s of %s, %s/s%s%s\n", p->label, percent, has, all,
                speed, *left ? ", left " : "", left);
        return;
    }
    const int bar = bar_columns(p), full = bar * percent / 100;
    fprintf(p->to, "\r%-24s %3d%% ", p->label, percent);
    if (bar >= BAR_LEAST) {
        putc('[', p->to);
        for (int i = 0; i < bar; i++)
            putc(i < full ? '=' : i == full ? '>' : ' ', p->to);
        putc(']', p->to);
    }
    fprintf(p->to, " %8s/%-8s %8s/s %7s\033[K", has, all, speed, left);
    fflush(p->to);
    p->shown = true;
}

void progress_show(struct progress *p, const char *label, uint64_t done, uint64_t size)
{
    const uint64_t now = clock_us();
    const int tenth = size ? (int)(10.0 * (double)done / (double)size) : 10;
    if (strncmp(p->label, label, sizeof p->label - 1) != 0) {
        progress_end(p);
        snprintf(p->label, sizeof p->label, "%s", label);
        p->began_us = p->drawn_us = now;
        p->began = p->last = done;
        p->speed = 0;
        p->tenth = tenth;
        if (p->terminal)
            draw(p, done, size);
        return;
    }
    const bool end = done == size && p->last < size;
    if (now - p->drawn_us < DRAW_US && !end)
        return;
    if (!p->terminal && tenth <= p->tenth && !end)
        return;
    p->tenth = tenth;
    if (now > p->drawn_us)
        measure_speed(p, done, now);
    draw(p, done, size);
}

void progress_end(struct progress *p)
{
    if (p->shown)
        putc('\n', p->to);
    p->shown = false;
    p->label[0] = 0;
}
