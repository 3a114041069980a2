/* status.h - how a function says that it failed.
 *
 * A function that meets the outside world returns an enum status and fills a
 * struct error for the person who will read it; nothing else does.  The text is
 * one line that says what is wrong, where, and if possible what to do. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#define STATUS_MAP(X)                                        \
    X(OK, "ok")                                              \
    X(NO_MEMORY, "out of memory")                            \
    X(BAD_ARG, "argument out of range")                      \
    X(BAD_FILE, "file is malformed or truncated")            \
    X(BAD_INPUT, "input is malformed")                       \
    X(UNSUPPORTED, "valid, but not supported by this build") \
    X(NOT_FOUND, "not found")                                \
    X(IO, "read or write failed")                            \
    X(LIMIT, "a limit on work, depth or size was reached")   \
    X(NUMERIC, "a value is not finite")                      \
    X(FULL, "no free page; retry after one is freed")        \
    X(STOPPED, "the user ended it")

enum status {
#define X(id, text) STATUS_##id,
    STATUS_MAP(X)
#undef X
};

struct error {
    enum status status;
    char text[800]; // a list of known names may be in it
};

/* Fill err (may be NULL) and return s.  Long texts are cut.  A text may hold names and
 * messages of a file as they are: whoever shows it to a person makes it harmless. */
enum status fail(struct error *err, enum status s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));

#endif
