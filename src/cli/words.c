#include "cli/words.h"

#include <inttypes.h>
#include <stdio.h>

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
