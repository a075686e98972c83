/*
 * The trap: a faulting access to a window becomes an access to a device.
 * Stages: fault -> decode -> route -> device -> complete -> log. See pipeline.c.
 */
#ifndef MMIOSHIM_TRAP_TRAP_H
#define MMIOSHIM_TRAP_TRAP_H

#include <signal.h>
#include <ucontext.h>

#include "bus/bus.h"
#include "cpu/cpu.h"
#include "memory/ram.h"
#include "memory/view.h"
#include "trap/signals.h"
#include "trap/thread.h"

#define TRAP_DEVICES 8 /* most devices that one instruction's operand can touch: 64 bytes of one-byte windows do not count */

/* One trapped instruction on its way; on the stack of the handler. */
struct trap {
    struct thread *thread;
    siginfo_t *info;
    ucontext_t *uc;
    /* fault */
    u64 fault_addr;
    bool fault_write;
    /* decode */
    struct cpu_state state;
    const struct cpu_insn *insn;
    struct cpu_insn original; /* what stood where a debugger has its breakpoint */
    bool stepped; /* there is one */
    /* route and device: of the access under way */
    struct bus_device *locked[TRAP_DEVICES]; /* ascending; held from begin to end */
    unsigned nlocked;
    bool kept;      /* they stay locked from begin or hold to end */
    bool bracketed; /* between begin and end of a read-modify-write */
    struct near near; /* where an access of this instruction went */
    struct bus_device *wait; /* whose host end is to be waited for */
    bool refused;   /* MMIOSHIM_UNASSIGNED=fault */
    bool port;      /* a protection fault, which concerns us when the instruction is port I/O */
    /* Of the access that failed: its first byte that cannot be reached, and whether the program's own memory said so. */
    u64 failed_at;
    bool failed_own;
    bool failed_modify; /* read in order to be written: the CPU asks for both rights at once */
    unsigned accesses;
    /* complete */
    enum cpu_outcome outcome;
    bool over; /* the program goes on by its context alone */
    struct cpu_result result;
};

enum trap_answer { TRAP_HANDLED, TRAP_DECLINED, TRAP_FAILED };

/* Bring-up: what every trap needs. Ordinary context, once. */
void trap_start(struct bus *bus, const struct view *view, const struct view *ports);
/* The handler of SIGSEGV and its kin (signals_fault of trap/signals.h). */
enum fault_answer trap_signal(int sig, siginfo_t *info, ucontext_t *uc);
/* The stages, strung together. */
enum trap_answer trap_run(struct trap *trap);

/* route.c: the memory that the instruction sees. */
extern const struct cpu_bus trap_bus;
/* near.c. Does an address of the program lie in a page that we trap? *machine gets the machine address. */
bool trap_concerns(u64 addr, u64 *machine);
/* The same for an address that this instruction reaches; what is found is kept in trap->near. */
bool trap_finds(struct trap *trap, u64 addr);
/* May the program read or write there, as it mapped and protected the machine? True: it is none of ours. */
bool trap_allows(u64 addr, bool write);
/* Does the machine have I/O ports? Without them port I/O is the program's own fault. */
bool trap_has_ports(void);
/* Interrupt lines, program end and reset that devices asked for. */
void trap_requests(struct trap *trap);
/* Makes the program end with a status as soon as the handler returns. */
void trap_end_program(ucontext_t *uc, int status);
/* What is known of a fault that will end the program, for [FAULT]. */
void trap_diagnose(u64 addr, struct fmt *out);
void trap_diagnose_port(u16 port, struct fmt *out);

/* The part of a window that an address lies in, as the program reaches it. */
struct trap_place {
    struct range window; /* in the program */
    struct bus_device *device;
    u64 offset;  /* of its base in the device */
    u64 machine; /* of its base in the machine */
    int prot;    /* what the program mapped it for */
    bool moves;  /* the device may be elsewhere at the next access */
};

/* False: it lies in none. Any context. */
bool trap_place(u64 addr, struct trap_place *place);
/* The bus that devices are on. */
struct bus *trap_the_bus(void);

/* Accesses of patched sites (patch/). In a call of the program's thread: asynchronous signals are deferred. */
enum trap_site_answer {
    TRAP_SITE_DONE,
    TRAP_SITE_NONE, /* nothing happened: it is no plain access to one device */
    TRAP_SITE_WAIT, /* nothing happened, and the device's host end was waited for a moment */
};
/* The caller fills t->state. */
void trap_site_begin(struct trap *t, struct thread *thread, const struct cpu_insn *insn);
/* Locks the device until release. False: as TRAP_SITE_NONE. */
bool trap_site_hold(struct trap *t, u64 addr, unsigned n);
void trap_site_release(struct trap *t);
enum trap_site_answer trap_site(struct trap *t, u64 addr, void *data, unsigned n, bool write);
/* What devices asked for is done; true: the program ends with *status. */
bool trap_site_requests(struct trap *t, int *status);
/* Ends the program, as if it had called exit(). Ordinary context. */
void trap_end(int status) __attribute__((noreturn));

/*
 * An access that no instruction makes: a system call's buffer, /dev/mem's read
 * and write. Each is one event of `width` bytes. False: nobody is there and
 * MMIOSHIM_UNASSIGNED=fault. Ordinary context.
 */
bool trap_access(u64 machine_addr, void *data, unsigned width, bool write);
/* The same at an I/O port. */
bool trap_access_port(u32 port, void *data, unsigned width, bool write);
/*
 * The program waits, at most so many nanoseconds (CLOCK_NEVER: for ever): virtual time goes on to the next time that a
 * device waits for, again and again until one of them interrupts this process. Returns the signals that tell it. With
 * real time, in a process that did not use the machine, or when it is interrupted already: nothing happens, 0. In a call.
 */
u64 trap_waits(u64 most);
/* A system call was given a window for a buffer: a lint line. */
void trap_lint_buffer(u64 machine_addr, const char *call);

#endif
