#include "cli/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void words_bytes(char out[24], uint64_t n)
{
    static const char *const unit[] = {"KB", "MB", "GB", "TB"};
    uint64_t one = 1000;
    int i = 0;
    while (i < 3 && n / 1000 >= one) {
        one *= 1000;
        i++;
    }
    if (n < 1000)
        snprintf(out, 24, "%" PRIu64 " B", n);
    else if (n / one >= 10 || n % one == 0)
        snprintf(out, 24, "%" PRIu64 " %s", n / one, unit[i]);
    else
        snprintf(out, 24, "%.1f %s", (double)n / (double)one, unit[i]);
}

void words_time(char out[48], int64_t then_s, int64_t now_s)
{
    const char *when = then_s > now_s ? "from now" : "ago";
    const int64_t s = then_s > now_s ? then_s - now_s : now_s - then_s;
    const int64_t hours = (s + 1800) / 3600; // rounded, where minutes are not
    if (s < 1)
        snprintf(out, 48, "Less than a second %s", when);
    else if (s == 1)
        snprintf(out, 48, "1 second %s", when);
    else if (s < 60)
        snprintf(out, 48, "%d seconds %s", (int)s, when);
    else if (s < 120)
        snprintf(out, 48, "About a minute %s", when);
    else if (s < 3600)
        snprintf(out, 48, "%d minutes %s", (int)(s / 60), when);
    else if (hours == 1)
        snprintf(out, 48, "About an hour %s", when);
    else if (hours < 48)
        snprintf(out, 48, "%d hours %s", (int)hours, when);
    else if (hours < 24 * 7 * 2)
        snprintf(out, 48, "%d days %s", (int)(hours / 24), when);
    else if (hours < 24 * 30 * 2)
        snprintf(out, 48, "%d weeks %s", (int)(hours / 24 / 7), when);
    else if (hours < 24 * 365 * 2)
        snprintf(out, 48, "%d months %s", (int)(hours / 24 / 30), when);
    else
        snprintf(out, 48, "%" PRId64 " years %s", hours / 24 / 365, when);
}

bool words_read_time(int64_t *out, const char *text)
{
    int year, month, day, hour, minute, second, n = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute,
               &second, &n) != 6 ||
        month < 1 || month > 12)
        return false;
    const char *zone = text + n;
    zone += *zone == '.' ? 1 + strspn(zone + 1, "0123456789") : 0;
    int east_hour = 0, east_minute = 0;
    if ((*zone == '+' || *zone == '-') &&
        sscanf(zone + 1, "%2d:%2d", &east_hour, &east_minute) != 2)
        return false;
    const int64_t east = (east_hour * 60 + east_minute) * (*zone == '-' ? -60 : 60);
    /* Days by counting years from March on, so that leap days come last. */
    const int64_t y = year - (month < 3), m = (month + 9) % 12;
    const int64_t days =
        y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 719469;
    *out = ((days * 24 + hour) * 60 + minute) * 60 + second - east;
    return true;
}

size_t words_control(const char *s, size_t n)
{
    const unsigned char c = (unsigned char)s[0];
    if (c == 0xc2 && n > 1 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0)
        return 2;
    return (c < ' ' && c != '\n' && c != '\t') || c == 0x7f;
}
