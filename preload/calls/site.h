/* Private to calls/: a rewritten system-call instruction, and the stub that it jumps to. */
#ifndef MMIOSHIM_CALLS_SITE_H
#define MMIOSHIM_CALLS_SITE_H

#include "calls/calls.h"

/* One stub's data; offsets and size are known to entry.S, and the offset of `resume` to its unwind table. */
struct site {
    u64 resume;  /* the program's address behind the call and what else was overwritten there */
    u64 tail;    /* the stub's own system-call instruction */
    u64 restart; /* where the program makes this call (again) */
    u32 nr;
    u8 tactic;
    u8 before;   /* TACTIC_PREV: bytes of the instructions that were moved */
    u64 at;      /* of the system-call instruction */
    u64 enter;   /* calls_enter */
    u64 behind;  /* where a call ends that we answered: what the jump lies over there runs first */
    u64 apart;   /* calls_apart */
};

_Static_assert(sizeof(struct site) == 64, "entry.S");

#define STUB_SIZE   64
#define STUB_FIXED  20 /* what comes before it runs in place of what was overwritten before the call */
#define STUB_TAIL   32
#define STUB_AFTER  34
#define STUB_APART  48 /* the call again, for one that needs more on the way back (calls_apart) */
#define STUB_COUNT  1024

/* How a site is rewritten. */
enum tactic {
    TACTIC_NONE,
    TACTIC_MOVE, /* "mov $nr,%eax" right before it becomes a jump; the call itself stays as it is */
    TACTIC_GAP,  /* the two bytes become a short jump into padding between functions, and from there a long one */
    TACTIC_PREV, /* what stands before it, five bytes or more that run as well elsewhere, becomes the jump */
    TACTIC_NEXT, /* the call and the instruction behind it become the jump */
};

struct found {
    u64 at;
    u64 gap;    /* TACTIC_GAP: the padding */
    u64 nr;     /* CALL_MAX: not known before it runs */
    u8 tactic;
    u8 prev;    /* TACTIC_PREV: length of those instructions */
    u8 next;    /* TACTIC_NEXT: length of that instruction */
};

/* Stubs that sites within reach of a 32-bit jump share: those in the library's text, and others near programs. */
struct pool {
    const u8 *stubs;
    struct site *sites;
    u32 count; /* ever used: all of them below this */
    u32 capacity;
};

#define POOLS     32
#define PREV_MOST (STUB_FIXED - 2)
#define NEXT_MOST (STUB_APART - STUB_AFTER - 6)

/* The site whose stub holds an address, NULL: none. Any context. */
struct site *calls_site_of(u64 rip);

#define MOVE_SIZE 5  /* "mov $nr,%eax" */
#define BUILD_ID  20 /* bytes: SHA-1, as linkers write it unless told otherwise */

/* Code of one mapping. eh_frame_hdr, build_id: NULL when it is not there (yet). */
struct text {
    const u8 *base;
    u64 size;
    const u8 *eh_frame_hdr;
    const u8 *build_id;
};

/* Calls go to these functions from now on. */
void calls_table(const call_function *table);

/* Calls each() for every system call in the text. Ordinary context, or in a guarded call. */
void sites_find(const struct text *text, void (*each)(void *context, const struct found *found), void *context);

extern struct site calls_sites[STUB_COUNT];
extern const u8 calls_stubs[STUB_COUNT][STUB_SIZE];
extern const char calls_enter[], calls_stored[], calls_entered[], calls_left[], calls_native[], calls_leave_end[];
extern const char calls_changed[], calls_changed_end[];
extern const char calls_apart[], calls_restored[], calls_apart_end[];
extern const char calls_wait_begin[], calls_wait_after[], calls_wait_restart[];

#endif
