/* cores.h - how much of the machine this process may compute with. */
#ifndef BASE_CORES_H
#define BASE_CORES_H

/* Physical cores among the CPUs of the affinity mask (threads of one core count once),
 * at most the CPU quota of the control group, rounded up; at least 1.  Where the system
 * does not say which CPUs share a core, every CPU counts. */
int cores_available(void);

/* The parts of it, on a file system at root ("" is the real one; tests have others). */

/* Cores among n CPUs, ascending; n where the topology is missing. */
int cores_count(const char *root, const int *cpus, int n);
/* CPUs of time that cgroup v2 grants, over all groups around the process, rounded up; 0:
 * no limit. */
int cores_quota(const char *root);

#endif
