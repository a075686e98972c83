/*
 * cpu/: bytes and registers in, effects out. Knows no device and no signal.
 *
 * The general mechanism is to run the real instruction with its memory operand
 * replaced by [base register], pointing at a scratch that holds what the bus
 * answered; the CPU computes results and flags. Plain moves and repeated
 * string moves take a path in C. Works in a signal handler (no malloc, no
 * libc) and in ordinary code alike.
 */
#ifndef MMIOSHIM_CPU_CPU_H
#define MMIOSHIM_CPU_CPU_H

#include "base/fmt.h"
#include "base/types.h"

/* Registers in the order of their encoding: rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15. */
struct cpu_state {
    u64 gpr[16];
    u64 rip;
    u64 rflags;
    u64 fs_base, gs_base; /* for instructions that are segmented */
    void *xsave;      /* XSAVE area, standard format, 64-byte aligned (SDM vol. 1, 13.4); NULL: no x87, no vectors */
    u64 xfeatures;    /* components that the area can hold */
};

enum cpu_fault { CPU_NO_FAULT, CPU_FAULT_ACCESS, CPU_FAULT_NESTED };

/*
 * The memory that an instruction reaches, by virtual address. Accesses may
 * touch windows and ordinary memory; the callee splits them.
 */
struct cpu_bus {
    void *context;
    /* n bytes (1 to 64). False: the address cannot be reached. */
    bool (*read)(void *context, u64 addr, void *buf, unsigned n);
    bool (*write)(void *context, u64 addr, const void *buf, unsigned n);
    /*
     * Could all the n bytes (any number) be read, or written? No device notices. False: as for read and write. Asked
     * before an operand that crosses into another page is touched: the CPU does all of it or nothing. May be NULL.
     */
    bool (*reach)(void *context, u64 addr, unsigned n, bool write);
    /* Brackets a read-modify-write: from begin to end nobody else reaches the bytes. May be NULL. */
    void (*begin)(void *context, u64 addr, unsigned n);
    void (*end)(void *context);
    /*
     * Asked before an instruction's several accesses, all of them within [addr, addr+n): true where one device has
     * these bytes, and nobody else reaches it until end. An economy only: every access may be made without. May be NULL.
     */
    bool (*hold)(void *context, u64 addr, unsigned n);
    /* Asked after a read or write that returned false: true = nothing happened, try the instruction again later. */
    bool (*retry)(void *context);
    /* Does the access concern us, that is, does [addr, addr+n) touch a window? Used by string instructions. */
    bool (*ours)(void *context, u64 addr, unsigned n);
    /*
     * The I/O ports, another address space: n is 1, 2 or 4, and the last bytes may lie behind port 0xffff. False:
     * denied, the CPU would raise #GP. NULL, both: there are none, and port instructions are refused.
     */
    bool (*port_read)(void *context, u16 port, void *buf, unsigned n);
    bool (*port_write)(void *context, u16 port, const void *buf, unsigned n);
};

enum cpu_outcome {
    CPU_DONE,    /* state holds the result, rip the next instruction (or the same one, for a repeated string
                    instruction that left the windows or ran CPU_BURST iterations: it goes on natively, and a
                    repeated ins or outs traps again) */
    CPU_REFUSED, /* not emulated; state is unchanged; insn->refusal says why */
    CPU_FAULTED, /* the instruction itself faults at its own rip: result->fault says how; state as at the fault */
    CPU_RETRY,   /* the bus said so (cpu_bus.retry): run the instruction again. State is unchanged, but for the
                    progress of a repeated string instruction, gather or scatter, and for what an xrstor
                    has loaded, which it loads again. Accesses that the
                    instruction made before the failed one happen again. */
};

/* Iterations of a repeated string instruction in one cpu_run, so that signals get their chance. */
#define CPU_BURST 4096

struct cpu_result {
    enum cpu_fault fault;
    u64 fault_addr; /* CPU_FAULT_ACCESS: the byte that the bus has put here, if it did, else the start of the access */
    bool fault_write;
    bool fault_stack; /* the access went through ss */
    int signal;     /* CPU_FAULT_NESTED: the signal that the stub raised, SIGFPE and so on */
    int code;       /* and its si_code */
    u64 signal_addr; /* and its si_addr, in the program's terms: its rip or its operand, never the stub's */
    const char *refusal; /* CPU_REFUSED: why, also where only the state at hand tells */
};

