/* Private to patch/: a site whose instruction was replaced by a jump. */
#ifndef MMIOSHIM_PATCH_SITE_H
#define MMIOSHIM_PATCH_SITE_H

#include "base/types.h"
#include "calls/calls.h"
#include "cpu/trampoline.h"
#include "patch/patch.h"

/*
 * Offsets up to `behind` are known to entry.S and to the trampolines (cpu/trampoline.h). In memory that its trampoline
 * can address.
 */
struct patch_site {
    u64 minus_base, mask; /* the range: cpu/trampoline.h */
    u64 enter, enter_again, settle; /* patch_enter, patch_enter_again, patch_settle */
    u64 function, function_again;   /* for the access, and the second one of a read-modify-write */
    u64 decline, tail, tail_again, slow, again; /* parts of its trampoline */
    u64 at, behind; /* the instruction */
    const struct cpu_insn *insn;
    u64 code;      /* the trampoline */
    u64 room;      /* the jump to it that the program's leads to; 0: the program's leads to it directly */
    u16 code_size;
    u8 kind, marks, copies;
    bool gone; /* the program's text was changed or unmapped: what runs here still goes on */
    struct trampoline_mark mark[TRAMPOLINE_MARKS];
    u8 copy_back[TRAMPOLINE_COPIES];
    u16 copy_at[TRAMPOLINE_COPIES];
};

/* What functions of sites answer; known to entry.S. */
enum patch_outcome {
    PATCH_DONE,
    PATCH_DECLINE, /* it is no access to a window after all */
    PATCH_AGAIN,   /* the program makes it again: its device waits for something */
    PATCH_END,     /* the program ends instead (patch_block.end) */
    PATCH_HELD,    /* read, and the device is held for the second access */
    PATCH_DONE_AGAIN, /* the second access is over */
    PATCH_FULL,    /* call->patch.full does it, with all registers */
};

/* A thread's storage; offsets are known to entry.S. */
struct patch_block {
    u8 scratch[64];
    u64 rax, rcx, r11, flags;
    u64 address; /* of the operand */
    struct call *call; /* between the two accesses of a read-modify-write */
} __attribute__((aligned(64)));

__attribute__((visibility("hidden"))) extern __thread struct patch_block patch_block;

/* The registers of the program that are not in the block, as entry.S puts them on our stack. */
struct patch_frame {
    u64 unused, flags, r15, r14, r13, r12, rbx;
    u64 unused_too;
    u64 site, call, address;
    u64 rbp, r10, r9, r8, rdi, rsi, rdx;
};

/* The functions for the accesses of a site, whose instruction is known. */
void patch_functions(struct patch_site *site, enum trampoline_kind kind);

/* The instruction that a jump of ours serves which is not in its place: in a room, or inside of another instruction. 0: none. */
u64 patch_leads_to(u64 rip);
/* Where a thread goes on that met TEXT_STOP at an address; 0: it is none of ours. */
u64 patch_code_of(u64 at);

#define PATCH_PUSHED 80 /* bytes of the program's registers on our stack */
extern const char patch_entry[], patch_enter[], patch_enter_again[], patch_returned[], patch_left[], patch_left_end[];
extern const char patch_leave[], patch_gone[], patch_gone_end[];
extern const char patch_settle[];

#endif
