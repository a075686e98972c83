/*
 * The binary transcript (trace/ringfile.h), as it is written: each thread has
 * a piece of the file mapped, and an event is a few stores there. No lock and
 * no system call but once for some thousand events, when a thread needs more
 * of the file. What finds no room is the caller's to count.
 */
#ifndef MMIOSHIM_TRAP_RING_H
#define MMIOSHIM_TRAP_RING_H

#include "bus/bus.h"
#include "trace/ringfile.h"
#include "trap/thread.h"

/* The file is open (trap/sink.h), nothing is in it yet. 0, or -1 when it is no file that can be mapped. Ordinary context. */
int ring_start(struct bus *bus, bool filtered);
/* In the child of fork. own_file: its transcript is another file. */
void ring_after_fork(bool own_file);

/*
 * Writes one event; rec->stack must have been announced (ring_stack). order: the number of an access, of anything else the
 * last that was given. Neither pid, tid nor time of rec are looked at. False: it is lost. Signals masked.
 */
bool ring_put(struct thread *thread, const struct trace_record *rec, u64 order);
/*
 * A read that is equal to the one before it: the last record counts it, if it counts those of the same first one, else a
 * new one does. False: it is lost. Signals masked.
 */
bool ring_repeat(struct thread *thread, u64 first_seq, u64 order);
/* The repeats that the last record counts were all before the next event. */
void ring_repeat_ends(struct thread *thread, u64 order);
/* Names a call stack, once in a file. Signals masked. */
void ring_stack(struct thread *thread, u32 stack);

/* The end: [DIRTY] and [EXIT]. Log lock held. */
void ring_dirty(struct thread *thread, u64 order, const char *mode, u64 pages, u64 total, const struct range *ranges,
                u64 nranges, const char *note);
void ring_exit(struct thread *thread, u64 order, const struct trace_totals *totals);
/* Gives back what is not needed of the file. last: nobody else writes to it. Log lock held. */
void ring_close(struct thread *thread, bool last);

/* Events were lost. Any context. */
void ring_lost(u64 n);
/* SIGBUS at an address of this thread's piece (somebody cut the file): the store may go on; what was being written is lost. */
bool ring_fault(u64 addr);

#endif
