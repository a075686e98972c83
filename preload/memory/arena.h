/*
 * The arena: the machine's shared state. Plain data with offsets from its own
 * start, mapped wherever a process has room; no pointers, no descriptors. An
 * unnamed machine is a pair of memfds (arena and RAM) that lives as long as a
 * process of it; a named one is a directory with the files arena and ram.
 *
 * A process finds its machine by MMIOSHIM_MACHINE, else among the descriptors
 * that it inherited, else among those of its ancestors (/proc/PID/fd).
 */
#ifndef MMIOSHIM_MEMORY_ARENA_H
#define MMIOSHIM_MEMORY_ARENA_H

#include "base/fmt.h"
#include "base/lock.h"
#include "config/machine.h"
#include "memory/iommu.h"
#include "trace/print.h"

#define ARENA_MAGIC   0x31304d4853494d4dull /* "MMISHM01", little-endian */
#define ARENA_VERSION 20u /* of the layout: a machine of another one is refused */
#define ARENA_MEMBERS 8192u
#define ARENA_LOGS    256u
#define ARENA_HARTS   64u
#define ARENA_SIGNALS 65u
#define ARENA_LISTENERS 256u
#define ARENA_PCI_IDS 16u
#define ARENA_ENDS      8u /* host ends of a device */

enum {
    MEMBER_TOUCHED = 1, /* had an access or wrote RAM */
    MEMBER_SCANNED = 2, /* its dirty pages are found by a scan of its page tables: lost when it is killed */
    MEMBER_PORTS = 4,   /* was granted I/O ports, which exec and children keep */
};

/* A process of the machine. pid 0: free. Changed under members_lock. */
struct arena_member {
    u32 pid;
    u32 flags;
    u64 start; /* start time of the process */
    u64 namespace; /* its pid namespace: numbers mean nothing elsewhere */
};

/* A process that does something for a device. pid 0: there was none. */
struct arena_process {
    u32 pid, reserved;
    u64 start, namespace;
};

/* The first cache line is all that an access needs which nobody wants a record of. */
struct arena_device {
    struct lock lock;
    u64 quiet[2]; /* such reads and writes, counted under the lock */
    u16 class __attribute__((aligned(64))); /* number in devices.def */
    u16 window;  /* index into the description's windows */
    u32 reserved;
    u64 state;   /* offset in the arena */
    u64 state_size;
    u64 wires;   /* offset of its interrupt lines in the arena, struct arena_wire each */
    u32 nwires;
    u32 input_wanted; /* it wants to be served when its host ends have input, bit each */
    u32 wake;     /* it wants to be served by the worker */
    u32 attended; /* its host end has been opened as far as it can be (bus/outside.h); a futex */
    u64 deadline; /* when it wants to be served (memory/clock.h), CLOCK_NEVER: not at all */
    u64 refused; /* DMA of the device. Under the lock, as are */
    u64 reads, writes; /* the other accesses, counted under the lock */
    u64 numbered;      /* how many of the quiet ones next_seq knows of. Under log_lock */
    u64 ends[ARENA_ENDS];      /* by what host ends that processes share are known (backends/backend.h); 0: not shared */
    u32 end_epoch[ARENA_ENDS]; /* how often they changed */
    u64 end_base, end_size; /* of its host end (backends/backend.h) */
    u32 rung;   /* when `wake` or `polled` was last said: milliseconds of CLOCK_MONOTONIC_COARSE */
    u32 polled; /* enum mmioshim_poll. Under the lock */
    struct arena_process server, helper; /* a disk that answers later: the worker that serves it, and who asks its host end */
};

/* An interrupt line of a device, and what was heard of it (bus/irq.h). Changed under the device's lock. */
struct arena_wire {
    u32 count;   /* events; a futex */
    u32 waiters; /* threads that sleep on it */
    u8 level;
    u8 masked;   /* no events */
    u8 edge;     /* an edge that comes while it is masked is kept; else the level counts when it is unmasked */
    u8 once;     /* an event masks it */
    u8 kept;     /* an edge is kept */
    u8 reserved[3];
};

