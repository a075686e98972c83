/*
 * Private to cpu/: what decode.c makes of an instruction, and what the other
 * files run. Nothing here knows the decoder's library.
 */
#ifndef MMIOSHIM_CPU_PLAN_H
#define MMIOSHIM_CPU_PLAN_H

#include "cpu/cpu.h"

/* No register: operand absent. */
#define REG_NONE 0xff

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* Components of the XSAVE state, by bit number (SDM vol. 1, 13.1). */
enum {
    XC_X87 = 1 << 0,
    XC_SSE = 1 << 1, /* xmm0-15 and MXCSR */
    XC_AVX = 1 << 2, /* upper halves of ymm0-15 */
    XC_OPMASK = 1 << 5,
    XC_ZMM_HI = 1 << 6, /* upper halves of zmm0-15 */
    XC_HI16 = 1 << 7,   /* zmm16-31 */
    XC_PKRU = 1 << 9,   /* rights of protection keys */
};
#define XC_PKRU_INDEX 9

#define FLAG_CF 0x001u
#define FLAG_PF 0x004u
#define FLAG_AF 0x010u
#define FLAG_ZF 0x040u
#define FLAG_SF 0x080u
#define FLAG_TF 0x100u
#define FLAG_DF 0x400u
#define FLAG_OF 0x800u
#define FLAG_RF 0x10000u
/* What a stub reads and leaves: the status flags. The direction concerns string instructions only. */
#define FLAGS_STUB (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

enum kind {
    KIND_REFUSED,
    KIND_NOP,        /* touches nothing: cache hints */
    KIND_PORT,       /* in, out, ins, outs */
    KIND_LOAD,       /* mov, movzx, movsx to a general register */
    KIND_STORE,      /* mov from a general register */
    KIND_STORE_IMM,
    KIND_EXECUTE,    /* the real instruction on a scratch */
    KIND_STRING,
    KIND_STACK,
    KIND_XLAT,
    KIND_GATHER,
    KIND_SCATTER,
    KIND_DIRECT64,   /* movdir64b */
    KIND_ZERO_LINE,  /* clzero */
    KIND_XSAVE,      /* xsave, xsaveopt, xsavec, xrstor */
};

enum { PORT_IN, PORT_OUT, PORT_INS, PORT_OUTS };
enum { STRING_MOVS, STRING_CMPS, STRING_STOS, STRING_LODS, STRING_SCAS };
enum { REP_NONE, REP_E, REP_NE };
enum { STACK_PUSH, STACK_POP, STACK_PUSHF, STACK_POPF, STACK_CALL, STACK_JUMP, STACK_RET, STACK_LEAVE, STACK_ENTER };
enum { XSAVE_PLAIN, XSAVE_OPT, XSAVE_COMPACT, XSAVE_RESTORE };
enum { FROM_MEMORY, FROM_REGISTER, FROM_IMMEDIATE, FROM_SEGMENT };
enum { SEGMENT_FLAT, SEGMENT_FS, SEGMENT_GS };

/* Which elements of a vector operand are reached. */
enum {
    MASK_NONE,
    MASK_OPMASK, /* bit i of an opmask register */
    MASK_SIGNS,  /* sign bit of element i of a vector register */
    MASK_MMX,    /* the same of an MMX register */
    MASK_PACKED, /* as many elements as the opmask has bits, contiguous (compress, expand) */
};

/* Lives in cpu_insn.detail. */
struct plan {
    /* The memory operand: disp + base + index << scale, + rip of the next instruction. */
    i64 disp;
    u8 base, index, scale, segment;
    bool addr32;       /* prefix 67: the sum wraps at 32 bits */
    bool rip_relative;

    /* KIND_EXECUTE: bytes that run in the instruction's place. */
    u8 stub_length;
    u8 scratch;  /* general register that points at the scratch */
    u8 stand_in; /* general register that plays rsp, or REG_NONE: the program's rsp is never loaded */
    u8 load;     /* components loaded before */
    u8 save;     /* and saved behind the stub */
    u8 lazy;     /* of these, what may be left out while it is in its initial state */
    u8 bit_offset; /* bt, bts, btr, btc: register whose value moves the accessed word, or REG_NONE */
    bool x87_store; /* writes nothing when it raises an unmasked exception */
    bool mmx_store; /* has reset the top of the x87 stack when it faults */
    bool loads_ss;
    bool checks_all; /* a masked store that faults where a masked-off element cannot be reached */
    u16 opcode_x87; /* FOP as the program's instruction would leave it */
    const u8 *stub;

