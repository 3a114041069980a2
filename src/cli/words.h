/* words.h - sizes and times in Ollama's words, for tables that scripts already read; and
 * what of a text is not for a terminal. */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* "4.7 GB", "398 MB", "17 B": powers of 1000, a digit behind the point below ten. */
void words_bytes(char out[24], uint64_t n);
/* "Less than a second ago", "About a minute ago", "3 hours ago", "2 weeks from now". */
void words_time(char out[48], int64_t then_s, int64_t now_s);
/* Seconds since 1970 of a time as RFC 3339 has it; false if it is none. */
bool words_read_time(int64_t *out, const char *text);

/* How many bytes at the start of s [n > 0] are a character that moves the cursor or does
 * more to a terminal: of C0 but for line ends and tabs, DEL, or C1 as UTF-8; 0: none. */
size_t words_control(const char *s, size_t n);

#endif
