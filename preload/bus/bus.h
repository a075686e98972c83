/*
 * The bus: hands an access to its device under the device's lock, and applies
 * the policy on widths, holes and misuse. Knows no signal and no program.
 */
#ifndef MMIOSHIM_BUS_BUS_H
#define MMIOSHIM_BUS_BUS_H

#include "backends/backend.h"
#include "config/dma.h"
#include "memory/arena.h"
#include "memory/clock.h"
#include "memory/view.h"
#include "trace/print.h"

enum unassigned { UNASSIGNED_ONES, UNASSIGNED_ZERO, UNASSIGNED_FAULT };

struct bus;
struct irq_route;
struct transfers;

/* One device as this process sees it. */
struct bus_device {
    struct mmioshim_device dev;
    struct bus *bus;
    struct arena_device *shared;
    struct backend backend; /* ops NULL: none. Reached through bus_end() */
    struct backend *more;   /* the others of a device that has several */
    u32 nends;
    u32 full;               /* which took no more when it was last asked */
    const struct irq_route *routes; /* where its interrupt lines go, shared->nwires of them (bus/irq.h) */
    struct transfers *transfers; /* with a disk that answers later; the worker's (bus/transfers.h) */
    struct machine_dma dma; /* what it reaches, from the device tree */
    struct iommu_endpoint *endpoint; /* what it is to the IOMMU in front of it; NULL: there is none */
    u16 function; /* 1 and the index of the PCI function whose BAR it is behind; 0: none */
    u32 owner;    /* the device that is this function: interrupts and DMA are its */
};

/* What PCI functions decide for the devices behind their BARs (pci/). Trap or worker. */
struct bus_functions {
    bool (*masters)(u32 function); /* May it reach memory? */
    bool (*sends)(u32 function);   /* Do messages stand for its pin? */
    /* struct mmioshim_host's irq(), of a device that is locked. False: it is a line like any other. */
    bool (*ask)(struct mmioshim_device *dev, u32 function, unsigned line, bool level);
    /* Does what functions were asked for; no device is locked. */
    void (*settle)(struct bus *bus, const struct lock_self *self);
};

struct bus {
    struct machine *machine;
    struct bus_device *devices; /* one for each window, of memory and of ports, in the order of the description */
    u32 ndevices;
    enum unassigned unassigned;
    struct trace_device *names; /* the same devices for the log */
    const struct bus_functions *functions; /* NULL: there is no PCI */
};

/* What happened beside the data of an access. */
struct bus_note {
    u16 reg, element;  /* TRACE_NONE: no register there */
    bool unassigned;
    bool fault;        /* MMIOSHIM_UNASSIGNED=fault says no */
    const char *rule;  /* lint: rule and text, NULL: nothing to say */
    char text[96];
};

struct bus_irq {
    u32 device, number;
    u16 line; /* of the device; its number is the controller's */
    bool level;
    bool message; /* an event of its own, which no line carries */
};

/* What a device asked for during an access; the caller does it after the event is logged. */
struct bus_requests {
    union {
        struct {
            bool end;
            bool reset;
            bool due;  /* the time of a device has come: bus_serve_due() */
            bool ring; /* a device waits for something: the worker is to see to it */
            bool more; /* more lines changed than there is room for: irq_deliver_all() */
            bool functions; /* PCI functions were asked for something */
            u8 nirqs;
            u8 nsoon;
        };
        u64 any; /* any of them at all */
    };
    int status;
    struct bus_irq irqs[8];
    u32 soon[4]; /* devices whose service() is to run */
};

/* Plan for the arena: sizes of states, creation of devices. */
/* attach: MMIOSHIM_ATTACH, for devices that are slots. clock_virtual: MMIOSHIM_CLOCK of a machine that is made now. */
void bus_plan(struct bus *bus, struct arena_plan *plan, struct machine_desc *desc, const char *attach, bool clock_virtual);
/*
 * Binds every device to its state, and opens host ends. attach: MMIOSHIM_ATTACH.
 * 0, or -1 with one line. Ordinary context, in every process.
 */