/* The interrupts of a CPU. Under irqs.lock. */
struct arena_hart {
    int node;    /* of its interrupt controller, in the description */
    u64 pending; /* bit per interrupt, numbered as in the register mip */
    u8 signal[64]; /* which signal tells the program of each, 0: none */
    u64 threaded;  /* a bit for each whose signal goes to one thread */
};

/* Who is told by a signal: the process, and the thread, that was the last to install a handler for it. pid 0: nobody. */
struct arena_vector {
    u32 pid, tid;
    u64 start, namespace;
};

struct arena_irqs {
    struct lock lock; /* never biased */
    u32 nharts;
    struct arena_hart hart[ARENA_HARTS];
    struct arena_vector vector[ARENA_SIGNALS];
};

/* A descriptor that listens to an interrupt line (bus/listeners.h). Changed under events_lock. */
struct arena_listener {
    u64 token;   /* its name, 0: free */
    u64 network; /* the namespace that this name is known in */
    u32 device, line;
    u32 seen;    /* events of the line when it was last read */
    u32 told;    /* a datagram lies in it */
};

/* A log that has its [MEM] block. */
struct arena_log {
    u64 dev, ino;
    u64 session; /* of standard error: a new session writes the block again; 0: a file */
};

struct arena_counters {
    u64 accesses, reads, writes, lint, lost;
};

/* What /sys/class/u-dma-buf lets programs set. */
struct arena_buffer {
    u64 sync_offset, sync_size;
    u32 sync_mode, sync_direction, sync_owner;
};

struct arena {
    u64 magic;
    u32 version;
    u32 ready; /* 1: complete */
    u64 size;
    u64 map_hash;
    u64 ram_dev, ram_ino; /* of the RAM file, to recognise an inherited descriptor */
    u64 mem_dev, mem_ino; /* of the file that stands for /dev/mem */
    u32 uid;
    u32 ndevices;
    u64 pages;   /* of RAM, all banks */
    u64 session; /* counts the times that the machine came to life */

    u64 map_version; /* grows whenever something on the PCI bus moves, appears or goes */
    struct lock members_lock;
    struct lock log_lock;
    u32 log_writing; /* the holder of log_lock has taken a number and not yet written its line */
    u64 next_seq;  /* last event number given */
    u64 quiet_holes, numbered_holes; /* as in struct arena_device */
    u32 quiet_begun; /* quiet accesses happen */
    u32 next_stack;
    u32 pid_ordinals, tid_ordinals;
    struct arena_counters counters;
    u64 pci_ids[ARENA_PCI_IDS]; /* vendor << 32 | device that uio_pci_generic was told of. Atomic */
    u32 tree_opened; /* somebody opened a file of the tree: descriptors are looked at */
    u64 tree_dev;    /* of such files, 0: there was none yet */
    u64 tree_born;   /* their times: seconds of CLOCK_REALTIME */
    u32 pending;  /* children that were made and have not joined yet */
    u64 killed;   /* members that died without reporting their pages, since the last [DIRTY] */
    u64 finished; /* accesses at the last [EXIT]: a machine nobody touched since writes none */
    u32 clock_virtual; /* time of devices is virtual_now (memory/clock.h) */
    u64 virtual_now;   /* ns */
    u64 next_deadline; /* no device wants to be served earlier */
    struct arena_irqs irqs;
    struct lock worker_lock; /* of making one. Never biased */
    char bell[6];            /* name of the worker's bell (trap/worker.h), zeroes: there was none yet */
    struct lock events_lock; /* of listeners. Never biased */
    u32 listeners_used;      /* entries of the table from here on are free */
    struct arena_listener listeners[ARENA_LISTENERS];

    struct arena_log logs[ARENA_LOGS];
    u32 members_used; /* entries of the table from here on never held anybody: to read all would bring 48 pages to life */
    u64 members; /* offsets of the tables */
    u64 lanes;
    u64 iommu;
    u64 devices;
    u64 dirty; /* bitmap, bit per page of RAM; each bank begins at a multiple of 64 bits */
    u64 dirty_bits;
    u64 fdt;
    u64 fdt_size;
    u64 huge; /* pages for DMA (memory/huge.h) */
    struct arena_buffer buffers[8]; /* of u-dma-buf, as config/pools.h has them */
    char map[256]; /* MMIOSHIM_MAP as given, made absolute */
    char name[80]; /* MMIOSHIM_MACHINE, "" when unnamed */
};

