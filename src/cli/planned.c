#include "cli/planned.h"

#include <string.h>

#include "cli/models.h"
#include "cli/shapes.h"

static enum status plan_file(struct planned *p, const char *path, struct error *err)
{
    struct gguf *g;
    enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    s = model_plan(&p->model, g, NULL, p->pool, cpu_detect(), err);
    gguf_close(g);
    return s;
}

static enum status unknown_shape(const char *name, struct error *err)
{
    struct buf list;
    buf_init(&list, 1 << 12);
    shape_names(&list, false);
    const enum status s = fail(err, STATUS_NOT_FOUND,
                               "'%.60s' is no file, no model of the store and no known "
                               "shape; those are%s, each with a type of "
                               "weights behind a colon",
                               name, list.failed ? "" : list.data);
    buf_release(&list);
    return s;
}

static enum status plan_shape(struct planned *p, const char *name, struct error *err)
{
    const size_t n = strcspn(name, ":");
    const struct shape *shape = shape_find(name, n);
    int type;
    if (!shape)
        return unknown_shape(name, err);
    enum status s = weight_types_parse(&type, name[n] ? name + n + 1 : "Q4_K_M", err);
    if (s)
        return s;
    const struct shape_tensors tensors = shape_tensors(shape, type);
    const struct weights_shape weights = shape_weights(&tensors);
    struct buf image;
    struct gguf *g = NULL;
    buf_init(&image, 1 << 20);
    if (!(s = shape_metadata(&image, shape, err)) &&
        !(s = gguf_open_memory(&g, image.data, image.len, err)))
        s = model_plan(&p->model, g, &weights, p->pool, cpu_detect(), err);
    gguf_close(g);
    buf_release(&image);
    return s;
}

enum status planned_open(struct planned *p, const char *name, int n_thread,
                         struct error *err)
{
    *p = (struct planned){0};
    enum status s = pool_open(&p->pool, n_thread ? n_thread : pool_cores(), err);
    char path[STORE_PATH_BYTES];
    if (!s) {
        s = models_path(path, name, err);
        if (!s)
            s = plan_file(p, path, err);
        else if (!models_is_path(name) &&
                 (s == STATUS_NOT_FOUND || s == STATUS_BAD_INPUT))
            s = plan_shape(p, name, err);
    }
    if (s)
        planned_close(p);
    return s;
}

void planned_close(struct planned *p)
{
    model_close(p->model);
    pool_close(p->pool);
    *p = (struct planned){0};
}
