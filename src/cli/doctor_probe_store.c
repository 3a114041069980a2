/* doctor_probe_store.c - the folders of the store, and what of their models fits. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/environment.h"
#include "cli/models.h"

/* Numbers of Linux' magic.h and of file systems outside of it. */
static enum doctor_disk disk_at(const char *path)
{
#ifdef __linux__
    static const struct {
        unsigned long magic;
        enum doctor_disk disk;
    } known[] = {
        {0x01021994, DOCTOR_DISK_MEMORY},  // tmpfs
        {0x858458f6, DOCTOR_DISK_MEMORY},  // ramfs
        {0x6969, DOCTOR_DISK_NETWORK},     // nfs
        {0xff534d42, DOCTOR_DISK_NETWORK}, // cifs
        {0xfe534d42, DOCTOR_DISK_NETWORK}, // smb2
        {0x517b, DOCTOR_DISK_NETWORK},     // smb
        {0x5346414f, DOCTOR_DISK_NETWORK}, // afs
        {0x00c36400, DOCTOR_DISK_NETWORK}, // ceph
        {0x01021997, DOCTOR_DISK_NETWORK}, // 9p
        {0x0bd00bd0, DOCTOR_DISK_NETWORK}, // lustre
    };
    struct statfs s;
    if (!statfs(path, &s))
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if ((unsigned long)s.f_type % (1ul << 32) == known[i].magic)
                return known[i].disk;
#else
    (void)path;
#endif
    return DOCTOR_DISK;
}

/* The folder, or the nearest thing above it that is there. */
static void find_existing(char out[STORE_PATH_BYTES], const char *path)
{
    struct stat st;
    snprintf(out, STORE_PATH_BYTES, "%s", path);
    while (stat(out, &st) && (errno == ENOENT || errno == ENOTDIR)) {
        char *slash = strrchr(out, '/');
        if (!slash || slash == out) {
            snprintf(out, STORE_PATH_BYTES, "%s", *path == '/' ? "/" : ".");
            return;
        }
        *slash = 0;
    }
}

/* Only a try tells: root may do what no file system lets it, shares and containers have
 * rules of their own.  Nothing is left. */
static bool can_add(struct doctor_folder *f, const char *path)
{
    char name[STORE_PATH_BYTES + 32];
    snprintf(name, sizeof name, "%s/.doctor-XXXXXX", path);
    if (mkdtemp(name) && !rmdir(name))
        return true;
    snprintf(f->why, sizeof f->why, "%s", strerror(errno));
    snprintf(f->at, sizeof f->at, "%s", path);
    return false;
}

/* Parts that are there may be somebody else's, as behind a pull with sudo. */
static bool can_add_to_parts(struct doctor_folder *f, const char *path)
{
    static const char *const parts[] = {"blobs", "manifests", ".turbine"};
    char part[STORE_PATH_BYTES];
    struct stat st;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (snprintf(part, sizeof part, "%s/%s", path, parts[i]) < (int)sizeof part &&
            !stat(part, &st) && !can_add(f, part))
            return false;
    return true;
}

static void probe_folder(struct doctor_folder *f, const char *path, bool own)
{
    char there[STORE_PATH_BYTES];
    struct statvfs v;
    struct stat st;
    *f = (struct doctor_folder){.own = own};
    snprintf(f->path, sizeof f->path, "%s", path);
    if (!*path)
        return;
    const int wrong = stat(path, &st) ? errno : 0;
    f->exists = wrong != ENOENT && wrong != ENOTDIR; // one that is closed is there
    f->is_folder = wrong ? f->exists : S_ISDIR(st.st_mode);
    f->readable = !access(path, R_OK | X_OK);
    find_existing(there, path);
    if (wrong == ENOTDIR)
        snprintf(f->at, sizeof f->at, "%s", there);
    else if (own)
        f->writable = can_add(f, there) && (!f->exists || can_add_to_parts(f, path));
    f->disk = disk_at(there);
    if (!statvfs(there, &v)) {
        f->bytes_free = (uint64_t)v.f_bavail * v.f_frsize;
        f->bytes_total = (uint64_t)v.f_blocks * v.f_frsize;
        f->nodes_free = v.f_favail;
        f->nodes_total = v.f_files;
    }
}

/* The first folder on the way to a closed one that this user may not pass. */
static void probe_closed(struct doctor_folder *f, const char *path)
{
    struct stat st;
    size_t n = 0;
    probe_folder(f, path, false);
    f->exists = f->is_folder = true;
    f->readable = false;
    do {
        n++;
        n += strcspn(path + n, "/");
        snprintf(f->at, sizeof f->at, "%.*s", (int)n, path);
    } while (path[n] && !access(f->at, X_OK));
    const struct group *g = stat(f->at, &st) ? NULL : getgrgid(st.st_gid);
    f->of_service = g && !strcmp(g->gr_name, DOCTOR_SERVICE_GROUP);
    f->group_may_read = f->of_service && (st.st_mode & 050) == 050;
}

/* ---- models ---- */

static int compare_names(const void *a, const void *b)
{
    const struct doctor_model *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void plan_models(struct doctor_store *s, const struct store_entry *entries, int n,
                        size_t available)
{
    for (int i = 0; i < n; i++) {
        struct error err = {0};
        if (entries[i].damaged)
            continue;
        if (s->n_model == DOCTOR_MODELS_MAX) {
            s->n_left_out++;
            continue;
        }
        struct doctor_model *m = &s->models[s->n_model++];
        model_name_print(m->name, &entries[i].name);
        if (plan_fit(&m->fit, m->name, environment_text("KV_CACHE_TYPE"), available,
                     &err))
            snprintf(m->error, sizeof m->error, "%.199s", err.text);
    }
    qsort(s->models, (size_t)s->n_model, sizeof *s->models, compare_names);
}

void doctor_probe_store(struct doctor_store *s, size_t available)
{
    struct store *store = NULL;
    struct store_entry *entries = NULL;
    struct error err = {0};
    char closed[STORE_PATH_BYTES];
    int n = 0;
    memset(s, 0, sizeof *s);
    if (models_open_any(&store, &err)) {
        snprintf(s->error, sizeof s->error, "%.199s", err.text);
        return;
    }
    s->n_folder = store_n_folder(store);
    for (int i = 0; i < s->n_folder; i++)
        probe_folder(&s->folders[i], store_folder(store, i), i == 0);
    if (s->n_folder < STORE_FOLDERS_MAX && models_closed(closed))
        probe_closed(&s->folders[s->n_folder++], closed);
    if (store_list(store, &entries, &n, &err))
        snprintf(s->error, sizeof s->error, "%.199s", err.text);
    for (int i = 0; i < n; i++) {
        struct doctor_folder *f = &s->folders[entries[i].folder];
        *(entries[i].damaged ? &f->n_damaged : &f->n_model) += 1;
    }
    plan_models(s, entries, n, available);
    mem_free(entries);
    store_close(store);
}
