/*
 * mmioshim/device.h: the interface of a device model.
 *
 * A device model is one file that exports one `const struct mmioshim_class`.
 * It has no globals: everything that changes lives in `state`, plain data in
 * memory that all processes of a machine share, mapped at another address in
 * each of them. So state holds no pointers, no descriptors, no thread ids.
 *
 * UNSTABLE: this interface changes without notice until plug-ins ship.
 *
 * Contexts, named at each callback:
 *   ordinary  libc may be called
 *   trap      inside the signal handler of the program's access, asynchronous
 *             signals masked, the device's lock held: no libc, no blocking,
 *             no access to a window
 *   worker    off the access path, the device's lock held
 * The core has checked containment, width and overflow before a device sees
 * an access. A device never exits, never prints, never blocks.
 */
#ifndef MMIOSHIM_DEVICE_H
#define MMIOSHIM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMIOSHIM_DEVICE_API 1u /* first word of every class; another value is refused */

/* What a device says of an access. */
enum mmioshim_status {
    MMIOSHIM_OK,
    MMIOSHIM_NO_REGISTER, /* nothing is there: answered as MMIOSHIM_UNASSIGNED says */
    MMIOSHIM_BAD_WIDTH,   /* a register, but not at this width: reads give ones, writes are ignored */
    MMIOSHIM_READ_ONLY,   /* a write that the register ignores */
    MMIOSHIM_WRITE_ONLY,  /* a read of a register that cannot be read: *value is what the bus shows */
    MMIOSHIM_GUEST_BUG,   /* obeyed or not, the driver broke a rule of the hardware */
    MMIOSHIM_WAIT,        /* nothing done yet: the host end is not ready, ask again when it is */
};

enum mmioshim_reset { MMIOSHIM_RESET_COLD, MMIOSHIM_RESET_WARM };

/* What a disk does beside reading and writing: all written data is safe; bytes are of no use any more; are zeroes. */
enum mmioshim_disk {
    MMIOSHIM_DISK_FLUSH,
    MMIOSHIM_DISK_DISCARD,
    MMIOSHIM_DISK_ZERO,
    MMIOSHIM_DISK_ZERO_UNMAP,
    MMIOSHIM_DISK_READ, /* these two only in a transfer */
    MMIOSHIM_DISK_WRITE,
};

#define MMIOSHIM_PIECES 256u /* of a transfer, at most */

/* Bytes in RAM, by bus addresses. */
struct mmioshim_piece {
    uint64_t addr;
    uint32_t length;
};

/* What a disk is to do that answers later. */
struct mmioshim_transfer {
    enum mmioshim_disk what;
    bool safe; /* ends when what it changed is safe */
    uint64_t position, length; /* bytes */
    uint32_t npieces; /* READ and WRITE: together as long as the transfer */
    struct mmioshim_piece pieces[MMIOSHIM_PIECES];
};

/* How the worker looks at what a driver writes to RAM: not; while it moves, and a moment longer; always, the more rarely the longer nothing moves. */
enum mmioshim_poll { MMIOSHIM_POLL_OFF, MMIOSHIM_POLL_MOVING, MMIOSHIM_POLL_ALWAYS };

/* What packet_send() says when the host end has no room. */
#define MMIOSHIM_LATER 1

/* What may arrive undone: a checksum that is missing, TCP over IPv4 or IPv6 that is too large for the wire, one with CWR. */
enum { MMIOSHIM_UNDONE_CSUM = 1, MMIOSHIM_UNDONE_TSO4 = 2, MMIOSHIM_UNDONE_TSO6 = 4, MMIOSHIM_UNDONE_ECN = 8 };

enum mmioshim_rw { MMIOSHIM_RW, MMIOSHIM_RO, MMIOSHIM_WO };

/* A field of a register. One bit wide: its name is shown when set. Wider: NAME=VALUE when not 0. */
struct mmioshim_field {
    const char *name;
    uint8_t lsb;
    uint8_t width; /* bits */
};

enum {
    MMIOSHIM_REG_DATA = 1,    /* character data: the log shows the character */
    MMIOSHIM_REG_PLAIN = 2,   /* plain storage: reading and writing has no side effect */
    MMIOSHIM_REG_VOLATILE = 4 /* may change by itself between two reads */
};

