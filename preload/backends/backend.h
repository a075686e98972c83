/*
 * Host ends of devices. An operation is tried now; when it would block it says
 * so, and the caller polls and completes it later. A machine's processes each
 * open their own end from the same specification. Any context with signals
 * masked, except open, adopt and close (ordinary).
 */
#ifndef MMIOSHIM_BACKENDS_BACKEND_H
#define MMIOSHIM_BACKENDS_BACKEND_H

#include "base/fmt.h"
#include "base/types.h"

struct backend;

enum { BACKEND_IN = 1, BACKEND_OUT = 4 }; /* as POLLIN, POLLOUT */

/*
 * A disk that answers later is served by a process of its own, the helper: messages through a socket that keeps them apart
 * (SOCK_SEQPACKET), data in memory that both have mapped: BACKEND_SLOTS pieces. Requests may be answered in any order;
 * one slot has one request. At the end of the socket the helper ends what it has begun, and itself.
 */
#define BACKEND_SLOTS 32u
#define BACKEND_SLOT  (128u << 10) /* bytes */

enum backend_what { BACKEND_READ, BACKEND_WRITE, BACKEND_FLUSH, BACKEND_DISCARD, BACKEND_ZERO, BACKEND_ZERO_UNMAP };

struct backend_request {
    u32 slot;
    u16 what, safe; /* safe: what it changes is to be safe when it is answered */
    u64 position, length;
};

struct backend_answer {
    u32 slot;
    int error; /* 0 or -errno */
};

/*
 * Bytes by position. Moved bytes (0: there are none at that position) or -errno; the others 0 or -errno. The caller
 * keeps to [0, size). Any context, SIGXFSZ masked.
 */
struct backend_disk {
    /*
     * Instead of all others but size: makes a helper, which takes over its ends of both. after: a pidfd; the helper asks the
     * host end for nothing before that process has ended; -1: none. Its pid, or -errno. worker.
     */
    long (*serve)(struct backend *b, const char *spec, int socket, int memory, int after);
    u64 (*size)(struct backend *b);
    long (*read)(struct backend *b, void *buf, size_t n, u64 position);
    long (*write)(struct backend *b, const void *buf, size_t n, u64 position);
    /* A hint: these bytes are wanted soon. Asked of disks that have a map only. */
    void (*soon)(struct backend *b, u64 position, size_t n);
    int (*flush)(struct backend *b);
    int (*discard)(struct backend *b, u64 position, u64 n);
    int (*zero)(struct backend *b, u64 position, u64 n, bool unmap);
};

/*
 * Frames. send: the frame's length, or -errno. receive: the length of the frame at *position, which goes on behind it,
 * or -EAGAIN: there is none, *position is unchanged. Positions begin at 0. Any context, SIGXFSZ masked.
 */
struct backend_packets {
    long (*send)(struct backend *b, const void *frame, size_t n);
    long (*receive)(struct backend *b, u64 *position, void *frame, size_t room);
    /*
     * For an end that the worker alone holds, because it can be held only once: opens it, connects, accepts, and again when
     * that is lost. revents: what poll(2) said of in and out since the last call. now: ns of CLOCK_MONOTONIC. Returns when
     * it wants to be called at the latest, UINT64_MAX: when there are events. send and receive are called between such
     * calls; a position goes on by one for each frame, and a frame is given again until its position comes back. worker.
     * NULL: every process has an end of its own.
     */
    u64 (*attend)(struct backend *b, unsigned revents, u64 now);
    /* What may arrive undone, of PACKET_CSUM, ...; NULL: nothing does. worker */
    void (*offload)(struct backend *b, unsigned kinds);
};

/* As TUN_F_CSUM, ... of linux/if_tun.h. */
enum { PACKET_CSUM = 1, PACKET_TSO4 = 2, PACKET_TSO6 = 4, PACKET_ECN = 8 };

