/*
 * virtio devices, whatever the transport that a driver reaches them by. Source:
 * VIRTIO 1.2. A transport (mmio.c) has a struct virtio at the start of its
 * state, hands it what the driver wrote, and raises the interrupt that
 * `isr` asks for; a type (blk.c, rng.c) gets its buffers and answers its
 * configuration space; queues are in between.
 *
 * All of it is plain data in shared memory, under the lock of the device. What
 * a driver writes into rings and descriptors is not believed: every address
 * goes through checked DMA, every index and length is looked at. A queue that
 * makes no sense sets DEVICE_NEEDS_RESET (2.1.2), and the device stands still.
 */
#ifndef MMIOSHIM_VIRTIO_VIRTIO_H
#define MMIOSHIM_VIRTIO_VIRTIO_H

#include "base/types.h"
#include "mmioshim/device.h"
#include "virtio/mmio.h"

#define VIRTIO_QUEUES    16u  /* most of a device */
#define VIRTIO_QUEUE_MAX 256u /* most entries of a queue */
#define VIRTIO_AT_ONCE   65536u /* requests that a device answers before it lets the driver go on */
#define VIRTIO_TOGETHER  64u /* most requests that are given back as one */
#define VIRTIO_PRIVATE   1024u /* bytes of a type's own state */
#define VIRTIO_END       512u  /* bytes of the host end's specification, terminator included */

/* Device status, 2.1 */
enum {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};

/* What is said of a request that is done. */
struct virtio_end {
    u32 written;
    u16 id;
    u16 places; /* bit 15: it had buffers to be written */
};
enum { END_IN = 1 << 15, END_PLACES = END_IN - 1 }; /* of virtio_end.places */

/* Why an interrupt was raised: ISR of all transports */
enum { VIRTIO_ISR_USED = 1, VIRTIO_ISR_CONFIG = 2 };

/* Reserved feature bits, 6 */
#define VIRTIO_F_ANY_LAYOUT        ((u64)1 << 27) /* 6.3: of the legacy interface */
#define VIRTIO_F_INDIRECT_DESC     ((u64)1 << 28)
#define VIRTIO_F_EVENT_IDX         ((u64)1 << 29)
#define VIRTIO_F_VERSION_1         ((u64)1 << 32)
#define VIRTIO_F_ACCESS_PLATFORM   ((u64)1 << 33)
#define VIRTIO_F_RING_PACKED       ((u64)1 << 34)
#define VIRTIO_F_IN_ORDER          ((u64)1 << 35)
#define VIRTIO_F_NOTIFICATION_DATA ((u64)1 << 38)
#define VIRTIO_F_RING_RESET        ((u64)1 << 40)

struct virtio_queue {
    u64 desc, driver, device; /* bus addresses of its three areas, 2.6 */
    u16 size;                 /* as the driver wants it */
    u16 ready;
    u16 told;      /* `used` when the driver was last interrupted or could have been */
    u16 told_wrap;
    /*
     * How far requests are done. It changes as a whole, behind the used entry that the driver sees. So whoever takes
     * over from a process that was killed finds requests done, or to be done again; or, while `ending_for` is the
     * complement of `done`, only to be given back again. None is lost, none ends twice.
     */
    union {
        struct {
            u16 next; /* split: of the available ring, running; packed: place of the next descriptor */
            u16 used; /* split: of the used ring, running; packed: place of the next used descriptor */
            u16 next_wrap, used_wrap; /* packed: wrap counters, 2.8.1 */
        };
        u64 done;
    };
    u16 ahead, ahead_wrap; /* as next: how far requests are taken, one more than done at most */
    u32 together; /* so many of virtio.together are given back as one; 0: `ending` alone */
    u32 align; /* of the used ring: legacy; else 0 */
    u32 reserved;
    u64 ending; /* struct virtio_end of the request that is given back */
    u64 ending_for;
};

struct virtio {
    u16 type; /* index in the table of types and 1; 0: nothing is plugged in */
    u8 status, isr;
    u32 generation; /* of the configuration space */
    u64 accepted;   /* features that the driver wrote */
    u64 notified;   /* queues that the driver spoke of, and that may hold more, bit each */
    u32 left;       /* of VIRTIO_AT_ONCE, while queues are served */
    u32 again;      /* queues that are to stay notified, bit each */
    u32 quiet;      /* queues whose driver was told that it need not notify, bit each */
    u8 poll;        /* enum mmioshim_poll, as it was attached */
    u8 legacy;      /* 1: the interface is that before VIRTIO 1.0, 1.3.1 */
    u8 unused[2];
    u32 signals;    /* queues whose driver is to be interrupted, bit each: for transports that tell them apart */
    u32 reserved;
    struct virtio_queue queues[VIRTIO_QUEUES];
    struct virtio_end together[VIRTIO_TOGETHER]; /* of the queue whose `together` is not 0 */
    u64 own[VIRTIO_PRIVATE / 8]; /* of the type */
    char end[VIRTIO_END];        /* host ends, one a line, "" for none */
};