/* Described once, for dispatch, log, lint and documentation. */
struct mmioshim_register {
    const char *name;
    uint32_t offset; /* bytes, as the data sheet has it (before reg-shift) */
    uint8_t width;   /* bytes: 1, 2, 4 or 8 */
    uint8_t access;  /* enum mmioshim_rw */
    uint8_t view;    /* 0: always there; else: there while the class's view() returns this number */
    uint8_t flags;
    uint16_t count;  /* array: number of elements, shown as NAME[i]; 0 or 1: no array */
    uint16_t stride; /* array: bytes from one element to the next */
    uint8_t nfields;
    const struct mmioshim_field *fields;
    const char *doc; /* one line */
};

#define MMIOSHIM_FIELDS(array) .nfields = sizeof(array) / sizeof((array)[0]), .fields = (array)

/* A property of a device-tree node or an option of an attachment, for `mmioshim devices`. */
struct mmioshim_property {
    const char *name;
    const char *doc;
};

struct mmioshim_class;
struct mmioshim_host;
struct mmioshim_node; /* the device's node in the machine description; see the host's property calls */

/* One device in one process. Never stored in `state`. */
struct mmioshim_device {
    const struct mmioshim_class *class;
    const struct mmioshim_host *host; /* services of the core */
    void *state;                      /* shared, zeroed before create() */
    uint64_t size;                    /* bytes of the window */
    const char *name;                 /* "uart@10000000" */
    uint32_t index;                   /* number of the device in its machine */
};

/* What an IOMMU lets a device do in a range of its addresses. */
enum { MMIOSHIM_DMA_READ = 1, MMIOSHIM_DMA_WRITE = 2 };

/* A transfer that the IOMMU refused. */
struct mmioshim_dma_fault {
    uint32_t endpoint;
    uint64_t addr;   /* the first byte that the endpoint cannot reach */
    bool write;      /* to memory */
    bool unattached; /* the endpoint had no domain; else the address was not mapped, or not for this */
};

/*
 * The IOMMU tables, for a class with translates(). Endpoints are the devices whose nodes name this one in `iommus`, by the
 * number there; domains have numbers of the IOMMU's choice, exist while an endpoint is attached, and map ranges of
 * bus addresses, both ends included. When one of these has returned no transfer is under way that does not heed it.
 * 0 or -errno: ENOENT no such endpoint (attach, detach) or domain (map, unmap); EINVAL the domain is one of bypass, or
 * is none; ENOMEM; ENOTCONN not attached there; EEXIST a part of the range is mapped; ERANGE a mapping would be cut.
 */
struct mmioshim_iommu {
    bool (*endpoint)(struct mmioshim_device *dev, uint32_t endpoint); /* Is there one? */
    int (*attach)(struct mmioshim_device *dev, uint32_t domain, uint32_t endpoint, bool bypass);
    int (*detach)(struct mmioshim_device *dev, uint32_t domain, uint32_t endpoint);
    int (*map)(struct mmioshim_device *dev, uint32_t domain, uint64_t first, uint64_t last, uint64_t target, unsigned flags);
    int (*unmap)(struct mmioshim_device *dev, uint32_t domain, uint64_t first, uint64_t last);
    void (*detach_all)(struct mmioshim_device *dev);
    void (*bypass)(struct mmioshim_device *dev, bool bypass); /* Do addresses of endpoints with no domain pass unchanged? */
    /* Takes a fault; service() is asked for when there is one. False: there is none. */
    bool (*fault)(struct mmioshim_device *dev, struct mmioshim_dma_fault *fault);
};

