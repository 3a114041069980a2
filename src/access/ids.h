/* ids.h - identifiers that nobody can guess or meet twice.  Any thread. */
#ifndef ACCESS_IDS_H
#define ACCESS_IDS_H

#include <stdint.h>

enum { ID_BYTES = 40 };

/* prefix (at most 15 bytes) and 24 letters and digits from the system's random numbers.
 */
void id_make(char out[ID_BYTES], const char *prefix);
uint64_t id_random(void);

#endif
