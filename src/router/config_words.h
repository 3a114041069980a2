/* config_words.h - a line as words. */
#ifndef ROUTER_CONFIG_WORDS_H
#define ROUTER_CONFIG_WORDS_H

enum { CONFIG_WORDS_MAX = 64 };

struct config_words {
    const char *word[CONFIG_WORDS_MAX]; // in the line, which is changed
    int n;
};

/* Blanks part words; "..." holds blanks, and \" and \\ in it are " and \; # begins a
 * comment at the start of a word.  Returns what is wrong, NULL if nothing is. */
const char *config_words_split(struct config_words *w, char *line);

#endif
