/*
 * Code for a site whose instruction was replaced by a jump (patch/). Pure:
 * addresses and bytes in, bytes out.
 *
 * A trampoline computes the address of the memory operand and compares it with
 * a range that the site's data hold, without changing a flag. Outside of it the
 * program's instruction runs as it stood. Inside, the access is handed to a function through the
 * site's data, and the very instruction runs with its operand replaced by a
 * scratch in the thread's own storage: results and flags are those of the CPU.
 *
 * Nothing of it touches the program's stack or keeps a register: what it needs
 * lies in the thread's storage, relative to fs. Wherever a signal meets it, a
 * mark tells which registers of the program are there, and what the program's
 * own rip is.
 */
#ifndef MMIOSHIM_CPU_TRAMPOLINE_H
#define MMIOSHIM_CPU_TRAMPOLINE_H

#include "cpu/cpu.h"

#define TRAMPOLINE_MAX    768 /* bytes of code */
#define TRAMPOLINE_MARKS  48
#define TRAMPOLINE_COPIES 4   /* instructions behind the site's own that are copied */

enum trampoline_kind {
    TRAMPOLINE_NATIVE, /* only a copy of the instruction, for one that had to make room */
    TRAMPOLINE_LOAD,   /* reads its operand */
    TRAMPOLINE_STORE,  /* writes it */
    TRAMPOLINE_MODIFY, /* reads and writes it */
};

/* What of the program is not where it belongs. */
enum trampoline_state {
    TRAMPOLINE_RAX = 1, TRAMPOLINE_RCX = 2, TRAMPOLINE_R11 = 4, /* in the block */
    TRAMPOLINE_FLAGS = 8,  /* in the block: lahf in byte 1, OF in byte 0 */
    TRAMPOLINE_MARKED = 16, /* the thread is marked as being in an access (block.here is 0) */
    TRAMPOLINE_PUSHED = 64, TRAMPOLINE_COUNTED = 128, /* rsp is 8 lower, rcx 1 less: in the copy of a call or a loop */
    TRAMPOLINE_AFTER = 32, /* the access is over, the instruction has not run yet, or only on the scratch */
};

/* From `at` on, up to the next mark: the program's rip is the site's address + back. */
struct trampoline_mark {
    u16 at;
    u8 state;
    u8 back;
};

/* A thread's storage: distances from fs, the same in every thread. */
struct trampoline_block {
    i32 rax, rcx, r11, flags;
    i32 address; /* of the operand */
    i32 scratch; /* 64 bytes, aligned to 64 */
    i32 here;    /* pointer that goes to rcx; 0: the thread cannot make an access now */
    i32 call;    /* what was there, between the two accesses of a read-modify-write */
};

/* The site's data: distances from its address, each 8 bytes. */
struct trampoline_data {
    i32 minus_base; /* the range's first address, negated */
    i32 mask;       /* the range is where (address + minus_base) & mask is 0; all bits above a power of two */
    i32 enter, enter_again; /* where to go for the access; for the second one of a read-modify-write */
    i32 settle; /* where to go when signals are to be delivered */
};

struct trampoline_order {
    const struct cpu_insn *insn;
    u64 at;         /* the instruction's address */
    const u8 *code; /* its bytes and those behind it, as the program has them */
    unsigned avail; /* bytes there */
    unsigned reach; /* bytes of the site that the jump and its displacement lie over: what starts there is copied, too */
    /* Where to go instead of to an instruction that is copied; 0: it is copied. May be NULL. */
    u64 (*stands_for)(void *context, u64 at);
    void *context;
    u64 place;      /* where the trampoline will be */
    u64 data;       /* where the site's data are: within 2 GiB */
    const struct trampoline_block *block;
    const struct trampoline_data *layout;
    enum trampoline_kind kind;
    bool has_pext; /* the CPU has it, and is fast at it: else flags are put away before each comparison */
};

struct trampoline {
    u8 code[TRAMPOLINE_MAX];
    u16 size;
    u16 native;   /* the instruction as it stood; rax, and the flags, are in the block */
    u16 followers; /* what comes behind it */
    u16 decline;  /* the access turned out to be none of ours */
    u16 tail;     /* behind the access */
    u16 tail_again; /* behind the second one of a read-modify-write */
    u16 slow;     /* as the last of these two, and signals wait to be delivered */
    u16 again;    /* on at the instruction */
    u64 back_to;  /* where it goes back to the program, behind what it copied */
    u8 marks;
    struct trampoline_mark mark[TRAMPOLINE_MARKS];
    u8 copies;
    struct {
        u8 back; /* the instruction that was copied: the site's address + back */
        u16 at;  /* its copy, at least 5 bytes up to the next one */
    } copy[TRAMPOLINE_COPIES];
};

/* What kind of trampoline takes this instruction's accesses; TRAMPOLINE_NATIVE: none. */
enum trampoline_kind trampoline_kind(const struct cpu_insn *insn);
/* False: it cannot be had (an instruction that runs only where it is, something out of reach). */
bool trampoline_make(struct trampoline *t, const struct trampoline_order *order);
/* The mark that holds at an offset. */
struct trampoline_mark trampoline_mark_at(const struct trampoline_mark *marks, unsigned count, unsigned offset);

/*
 * The instruction with its memory operand replaced by fs:[displacement]. Bytes written to out, 0: it cannot be had.
 * Nothing is kept of it. Any context; vector registers change (the library's code).
 */
unsigned cpu_rebase(const struct cpu_insn *insn, i32 displacement, u8 out[24]);

/* The status flags that the program, going on at code, reads before it writes them; all of them where that is not known. */
u32 cpu_flags_wanted(const u8 *code, unsigned avail);

#endif
