/* mem.h - the only allocator.  Everything else gets memory from here, from an
 * arena or from a pool that was reserved at open. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* *out = a * b; false (and *out untouched) if it does not fit. */
bool mem_mul(size_t *out, size_t a, size_t b);
bool mem_add(size_t *out, size_t a, size_t b);

/* n zeroed elements of the given size, NULL if there is no memory or the product
 * overflows.  Freed by mem_free. */
void *mem_array(size_t n, size_t size);

/* Grow (or shrink) to n elements; the new part is not zeroed.  NULL leaves p as it was.
 */
void *mem_resize(void *p, size_t n, size_t size);
void mem_free(void *p);

char *mem_strdup(const char *s);

/* How many of this thread's allocations here have failed.  Who makes one thing of many
 * parts compares it before and after: a part that is missing is then never taken for one
 * that was empty. */
unsigned mem_failures(void);

/* Zeroed pages, 2 MiB aligned and advised for huge pages; for weights, KV and scratch.
 * NULL if the address space or the overcommit limit does not allow it. */
void *mem_pages(size_t bytes);
void mem_pages_free(void *p, size_t bytes);

/* Bytes of RAM that a new allocation may use without swapping (MemAvailable, and the
 * cgroup's limit where there is one); 0 if unknown. */
size_t mem_available(void);

/* Resident set of this process in bytes; 0 if unknown. */
size_t mem_resident(void);
/* The most that it has been since the start, or since mem_peak_forget(), which is false
 * where the system cannot forget it; 0 if unknown. */
size_t mem_peak(void);
bool mem_peak_forget(void);

#endif
