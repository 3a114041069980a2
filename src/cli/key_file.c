/* key_file.c - the API key of a server or router. */
#include "cli/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/environment.h"

static enum status read_key(char out[KEY_BYTES], const char *file, struct error *err)
{
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        const int e = errno;
        if (fd >= 0)
            close(fd);
        return fail(err, STATUS_IO, "%s: %s", file, strerror(e));
    }
    const ssize_t n = read(fd, out, KEY_BYTES - 1);
    close(fd);
    if (st.st_mode & 077)
        return fail(err, STATUS_BAD_ARG,
                    "%s can be read by others: chmod 600 it, so that the key is secret",
                    file);
    if (n == KEY_BYTES - 1)
        return fail(err, STATUS_LIMIT, "%s: a key has at most %d bytes", file,
                    KEY_BYTES - 2);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, " \r\n")] = 0;
    if (!*out)
        return fail(err, STATUS_BAD_INPUT, "%s: no key in its first line", file);
    return STATUS_OK;
}

enum status key_find(char out[KEY_BYTES], const char *file, struct error *err)
{
    if (file)
        return read_key(out, file, err);
    const char *key = environment_text("API_KEY");
    snprintf(out, KEY_BYTES, "%s", key ? key : "");
    return STATUS_OK;
}