    /* Elements of vector operands. */
    u8 mask, mask_reg;
    u8 element; /* bytes */
    u8 lanes;   /* mask bits; elements of memory repeat among them (broadcast) */
    u8 vector, vector_index, index_size; /* gather and scatter: data, indices, bytes of an index */

    /* The other operand. */
    u8 reg, reg_size; /* KIND_PORT: reg_size bytes go through the port */
    bool reg_high; /* ah, ch, dh, bh */
    bool sign_extend;
    u64 imm;

    u8 op, source, repeat; /* STRING_, STACK_, PORT_, XSAVE_; FROM_; REP_ */
} __attribute__((may_alias));

_Static_assert(sizeof(struct plan) <= sizeof(((struct cpu_insn *)0)->detail), "a plan fits its instruction");

static inline const struct plan *plan_of(const struct cpu_insn *insn)
{
    return (const struct plan *)(const void *)insn->detail;
}

/* ---- one run of an instruction ---- */

struct run {
    const struct cpu_insn *insn;
    const struct plan *plan;
    struct cpu_state *state;
    const struct cpu_bus *bus;
    struct cpu_result *result;
    enum cpu_outcome outcome; /* why a bus access failed */
};

/* Address of the memory operand, plus `extra` before any truncation (the index of a gather's element). */
u64 run_address(const struct cpu_insn *insn, const struct cpu_state *state, u64 extra);
u64 run_segment_base(const struct plan *p, const struct cpu_state *state);
/* Does [addr, addr+n) lie in more than one page? */
bool run_crosses(u64 addr, unsigned n);
/* Asks cpu_bus.reach. False: run->outcome says how the run ends. */
bool run_reach(struct run *run, u64 addr, unsigned n, bool write);
/* Brackets accesses within [addr, addr+n), see cpu_bus.hold. What the first returns goes to the second. */
bool run_hold(struct run *run, u64 addr, u64 n);
void run_release(struct run *run, bool held);
/* Bus accesses of any length, in pieces of at most 64 bytes: all of them or none. False: as above. */
bool run_read(struct run *run, u64 addr, void *buf, unsigned n);
bool run_write(struct run *run, u64 addr, const void *buf, unsigned n);
/* The bus denied n bytes at addr: false, and run->outcome says how the run ends. */
bool run_unreachable(struct run *run, u64 addr, unsigned n, bool write);
/* The instruction is complete. */
enum cpu_outcome run_done(struct run *run);
/* The CPU would raise this signal for the instruction. */
enum cpu_outcome run_signal(struct run *run, int signal, int code, u64 addr);
/* #GP as Linux reports it: SIGSEGV, SI_KERNEL, address 0. */
enum cpu_outcome run_protection(struct run *run);
/* Writes a general register as an instruction of that operand size does: 4 bytes zero-extend. */
void run_set_gpr(struct cpu_state *state, unsigned reg, unsigned size, bool high, u64 value);

enum cpu_outcome run_execute(struct run *run);
/* Loads gs with the selector, by the plan's stub. False: run->outcome says how the run ends. */
bool execute_load_gs(struct run *run, u16 selector);
enum cpu_outcome run_string(struct run *run);
enum cpu_outcome run_stack(struct run *run);
enum cpu_outcome run_port(struct run *run);
enum cpu_outcome run_gather(struct run *run);
enum cpu_outcome run_scatter(struct run *run);
enum cpu_outcome run_xsave(struct run *run);

/* The parts of the operands that an instruction will reach, see cpu_concerns. */
typedef bool (*span_fn)(void *context, u64 addr, unsigned n);
bool execute_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context);
bool string_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context);
bool stack_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context);
bool vsib_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context);
bool xsave_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context);
/* Bytes of the image that edx:eax asks for; xrstor: in the standard format. */
unsigned xsave_extent(const struct cpu_insn *insn, const struct cpu_state *state);

void stack_init(void);
u64 execute_address(const struct cpu_insn *insn, const struct cpu_state *state);
u64 string_address(const struct cpu_insn *insn, const struct cpu_state *state);
u64 stack_address(const struct cpu_insn *insn, const struct cpu_state *state);
/* First enabled element; false: none is. */
bool vsib_address(const struct cpu_insn *insn, const struct cpu_state *state, u64 *addr);

