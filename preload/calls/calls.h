/*
 * System calls of the program. Its system-call instructions are rewritten to
 * jump to us (sites.c, rewrite.c), wherever they are: in libc's wrappers, in
 * its own inlined calls that pass by every exported name, in syscall(), in the
 * dynamic loader, in the program. What interposes on a call is one function of
 * interpose/, in interpose/calls.def.
 *
 * A call runs on a stack of ours, because the program's may be any size. While
 * it does, every signal that arrives is deferred: our entry sends it again to
 * this thread, blocks everything, and it is delivered when the program goes on.
 * So a handler of the program never sees us half-way, and what interposes needs
 * no masking of its own. A call that is passed on runs with the program's own
 * registers and stack, and a signal's frame shows the program's own rip.
 */
#ifndef MMIOSHIM_CALLS_CALLS_H
#define MMIOSHIM_CALLS_CALLS_H

#include <signal.h>
#include <ucontext.h>

#include "base/fmt.h"
#include "base/range.h"
#include "base/types.h"

#define CALL_STACK (256u << 10) /* also for the frames of many signals that come at once */
#define CALL_MAX   512 /* numbers of calls are below this */

struct site;

/* An access of a patched site, which is a call to us as well; offsets are known to patch/entry.S. */
struct call_patch {
    u64 rsp;         /* of the program */
    u64 next, later; /* where it goes on; and where, when a signal was deferred */
    u64 full;        /* the function that gets all registers */
    u64 status;      /* the program ends with it */
};

/* What calls_resume() makes of a thread's registers. */
struct call_resume {
    u64 rip, rax, rcx, r11;
};

/* A call on its way, one for each thread. Offsets are known to entry.S. */
struct call {
    u64 nr;
    u64 a[6]; /* rdi rsi rdx r10 r8 r9 */
    u64 rsp, flags;
    u64 rbx, rbp, r12, r13, r14, r15;
    const struct site *site;
    u64 ret;        /* rax when the program goes on */
    u64 next;       /* where it goes on */
    u64 again;      /* and where it does when a signal was deferred */
    u64 deferred;   /* signals were deferred during the call */
    u64 mask;       /* the mask that the program had then */
    u64 changed[6]; /* CALL_CHANGED: the arguments that the kernel gets */
    u64 stack;      /* top of our stack */
    u64 waiting;    /* CALL_CHANGED: the caller's mark, zeroed when the call is over */
    u64 changing;   /* a call with other arguments is under way */
    struct call *here; /* what calls_here becomes when the program goes on: this call, or NULL (calls_alone) */
    u64 scratch[8]; /* of the function that interposes: lives as long as the call */
    u64 redirect;
    bool late;      /* a SIGSEGV was sent meanwhile */
    bool waited;    /* calls_interrupted(): the signal ended a call with `waiting` */
    struct call_resume resume;
    struct call_patch patch;
    const ucontext_t *waited_in; /* calls_interrupted() was asked early, and this is whose signal ended a call with `waiting` */
};

/* What a function that interposes answers. */
enum call_answer {
    CALL_PASS,    /* the kernel does it, as if we were not there */
    CALL_DONE,    /* call->ret is the result, or -errno */
    CALL_CHANGED, /* the kernel does it with call->changed as arguments; it may block */
    CALL_APART,   /* CALL_PASS, for a call that makes a thread or a child that shares memory */
    CALL_AGAIN,   /* a signal interrupted calls_wait(): the program makes the call again after it */
};

typedef enum call_answer (*call_function)(struct call *call);

/*
 * Finds and rewrites the sites of all code that is loaded. `table` has CALL_MAX entries, NULL: not interposed.
 * Ordinary context, once, the process has one thread.
 */
void calls_start(const call_function *table);
/* Code was mapped: rewrites its sites before anybody runs it. In a call. */
void calls_mapped(u64 base, u64 length);
/* Is there code in a range that calls_mapped() was told of? */
bool calls_code(u64 base, u64 length);
/* Where in a range code was rewritten; how many places there are, of which `most` are told. Any context. */
unsigned calls_sites_in(struct range within, struct range *found, unsigned most);
/* It was unmapped: its sites are gone. */
void calls_unmapped(u64 base, u64 length);
/* In the child of fork. */
void calls_after_fork(void);
/* Is the thread in a call of ours? */
bool calls_inside(void);
/* The call under way on this thread, NULL: none. */
struct call *calls_current(void);
/* Where in the program a call was made: behind its instruction. */
u64 calls_site(const struct call *call);
/* When the call under way is over, the program runs function(argument) instead of going on. The function never returns. */
void calls_redirect(void (*function)(int), int argument);
/*
 * Two tasks are about to share this thread's local storage (a bare clone), and with it the struct call: from now on
 * the kernel alone answers both.
 */
void calls_alone(void);
/* The thread's own: from thread.c. */
void calls_thread(struct call *call);

/*
 * The context of a signal: where our code was interrupted around a call, it becomes what the program would have
 * seen. fault: the instruction there raised the signal. False: the signal must wait until the call is over (calls_defer).
 */
bool calls_interrupted(ucontext_t *uc, bool fault);
/* Sends the signal again, to be delivered when the call is over. `also`: signals to block besides the asynchronous ones. */
void calls_defer(int sig, const siginfo_t *info, ucontext_t *uc, u64 also);

/*
 * Goes on in the program with all registers as they are, but those in call->resume, on the stack that rsp points to, and
 * with call->mask: what was deferred is delivered there. r11: the call. Jumped to.
 */
extern const char calls_resume[];
/*
 * A system call in the place of the program's that may block. A signal that arrives ends it: -EINTR, or CALLS_AGAIN
 * where the kernel would have restarted it (answer CALL_AGAIN then). Only from a function that interposes.
 */
#define CALLS_AGAIN (-512)
long calls_wait(long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* Runs code that may use vector registers (libraries), and gives the program's back. */
void calls_guarded(void (*function)(void *), void *argument);

#endif
