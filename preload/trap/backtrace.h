/*
 * Call stacks: who made an access. libunwind is the source of truth and serves
 * cold addresses; a cache of frame layouts serves hot ones. Identical stacks
 * get one id. Names come from the symbol tables of the files, read once at an
 * address's first sight. Trap context unless said otherwise: no malloc, no
 * lock of the program's.
 */
#ifndef MMIOSHIM_TRAP_BACKTRACE_H
#define MMIOSHIM_TRAP_BACKTRACE_H

#include "base/fmt.h"
#include "base/types.h"
#include "cpu/cpu.h"
#include "trap/recall.h"

/* Opens libunwind (dlopen, RTLD_LOCAL) and warms it up. Ordinary context, once. 0 or -1 with the reason. */
int backtrace_init(struct fmt *error);
/* The program's main(), known only once libc starts it. */
void backtrace_set_main(u64 address);

#define BACKTRACE_FRAMES 64u /* the most that are looked for */

/*
 * Addresses of at most `max` frames: [0] is state->rip, then return addresses;
 * up to and including main. Frames of our own library are left out and end the walk.
 */
unsigned backtrace_capture(const struct cpu_state *state, u64 *frames, unsigned max);

/*
 * Id of a stack, from 1; the same frames give the same id. *fresh: first time
 * since start (or since backtrace_forget). `next_id` is the machine's counter of stacks, shared.
 * 0 when the table is full.
 */
u32 backtrace_id(const u64 *frames, unsigned count, u32 *next_id, bool *fresh);
/*
 * Both in two steps, with what this thread remembers: a stack that stands as it did before is not walked again, nor
 * is its id looked for. recall: one a thread, or NULL. The addresses of a stack that was remembered are not here.
 */
struct backtrace {
    struct stack *stack;   /* remembered; or once it has its id */
    struct recalled *walk; /* where to remember it */
    unsigned count;
    u64 frames[BACKTRACE_FRAMES];
};

void backtrace_take(struct recall *recall, const struct cpu_state *state, unsigned max, struct backtrace *out);
/* As backtrace_id; by the same thread. */
u32 backtrace_number(struct backtrace *backtrace, u32 *next_id, bool *fresh);
/*
 * The id at once, if the stack is remembered and not fresh; else 0. max: at most BACKTRACE_FRAMES. Any context in which
 * no other walk of this thread is under way.
 */
u32 backtrace_quick(const struct recall *recall, u64 rip, u64 rsp, u64 rbp, unsigned max);

/* Frame i as the transcript shows it: "uart_putc+0x1c (driver)"; NULL behind the last. Stable storage. */
const char *backtrace_frame(u32 id, unsigned i);
/* "module+0xoffset", "?" for code that belongs to no file. */
void backtrace_where(u64 pc, struct fmt *out);

/* Code was unmapped or loaded: layouts and names may have changed. Any context. */
void backtrace_forget(void);
/* Changes whenever that happens. Any context. */
u32 backtrace_epoch(void);
/* After fork, in the child, when its log is another file: stacks must be written there again. */
void backtrace_renumber(void);

/*
 * Copies n bytes from an address that may be bad. False if it faulted. Needs the fault handler:
 * it asks probe_fixup() for every SIGSEGV and SIGBUS, and goes on at the address returned, if any.
 */
bool probe_read(void *dst, u64 src, size_t n);
bool probe_write(u64 dst, const void *src, size_t n);
u64 probe_fixup(u64 rip);

#endif