int bus_start(struct bus *bus, struct machine *machine, enum unassigned unassigned, const char *attach, struct fmt *error);
/* Closes the host ends that this process opened. Ordinary context. */
void bus_stop(struct bus *bus);

/* A host end of a device, below nends or the first (which may be none): its descriptors may have had to move. Any context. */
struct backend *bus_end_at(struct bus_device *device, u32 end);
static inline struct backend *bus_end(struct bus_device *device)
{
    return bus_end_at(device, 0);
}

/* Holds a device, or more than one, in any way that the thread likes. Not between bus_enter() and bus_leave(). */
void bus_lock(struct bus_device *device, const struct lock_self *self);
void bus_unlock(struct bus_device *device, const struct lock_self *self);
/* bus_leave() without a biased lock: the thread gets a lane when it would be of use. */
void bus_leave_taken(struct bus_device *device, struct lock_self *self);

/*
 * Holds one device for one access, at almost no cost for the thread that had it last. Tells how, for bus_leave().
 * Asynchronous signals are masked or deferred in between.
 */
static inline bool bus_enter(struct bus_device *device, const struct lock_self *self)
{
    if (likely(lock_enter(&device->shared->lock, self)))
        return true;
    bus_lock(device, self);
    return false;
}

static inline void bus_leave(struct bus_device *device, struct lock_self *self, bool biased)
{
    if (likely(biased))
        lock_exit(self);
    else
        bus_leave_taken(device, self);
}

/*
 * One access of `width` bytes (1 to 64) at an offset of the window, wholly
 * inside it; the device's lock is held. MMIOSHIM_WAIT: nothing happened, wait
 * with bus_wait() after unlocking and try again; else it is done and *note
 * tells how. Trap context.
 */
enum mmioshim_status bus_access(struct bus *bus, struct bus_device *device, u64 offset, void *data, unsigned width,
                                bool write, struct bus_note *note);
/*
 * The rest of bus_access() for who has asked the device himself, by its class's read or write with a width that it
 * takes, and has got `status`: neither MMIOSHIM_OK, with which there is no rest, nor MMIOSHIM_WAIT. data: as read.
 */
enum mmioshim_status bus_answered(struct bus *bus, struct bus_device *device, u64 offset, void *data, unsigned width,
                                  bool write, enum mmioshim_status status, struct bus_note *note);
/* The register at an offset, for the log. */
void bus_register(struct bus_device *device, u64 offset, bool write, struct bus_note *note);
/* Fills data with what an address shows where nobody is. False: MMIOSHIM_UNASSIGNED=fault. */
bool bus_nobody(const struct bus *bus, void *data, unsigned width);
/* Waits until the host end that takes no more is ready, at most timeout_ms. Any lock or none is held. */
void bus_wait(struct bus_device *device, int timeout_ms);
/* Did devices ask for something on this thread that bus_take_requests() would tell? */
static inline bool bus_requested(void)
{
    __attribute__((visibility("hidden"))) extern __thread struct bus_requests bus_requests;

    return bus_requests.any;
}
/* An access was made: time goes on. */
static inline void bus_tick(const struct bus *bus)
{
    __attribute__((visibility("hidden"))) extern __thread struct bus_requests bus_requests;

    if (unlikely(clock_tick(bus->machine->arena)))
        bus_requests.due = true;
}
/* What devices asked for on this thread since the last call. False: nothing, *taken is unchanged. */
bool bus_take_requests(struct bus_requests *taken);
/* Runs the service() that a device asked for, under its lock; it may ask for more. */
void bus_serve(struct bus *bus, u32 device, const struct lock_self *self);
/* Runs service() of the devices whose time has come. No lock held. */
void bus_serve_due(struct bus *bus, const struct lock_self *self);
/* Resets all devices. */
void bus_reset(struct bus *bus, const struct lock_self *self);

#endif