/* ---- stubs ---- */

#define OPERAND_MAX 512 /* bytes: fxsave */
#define STUB_SLOT 32 /* bytes of pool per stub: an instruction, the way back, padding */

/* Registers of a stub. Layout known to stub.S. */
struct stub_frame {
    u64 gpr[16]; /* rsp is not loaded */
    u64 flags;   /* FLAGS_STUB only */
    u64 load, save;
    void *area;
    const u8 *code;
};

/* Executable copy of an instruction that uses no rip and no rsp. Equal bytes share one. NULL: no memory. */
const u8 *stub_make(const u8 *bytes, unsigned length);
int stub_init(void);
void stub_after_fork(void);
/*
 * Runs frame->code, whose operand is the scratch of `size` bytes that stands for program memory at `addr`.
 * False: it faulted; run->result has the signal, the frame is as
 * before, the area as the fault left it (sticky bits of MXCSR).
 */
bool stub_run(struct run *run, struct stub_frame *frame, const u8 *scratch, u64 addr, unsigned size);

/*
 * Rewrites an instruction so that its ModRM memory operand is [scratch].
 * `modrm` and `tail` are the offsets of the ModRM byte and of what follows the
 * displacement. stand_in replaces rsp as register operand in ModRM.reg
 * (in_reg) or VEX.vvvv (in_vvvv). Returns the new length.
 */
struct surgery {
    const u8 *bytes;
    u8 length, modrm, tail;
    u8 scratch, stand_in;
    bool in_reg, in_vvvv;
    bool elision; /* F2 and F3 mean lock elision: dropped */
};
unsigned surgery_operate(const struct surgery *s, u8 out[15]);
/* The same for an implicit operand: only drops the prefixes that change the address. */
unsigned surgery_strip(const u8 *bytes, unsigned length, u8 out[15]);
/* Number of legacy and REX prefixes. */
unsigned surgery_prefixes(const u8 *bytes, unsigned length);

/* ---- XSAVE area (xstate.c) ---- */

void xstate_init(void);
/* XCR0: the components that the system has enabled. */
u64 xstate_enabled(void);
/* Where an enabled component lies in the standard format, and whether the compacted one aligns it to 64 bytes. */
struct xstate_component {
    u32 offset, size;
    bool aligned;
};
const struct xstate_component *xstate_component(unsigned i);
/* Components that are not in their initial state. */
u64 xstate_in_use(const struct cpu_state *state);
/* Of `components`, those in `now` are in use from now on, the others in their initial state. */
void xstate_set_in_use(struct cpu_state *state, u64 components, u64 now);
/* Linux calls x87 and SSE in use in every signal frame; what is in its initial state no longer is. */
void xstate_settle(struct cpu_state *state);
/* Components to load: what the plan asks for, the state can hold, and is in use or not lazy. */
u64 xstate_needed(const struct plan *plan, const struct cpu_state *state);
void xstate_get_vector(const struct cpu_state *state, unsigned reg, u8 value[64]);
/* Whole register; what lies beyond the state's components must be zero. */
void xstate_put_vector(struct cpu_state *state, unsigned reg, const u8 value[64]);
u64 xstate_get_mmx(const struct cpu_state *state, unsigned reg);
u64 xstate_get_opmask(const struct cpu_state *state, unsigned reg);
void xstate_put_opmask(struct cpu_state *state, unsigned reg, u64 value);
/* Legacy region and header (SDM vol. 1, 13.4.1 and 13.4.2). */
#define XSTATE_LEGACY 576
#define XSTATE_BV     512
struct x87_env {
    u16 control, status, tag, opcode;
    u64 ip, dp;
} __attribute__((may_alias));
/* NULL while x87 is in its initial state. */
struct x87_env *xstate_x87(const struct cpu_state *state);

/* ---- memory that is never given back ---- */

void *cpu_arena(size_t bytes);

/* ---- bring-up ---- */

bool cache_init(void);
/* Takes the decoder's functions by name; false: one is missing, or the version is another (*what names it). */
bool decoder_bind(void *(*symbol)(const char *name), const char **what);

/* ---- code bytes (stub.S) ---- */

/* Copies up to n bytes of code; fewer when the memory cannot be read. */
unsigned stub_fetch(u8 *dst, u64 src, unsigned n);

#endif
