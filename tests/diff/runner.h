/*
 * One instruction, run for real: the program state before it, and what it
 * left behind, or the signal that it got. The same routine runs it in ordinary
 * memory and in a window.
 */
#ifndef MMIOSHIM_TESTS_DIFF_RUNNER_H
#define MMIOSHIM_TESTS_DIFF_RUNNER_H

#include "base/types.h"

#define AREA_BYTES 4096u

/* Registers in the order of their encoding. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* CPU state around one instruction. */
struct state {
    u64 gpr[16];
    u64 flags;
    u64 rip;
    u8 area[AREA_BYTES] __attribute__((aligned(64))); /* XSAVE, standard format */
};

/* How an instruction ended. */
struct ending {
    struct state state;
    u64 branched; /* it went where branches go */
    int signal;   /* 0: none */
    int code;     /* si_code */
    u64 addr;     /* si_addr */
    bool write;   /* of SIGSEGV: the page fault's error code said so */
    u16 segment[3]; /* selectors of ds, es, gs */
    u64 gs_base;
};

extern u64 components;     /* of the XSAVE state that this CPU has and that are compared */
extern unsigned area_size; /* bytes that they take */

/* Signal handlers, alternate stack, gs base. Once. */
void runner_init(void);
/* Writes the instruction and a way back behind it into the code page. Returns its address. */
u64 runner_place(const u8 *bytes, unsigned length, unsigned site);
/* Number of sites. */
#define RUNNER_SITES 64
/* An address that branches may go to: it leads back, and is noted. */
u64 runner_branch_target(void);
/* Runs the instruction at start->rip. */
void runner_run(const struct state *start, struct ending *end);
/* Base of gs while instructions run. */
u64 runner_gs_base(void);
u64 runner_fs_base(void);

/* Where an extended component lies in the standard format (CPUID leaf 0DH). */
void state_component(unsigned i, unsigned *at, unsigned *size);
/*
 * What the CPU writes of the state's `mask` components into an area that held `image`, by xsave or, compacted, by
 * xsavec. Nothing of the state at hand is changed.
 */
void runner_image(const struct state *s, u64 mask, bool compacted, u8 image[AREA_BYTES]);
/* Sets 64 bytes of a vector register; the component must exist. */
void state_put_vector(struct state *s, unsigned reg, const u8 value[64]);
/* A random state. */
void state_random(struct state *s);
/* Bytes that make arithmetic do something: floating-point numbers of moderate size, or plain bits. */
void random_bytes(void *to, unsigned n);
/* Random numbers; the seed is the whole state. */
extern u64 random_seed;
u64 rnd(void);
/* Components in their initial state take one form; reserved bytes are zero. */
void state_normalise(struct state *s);

#endif