/* What the shim knows of the machine in this process. */
struct machine {
    struct arena *arena;
    const struct machine_desc *desc;
    int arena_fd, ram_fd, mem_fd;
    bool joined; /* somebody else made it */
};

static inline void *arena_at(struct arena *arena, u64 offset)
{
    return (char *)arena + offset;
}

static inline struct arena_device *arena_devices(struct arena *arena)
{
    return arena_at(arena, arena->devices);
}

static inline struct arena_wire *arena_wires(struct arena *arena, u32 device)
{
    return arena_at(arena, arena_devices(arena)[device].wires);
}

static inline struct lock_lanes *arena_lanes(struct arena *arena)
{
    return arena_at(arena, arena->lanes);
}

static inline struct iommu *arena_iommu(struct arena *arena)
{
    return arena_at(arena, arena->iommu);
}

static inline u64 *arena_dirty(struct arena *arena)
{
    return arena_at(arena, arena->dirty);
}

struct machine;

/* Answered by the caller, who knows the models. */
struct arena_plan {
    void *context;
    /* Bytes of state of the device of a window, and the number of its class. */
    u64 (*state_size)(void *context, u32 window, u16 *class);
    /* How many interrupt lines it has. */
    u32 (*wires)(void *context, u32 window);
    bool clock_virtual;
    /* The map of a machine that is about to be made was loaded: what else belongs to it. May be NULL. 0, or -1 with one line. */
    int (*complete)(void *context, struct machine_desc *desc, struct fmt *error);
    /* The machine was just made: creates its devices, before anybody else can join. 0, or -1 with one line. */
    int (*create)(void *context, struct machine *machine, struct fmt *error);
};

/*
 * Joins the machine of this process, or makes it. `desc` is filled: from the
 * arena's blob when joined, else by machine_load(map). 0, or -1 with one line.
 * Ordinary context.
 */
int machine_attach(struct machine *machine, struct machine_desc *desc, const char *name, const char *map, bool map_given,
                   const struct arena_plan *plan, struct fmt *error);
/* Offset of a RAM address in the RAM file; false: no RAM. */
bool machine_ram_offset(const struct machine_desc *desc, u64 addr, u64 *offset);
/* First bit of a bank in the dirty bitmap, a multiple of 64; for the number of banks: bits of the whole bitmap. */
u64 machine_dirty_start(const struct machine_desc *desc, u32 bank);
/* Bit of the page that holds a RAM address; false: no RAM. */
bool machine_dirty_bit(const struct machine_desc *desc, u64 addr, u64 *bit);

/* Enters this process, or refreshes its entry (exec keeps pid and start time). Ordinary or child of fork. */
void member_join(struct arena *arena, const struct lock_self *self, u32 flags);
void member_flag(struct arena *arena, const struct lock_self *self, u32 flags);
/* Flags of the entry of a process; 0: it has none. Any context. */
u32 member_flags(struct arena *arena, u32 pid);
/*
 * Takes this process out. Members that were killed are counted in arena->killed.
 */
struct member_rest {
    bool none;      /* no living process is left: the caller writes [DIRTY] and [EXIT] */
    bool untouched; /* none of those that are left touched the machine */
};
struct member_rest member_leave(struct arena *arena, const struct lock_self *self);
/* This process was expected, and will not take part: nobody need wait for it. */
void member_stays_out(struct arena *arena, const struct lock_self *self);
/* A child is about to be made that will join (or, negative, was not made): who leaves meanwhile waits for it a moment. */
void member_expect(struct arena *arena, int children);
/* What happened on the machine so far: accesses that no device had, and those of all devices. */
struct arena_counters machine_totals(struct arena *arena);
/* Living members, called under no lock by tools. */
unsigned member_count(struct arena *arena);

/* For the `machine` command. */
int machine_dir_list(void (*each)(const char *name, unsigned members, void *ctx), void *ctx);
int machine_dir_remove(const char *name, struct fmt *error);
int machine_dir_reset(const char *name, struct fmt *error);
int machine_dir_dirty(const char *name, void (*each)(const struct trace_bank *bank, const u8 *bitmap, u64 pages, void *ctx),
                      void *ctx, struct fmt *error);

#endif
