#include "dialect/ollama_keep_alive.h"

#include <math.h>
#include <string.h>

#include "json/parse.h"

static int64_t whole_us(double us)
{
    return us < 0 || us >= 0x1p62 ? OLLAMA_KEEP_FOREVER : (int64_t)us;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* *value <- the number that *s begins with, which is then behind it; at least a digit. */
static bool read_decimal(const char **s, double *value)
{
    const char *p = *s;
    double v = 0, scale = 1;
    int n_digit = 0;
    for (; is_digit(*p); p++, n_digit++)
        v = v * 10 + (*p - '0');
    if (*p == '.')
        for (p++; is_digit(*p); p++, n_digit++)
            v += (*p - '0') * (scale /= 10);
    *s = p;
    *value = v;
    return n_digit > 0;
}

/* Microseconds of the unit that *s begins with, 0 for none. */
static double read_unit(const char **s)
{
    static const struct {
        const char *name;
        double us;
    } units[] = {{"ns", 1e-3}, {"us", 1},  {"\xc2\xb5s", 1}, {"\xce\xbcs", 1},
                 {"ms", 1e3},  {"s", 1e6}, {"m", 60e6},      {"h", 3600e6}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const size_t n = strlen(units[i].name);
        if (strncmp(*s, units[i].name, n) == 0) {
            *s += n;
            return units[i].us;
        }
    }
    return 0;
}

static bool read_duration(const char *s, double *us)
{
    const bool minus = *s == '-';
    double total = 0;
    s += *s == '-' || *s == '+';
    if (strcmp(s, "0") == 0) {
        *us = 0;
        return true;
    }
    do {
        double value;
        if (!read_decimal(&s, &value))
            return false;
        const double unit = read_unit(&s);
        if (unit == 0)
            return false;
        total += value * unit;
    } while (*s);
    *us = minus ? -total : total;
    return true;
}

bool ollama_keep_alive(const json_t *v, int64_t *us)
{
    double d = json_number_value(v) * 1e6;
    if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v) ||
            !read_duration(json_string_value(v), &d))
            return false;
    } else if (!json_is_number(v)) {
        return false;
    }
    *us = whole_us(d);
    return !isnan(d);
}

bool ollama_keep_alive_text(const char *json, int64_t *us)
{
    json_t *v = json_parse(json, strlen(json), JSON_DECODE_ANY, NULL);
    const bool ok = v && ollama_keep_alive(v, us);
    json_decref(v);
    return ok;
}