/* A decoded instruction; immutable once made, so threads share it. Opaque but for these. */
struct cpu_insn {
    u8 bytes[15];
    u8 length;
    u8 kind;          /* private to cpu/ */
    bool reads, writes; /* the memory operand */
    bool segmented; /* its address is relative to fs or gs: cpu_state has their bases */
    u16 size;         /* bytes of the memory operand */
    const char *refusal; /* why it is refused; NULL: it is not */
    u64 detail[16];   /* private to cpu/ */
};

/*
 * Opens the decoder (dlopen of libZydis, RTLD_LOCAL) and makes the first pool
 * of stubs. 0, or -1 with the reason. Ordinary context, once a process.
 */
int cpu_init(struct fmt *error);
/* After fork, in the child: pools made before belong to the parent as well and get no more stubs. */
void cpu_after_fork(void);

/*
 * Decodes `avail` bytes (1 to 15). False: no instruction (insn->refusal says so),
 * or `*more` is set and more bytes are needed. An instruction that is understood
 * but refused is true with insn->refusal set. Any context.
 */
bool cpu_decode(struct cpu_insn *insn, const u8 *bytes, unsigned avail, bool *more);

/*
 * Decoded instruction at rip, from a cache keyed by address and bytes. NULL: no instruction there that the
 * decoder knows, or rip cannot be read (the fault handler must ask cpu_stub_fault). Any context.
 */
const struct cpu_insn *cpu_lookup(u64 rip);
/* The same for bytes that are given (1 to 15). NULL: no instruction, or it goes on behind them. Any context. */
const struct cpu_insn *cpu_intern(const u8 *bytes, unsigned avail);
/* Forgets the cache (code was unmapped). Any context. */
void cpu_forget(void);

/*
 * Address of the first memory operand, size in *size; for the log and for the question whose
 * fault this is. String instructions and bit tests with register offsets included.
 * False: the instruction has no memory operand (in and out, or a plain fault).
 */
bool cpu_operand(const struct cpu_insn *insn, const struct cpu_state *state, u64 *addr, unsigned *size);

/*
 * Is it port I/O: in, out, ins, outs? Then the port, the bytes of one access, and whether it goes out. Any context.
 */
bool cpu_port(const struct cpu_insn *insn, const struct cpu_state *state, u16 *port, unsigned *width, bool *write);

/*
 * Does the instruction, run now, touch a window (bus->ours) with any of its
 * accesses: both sides of a movs, the stack, each enabled element of a gather?
 * A repeated string instruction is asked for its current iteration.
 */
bool cpu_concerns(const struct cpu_insn *insn, const struct cpu_state *state, const struct cpu_bus *bus);

/* Runs the instruction. The caller writes state back into the signal frame. Any context, signals masked. */
enum cpu_outcome cpu_run(const struct cpu_insn *insn, struct cpu_state *state, const struct cpu_bus *bus,
                         struct cpu_result *result);

/*
 * For the handler of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, before anything else: did this rip fault
 * inside a stub that cpu_run is executing on this thread, or where cpu_lookup reads code? Then it records
 * signal, code and address, and returns the address where the thread must go on with all other registers
 * as they are (cpu_run then answers CPU_FAULTED); 0: not ours.
 */
u64 cpu_stub_fault(u64 rip, int signal, int code, u64 addr);

/* How an instruction moves the instruction pointer, for those who look for instructions in code. */
struct cpu_flow {
    u8 length;
    u8 opcode;    /* of the one-byte map, legacy encoding; 0: another one */
    u8 relative;  /* offset of a displacement of 4 bytes from rip, 0: none */
    bool branch;  /* a relative one, to its own address + distance */
    i64 distance;
};

/* False: no instruction. Vector registers change (the library's code). */
bool cpu_flow(const u8 *bytes, unsigned avail, struct cpu_flow *flow);

/*
 * "mov byte ptr [rax], dl" (Intel syntax, registers as written), for logs and `mmioshim decode`. rip 0: relative
 * operands as they are encoded, "[rip+0x10]", the same in every run; else their absolute address. Any context.
 */
void cpu_disassemble(const u8 *bytes, unsigned length, u64 rip, struct fmt *out);
/* What the emulator would do, one line a fact ("kind: ...\n"), for `mmioshim decode`. Any context. */
void cpu_describe(const struct cpu_insn *insn, struct fmt *out);

#endif
