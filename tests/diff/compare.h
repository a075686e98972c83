/* One instruction, twice from the same state: in ordinary memory and in a window. */
#ifndef MMIOSHIM_TESTS_DIFF_COMPARE_H
#define MMIOSHIM_TESTS_DIFF_COMPARE_H

#include "insn.h"

/* What comparisons came to. */
struct tally {
    unsigned long runs;      /* comparisons */
    unsigned long completed; /* of these, that ran to their end in ordinary memory */
    unsigned long faults;    /* that got a signal */
    unsigned long illegal;   /* of the signals, SIGILL: not on this CPU */
    unsigned long excused;   /* different where left_out.h allows it */
    unsigned long differences;
};

/* Everything once: windows, runner, decoder. Exits with a TAP bail-out. */
void compare_init(void);
/* Runs i from *start, whose rip is the instruction's place. True: no difference; else it is told on stdout. */
bool compare_run(const struct insn *i, const struct state *start, struct tally *tally);
/* The whole of it: a random state, the operand at `place`. False: it could not be aimed. */
bool compare_at(const struct insn *i, enum place place, struct tally *tally);

/* ---- TAP ---- */

/* "ok 3 name # 12 forms, ..." */
void tap_plan(unsigned tests);
void tap_result(bool ok, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* 1 if a result was not ok. */
int tap_status(void);

#endif
