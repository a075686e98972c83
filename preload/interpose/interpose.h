/*
 * What the wrappers of libc names share. Only files of this room define libc
 * names. Each wrapper does what the real function does when there is no
 * machine in this process.
 */
#ifndef MMIOSHIM_INTERPOSE_INTERPOSE_H
#define MMIOSHIM_INTERPOSE_INTERPOSE_H

#include "bus/bus.h"
#include "memory/view.h"

#define EXPORT __attribute__((visibility("default")))

/*
 * The next definition of a libc name, looked up at its first use: a wrapper
 * may be called before our constructor (by a sanitizer's).
 */
#define REAL(name) \
    ({ \
        static __typeof__(&name) real_; \
        if (unlikely(!real_)) \
            real_ = (__typeof__(&name))interpose_find(#name); \
        real_; \
    })

void *interpose_find(const char *name);

/* The machine of this process; NULL: none, wrappers do nothing. */
extern const struct machine *interpose_machine;
extern const struct view *interpose_view;
void interpose_start(const struct machine *machine, const struct view *view);

/* Kernel result to libc's: sets errno. */
long interpose_result(long ret);

/* process.c */
/* What happens around exec and exit, told by shim.c. */
struct process_hooks {
    void (*before_exec)(bool leaves); /* leaves: the new program will not load us */
    void (*exec_failed)(bool left);
    void (*finish)(bool flush); /* the process ends now; may be called more than once. flush: exit() would */
    void (*child)(void);       /* in the child of fork */
};
void process_begin(const struct process_hooks *hooks);

#endif
