/* ollama_api.h - the release of Ollama whose API this follows. */
#ifndef BASE_OLLAMA_API_H
#define BASE_OLLAMA_API_H

#define OLLAMA_API "0.33.0"

#endif
