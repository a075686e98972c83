/*
 * read, write and their kin. On /dev/mem they are accesses of the machine, on
 * other files of the tree what its nodes make of them. Elsewhere, buffers that lie in a window are not for the kernel to reach: what
 * is there is copied through its device.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/copy.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "interpose/nodes.h"
#include "trap/backtrace.h"
#include "trap/trap.h"

#define VECTORS 1024             /* UIO_MAXIOV */
#define MOST    ((u64)0x7ffff000) /* MAX_RW_COUNT: the kernel moves no more at once */

/* One or more buffers of a call; `in`: the kernel writes into them. */
struct buffers {
    struct call *call;
    const struct iovec *vectors;
    unsigned count;
    bool in;
    const char *name;
    long (*again)(const struct buffers *b, void *bounce, u64 total); /* the call with one buffer in their place */
    u64 parameter;
    void *message;
    struct tree_node node;
};

/* --- buffers --- */

static bool any_window(const struct buffers *b)
{
    for (unsigned i = 0; i < b->count; i++)
        if (copy_touches_window((u64)b->vectors[i].iov_base, b->vectors[i].iov_len))
            return true;
    return false;
}

/* Moves bytes between the bounce buffer and the program's, in their order. How many were moved. */
static u64 move_vectors(const struct buffers *b, u8 *bounce, u64 total, bool to_program)
{
    u64 done = 0;

    for (unsigned i = 0; i < b->count && done < total; i++) {
        u64 at = (u64)b->vectors[i].iov_base, n = MIN((u64)b->vectors[i].iov_len, total - done);
        u64 moved = to_program ? copy_out(at, bounce + done, n) : copy_in(bounce + done, at, n);

        done += moved;
        if (moved < n)
            break;
    }
    return done;
}

static long through_bounce(const struct buffers *b, u8 *bounce, u64 total)
{
    u64 moved;
    long ret;

    if (!b->in && (total = move_vectors(b, bounce, total, false)) == 0)
        return -EFAULT;
    ret = b->again(b, bounce, total);
    if (!b->in || ret <= 0)
        return ret;
    moved = move_vectors(b, bounce, MIN((u64)ret, total), true);
    return moved ? (long)moved : -EFAULT;
}

/* What of the buffers can be reached, up to the first byte that cannot: nothing may be read that has no place to go to. */
static u64 reachable(const struct buffers *b)
{
    u64 total = 0;

    for (unsigned i = 0; i < b->count && total < MOST; i++) {
        u64 n = MIN((u64)b->vectors[i].iov_len, MOST - total);
        u64 there = copy_reach((u64)b->vectors[i].iov_base, n, b->in);

        total += there;
        if (there < n)
            break;
    }
    return total;
}

static long again_node(const struct buffers *b, void *bounce, u64 total);

/* For a byte at least. */
static bool asks(const struct buffers *b)
{
    for (unsigned i = 0; i < b->count; i++)
        if (b->vectors[i].iov_len)
            return true;
    return false;
}

/* The whole call, by way of memory of ours. */
static void bounce_call(void *argument)
{
    const struct buffers *b = argument;
    u64 total = reachable(b);
    u8 *bounce;

    if (!total) { /* the kernel says what is wrong: the descriptor, or the buffer; of a device it has an empty file */
        b->call->ret = (u64)call_kernel(b->call);
        if (!b->call->ret && b->again == again_node && asks(b))
            b->call->ret = (u64)-EFAULT;
        return;
    }
    bounce = sys_mmap(NULL, page_up(total), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed((long)bounce)) {
        b->call->ret = (u64)-ENOMEM;
        return;
    }
    copy_lint(b->name, b->vectors, b->count, b->in);
    b->call->ret = (u64)through_bounce(b, bounce, total);
    sys_munmap(bounce, page_up(total));
}

static enum call_answer with_buffers(struct buffers *b)
{
    if (likely(!any_window(b)))
        return CALL_PASS;
    calls_guarded(bounce_call, b);
    return (long)b->call->ret == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
}

