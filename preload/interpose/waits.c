/*
 * System calls by which a program waits for an interrupt or for time to pass.
 * With MMIOSHIM_CLOCK=virtual the machine's time goes on meanwhile, and they
 * take as long as ever: a sleep of a second is one second of both.
 */
#include <errno.h>
#include <time.h>

#include "interpose/interpose.h"
#include "interpose/waits.h"
#include "memory/clock.h"
#include "trap/backtrace.h"
#include "trap/signals.h"
#include "trap/trap.h"

#define NS 1000000000u

/* A duration in the program's memory. 0: it is none, which the kernel will say. */
static u64 duration(u64 from)
{
    struct timespec t;

    if (!probe_read(&t, from, sizeof(t)) || t.tv_sec < 0 || t.tv_nsec < 0 || t.tv_nsec >= (long)NS)
        return 0;
    return (u64)t.tv_sec >= CLOCK_NEVER / NS - 1 ? CLOCK_NEVER : (u64)t.tv_sec * NS + (u64)t.tv_nsec;
}

/* An interrupt ends the call: its handler is next, and the call does not begin again behind it. */
static enum call_answer ended(struct call *call, u64 signals)
{
    u64 mask = 0;

    signals_procmask(0, NULL, &mask);
    return signals & ~mask ? call_done(call, -EINTR) : CALL_PASS;
}

enum call_answer waits_for(struct call *call, u64 ns)
{
    return ended(call, trap_waits(ns));
}

enum call_answer call_pause(struct call *call)
{
    return waits_for(call, CLOCK_NEVER);
}

enum call_answer call_nanosleep(struct call *call)
{
    return waits_for(call, duration(call->a[0]));
}

enum call_answer call_clock_nanosleep(struct call *call)
{
    return waits_for(call, call->a[1] & TIMER_ABSTIME ? 0 : duration(call->a[2]));
}
