/* What the files of this room share: the state of a function, and where it is in this process. */
#ifndef MMIOSHIM_PCI_OWN_H
#define MMIOSHIM_PCI_OWN_H

#include "bus/bus.h"
#include "config/machine.h"
#include "pci/registers.h"

enum { PCI_BUSY_INTERRUPT = 1, PCI_BUSY_RESET = 2 };

/*
 * In the arena. config changes under the lock of the function's device, and is read without it by whoever decodes an
 * address or asks whether the function may do something: single aligned words, each of which is right by itself.
 */
struct pci_state {
    u8 config[PCI_FUNCTION_SIZE];   /* as it reads */
    u8 mask[PCI_FUNCTION_SIZE];     /* bits that a write sets */
    u8 clear[PCI_FUNCTION_SIZE];    /* bits that writing 1 clears */
    u8 fresh[PCI_FUNCTION_SIZE];    /* after power-on */
    u8 assigned[PCI_FUNCTION_SIZE]; /* after firmware */
    u64 asked[PCI_VECTORS / 64];    /* messages that are to be sent, bit each: what MSI-X calls pending. Atomic */
    u32 busy;                       /* what settling has to do, PCI_BUSY_. Atomic */
    u32 firmware;                   /* `assigned` is filled */
    u16 function;                   /* index in the description */
    u16 express, power, msi, msix, sriov; /* offsets of capabilities, 0: none */
    u16 window; /* of virtio's window into the BARs, VIRTIO 1.2, 4.1.4.9; 0: none */
    char driver[32];                /* whom the function is bound to, "": nobody */
    char override[32];              /* the only driver that may take it, "": any */
    u32 uio;                        /* which UIO device it is, from 1 */
    u32 rom_shown;
};

/* This process. */
struct pci_here {
    struct bus *bus; /* NULL while the machine is being made */
    struct arena *arena;
    const struct machine_desc *desc;
    const struct machine_pci *pci; /* NULL: the machine has none */
    struct pci_state *state[PCI_FUNCTIONS];
};

extern struct pci_here pci_here;

/* Where the state of each function is. Ordinary context. */
void pci_find_states(struct machine *machine);

static inline u16 pci_get16(const struct pci_state *s, unsigned offset)
{
    return __atomic_load_n((const u16 *)(const void *)&s->config[offset], __ATOMIC_ACQUIRE);
}

static inline u32 pci_get32(const struct pci_state *s, unsigned offset)
{
    return __atomic_load_n((const u32 *)(const void *)&s->config[offset], __ATOMIC_ACQUIRE);
}

/* Something moved, appeared or went. */
static inline void pci_moved(void)
{
    if (pci_here.arena)
        __atomic_fetch_add(&pci_here.arena->map_version, 1, __ATOMIC_RELEASE);
}

/* --- build.c: ordinary --- */

/* Fills fresh, mask and clear. */
void pci_build(struct pci_state *s, const struct machine_pci *pci, u32 function);

/* --- decode.c: any context --- */

struct pci_hit {
    u32 device; /* number in the machine */
    struct range bus; /* addresses that the BAR has now */
};

/* Is the function there: physical, or virtual and enabled? */
bool pci_there(u32 function);
/* Which function answers to a bus number and a place; -1: none. */
int pci_at(u8 bus, u8 devfn);
/*
 * Where the word at the end of such a window leads. False: to nobody, and it is plain memory. *bar: of the function,
 * *offset: in it.
 */
bool pci_window(u32 function, unsigned *bar, u32 *offset);
/* Which BAR answers to an address of the bus. False: none does. */
bool pci_decode(bool io, u64 addr, struct pci_hit *hit);
/* What a bridge passes on, decoded or not: 0 I/O, 1 memory, 2 prefetchable memory. False: nothing. */
bool pci_bridge_window(const struct pci_state *s, unsigned window, u64 *base, u64 *limit);
/* Where a BAR is on the bus, whether or not it is decoded. bar: of pci_function.bars. */
u64 pci_bar_address(u32 function, unsigned bar);
/* struct view's refine() */
void pci_refine(const struct view *view, u64 addr, struct view_span *span);

/* --- messages.c: the lock of the function's device is held --- */

/* Sets the level of the pin, sends the messages that may be sent. */
void pci_settle_function(struct mmioshim_device *dev);
/* struct bus_functions */
bool pci_masters(u32 function);
bool pci_sends(u32 function);
bool pci_ask(struct mmioshim_device *dev, u32 function, unsigned line, bool level);
void pci_settle(struct bus *bus, const struct lock_self *self);
/* A vector's message may be sent again, or its function is to be reset: settling is due. Any context. */
void pci_busy(u32 function, u32 what);

/* --- assign.c: ordinary --- */

/* What firmware does: places for all BARs, windows and numbers of bridges. 0, or -1 with one line. */
int pci_assign(struct fmt *error);

#endif
