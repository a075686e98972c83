/*
 * Room for a jump at an instruction that is to be patched. Bytes and addresses
 * in, a plan out: what to write into the text, and where 5-byte jumps to the
 * trampolines go. Nothing here writes text, takes memory or makes system calls.
 *
 * Most instructions are shorter than a jmp rel32, so the jump's displacement
 * consists, for a part, of bytes of the instructions behind it, which stay as
 * they are: a "pun". Where no such target can be had, neighbours are made to
 * jump as well ("evicted": a native copy of them runs elsewhere), which changes
 * the bytes, or has space inside of them for a jump that a 2-byte jump reaches.
 * (Duck, Gao, Roychoudhury: "Binary rewriting without control flow recovery",
 * PLDI 2020, names the tactics.)
 *
 * Any context. The caller's lock guards a book; lookups (pun_find, pun_original)
 * need none, but must not run at the same time as pun_forget.
 */
#ifndef MMIOSHIM_CPU_PUN_H
#define MMIOSHIM_CPU_PUN_H

#include "base/types.h"

#define PUN_ROOM  5  /* bytes of a room: a jmp rel32 */
#define PUN_UNITS 32 /* most instructions that one plan touches */
#define PUN_REACH ((i64)0x7f000000) /* 2 GiB - 16 MiB: no jump goes farther */

/* Room for 5 bytes that can be executed, near the text. */
struct pun_space {
    void *context;
    /*
     * `size` bytes that begin at first, or first + step, first + 2 * step ... but not behind last; step is 1, 256,
     * 65536 or 1 << 24, and first <= last. Nothing is written there yet. False: there are none.
     */
    bool (*take)(void *context, u64 first, u64 last, u64 step, unsigned size, u64 *at);
    /* Of a plan that is not used after all, and of attempts in vain. */
    void (*give_back)(void *context, u64 at, unsigned size);
};

/* What an unwind table tells of a function. */
struct pun_function {
    u64 begin, end;
    u64 before; /* end of the function before it, 0: unknown */
    u64 after;  /* begin of the function behind it, 0: unknown */
};

/* Executable bytes of one mapping, as they are now. */
struct pun_text {
    u64 base, size;
    const u8 *bytes; /* of base; they are read in place. base itself, but for tools and tests */
    void *context;   /* of the two below */
    /* Is any of the bytes one that others rewrote, or will? They are neither changed nor relied on. May be NULL. */
    bool (*foreign)(void *context, u64 at, unsigned n);
    /*
     * The function that has `at`. False: unknown. Its instructions are found by decoding from its begin, so it must be
     * one. May be NULL: then only instructions behind the site are known.
     */
    bool (*function)(void *context, u64 at, struct pun_function *function);
};

enum pun_tactic {
    PUN_NONE,
    PUN_WHOLE,     /* the instruction has room for a jump */
    PUN_FOLLOWING, /* the displacement ends in bytes behind it */
    PUN_PREFIXED,  /* the same, with prefixes before the jump */
    PUN_SUCCESSOR, /* the same, with one or more instructions behind it evicted */
    PUN_GAP,       /* a short jump into padding between functions */
    PUN_NEIGHBOUR, /* a short jump into an evicted instruction */
    PUN_RETARGET,  /* evicted before: no write, its room's jump goes elsewhere now */
};

enum pun_kind { PUN_JUMP, PUN_SHORT };

/*
 * A jump in the text and the bytes that are its own. For all but landings that is one
 * instruction of the program; a landing is the tail of an evicted one (or of padding), and serves another instruction.
 */
struct pun_unit {
    u64 at;
    u64 insn;    /* the instruction that comes here; `at` itself unless this is a landing */
    u64 room;    /* PUN_JUMP: where it goes; PUN_SHORT: the landing */
    u32 next;    /* private */
    u8 length;   /* bytes that are its own */
    u8 kind;
    u8 prefixes; /* before the e9 */
    bool site;   /* asked for; else evicted */
    u8 original[15], now[15];
};

struct pun_jump {
    u64 insn;  /* to this instruction's trampoline */
    u64 room;  /* a 5-byte jmp must be here before the writes are made; rooms may be 4 GiB apart, so it must reach */
    u8 length; /* of that instruction */
    bool copy; /* it is evicted, no site: its trampoline is a native copy (pun_copy, of pun_original's bytes) */
};

