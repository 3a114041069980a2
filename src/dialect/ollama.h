/* ollama.h - what the server needs of the Ollama dialect besides its operations. */
#ifndef DIALECT_OLLAMA_H
#define DIALECT_OLLAMA_H

#include "dialect/request.h"

/* Nothing is asked but that the model be loaded, or, by keep_alive 0, be unloaded: there
 * is no message and no prompt.  Nothing is generated; a writer is given END alone, a list
 * of embeddings is empty. */
bool ollama_loads_only(const struct api_request *r);

#endif
