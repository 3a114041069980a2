/* hex.h - hexadecimal digits. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

/* 0 .. 15, or -1 for what is no digit; letters of either case. */
static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 32);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
