#include "cli/svg.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"

void svg_begin(struct buf *b, int width, int height)
{
    buf_printf(b,
               "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
               "height='%d' font-family='DejaVu Sans, Verdana, Helvetica, sans-serif'>\n"
               "<style>.grid{stroke:#e2e8f0;fill:none}.axis{font-size:14px;fill:#334155}"
               ".name{font-size:14px;font-weight:bold;stroke:#fff;stroke-width:4px;"
               "paint-order:stroke}.key{font-size:14px}.title{font-size:20px;"
               "font-weight:bold;fill:#0f172a}.sub{font-size:14px;fill:#334155}</style>\n"
               "<rect width='100%%' height='100%%' fill='#fff'/>\n",
               width, height, width, height);
}

void svg_end(struct buf *b)
{
    buf_puts(b, "</svg>\n");
}

static void put_xml(struct buf *b, const char *text)
{
    for (size_t n = strlen(text), len; n > 0; text += len, n -= len) {
        len = utf8_char_bytes(text, n);
        const unsigned char c = (unsigned char)*text;
        /* U+FFFE and U+FFFF are characters of UTF-8 but not of XML. */
        const bool none = len == 3 && !memcmp(text, "\xef\xbf", 2) && text[2] >= '\xbe';
        if (len == 0 || c < ' ' || c == 0x7f || none) {
            buf_puts(b, "?");
            len = len ? len : 1;
        } else if (c == '&' || c == '<' || c == '>') {
            buf_puts(b, c == '&' ? "&amp;" : c == '<' ? "&lt;" : "&gt;");
        } else {
            buf_append(b, text, len);
        }
    }
}

void svg_text(struct buf *b, double x, double y, const char *style, const char *text)
{
    buf_printf(b, "<text x='%.1f' y='%.1f' %s>", x, y, style);
    put_xml(b, text);
    buf_puts(b, "</text>\n");
}

const char *svg_color(int i)
{
    static const char *const colors[] = {"#1257b8", "#c2410c", "#15803d", "#86198f",
                                         "#a16207", "#0e7490", "#be123c", "#475569"};
    return colors[(size_t)i % (sizeof colors / sizeof *colors)];
}

void svg_spread(double *y, int n, double gap, double bottom)
{
    int order[SVG_LABELS_MAX]; // by y
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && y[order[at - 1]] > y[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = 1; i < n; i++)
        y[order[i]] = fmax(y[order[i]], y[order[i - 1]] + gap);
    for (int i = n - 1; i >= 0; i--, bottom -= gap)
        y[order[i]] = fmin(y[order[i]], bottom);
}

enum { TEMP_BYTES = 4096 };

static enum status fail_write(const char *path, struct error *err)
{
    return fail(err, STATUS_IO, "cannot write %s: %s", path, strerror(errno));
}

/* A new file beside path.  What is there and no plain file (a terminal, a pipe) cannot be
 * replaced: temp is empty then and the file path itself. */
static FILE *open_beside(char temp[TEMP_BYTES], const char *path)
{
    struct stat st;
    *temp = 0;
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return fopen(path, "wb");
    if (snprintf(temp, TEMP_BYTES, "%s.tmp-%ld", path, (long)getpid()) >= TEMP_BYTES) {
        errno = ENAMETOOLONG;
        *temp = 0;
        return NULL;
    }
    const int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (fd >= 0 && !f) {
        close(fd);
        unlink(temp);
    }
    return f;
}

enum status svg_check(const char *path, struct error *err)
{
    char temp[TEMP_BYTES];
    FILE *f = open_beside(temp, path);
    if (!f)
        return fail_write(path, err);
    fclose(f);
    if (*temp)
        unlink(temp);
    return STATUS_OK;
}

enum status svg_write(const struct buf *b, const char *path, struct error *err)
{
    char temp[TEMP_BYTES];
    if (b->failed)
        return fail(err, STATUS_NO_MEMORY, "no memory to draw %s", path);
    FILE *f = open_beside(temp, path);
    if (!f)
        return fail_write(path, err);
    bool good = fwrite(b->data, 1, b->len, f) == b->len && !fflush(f);
    int why = errno;
    if (fclose(f) && good) {
        good = false;
        why = errno;
    }
    if (good && (!*temp || !rename(temp, path)))
        return STATUS_OK;
    errno = good ? errno : why;
    const enum status s = fail_write(path, err);
    if (*temp)
        unlink(temp);
    return s;
}
