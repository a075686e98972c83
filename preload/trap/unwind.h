/*
 * Frames. libunwind says how a frame is laid out; what it says of an address
 * is kept as a `struct layout`, so that it is asked once an address. Frames
 * that no layout can describe are walked by libunwind itself.
 *
 * "Lookup address": the address of the instruction itself for the first frame
 * and for one that a signal interrupted, the return address minus 1 otherwise
 * (a call may be the last instruction of its function).
 */
#ifndef MMIOSHIM_TRAP_UNWIND_H
#define MMIOSHIM_TRAP_UNWIND_H

#include "base/fmt.h"
#include "base/range.h"
#include "base/types.h"
#include "cpu/cpu.h"
#include "trap/recall.h"

enum layout_flag {
    LAYOUT_SIGNAL = 1,  /* a signal trampoline: the caller was interrupted, not called */
    LAYOUT_STOP = 2,    /* nothing is known of the caller: code without unwind information */
    LAYOUT_BOTTOM = 4,  /* the outermost frame: it says itself that it has no caller */
    LAYOUT_COMPLEX = 8, /* only libunwind can step out of it, with all registers */
    LAYOUT_FOREIGN = 16,  /* not to be shown: our own library, or (with LAYOUT_STOP) no readable code */
    LAYOUT_MAIN = 32,   /* the program's main() */
    LAYOUT_LIBC = 64,
    LAYOUT_ENTRY = 128, /* the program's entry point, _start */
};

/* Where a value is: base + offset, or the word stored there. */
enum place {
    PLACE_RSP, PLACE_RBP, PLACE_CFA,
    PLACE_MEMORY = 4,                     /* or'ed to one of these */
    PLACE_SAME = 3,                       /* the register still holds the caller's value */
    PLACE_NONE = 7,
};

/* 24 bytes, stored as three words. */
struct layout {
    u64 pc;               /* lookup address */
    i32 cfa, ra, rbp;     /* offsets in bytes */
    u8 cfa_at, ra_at, rbp_at; /* enum place */
    u8 flags;             /* enum layout_flag */
};

/* What a frame's rbp is: the register as the walk began, where the value is stored, or the value read from there. */
enum frame_bp { BP_GIVEN, BP_STORED, BP_READ };

/* Registers that change from frame to frame. */
struct frame {
    u64 ip, sp, bp;
    bool exact; /* ip is its own lookup address */
    u8 bp_is;   /* enum frame_bp: few walks need it, and what they do not read need not stay as it is */
};

static inline u64 frame_lookup(const struct frame *f)
{
    return f->exact ? f->ip : f->ip - 1;
}

/* Opens libunwind. Ordinary context, once a process. 0, or -1 with the reason. */
int unwind_open(struct fmt *error);
/* A function of the program, `main`: its frame gets LAYOUT_MAIN from now on. Any context. */
void unwind_set_main(u64 address);
/* Code of ours in [begin, end) is the frame of a signal: handlers of the program return to its start. */
void unwind_set_return(u64 begin, u64 end);
/* Layouts may have changed. Any context. */
void unwind_forget(void);

/* The layout for a lookup address, from the cache or learned now. Trap context. */
void unwind_layout(u64 pc, struct layout *layout);
/*
 * Makes the caller's frame out of its callee's. False: there is none, or its stack cannot be read. Notes in *reads
 * what the answer hangs on. Trap context.
 */
bool unwind_step(const struct layout *layout, struct frame *frame, struct reads *reads);

/* Where the first frame of a walk has its return address; false: that is no fixed distance from rsp or rbp. */
bool unwind_return_place(u64 rip, struct return_place *place);

/* The slow walk, by libunwind alone, from the innermost frame on. Trap context; takes 1.1 KiB of stack. */
struct unwind_slow {
    u64 storage[136]; /* libunwind's cursor and where it reads from; do not move */
};

bool unwind_slow_begin(struct unwind_slow *slow, const struct cpu_state *state);
/* As unwind_step; frame->bp is not kept. */
bool unwind_slow_step(struct unwind_slow *slow, struct frame *frame);

#endif
