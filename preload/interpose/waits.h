/* The program waits (waits.c). */
#ifndef MMIOSHIM_INTERPOSE_WAITS_H
#define MMIOSHIM_INTERPOSE_WAITS_H

#include "interpose/interpose.h"

/* At most so many nanoseconds: CALL_PASS, or it is over, interrupted. */
enum call_answer waits_for(struct call *call, u64 ns);

#endif
