/*
 * The transcript. An event becomes one record, and its printed form is one
 * write, made before the instruction completes. What cannot be written is
 * counted as lost, and the program goes on.
 */
#ifndef MMIOSHIM_TRAP_LOG_H
#define MMIOSHIM_TRAP_LOG_H

#include "bus/bus.h"
#include "config/options.h"
#include "cpu/cpu.h"
#include "trap/thread.h"

/* Opens the log. 0, or -1 with one line. Ordinary context. */
int log_start(struct bus *bus, const struct options *options, struct fmt *error);
/*
 * In the child of fork: with %p the child's log is its own. worker: what it logs counts as that of the process that it is a
 * copy of, and with %p it logs nothing.
 */
void log_after_fork(bool worker);

/*
 * Numbers and writes one access with what the bus noted. rec: type (MMIO or PORT), op, width, device, reg, element, addr, offset,
 * value, flags are filled; the rest is done here. The device's lock is held. Trap context.
 */
void log_access(struct thread *thread, struct trace_record *rec, const struct cpu_state *state,
                const struct cpu_insn *insn, const struct bus_note *note);
/*
 * The lean way: the transcript is binary. rec has pc, insn and the number of a stack that is in the transcript already
 * (0: none), too. No lock, and no system call but when a thread needs
 * more of the file. The device's lock is held, signals are masked or deferred.
 */
bool log_is_lean(void);
void log_lean(struct thread *thread, struct trace_record *rec, const struct bus_note *note);
/* Frames of a call stack that are wanted; 0: none. */
unsigned log_frames(void);
/* Does anybody want records of accesses? */
bool log_wanted(void);
/*
 * An access that nobody wants a record of is counted under its device's lock. It takes a number when the next event
 * that is logged gets one: so numbers are in the order of the machine, and whoever finds the device changed finds the
 * number taken. Trap context.
 */
void log_count(struct thread *thread, u16 device, bool write, const struct bus_note *note);
/*
 * How often this thread has read the same register at the same place, with the same value, without anything in between: it
 * is waiting. 0: it is not, or nobody wants records. Trap context.
 */
u64 log_polls(const struct thread *thread);
extern bool log_quiet_begun; /* in this process */
void log_quiet_begin(struct thread *thread);
/* The same at no cost, for a device and without a note. The device's lock is held. */
static inline void log_quiet(struct thread *thread, struct arena_device *device, bool write)
{
    if (unlikely(!log_quiet_begun))
        log_quiet_begin(thread);
    device->quiet[write]++;
    thread->counts.accesses[write]++;
}
/*
 * The number of an event, behind those of all accesses that anybody could know of by now. locked: the log's lock is
 * held, else it may be taken. Any context, signals masked.
 */
u64 log_number(struct thread *thread, bool locked);
/* Any other event: IRQ, DMA, MARK, LINT, FAULT. text may be NULL. Any context, signals masked. */
void log_event(struct thread *thread, struct trace_record *rec, const char *text);
/*
 * The process ends. last: nobody else is left, so [DIRTY] and [EXIT] are written. A log of this process alone gets
 * its [EXIT] if the process took part, and [DIRTY] if, of those that did, it is the last. Any context, signals masked.
 */
void log_finish(struct thread *thread, bool last, bool last_to_touch);
/* Before an exec: what threads have folded is written, for it would be gone. Signals masked. */
void log_flush(struct thread *thread);
/* This process takes part. */
void log_touch(struct thread *thread);
/* Did this process take part in the machine (an access, a mark)? */
bool log_touched(void);
u64 log_lint_count(void);

#endif
