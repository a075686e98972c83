/*
 * Busy waiting: a thread that reads the same register at the same place, again and again, and finds the same value. Each
 * thread knows its own run of such reads; what is folded into one line of the transcript, and what is said of a poll that
 * cannot end, comes from here. (A clock that goes on while programs wait can ask for `run`.)
 */
#ifndef MMIOSHIM_TRAP_POLL_H
#define MMIOSHIM_TRAP_POLL_H

#include "bus/bus.h"
#include "trace/record.h"

/* The run that a thread is in. */
struct poll {
    u64 run;    /* equal reads in a row; 0: the last access was none that could be one of them */
    u64 folded; /* of them, those that the transcript does not say yet: whoever ends the process says them. Under its lock */
    /* The first of them. */
    u64 pc, addr, value, seq;
    u32 tid, pid, width, stack;
    u16 device, reg, element;
    u16 pid_ordinal, tid_ordinal;
    u8 type, flags;
    bool said;  /* that it cannot end */
    u64 before; /* accesses of the device when it began */
    u64 since;  /* when it was looked at first, nanoseconds, monotonic; 0: not yet */
};

/* Does an access go on with the run? */
bool poll_goes_on(const struct poll *poll, const struct trace_record *rec);
/* It does not: it begins one. accesses: of the device, this one included. */
void poll_begin(struct poll *poll, const struct trace_record *rec, u64 accesses);
/*
 * After run was counted: is the run one that can never end, and was that not said before? Nobody else touches the device,
 * and neither time nor a host end can change the register. accesses: of the device.
 */
bool poll_endless(struct poll *poll, const struct bus *bus, u64 accesses);

#endif
