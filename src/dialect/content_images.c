/* content_images.c - images of messages from the shapes that APIs send them in to the
 * canonical form (request.h). */
#include <string.h>

#include "dialect/content.h"

static const char *const media_types[] = {"image/png", "image/jpeg", "image/gif",
                                          "image/webp"};

static bool is_base64(const char *s, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t len = strspn(s, digits);
    return len > 0 && n - len <= 2 && strspn(s + len, "=") == n - len;
}

/* image is taken over, whatever happens. */
static enum status append_image(json_t *images, size_t at, json_t *image,
                                struct api_error *err)
{
    bool bad = json_object_set_new(image, "at", json_integer((json_int_t)at)) != 0;
    bad |= json_array_append_new(images, image) != 0;
    return bad ? api_no_memory(err) : STATUS_OK;
}

static enum status add_image_data(json_t *images, size_t at, const char *media_type,
                                  const char *data, size_t n, const char *path,
                                  struct api_error *err)
{
    size_t i = 0;
    while (i < 4 && !(media_type && strcmp(media_type, media_types[i]) == 0))
        i++;
    if (i == 4)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s must be an image of type png, jpeg, gif or webp", path);
    if (!is_base64(data, n))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s: the image must be base64", path);
    return append_image(
        images, at, json_pack("{s:s, s:s}", "media_type", media_types[i], "data", data),
        err);
}

enum status content_add_image(json_t *images, size_t at, const char *media_type,
                              const json_t *data, const char *path, struct api_error *err)
{
    if (!json_is_string(data))
        return content_wrong(data, path, "an image as base64", err);
    return add_image_data(images, at, media_type, json_string_value(data),
                          json_string_length(data), path, err);
}

enum status content_add_image_url(json_t *images, size_t at, const json_t *url,
                                  const char *path, struct api_error *err)
{
    static const char scheme[] = "data:", coding[] = ";base64,";
    const char *s = json_string_value(url);
    if (!s || strlen(s) != json_string_length(url))
        return content_wrong(url, path, "an image with the string of its address", err);
    if (strncmp(s, scheme, sizeof scheme - 1) == 0) {
        const char *type = s + sizeof scheme - 1, *end = strstr(type, coding);
        char media_type[16] = "";
        if (end && (size_t)(end - type) < sizeof media_type)
            memcpy(media_type, type, (size_t)(end - type));
        const char *data = end ? end + sizeof coding - 1 : "";
        return add_image_data(images, at, media_type, data, strlen(data), path, err);
    }
    if (strncmp(s, "https://", 8) != 0 && strncmp(s, "http://", 7) != 0)
        return content_wrong(url, path, "an image at data:, http:// or https://", err);
    return append_image(images, at, json_pack("{s:O}", "url", url), err);
}

enum status content_set_images(json_t *message, json_t *images, struct api_error *err)
{
    if (json_array_size(images) > 0 && json_object_set(message, "images", images))
        return api_no_memory(err);
    return STATUS_OK;
}