/* --- /dev/mem --- */

struct mem_move {
    struct call *call;
    bool write, stream;
};

static void move_mem(void *argument)
{
    struct mem_move *m = argument;
    struct call *c = m->call;

    c->ret = (u64)(m->stream ? files_mem_stream((int)c->a[0], c->a[1], c->a[2], m->write)
                             : files_mem_move(c->a[1], c->a[2], c->a[3], m->write));
}

static enum call_answer mem_call(struct call *call, bool write, bool stream)
{
    struct mem_move m = {call, write, stream};

    calls_guarded(move_mem, &m);
    return CALL_DONE;
}

/* --- files of the tree --- */

static long again_node(const struct buffers *b, void *bounce, u64 total)
{
    const u64 *a = b->call->a;

    return nodes_move((int)a[0], &b->node, bounce, total, !b->parameter, a[3], !b->in);
}

/* True: the call is answered, or is the kernel's (CALL_PASS). False: it is the host's, or, *mem, one on /dev/mem. */
static bool node_call(struct buffers *b, bool *mem, enum call_answer *answer)
{
    long error = 0;
    enum nodes_io io = nodes_io((int)b->call->a[0], !b->in, b->parameter, b->call->a[3], &b->node, &error);

    *mem = io == NODES_MEM;
    *answer = CALL_PASS;
    if (io == NODES_GONE)
        *answer = call_done(b->call, error);
    if (io == NODES_EVENT) {
        *answer = nodes_event(b->call, &b->node, b->vectors, b->count);
        return true;
    }
    if (io != NODES_OURS)
        return io == NODES_GONE || io == NODES_KERNEL;
    b->again = again_node;
    calls_guarded(bounce_call, b);
    *answer = CALL_DONE;
    return true;
}

/* --- one buffer: (descriptor, buffer, length, ...) --- */

static long again_plain(const struct buffers *b, void *bounce, u64 total)
{
    const u64 *a = b->call->a;

    return calls_wait((long)b->call->nr, a[0], (u64)bounce, total, a[3], a[4], a[5]);
}

static enum call_answer message_one(struct call *call, bool in, const char *name)
{
    struct iovec vector = {(void *)call->a[1], call->a[2]};
    struct buffers b = {.call = call, .vectors = &vector, .count = 1, .in = in, .name = name, .again = again_plain};

    return with_buffers(&b);
}

static enum call_answer move_one(struct call *call, bool in, bool at_offset, const char *name)
{
    struct iovec vector = {(void *)call->a[1], call->a[2]};
    struct buffers b = {.call = call, .vectors = &vector, .count = 1, .in = in, .name = name, .again = again_plain,
                        .parameter = at_offset};
    enum call_answer answer;
    bool mem = false;

    if (unlikely(tree_used()) && node_call(&b, &mem, &answer))
        return answer;
    return unlikely(mem) ? mem_call(call, !in, !at_offset) : with_buffers(&b);
}

enum call_answer call_read(struct call *call)
{
    return move_one(call, true, false, "read");
}

enum call_answer call_write(struct call *call)
{
    return move_one(call, false, false, "write");
}

enum call_answer call_pread(struct call *call)
{
    return move_one(call, true, true, "pread");
}

enum call_answer call_pwrite(struct call *call)
{
    return move_one(call, false, true, "pwrite");
}

enum call_answer call_sendto(struct call *call)
{
    return message_one(call, false, "send");
}

enum call_answer call_recvfrom(struct call *call)
{
    return message_one(call, true, "recv");
}

/* --- vectors --- */

static long again_vector(const struct buffers *b, void *bounce, u64 total)
{
    struct iovec one = {bounce, total};
    const u64 *a = b->call->a;

    return calls_wait((long)b->call->nr, a[0], (u64)&one, 1, a[3], a[4], a[5]);
}