static inline struct virtio *virtio_of(const struct mmioshim_device *dev)
{
    return dev->state;
}

/* A device type. All callbacks: the device's lock held; trap or worker unless said otherwise. */
struct virtio_type {
    u16 id; /* 5 */
    u16 nqueues; /* most of them: */
    unsigned (*queues)(const struct mmioshim_device *dev); /* those that there are, with these features. NULL: nqueues */
    bool modern; /* there is no legacy interface to it */
    bool unpolled; /* its host ends are the program's: the worker cannot do all that it does */
    u16 config_size; /* bytes of configuration space, all of them readable at any width */
    const char *name;
    /*
     * What was attached, behind "name:" ("" when nothing was). Fills own and end. 0, or -1 with *why. ordinary.
     */
    int (*plug)(struct mmioshim_device *dev, const char *options, const char **why);
    /* Features beside those of queues and transport. */
    u64 (*features)(const struct mmioshim_device *dev);
    /* Are the accepted ones, a subset, good together? NULL: always. */
    bool (*agrees)(const struct mmioshim_device *dev, u64 features);
    /* Could `own` be that of this device? NULL: only what it is now. */
    bool (*valid)(const struct mmioshim_device *dev, const void *own);
    /* What a reset forgets of `own`. NULL: nothing. */
    void (*reset)(struct mmioshim_device *dev);
    /* What power-on (a reset of the machine) forgets beside, before. NULL: nothing. */
    void (*power_on)(struct mmioshim_device *dev);
    /* As in struct mmioshim_class. NULL: no IOMMU. */
    int (*translates)(const struct mmioshim_device *dev);
    /* The configuration space as a driver sees it now; zeroed before. */
    void (*config)(struct mmioshim_device *dev, u8 *space);
    /* A write of 1, 2 or 4 bytes inside it. False: it is read only there. NULL: all of it is. */
    bool (*set_config)(struct mmioshim_device *dev, unsigned offset, unsigned width, u32 value);
    /* A notification must wait: the host end takes nothing now. NULL: none ever has to. */
    bool (*waits)(struct mmioshim_device *dev, unsigned queue);
    /* New buffers may be in this queue, or (input) something for it; it is ready, and the driver is. */
    void (*notify)(struct mmioshim_device *dev, unsigned queue);
    /* service() runs, whatever the driver's state is. NULL: nothing is to be done then. */
    void (*attend)(struct mmioshim_device *dev);
    /* Are its requests the worker's alone, which begins them in notify() and ends them there later? NULL: no. */
    bool (*later)(struct mmioshim_device *dev);
    /* A queue is gone, with all that was taken of it. NULL: nothing is taken that is not given back at once. */
    void (*stopped)(struct mmioshim_device *dev, unsigned queue);
    bool has_input; /* service() may mean that the host end has input: */
    u16 input;      /* it is for this queue */
    u64 (*inputs)(const struct mmioshim_device *dev); /* the same when there are several, bit each. NULL: there are not */
};

/* --- for transports --- */

const struct virtio_type *virtio_type(const struct virtio *v); /* NULL: none */
/* Of "blk:FILE"; NULL: there is none of this name. */
const struct virtio_type *virtio_type_named(const char *attachment);
int virtio_plug(struct mmioshim_device *dev, const char *attachment, const char **why);
extern const struct mmioshim_property virtio_parts[];

