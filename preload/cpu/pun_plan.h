/* Private to the files of cpu/ that plan jumps. */
#ifndef MMIOSHIM_CPU_PUN_PLAN_H
#define MMIOSHIM_CPU_PUN_PLAN_H

#include "base/mem.h"
#include "base/range.h"
#include "cpu/plan.h"
#include "cpu/pun.h"

/* ---- instructions ---- */

enum pun_flow {
    FLOW_PLAIN,
    FLOW_CONDITIONAL,   /* jcc */
    FLOW_LOOP,          /* loop, jrcxz */
    FLOW_CALL,
    FLOW_CALL_INDIRECT,
    FLOW_JUMP,          /* relative */
    FLOW_STOP,          /* nothing is known behind it: ret, indirect jumps, hlt, ud2 */
    FLOW_SYSTEM,        /* never copied, never relied on: system calls, int, int3; far calls, transactions */
};

struct pun_insn {
    u8 length;
    u8 flow;
    bool copyable;
    bool nop;    /* padding, as compilers write it */
    bool locked; /* libc jumps over lock prefixes in a process of one thread, into the instruction */
    i64 distance; /* of a relative branch: its target is the instruction's address + distance */
};

bool pun_insn_decode(const u8 *bytes, unsigned avail, struct pun_insn *insn);
/* Of the program's own bytes at that address. */
bool pun_insn_at(const struct pun_book *book, const struct pun_text *text, u64 at, struct pun_insn *insn);

static inline struct range pun_range(const struct pun_text *text)
{
    return (struct range){text->base, text->size};
}

static inline bool pun_foreign(const struct pun_text *text, u64 at, unsigned n)
{
    return text->foreign && text->foreign(text->context, at, n);
}

/* ---- the book ---- */

#define PUN_WORK 8192 /* bytes for one search, at the beginning of a book's memory */

/* First address behind what the unit's jump reads. */
static inline u64 pun_reach(const struct pun_unit *unit)
{
    return unit->kind == PUN_SHORT ? unit->at + 2 : unit->at + unit->prefixes + PUN_ROOM;
}

#define PUN_BEFORE 19 /* a unit begins at most so far before a byte that its jump reads */

/* Units that begin in [low, low+n), n up to 96, in no order. */
unsigned pun_units(const struct pun_book *book, u64 low, unsigned n, const struct pun_unit **units, unsigned most);
/* Has any unit one of the bytes? */
bool pun_taken(const struct pun_book *book, u64 at, unsigned n);
bool pun_has_space(const struct pun_book *book);

/* ---- an attempt: a set of units that must get jumps so that all fit together ---- */

struct piece {
    struct pun_unit unit;       /* as it will be */
    const struct pun_unit *old; /* as it is in the book, NULL: new */
    bool fresh;                 /* gets a new jump, even if the old one would do */
    bool taken;                 /* unit.room is of this attempt */
    u64 limit;                  /* its jump may rely on bytes before that */
};

struct attempt {
    const struct pun_book *book;
    const struct pun_text *text;
    const struct pun_space *space;
    struct piece pieces[PUN_UNITS]; /* by address, the last first, once it is solved */
    unsigned n;
    unsigned budget; /* rooms that may still be asked for */
    bool full;       /* a piece did not fit in */
};

/* Instruction, or part of one, that gets a jump. One that the book knows is replanned. */
void attempt_jump(struct attempt *a, u64 at, unsigned length, u64 insn, bool site);
/* Instruction that gets a short jump to a landing. */
void attempt_short(struct attempt *a, u64 at, unsigned length, u64 landing);
/* Adds the units that depend on these. False: they are too many. */
bool attempt_complete(struct attempt *a);
/* Adds them, and finds rooms for all. False: there are none; nothing is taken then. */
bool attempt_solve(struct attempt *a);

#endif
