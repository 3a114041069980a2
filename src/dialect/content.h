/* content.h - messages and tools from the shapes that APIs send them in to the canonical
 * form (request.h).  Shared by all dialects.
 *
 * Whatever is refused is refused by a sentence with the path of the value at fault:
 * "messages[3].content[1]". */
#ifndef DIALECT_CONTENT_H
#define DIALECT_CONTENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "dialect/error.h"
#include "dialect/request.h"

/* Where a value stands in the body. */
struct content_path {
    char text[64]; // long ones are cut
};

struct content_path content_at(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* STATUS_BAD_INPUT, INVALID: "PATH must be EXPECTED, not an array". */
enum status content_wrong(const json_t *v, const char *path, const char *expected,
                          struct api_error *err) __attribute__((warn_unused_result));

/* *out <- a new string of a content: a string as it is, an array of strings and of blocks
 * of text ({"type": "text" | "input_text" | "output_text", "text": STRING}, {"text":
 * STRING} or {"type": "refusal", "refusal": STRING}) joined by one newline, "" for null
 * and NULL.  Images, sound and files are
 * UNSUPPORTED, other blocks INVALID. */
enum status content_string(json_t **out, const json_t *content, const char *path,
                           struct api_error *err);

/* The same; images (borrowed, NULL for content_string) is an array, to which images of
 * OpenAI's form ({"type": "image_url", "image_url": {"url": ...}}) are added. */
enum status content_string_images(json_t **out, json_t *images, const json_t *content,
                                  const char *path, struct api_error *err);

/* Append an image in front of byte `at` of the text: base64 of a type that all APIs have
 * (image/png, jpeg, gif, webp), or an address (http, https).  path is where it stands. */
enum status content_add_image(json_t *images, size_t at, const char *media_type,
                              const json_t *data, const char *path,
                              struct api_error *err);
enum status content_add_image_url(json_t *images, size_t at, const json_t *url,
                                  const char *path, struct api_error *err);
/* message.images <- images, if there are any. */
enum status content_set_images(json_t *message, json_t *images, struct api_error *err);

/* UNSUPPORTED if v is a list of images that is not empty. */
enum status content_no_images(const json_t *v, const char *path, struct api_error *err);

/* Append {"role": role, "content": text} to messages and return it (borrowed) in *out;
 * text is taken over, whatever happens.  At most API_MESSAGES_MAX. */
enum status content_add_message(json_t **out, json_t *messages, const char *role,
                                json_t *text, struct api_error *err);

/* Append a call to an assistant's message; arguments is taken over, whatever happens. */
enum status content_add_call(json_t *message, const char *id, const char *name,
                             json_t *arguments, struct api_error *err);

/* The arguments of a call as an object, new: the JSON object that the text is, {} for
 * blank text, and {"_raw": text} for any other, as a client may send back the arguments
 * of a call that was cut off.  NULL without memory. */
json_t *content_arguments(const char *text, size_t n);

/* Append a tool to *tools, which is created by the first.  name: 1 to 128 of A-Z a-z 0-9
 * _ - . : and each once; description may be NULL, as may parameters (borrowed): an object
 * without properties.  path is of the tool: "tools[2]". */
enum status content_add_tool(json_t **tools, const json_t *name,
                             const json_t *description, const json_t *parameters,
                             const char *path, struct api_error *err);
bool content_has_tool(const json_t *tools, const char *name);

#endif