/*
 * Writes are in ascending order of address and do not overlap. While they are made, bytes that another jump
 * takes for its displacement change, so:
 *   1. first to last: a stop (int3, or another instruction of one byte that traps) as first byte of each, and make every core see it before the next;
 *   2. all bytes but the first of each; make every core see them;
 *   3. last to first: the first byte of each, again one after the other.
 * A thread that meets a stop meanwhile goes on at the trampoline of `insn`. Some writes change nothing: their jumps
 * would be wrong during 1 to 3. Code that runs from `at` of a landing comes from `insn`.
 */
struct pun_write {
    u64 at;
    u64 insn;
    u8 length;
    u8 bytes[15], was[15];
};

struct pun_plan {
    enum pun_tactic tactic;
    bool repunned; /* jumps that were there before get other rooms */
    u8 nwrites, njumps, nunits;
    struct pun_write writes[PUN_UNITS];
    struct pun_jump jumps[PUN_UNITS];
    struct pun_unit units[PUN_UNITS]; /* private: what pun_commit notes */
    bool taken[PUN_UNITS];            /* private: units whose room this plan took */
};

/* What is patched, and the bytes that were there before. */
struct pun_book {
    struct pun_unit *units; /* [0] is none */
    u32 *heads;
    void *work; /* of one pun_plan */
    u32 capacity, used, spare, nheads;
};

/*
 * A book in `size` bytes of memory (zeroed, aligned to 8, at least PUN_LEAST), some 80 for each instruction that a
 * plan touches. Memory that is not needed yet stays untouched.
 */
#define PUN_LEAST ((u64)64 << 10)
void pun_init(struct pun_book *book, void *memory, u64 size);

/*
 * How to make the instruction jump. False: there is no way, or it is int3, foreign, or entered behind its lock prefix. On success rooms are taken; then
 * pun_commit or pun_cancel must follow. Asks for at most 2000 rooms, in nearly all cases for one or two. Takes up to
 * 10 KiB of stack.
 */
bool pun_plan(struct pun_book *book, const struct pun_text *text, u64 insn, const struct pun_space *space,
              struct pun_plan *plan);
/* Notes the plan: called before the first byte is written, so that pun_original is right all the time. */
void pun_commit(struct pun_book *book, const struct pun_plan *plan);
void pun_cancel(const struct pun_plan *plan, const struct pun_space *space);
/* The text of [base, base+size) is gone. Rooms are not given back: threads may still be in them. */
void pun_forget(struct pun_book *book, u64 base, u64 size);

/* The unit that begins at that address, NULL: none. */
const struct pun_unit *pun_find(const struct pun_book *book, u64 at);
/* The next unit; *i begins as 0. NULL: no more. */
const struct pun_unit *pun_next(const struct pun_book *book, u32 *i);
/*
 * Puts the program's own bytes in place of patched ones among n (up to 64) that were read at that address. True: there
 * were some.
 */
bool pun_original(const struct pun_book *book, u64 at, u8 *bytes, unsigned n);
/* Does any of the n (up to 64) bytes belong to a patch, or does a jump rely on it? */
bool pun_involves(const struct pun_book *book, u64 at, unsigned n);

/* ---- copies ---- */

#define PUN_COPY 32 /* bytes that a copy takes at most */

/*
 * Can the instruction run elsewhere? Not: int3, system calls, transactions, far calls, calls through memory (but for
 * [rip+x]) or through rsp, endbr (it must stay where it is), branches with an operand-size prefix.
 */
bool pun_copyable(const u8 *bytes, unsigned length);
/*
 * Writes to `out` what does at `to` what the instruction does at `from`: operands and branches relative to rip are
 * adjusted, a call pushes the original return address and jumps. Execution goes on behind the copy where it went on
 * behind the instruction. Returns the bytes written, at most PUN_COPY; 0: not copyable, or something is out of reach.
 */
unsigned pun_copy(const u8 *bytes, unsigned length, u64 from, u64 to, u8 out[PUN_COPY]);
/*
 * A copy may be several instructions. Behind the first one, of `first` bytes (0: it is one instruction), the stack
 * pointer is 8 lower, or rcx 1 less, than before the instruction that is copied.
 */
struct pun_steps {
    u8 first;
    bool pushed, counted;
};

struct pun_steps pun_copy_steps(const u8 *bytes, unsigned length);

#endif