/* On /dev/mem, buffer by buffer. */
static void move_mem_vectors(void *argument)
{
    const struct buffers *b = argument;
    const u64 *a = b->call->a;
    u64 done = 0;

    b->call->ret = 0;
    for (unsigned i = 0; i < b->count; i++) {
        u64 at = (u64)b->vectors[i].iov_base, n = b->vectors[i].iov_len;
        long ret = b->parameter ? files_mem_move(at, n, a[3] + done, !b->in) : files_mem_stream((int)a[0], at, n, !b->in);

        if (ret > 0)
            done += (u64)ret;
        b->call->ret = done ? done : (u64)ret;
        if (ret < 0 || (u64)ret < n)
            break;
    }
}

/* A length that is negative, which the kernel refuses before it looks at anything else. */
static bool any_negative(const struct iovec *vectors, u64 n)
{
    for (u64 i = 0; i < n; i++)
        if ((i64)vectors[i].iov_len < 0)
            return true;
    return false;
}

static enum call_answer vectors(struct call *call, bool in, bool at_offset, const char *name)
{
    struct iovec copy[VECTORS];
    struct buffers b = {.call = call, .vectors = copy, .count = (unsigned)call->a[2], .in = in, .name = name,
                        .again = again_vector, .parameter = at_offset};
    enum call_answer answer;
    bool mem = false;

    if (call->a[2] > VECTORS || !call->a[2])
        return CALL_PASS;
    if (!probe_read(copy, call->a[1], call->a[2] * sizeof(*copy)) || any_negative(copy, call->a[2]))
        return CALL_PASS; /* the kernel says so */
    if (unlikely(tree_used()) && node_call(&b, &mem, &answer))
        return answer;
    if (likely(!mem))
        return with_buffers(&b);
    calls_guarded(move_mem_vectors, &b);
    return CALL_DONE;
}

enum call_answer call_readv(struct call *call)
{
    return vectors(call, true, false, "readv");
}

enum call_answer call_writev(struct call *call)
{
    return vectors(call, false, false, "writev");
}

enum call_answer call_preadv(struct call *call)
{
    return vectors(call, true, (i64)call->a[3] != -1, "preadv");
}

enum call_answer call_pwritev(struct call *call)
{
    return vectors(call, false, (i64)call->a[3] != -1, "pwritev");
}

/* --- messages --- */

static long again_message(const struct buffers *b, void *bounce, u64 total)
{
    struct msghdr *m = b->message;
    struct iovec one = {bounce, total};
    long ret;

    m->msg_iov = &one;
    m->msg_iovlen = 1;
    ret = calls_wait((long)b->call->nr, b->call->a[0], (u64)m, b->call->a[2], 0, 0, 0);
    return ret;
}

static enum call_answer message(struct call *call, bool in, const char *name)
{
    struct iovec copy[VECTORS];
    struct msghdr m;
    struct buffers b = {.call = call, .vectors = copy, .in = in, .name = name, .again = again_message, .message = &m};
    struct iovec *vectors_of_program;
    enum call_answer answer;

    if (!probe_read(&m, call->a[1], sizeof(m)) || m.msg_iovlen > VECTORS || !m.msg_iovlen ||
        !probe_read(copy, (u64)m.msg_iov, m.msg_iovlen * sizeof(*copy)))
        return CALL_PASS;
    b.count = (unsigned)m.msg_iovlen;
    vectors_of_program = m.msg_iov;
    answer = with_buffers(&b);
    if (answer == CALL_DONE && in && (long)call->ret >= 0) {
        m.msg_iov = vectors_of_program;
        m.msg_iovlen = b.count;
        probe_write(call->a[1], &m, sizeof(m));
    }
    return answer;
}

enum call_answer call_sendmsg(struct call *call)
{
    return message(call, false, "sendmsg");
}

enum call_answer call_recvmsg(struct call *call)
{
    return message(call, true, "recvmsg");
}
