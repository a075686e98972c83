/*
 * Interrupts of harts, told to the program by signals (mmioshim,irq-signal).
 *
 * Who is told: as a hart jumps to where its trap vector was last set, the
 * process that was the last to install a handler for the signal; the thread
 * that did so, with mmioshim,irq-thread. When that process ends, executes
 * another program, or takes its handler away, nobody is, until somebody
 * installs one. A child of fork has the handler, and is not told.
 *
 * When: once when an interrupt becomes pending, and again when a handler has
 * returned, or the signal is unblocked, while one still is (RISC-V Privileged
 * Architecture, xRET with xIP set: it traps again before the next
 * instruction). A signal that comes when no interrupt of its kind is pending
 * any more is dropped. si_code is SI_QUEUE, si_value the number of the
 * interrupt, as in mcause.
 */
#ifndef MMIOSHIM_TRAP_IRQ_H
#define MMIOSHIM_TRAP_IRQ_H

#include <signal.h>

#include "bus/bus.h"

/* Ordinary context, once. */
void irq_signals_start(struct bus *bus);
/* The program has set the action of a signal: has it a handler now? Signals are masked, or in a call. */
void irq_handler_set(int sig, bool handler);
/* A signal arrives. False: it is an interrupt that is not pending any more, or not told to this process. */
bool irq_arrives(int sig, siginfo_t *info);

extern u64 irq_signals_mine; /* a bit for each that this process may be told by */

/* Which of them there is an interrupt for. */
u64 irq_pending(u64 signals);
/* Sends those. */
void irq_tell_again(u64 signals);
/* These signals are not blocked any more, or will not be when the program goes on: those that are to be sent. */
static inline u64 irq_unblocked(u64 signals)
{
    signals &= irq_signals_mine;
    return unlikely(signals) ? irq_pending(signals) : 0;
}

/* This process ends, or becomes another program. */
void irq_signals_leave(void);
/* That failed. */
void irq_signals_stay(void);
void irq_signals_after_fork(void);

#endif
