/*
 * What the shim keeps for each thread: the alternate stack on which it handles
 * faults, the stack of its system calls, a buffer for log lines, and the
 * program's own view of its signals.
 */
#ifndef MMIOSHIM_TRAP_THREAD_H
#define MMIOSHIM_TRAP_THREAD_H

#include <signal.h>

#include "base/lock.h"
#include "calls/calls.h"
#include "trap/near.h"

#define THREAD_STACK (64u << 10)
#define THREAD_TEXT  (32u << 10)

/* A signal that waits. */
struct pending {
    u32 state; /* 0: none; 2: there is one; odd: somebody is at it */
    siginfo_t info;
};

/* How ordinary memory answered a look at it (trap/backtrace.h, probe_read) that failed. */
struct missed {
    int sig, code;
    u64 error; /* of the page fault */
};

/* Where this thread writes its events (trap/ring.h). */
struct ring_thread {
    u8 *next, *end; /* free slots of its segment */
    u32 ready;      /* == ring_epoch: they are, and the stream says whose events follow */
    u32 epoch;      /* of the stream */
    u32 stream, index; /* index: of the next segment */
    u32 bytes;      /* of the segment */
    u8 *base;       /* where it is mapped, NULL: nowhere */
    u64 place;      /* in the file */
    u64 paired;     /* ticks when a pair was written last */
    u32 skip;       /* events that are not tried: there was no room a moment ago */
    bool dead;      /* the file ends before the segment */
    u8 *repeat;     /* the last record, if it is one that counts repeats; NULL: it is another */
};

struct poll; /* trap/poll.h */

/* What a thread, and those that had its slot before, did since the process began (or was forked from its parent). */
struct thread_counts {
    u64 accesses[2]; /* reads, writes */
    u64 lint, lost;
};

struct thread {
    struct lock_self self;
    struct thread_counts counts;
    u16 pid_ordinal, tid_ordinal; /* 0: not yet seen in the log */
    u32 number;                   /* of its slot, from 1; 0: it has none */
    void *stack;                  /* of THREAD_STACK bytes, a guard page below */
    /* The program's view. */
    bool segv_blocked; /* the bit of its mask that the kernel does not have */
    bool segv_once;    /* a kept SIGSEGV ends a wait: it is to be handled, under wait_mask */
    bool waited;       /* the signal under way interrupted a wait with wait_mask */
    u64 wait_mask;
    struct pending segv_pending;
    u64 blocked; /* signals that were blocked when the access trapped */
    stack_t altstack;
    struct kept_near near;
    struct recall *recall; /* of call stacks; NULL: not made yet */
    bool apart; /* who runs now is a vfork child, whose memory this is not */
    u32 child_masked; /* the vfork child that set its own mask */
    struct call call; /* the system call under way */
    struct missed missed; /* the last time */
    struct ring_thread ring;
    struct poll *poll; /* what it is waiting for, NULL: nobody asked yet */
    u64 patch[384]; /* patch/access.c's */
    char text[THREAD_TEXT];
};

extern __thread struct thread *thread_current; /* NULL: not made yet */
struct thread *thread_make(void);
/* Every thread of the process, and those that have ended and left their slots. Any context. */
void thread_each(void (*each)(struct thread *thread, void *context), void *context);

/* This thread's, made at its first call; NULL only when there is no memory at all. Any context. */
static inline struct thread *thread_self(void)
{
    return likely(thread_current != NULL) ? thread_current : thread_make();
}

/* The sum over all threads, also those that have ended; a child of fork begins with what its parent had. */
struct thread_counts thread_counts(void);
/* In the child of fork: new ids. */
void thread_after_fork(void);
/* Registers the alternate stack of this thread with the kernel. */
void thread_install_stack(struct thread *thread);

/* A fault whose signal is blocked would end the program: these are never masked by us. */
#define SIGNALS_SYNCHRONOUS \
    ((u64)1 << (SIGSEGV - 1) | (u64)1 << (SIGBUS - 1) | (u64)1 << (SIGILL - 1) | (u64)1 << (SIGFPE - 1) | \
     (u64)1 << (SIGTRAP - 1))

/* Masks every asynchronous signal; the mask that was there goes to *saved. Ordinary context. */
void signals_mask(u64 *saved);
void signals_restore(const u64 *saved);

#endif
