/* doctor.h - what `turbine doctor` looks at, and what it makes of that.
 *
 * doctor_probe*.c ask the system, doctor_judge*.c are functions of what was found: tests
 * feed them conditions that no machine has at once.  Sizes are in bytes; 0 means that the
 * system does not say, where nothing else is written. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "cli/claude.h"
#include "cli/plan.h"
#include "cli/port_owner.h"
#include "cli/executable.h"
#include "cli/server_link.h"

#define DOCTOR_UNLIMITED UINT64_MAX

/* ---- what was found ---- */

struct doctor_machine {
    char cpu[96];      // its name, "" if unknown
    const char *level; // of the kernels: "avx2"
    bool plain;        // it is the one without any extension
    int n_cpu, n_core; // that the system has; that are used to compute
    int quota;         // CPUs of time that the container grants; 0: no limit
    uint64_t memory, available, swap, swap_free;
    uint64_t group_limit; // of the control group; DOCTOR_UNLIMITED: none
    uint64_t commit_left; // strict overcommit: what may be promised; else UNLIMITED
    char huge[16];        // "always", "madvise", "never"; "" if unknown
    uint64_t files, files_max, locked, space; // limits of a process
    uint64_t processes;                       // of the control group, or UNLIMITED
    int year;                                 // by the clock
};

enum doctor_disk { DOCTOR_DISK, DOCTOR_DISK_MEMORY, DOCTOR_DISK_NETWORK };

#define DOCTOR_SERVICE_GROUP "ollama" // whoever is in it reads the service's models

struct doctor_folder {
    char path[STORE_PATH_BYTES];
    bool own;                                   // ours: the others are only read
    bool exists, is_folder, readable, writable; // writable: or could be made
    char at[STORE_PATH_BYTES]; // a folder of it, or on the way, that is to blame; or ""
    char why[80];              // in words of the system, or ""
    /* One of Ollama's that is closed: at is what closes it. */
    bool of_service;     // at belongs to the group of Ollama's service, ...
    bool group_may_read; // ... which may go on from there
    enum doctor_disk disk;
    uint64_t bytes_free, bytes_total; // of the file system
    uint64_t nodes_free, nodes_total; // files that can be made; 0 and 0: without limit
    int n_model, n_damaged;
};

enum { DOCTOR_MODELS_MAX = 32 };

struct doctor_model {
    char name[MODEL_NAME_BYTES];
    struct plan_fit fit;
    char error[200]; // "" or why it cannot be planned
};

struct doctor_store {
    struct doctor_folder folders[STORE_FOLDERS_MAX];
    int n_folder;
    struct doctor_model models[DOCTOR_MODELS_MAX]; // the newest
    int n_model, n_left_out;
    char error[200]; // of the store as a whole
};

struct doctor_server {
    char url[SERVER_LINK_URL_BYTES];
    bool local;
    int port;
    enum server_link_kind kind;
    char why[SERVER_LINK_TEXT_BYTES];
    struct port_owner owner;
};

struct doctor_client {
    const char *name, *title, *install;     // install: NULL if it is not needed
    char path[EXECUTABLE_PATH_BYTES];       // "" if it is not there
    char version[EXECUTABLE_VERSION_BYTES]; // "" if it does not say
};

enum { DOCTOR_CLIENTS_MAX = 4, DOCTOR_VARIABLES_MAX = 48 };

/* A variable of the environment that matters to clients; its value stays unsaid. */
struct doctor_variable {
    const struct launch_variable *variable;
    bool same; // as a launch would set it
};

struct doctor_settings {
    struct doctor_variable variables[DOCTOR_VARIABLES_MAX]; // that are set
    int n_variable;
    struct claude_setting files[CLAUDE_SETTINGS_MAX];
    int n_file;
    char wrong[400]; // a value of our own variables; "" if all are right
    char wrong_name[64];
    char unknown[400]; // OLLAMA_* that mean nothing here, with commas
    bool has_key;      // TURBINE_API_KEY
};

struct doctor {
    struct doctor_machine machine;
    struct doctor_store store;
    struct doctor_server server;
    struct doctor_client clients[DOCTOR_CLIENTS_MAX];
    int n_client;
    struct doctor_settings settings;
};

void doctor_probe_machine(struct doctor_machine *m);
void doctor_probe_store(struct doctor_store *s, size_t available);
void doctor_probe_server(struct doctor_server *s, const char *host);
void doctor_probe_clients(struct doctor *d);
void doctor_probe_settings(struct doctor_settings *s, const char *url);

/* ---- what is made of it ---- */

enum doctor_level { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_PROBLEM };
const char *doctor_level_name(enum doctor_level level);

struct doctor_finding {
    enum doctor_level level;
    char name[64]; // "huge-pages": stays the same from release to release
    char text[640];
    char fix[640]; // a line for a shell; "" only for DOCTOR_OK
};

enum { DOCTOR_FINDINGS_MAX = 256 };

struct doctor_findings {
    struct doctor_finding f[DOCTOR_FINDINGS_MAX];
    int n;
};

/* In an order that does not depend on what is found. */
void doctor_judge(struct doctor_findings *out, const struct doctor *d);

void doctor_judge_machine(struct doctor_findings *out, const struct doctor_machine *m);
void doctor_judge_store(struct doctor_findings *out, const struct doctor_store *s);
void doctor_judge_server(struct doctor_findings *out, const struct doctor_server *s);
void doctor_judge_clients(struct doctor_findings *out, const struct doctor *d);
void doctor_judge_settings(struct doctor_findings *out, const struct doctor *d);

/* Append a finding and return it, for its fix. */
struct doctor_finding *doctor_add(struct doctor_findings *out, enum doctor_level level,
                                  const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void doctor_fix(struct doctor_finding *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