/* What the core does for a device. Context: trap or worker unless said otherwise. */
struct mmioshim_host {
    /* Interrupt line of the device: entry of interrupts or interrupts-extended, from 0; level 0 or 1. Idempotent. */
    void (*irq)(struct mmioshim_device *dev, unsigned line, bool level);
    /*
     * Behind a BAR of a PCI function line 0 is the function's pin, and line 1 + v, when it is told level 1, sends message
     * v (MSI-X vector or MSI message). Do messages stand for the pin now? False for any other device.
     */
    bool (*messages)(struct mmioshim_device *dev);
    /* The machine's time in nanoseconds; wall clock gives nanoseconds since 1970, UTC. */
    uint64_t (*clock)(struct mmioshim_device *dev);
    uint64_t (*wall_clock)(struct mmioshim_device *dev);
    /* Ask for service() in the worker, off the access path; once, however often it is asked for. */
    void (*wake)(struct mmioshim_device *dev);
    /*
     * Ask for service() as soon as the access that is under way is complete and in the log; the program's instruction
     * ends behind it. For work that is answered at once.
     */
    void (*soon)(struct mmioshim_device *dev);
    /* Ask for service() when clock() shows `ns` or later, and no more for any time that was asked for before. UINT64_MAX: never. */
    void (*wake_at)(struct mmioshim_device *dev, uint64_t ns);
    /*
     * Ask for poll() in the worker, for rings whose driver need not write to a register. MOVING ends by itself when nothing has
     * moved for some time, and may be asked for again; the other two hold until something else is asked for.
     */
    void (*poll)(struct mmioshim_device *dev, enum mmioshim_poll how);
    /* Ask for service() when the first host end has input, or somebody comes or goes there, once; and for another one. */
    void (*wake_on_input)(struct mmioshim_device *dev);
    void (*wake_on_end)(struct mmioshim_device *dev, unsigned end);
    /*
     * Checked DMA on bus addresses, logged; false: refused, counted, and the device sees a bus error. All or nothing.
     * Naturally aligned 2, 4 and 8 bytes are indivisible.
     */
    bool (*dma_read)(struct mmioshim_device *dev, uint64_t addr, void *buf, size_t len);
    bool (*dma_write)(struct mmioshim_device *dev, uint64_t addr, const void *buf, size_t len);
    /* The same for a device's own bookkeeping (rings, descriptors): logged only when it is refused. */
    bool (*dma_fetch)(struct mmioshim_device *dev, uint64_t addr, void *buf, size_t len);
    bool (*dma_store)(struct mmioshim_device *dev, uint64_t addr, const void *buf, size_t len);
    /*
     * For the same use: the memory itself, to be read until the callback returns at most. The driver may change it at any
     * time. NULL: it is not all there in one piece, and dma_fetch is to be asked piece by piece.
     */
    const void *(*dma_direct)(struct mmioshim_device *dev, uint64_t addr, size_t len);
    /*
     * A host end with positions (a disk). Bytes it has, 0 when there is none. Transfers go between a position and bus
     * addresses: 0, -EFAULT: the DMA was refused, other -errno: the host end failed. Part of it may have been done.
     */
    uint64_t (*disk_size)(struct mmioshim_device *dev);
    int (*disk_read)(struct mmioshim_device *dev, uint64_t position, uint64_t addr, size_t len);
    int (*disk_write)(struct mmioshim_device *dev, uint64_t position, uint64_t addr, size_t len);
    int (*disk_control)(struct mmioshim_device *dev, enum mmioshim_disk what, uint64_t position, uint64_t len);
    /* A hint: these bytes are read or written next, behind what is done now. */
    void (*disk_soon)(struct mmioshim_device *dev, uint64_t position, size_t len);
    /* The same between a position and memory of the device, for contents that no DMA moves. 0 or -errno. */
    int (*disk_get)(struct mmioshim_device *dev, uint64_t position, void *buf, size_t len);
    int (*disk_put)(struct mmioshim_device *dev, uint64_t position, const void *buf, size_t len);
    bool (*disk_readonly)(struct mmioshim_device *dev); /* the attachment says so */
    /*
     * Does the disk answer later (a server, the network)? Then disk_read, disk_write and disk_control fail, and transfers are
     * begun in service() of the worker, which runs again when one has ended. They end in the order in which they began, whatever the host
     * end does first. Everything about them is the worker's own: a worker that takes over from one that was killed finds
     * that it has begun none. disk_begun: how many have not ended; -1: nothing can be begun here and now, but service() runs
     * where and when it can. disk_begin: false = the host end is gone. disk_ended: the next that has; false = none has.
     * *error: 0 or -errno. disk_forget: none of them touches RAM any more; none is begun until the host end has done with
     * them.
     */
    bool (*disk_later)(struct mmioshim_device *dev);
    int (*disk_begun)(struct mmioshim_device *dev);
    bool (*disk_begin)(struct mmioshim_device *dev, const struct mmioshim_transfer *transfer);
    bool (*disk_ended)(struct mmioshim_device *dev, int *error);
    void (*disk_forget)(struct mmioshim_device *dev);
    /*
     * A host end with frames. send: 0, MMIOSHIM_LATER: it takes none now, or -1: it failed, or there is none. receive: the
     * length of the next frame behind *position, at most `room` bytes, or 0: there is none. buffer: memory of this process
     * for frames, for as long as the device's lock is held; NULL: there is none. here: is the host end this process's to
     * use? If not, service() in the worker is where it can be. link: is somebody there on the other side? offload: which
     * frames may arrive undone, MMIOSHIM_UNDONE_CSUM, ... or-ed. The last two where it is here alone.
     */
    int (*packet_send)(struct mmioshim_device *dev, const void *frame, size_t len);
    size_t (*packet_receive)(struct mmioshim_device *dev, uint64_t *position, void *frame, size_t room);
    void *(*packet_buffer)(struct mmioshim_device *dev, size_t *size);
    bool (*packet_here)(struct mmioshim_device *dev);
    bool (*packet_link)(struct mmioshim_device *dev);
    void (*packet_offload)(struct mmioshim_device *dev, unsigned kinds);
    /* Random bytes of the host's kernel; how many it gave at once. */
    size_t (*random)(struct mmioshim_device *dev, void *buf, size_t len);
    /*
     * Character host ends, numbered from 0; one that is not there swallows what it is sent.
     * send: false = it would block, nothing taken. receive: -1 = nothing there.
     */
    bool (*char_send)(struct mmioshim_device *dev, unsigned end, uint8_t byte);
    size_t (*char_write)(struct mmioshim_device *dev, unsigned end, const void *bytes, size_t n); /* several: how many it took */
    /* Behind a send() that would block: waits. False: not here; there will be a service() when it can be tried again, if it can. */
    bool (*char_wait)(struct mmioshim_device *dev, unsigned end);
    int (*char_receive)(struct mmioshim_device *dev, unsigned end);
    bool (*char_pending)(struct mmioshim_device *dev, unsigned end); /* would receive() give a byte? Takes none. */
    unsigned (*char_waiting)(struct mmioshim_device *dev, unsigned end); /* how many bytes at least it would give without a wait */
    bool (*char_room)(struct mmioshim_device *dev, unsigned end);    /* would send() take a byte? */
    bool (*char_connected)(struct mmioshim_device *dev, unsigned end); /* is anybody there on the other side? */
    /* Columns and rows of the terminal that the end is; false: it is none, or that is not known. */
    bool (*char_size)(struct mmioshim_device *dev, unsigned end, uint16_t *columns, uint16_t *rows);
    /* Is the DMA of this device translated by an IOMMU that is there? */
    bool (*translated)(const struct mmioshim_device *dev);
    const struct mmioshim_iommu *iommu;
    /* Ends the program that made the access with this status, once the access is logged. */
    void (*end_program)(struct mmioshim_device *dev, int status);
    /* Resets every device of the machine once the access is complete. */
    void (*reset_machine)(struct mmioshim_device *dev);
    /* Properties of the node (create() only, ordinary context). False: absent or of another length. */
    bool (*property_u32)(const struct mmioshim_node *node, const char *name, uint32_t *value);
    const void *(*property)(const struct mmioshim_node *node, const char *name, uint32_t *length);
    /* The same of another node of the machine, by its path ("/cpus"). */
    bool (*property_u32_at)(const struct mmioshim_node *node, const char *path, const char *name, uint32_t *value);
};