/* Reset by the driver, 2.4; what is plugged in stays. */
void virtio_reset(struct mmioshim_device *dev);
/* Back to the state after power-on. */
void virtio_power_on(struct mmioshim_device *dev);
int virtio_translates(const struct mmioshim_device *dev);
u64 virtio_features(const struct mmioshim_device *dev);
/* Features that a legacy driver accepts, of which some may be left out at once: false. */
bool virtio_accept_legacy(struct mmioshim_device *dev, u64 features);
/* Device status as the driver writes it. False: against the rules of 2.1 and 3.1.1, and obeyed only as far as they go. */
bool virtio_set_status(struct mmioshim_device *dev, u8 status);
/* A queue is to be used with what was written of it. False: it cannot be. */
bool virtio_enable(struct mmioshim_device *dev, unsigned queue);
/* The same by the address of its page, for legacy drivers: the rest follows from size and alignment, 2.7.2. */
bool virtio_enable_legacy(struct mmioshim_device *dev, unsigned queue, u64 page);
/* The driver has notified a queue that is ready. False: the device must wait for its host end first, and nothing has happened. */
bool virtio_notify(struct mmioshim_device *dev, u32 queue);
void virtio_reset_queue(struct mmioshim_device *dev, unsigned queue);
/* It is no longer ready; what was written of it stays. */
void virtio_disable(struct mmioshim_device *dev, unsigned queue);
/* How many queues there are with all features that are offered. Something is plugged in. */
unsigned virtio_most_queues(struct mmioshim_device *dev);
/* Is the queue there at all? */
bool virtio_has_queue(const struct mmioshim_device *dev, u32 queue);
/* Configuration space. False: nothing is there, or (write) it is read only. */
bool virtio_read_config(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value);
bool virtio_write_config(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value);
/* Serves the queues in `notified`. */
void virtio_serve(struct mmioshim_device *dev);
/* poll() of a transport's class, beside its interrupt. */
bool virtio_poll(struct mmioshim_device *dev, bool last);
/* Is this a state that the device with what is plugged into it could have? For load(). */
bool virtio_valid(const struct mmioshim_device *dev, const struct virtio *v);

/* "The transitional device MUST support the driver using the device before the step 8", DRIVER_OK, 3.1.2 */
static inline bool virtio_live(const struct virtio *v)
{
    return (v->status & VIRTIO_DRIVER_OK || v->legacy) && !(v->status & VIRTIO_NEEDS_RESET);
}

static inline bool virtio_accepted(const struct virtio *v, u64 feature)
{
    return v->accepted & feature;
}

/* Something is wrong for good. */
void virtio_break(struct mmioshim_device *dev, const char *why);

/* --- for types --- */

struct virtio_segment {
    u64 addr;
    u32 length;
};

/* The buffers of one request: `out` segments that the device reads, then `in` segments that it writes. */
struct virtio_chain {
    u16 id;     /* what the driver knows it by */
    u16 places; /* packed: descriptors that it takes in the ring */
    u16 out, in;
    u64 out_length, in_length;
    struct virtio_segment segments[VIRTIO_QUEUE_MAX];
};

/* Tells the driver of all queues that it need not, or must, notify. */
void virtio_hush(struct mmioshim_device *dev, bool on);
/* Finishes what somebody began to give back who was killed, and takes again what he had taken. */
void virtio_recover(struct mmioshim_device *dev);
/* The next request of a queue; false: there is none, or the queue is broken. */
bool virtio_pop(struct mmioshim_device *dev, unsigned queue, struct virtio_chain *chain);
/* Gives it back, with so many bytes written from the start of the `in` segments on. */
void virtio_push(struct mmioshim_device *dev, unsigned queue, const struct virtio_chain *chain, u32 written);
/* What virtio_push() says of a request; and the same of one whose chain is no longer at hand. */
struct virtio_end virtio_end_of(const struct virtio_chain *chain, u32 written);
void virtio_push_end(struct mmioshim_device *dev, unsigned queue, struct virtio_end end);
/* Gives back n requests, VIRTIO_TOGETHER at most, of which the driver sees all or none. */
void virtio_push_together(struct mmioshim_device *dev, unsigned queue, const struct virtio_end *ends, unsigned n);
/* Requests that were taken and not given back are there again. */
void virtio_put_back(struct mmioshim_device *dev, unsigned queue);
/* Requests were given back: interrupts if the driver wants that. */
void virtio_signal(struct mmioshim_device *dev, unsigned queue);
/* Not done with it: it is to be served again. */
void virtio_again(struct mmioshim_device *dev, unsigned queue);
void virtio_config_changed(struct mmioshim_device *dev);

/* A place in the bytes of a chain's `out` or `in` segments. */
struct virtio_cursor {
    const struct virtio_segment *segment;
    u16 left;   /* segments from this one on */
    u32 offset; /* within it */
};

