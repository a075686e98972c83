/*
 * Walks of the stack that need not be made again. What a walk finds hangs on
 * the registers it begins with, on what is known of the code, and on the words
 * that it reads. A walk whose words are all as they were finds the same
 * frames. Trap context; one thread at a time for each `struct recall`.
 */
#ifndef MMIOSHIM_TRAP_RECALL_H
#define MMIOSHIM_TRAP_RECALL_H

#include "base/types.h"
#include "trap/probe.h"

#define RECALL_WORDS 61u /* two a frame are the most; longer walks are made each time */

struct stack;

/* The words that a walk has read, as it goes. */
struct reads {
    struct probe_word *word;
    unsigned count, room;
    bool rbp;  /* the register rbp was used as it was at the beginning */
    bool lost; /* something was read, or could not be read, that is not kept */
};

/* What a walk begins with. */
struct walk_start {
    u64 rip, rsp, rbp;
    u32 epoch; /* of what is known of code */
    u32 max;   /* frames */
};

/* One walk: 1 KiB. */
struct recalled {
    struct walk_start start;
    struct stack *stack; /* what it found; NULL: nothing is kept here */
    u32 count;           /* of words */
    bool rbp;            /* start.rbp counts */
    u8 turn;             /* of the first way of a set: which is replaced next */
    struct probe_word word[RECALL_WORDS];
};

_Static_assert(sizeof(struct recalled) == 1024, "some walks fill some pages");

/*
 * Calls of one function at one depth differ in nothing but their words: many by the first return address, by which
 * they are told apart where it is known to be found, the rest by ways.
 */
#define RECALL_SETS   64u
#define RECALL_WAYS   4u
#define RECALL_PLACES 128u

/* Where, at an instruction, the return address of its function is. Whoever believes an old one only looks in vain. */
struct return_place {
    u64 rip; /* 0: not known */
    i32 offset;
    bool rbp; /* from there, else from rsp */
};

struct recall {
    struct return_place place[RECALL_PLACES];
    struct recalled set[RECALL_SETS][RECALL_WAYS];
};

/* Nothing is kept yet; what is never used takes address space, no memory. NULL: there is none. */
struct recall *recall_make(void);

/* The stack that a walk from there would find; NULL: it must be made. */
struct stack *recall_find(const struct recall *recall, const struct walk_start *start);
/*
 * A walk begins: the place for what it finds, and where its words go. NULL, and nothing is noted, without recall.
 * place: where the return address is.
 */
struct recalled *recall_begin(struct recall *recall, const struct walk_start *start, const struct return_place *place,
                              struct reads *reads);
/* The walk is over. NULL: it cannot be kept, else the place, which stays empty until recall_keep(). */
struct recalled *recall_end(struct recalled *walk, const struct reads *reads);
void recall_keep(struct recalled *walk, struct stack *stack);

/* Notes a word that was read. */
static inline void reads_word(struct reads *reads, u64 address, u64 value)
{
    if (reads->count < reads->room)
        reads->word[reads->count++] = (struct probe_word){address, value};
    else
        reads->lost = true;
}

#endif
