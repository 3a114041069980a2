/* file_writer.h - files that are whole or absent.
 *
 * Every file of a store is written here: a temporary file, its space reserved where the
 * size is known, a running hash, fsync, rename, fsync of the folder.  A crash at any
 * point leaves the old file or the new one, and perhaps a temporary file, which prune
 * removes. A failed fsync is never tried again: the kernel may have dropped the pages, so
 * the file is deleted and the error reported. */
#ifndef STORE_FILE_WRITER_H
#define STORE_FILE_WRITER_H

#include "store/digest.h"

#define FILE_WRITER_PREFIX "tmp-"
enum { FILE_WRITER_TEMP_BYTES = 32 };
#define FILE_SIZE_UNKNOWN UINT64_MAX

struct file_writer {
    int folder, fd; // of the temporary file; -1: none.  Locked with flock while open
    char temp[FILE_WRITER_TEMP_BYTES];
    uint64_t written, expected; // bytes
    struct sha256 hash;
};

/* A temporary file in the folder.  size: bytes that will come, or FILE_SIZE_UNKNOWN;
 * STATUS_IO with "No space left" at once if they do not fit.  Nobody may prune the folder
 * meanwhile (a store: its lock is held). */
enum status file_writer_open(struct file_writer *w, int folder, uint64_t size,
                             struct error *err);
/* The same of a file whose size was not known when it was opened. */
enum status file_writer_reserve(struct file_writer *w, uint64_t size, struct error *err);
enum status file_writer_write(struct file_writer *w, const void *p, size_t n,
                              struct error *err);
/* All is written: mode 0644 and fsync.  *digest is that of all bytes.  STATUS_BAD_INPUT
 * if fewer or more came than were said. */
enum status file_writer_sync(struct file_writer *w, struct digest *digest,
                             struct error *err);
/* Give a synced file its name in another folder of the same file system, in place of what
 * is there, and make that last. */
enum status file_writer_rename(struct file_writer *w, int folder, const char *name,
                               struct error *err);
/* Deletes what was not renamed.  Right after file_writer_open, whatever came back, and
 * more than once. */
void file_writer_close(struct file_writer *w);

/* fsync; name is what an error calls it. */
enum status file_sync(int fd, const char *name, struct error *err);

#endif