struct backend_ops {
    const char *name;    /* "stdio", "file", "pty", "null" */
    const char *options; /* for `mmioshim devices`: ":PATH[,append]" is what may follow the name */
    const char *doc;
    /*
     * spec: what follows the kind: "ARGUMENT,option,option=value" without the colon before ARGUMENT, ",option..."
     * when there is no argument, "" when there is nothing. 0, or -1 with the reason. ordinary
     */
    int (*open)(struct backend *b, const char *spec, struct fmt *error);
    /*
     * Instead of open, in a process that got a descriptor of an end that another process of the machine opened
     * (inherited, or by pidfd_getfd; /proc/PID/fd would open another terminal). Takes the descriptor over.
     * 0, or -1 with the reason. ordinary. NULL: each process opens its own.
     */
    int (*adopt)(struct backend *b, int fd, struct fmt *error);
    /* By what such a descriptor (-1: that of the end itself) is known among all of this kind; 0: it is none. NULL as adopt. */
    u64 (*identity)(const struct backend *b, int fd);
    /*
     * Another process of the machine has changed the end, as *b->epoch tells: does the same here. The device is locked.
     * Such an end is the worker's, too, who may write to it. NULL: no such thing happens.
     */
    void (*follow)(struct backend *b);
    /* Is anybody there on the other side? NULL: always. */
    bool (*connected)(struct backend *b);
    void (*close)(struct backend *b); /* ordinary */
    /*
     * Bytes taken or given (0 = end of file on reading), -EAGAIN: would block, other -errno: failed for good.
     * SIGPIPE must be masked: a write that raises it leaves none pending.
     */
    long (*write)(struct backend *b, const void *buf, size_t n);
    long (*read)(struct backend *b, void *buf, size_t n);
    /*
     * Which of BACKEND_IN and BACKEND_OUT are ready; waits at most timeout_ms (0 = only looks, -1 = for ever). Takes no
     * byte. End of file is not ready for input (a wait for input alone then returns 0 at once, with b->ended set).
     * An end that has failed is ready for output: the write says how.
     */
    unsigned (*poll)(struct backend *b, unsigned events, int timeout_ms);
    /* Asynchronous completion of a request begun by write or read, for backends that need it. worker. May be NULL. */
    int (*complete)(struct backend *b);
    /* Instead of write, read and poll; both NULL: a stream. */
    const struct backend_disk *disk;
    const struct backend_packets *packets;
};

#define BACKEND_NAME 32
#define BACKEND_PATH 4096
#define BACKEND_LINK 256
#define BACKEND_ROOM 81920

/*
 * One end in one process. Zeroed by its owner, who then sets `first` and `epoch`, and what is said to be set before open. The owner may move
 * in and out to other numbers (both, when they are equal), and then keeps them under a use.
 */
struct backend {
    const struct backend_ops *ops;
    int in, out;  /* descriptors, -1: none; never those that the program owns, except 0 and 1 of stdio */
    bool first;   /* set before open: this process creates the machine, files are truncated, links made */
    bool ended;   /* end of file was seen at the last look at the input */
    bool owns;    /* close() closes the descriptors */
    bool readonly; /* a disk that must not be written */
    bool mute;    /* its output is for other processes to make */
    bool moved;   /* in and out are others than before; whoever waits for them is to be told */
    u16 use[2];   /* under which use (base/fds.h) in and out are kept; 0: not kept */
    u32 *epoch;   /* counts changes of the end, for all processes of the machine; NULL: there is one process */
    u64 mark;     /* private */
    /*
     * What a machine remembers of an end: set before open to what they were behind it where it was opened first; all 0
     * there. A disk: its bytes, and where in the file `in` they begin.
     */
    u64 base, size;
    int store;    /* set before open: the machine's RAM file, which may grow behind RAM; -1: none */
    u8 *map;      /* private: all of a disk, NULL: it is not mapped */
    u8 *room;     /* kinds with packets: BACKEND_ROOM bytes for who moves them */
    bool held;    /* this process is the worker, which alone has it open. Of kinds with attend, as are */
    bool up;      /* somebody is there on the other side */
    bool full;    /* it takes more when poll(2) says so */
    bool listens; /* who comes is accepted by attend */
    void *own;    /* private, of the worker */
    char name[BACKEND_NAME]; /* what the user must know: "/dev/pts/5"; "" when there is nothing to say */
    char link[BACKEND_LINK]; /* private: path of the link that was asked for */
    struct {                 /* private */
        u16 box, listener, talk; /* uses */
        u32 seen;                /* of *epoch */
        bool half;
    } socket;
};

extern const struct backend_ops backend_stdio, backend_file, backend_pty, backend_null, backend_socket;
extern const struct backend_ops backend_disk, backend_memory, backend_nbd;
extern const struct backend_ops backend_pcap, backend_loopback, backend_stream, backend_dgram, backend_tap;
/* NULL-terminated list of all kinds. */
extern const struct backend_ops *const backend_kinds[];

/* The kind that the first `length` bytes of the text name, or NULL. Any context. */
const struct backend_ops *backend_kind(const char *text, size_t length);
/* Opens "kind[:argument][,option...]". On failure nothing is open and b->ops is NULL. ordinary */
int backend_open(struct backend *b, const char *spec, struct fmt *error);
/* Makes the helper of a disk that answers later; spec: as for backend_open. worker */
long backend_serve(struct backend *b, const char *spec, int socket, int memory, int after);
/* Closes what is open and forgets it; b->ops == NULL is nothing to close. ordinary */
void backend_close(struct backend *b);

/* ---- for the kinds ---- */

/* The next comma-separated piece of a spec, terminated in `piece`; false at the end. The first is the argument. */
bool backend_next(const char **cursor, struct fmt *piece);
/* What follows "key=" if the piece is that option, else NULL. */
const char *backend_value(const char *piece, const char *key);
/* The rule that every kind refuses a wrong option by: says which, and what is allowed. -1. */
int backend_refuse(const struct backend_ops *ops, const char *piece, struct fmt *error);

#endif
