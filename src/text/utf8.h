/* utf8.h - under the name that text/ knows it by. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include "base/utf8.h" // IWYU pragma: export

#endif