struct mmioshim_class {
    uint32_t api;                   /* MMIOSHIM_DEVICE_API */
    const char *name;               /* "ns16550a" */
    const char *label;              /* short word of the [MEM] line: "UART" */
    const char *description;        /* one line */
    const char *const *compatible;  /* device-tree strings, NULL-terminated */
    const struct mmioshim_property *properties; /* NULL-terminated names */
    const char *const *backends;    /* kinds of host end it takes, first = default; NULL: none */
    const struct mmioshim_property *parts; /* what plug() takes: "blk:FILE[,readonly]"; NULL-terminated names */
    uint64_t min_size;              /* a smaller window is refused at start */
    uint16_t widths;                /* access widths its registers take: 1|2|4|8|16|32|64 or-ed; 0: any width */
    bool split;                     /* a wider access reaches registers one after another, ascending */
    const struct mmioshim_register *registers; /* ascending by offset */
    uint16_t nregisters;
    uint16_t lines;                 /* interrupt lines it can raise */
    uint32_t version;               /* of save() and load() */
    size_t state_size;              /* bytes of fixed state */

    /* Bytes of state for this window, when it depends on its size. ordinary. May be NULL. */
    size_t (*state_for)(uint64_t window_size);
    /* The state is zeroed. 0, or -1 with *why = what is wrong with the node. ordinary. May be NULL. */
    int (*create)(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why);
    void (*destroy)(struct mmioshim_device *dev); /* ordinary. May be NULL. */
    /*
     * For a device that is a slot: what the attachment says is plugged in, behind create() and once a machine; NULL:
     * nothing is. 0, or -1 with *why = what is wrong. end() then tells every process which host ends to open, one a line, ""
     * for none. Both NULL for devices that are what they are. ordinary.
     */
    int (*plug)(struct mmioshim_device *dev, const char *attachment, const char **why);
    const char *(*end)(const struct mmioshim_device *dev);
    /*
     * For a class that can be an IOMMU: -1: what is plugged in is none; else what endpoints with no domain do after
     * power-on, 1: their addresses pass unchanged, 0: they reach nothing. ordinary. May be NULL: never one.
     */
    int (*translates)(const struct mmioshim_device *dev);
    void (*reset)(struct mmioshim_device *dev, enum mmioshim_reset kind); /* any context, lock held */