struct virtio_cursor virtio_out(const struct virtio_chain *chain);
struct virtio_cursor virtio_in(const struct virtio_chain *chain);
/* The next piece of at most `most` bytes that lies in one segment, passed over; length 0: the end. */
struct virtio_segment virtio_next(struct virtio_cursor *cursor, u64 most);
/* Address of the last byte of the `in` segments; there is one. */
u64 virtio_in_last(const struct virtio_chain *chain);
/* Passes over n bytes. */
void virtio_skip(struct virtio_cursor *cursor, u64 n);
/* Copies bytes. False: refused DMA, or the end. */
bool virtio_take(struct mmioshim_device *dev, struct virtio_cursor *cursor, void *buf, size_t n);
bool virtio_put(struct mmioshim_device *dev, struct virtio_cursor *cursor, const void *buf, size_t n);

/* --- the two kinds of ring, for queue.c --- */

/* What the device reads of a queue, each piece once: the driver may change it at any time. */
struct virtio_area {
    u64 addr;
    const u8 *at; /* NULL: only DMA leads there */
};

static inline struct virtio_area virtio_area(struct mmioshim_device *dev, u64 addr, u64 length)
{
    return (struct virtio_area){addr, dev->host->dma_direct(dev, addr, length)};
}

/* n is a constant, for a single load. */
static inline __attribute__((always_inline)) bool virtio_fetch(struct mmioshim_device *dev, const struct virtio_area *area,
                                                               u64 offset, void *buf, size_t n)
{
    if (unlikely(!area->at))
        return dev->host->dma_fetch(dev, area->addr + offset, buf, n);
    __builtin_memcpy(buf, area->at + offset, n);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* what was read is not read again */
    return true;
}

struct virtio_ring {
    bool (*enable)(struct mmioshim_device *dev, struct virtio_queue *q); /* False: what was written makes no sense. */
    bool (*pop)(struct mmioshim_device *dev, struct virtio_queue *q, struct virtio_chain *chain);
    /* One or more, of which the driver sees none before the last. */
    void (*push)(struct mmioshim_device *dev, struct virtio_queue *q, const struct virtio_end *ends, unsigned n);
    void (*quiet)(struct mmioshim_device *dev, struct virtio_queue *q, bool on); /* The driver need not notify. */
    bool (*wants)(struct mmioshim_device *dev, struct virtio_queue *q); /* Does the driver want an interrupt now? */
};

extern const struct virtio_ring virtio_split, virtio_packed;

/* A request is done, and the driver can see it. */
static inline void virtio_done(struct virtio_queue *q, u16 next, u16 next_wrap, u16 used, u16 used_wrap)
{
    u64 done = (u64)used_wrap << 48 | (u64)next_wrap << 32 | (u64)used << 16 | next;

    __atomic_store_n(&q->done, done, __ATOMIC_RELEASE);
}

/* Has the driver been told that it need not notify of a queue? */
static inline bool virtio_quiet(const struct virtio *v, const struct virtio_queue *q)
{
    return v->quiet >> (q - v->queues) & 1;
}

/* Descriptors of both kinds: flags, and how a chain grows. */
enum { VIRTIO_DESC_NEXT = 1, VIRTIO_DESC_WRITE = 2, VIRTIO_DESC_INDIRECT = 4 };

/* What is wrong with one more descriptor of a chain; NULL: nothing. */
static inline const char *virtio_wrong(const struct virtio_queue *q, const struct virtio_chain *chain, u32 length, bool write)
{
    u32 n = (u32)chain->out + chain->in;

    /* "A driver MUST NOT create a descriptor chain longer than the Queue Size of the device", 2.7.5.3.1, 2.8.19 */
    if (unlikely(n >= q->size || n >= VIRTIO_QUEUE_MAX))
        return "a chain is longer than the queue";
    /* "... place any device-writable descriptor elements after any device-readable", 2.7.4.2, 2.8.4 */
    if (unlikely(!write && chain->in))
        return "a readable descriptor behind a writable one";
    /* "A driver MUST NOT add a descriptor chain longer than 2^32 bytes in total", 2.7.5.1 */
    if (unlikely(chain->out_length + chain->in_length + length > (u64)1 << 32))
        return "a chain of more than 2^32 bytes";
    return NULL;
}

/* Adds a descriptor. False: the chain breaks a rule, and the device is broken. */
static inline bool virtio_add(struct mmioshim_device *dev, const struct virtio_queue *q, struct virtio_chain *chain, u64 addr,
                              u32 length, bool write)
{
    const char *wrong = virtio_wrong(q, chain, length, write);

    if (unlikely(wrong)) {
        virtio_break(dev, wrong);
        return false;
    }
    chain->segments[chain->out + chain->in] = (struct virtio_segment){addr, length};
    if (write) {
        chain->in_length += length;
        chain->in++;
    } else {
        chain->out_length += length;
        chain->out++;
    }
    return true;
}

#endif