    /* One access of `width` bytes; value is little-endian in the low bytes. trap. */
    enum mmioshim_status (*read)(struct mmioshim_device *dev, uint64_t offset, unsigned width, uint64_t *value);
    enum mmioshim_status (*write)(struct mmioshim_device *dev, uint64_t offset, unsigned width, uint64_t value);
    /* Plain storage behind [offset, offset+len), or NULL: such bytes need no read() or write(). trap. May be NULL. */
    void *(*storage)(struct mmioshim_device *dev, uint64_t offset, uint64_t len);
    /* Which alternative registers are there now (view of a register). trap. May be NULL. */
    unsigned (*view)(const struct mmioshim_device *dev);
    /* Offset as in the register table, for devices with reg-shift. trap. May be NULL: the same. */
    uint64_t (*register_offset)(const struct mmioshim_device *dev, uint64_t offset);

    /*
     * For an interrupt controller: a line that ends here has this level; told again without a change, too. line: first
     * cell of the specifier. trap or worker. May be NULL.
     */
    void (*irq_in)(struct mmioshim_device *dev, unsigned line, bool level);
    void (*service)(struct mmioshim_device *dev);                          /* worker. May be NULL. */
    /*
     * Looks whether a driver has written something to RAM, and serves it. True: it had. last: the last look unless it is true,
     * so the driver is to be told first that it must notify. worker. May be NULL.
     */
    bool (*poll)(struct mmioshim_device *dev, bool last);
    /* Bytes that a disk at its end must have; one of another size is refused at start. ordinary. May be NULL: any. */
    uint64_t (*disk_bytes)(const struct mmioshim_device *dev);
    /* Bytes written (or needed, when size is too small), or -1. ordinary, lock held. May be NULL: plain copy of state. */
    long (*save)(struct mmioshim_device *dev, void *buf, size_t size);
    /* Validates everything it is given. 0, or -1 with the state as before. ordinary, lock held. May be NULL. */
    int (*load)(struct mmioshim_device *dev, uint32_t version, const void *buf, size_t size);
};

#endif
