#include "interpose/writes.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/keyctl.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"

/* Younger than some headers that we are compiled with. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#define SYS_lsm_get_self_attr 459
#define SYS_lsm_list_modules 461
#endif
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#endif
#ifndef SYS_file_getattr
#define SYS_file_getattr 468
#endif

/* --- lengths that depend on what is asked for --- */

static u64 number_at(u64 addr)
{
    u32 value = 0;

    return addr && probe_read(&value, addr, sizeof(value)) ? value : 0;
}

static u64 fcntl_length(u32 command)
{
    switch (command) {
    case F_GETLK:
    case F_OFD_GETLK:
        return sizeof(struct flock);
    case F_GETOWN_EX:
    case 17: /* F_GETOWNER_UIDS */
    case F_GET_RW_HINT:
    case F_GET_FILE_RW_HINT:
        return 8;
    default:
        return 0;
    }
}

/* The fourth argument may be a number. A set has as many values as the kernel allows, 32000 (sem(5)), or fewer. */
static u64 semctl_length(const struct call *call)
{
    struct semid_ds set = {0};
    union {
        struct semid_ds *set;
        u64 value;
    } argument = {&set};

    switch ((u32)call->a[2]) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
        return sizeof(struct semid_ds);
    case IPC_INFO:
    case SEM_INFO:
        return sizeof(struct seminfo);
    case GETALL:
        return sys(SYS_semctl, call->a[0], 0, IPC_STAT, argument.value) == 0 ? set.sem_nsems * 2ul : 0;
    default:
        return 0;
    }
}

static u64 prctl_length(const struct call *call)
{
    switch ((u32)call->a[0]) {
    case PR_GET_NAME:
        return 16;
    case PR_GET_TID_ADDRESS:
        return 8;
    case PR_GET_PDEATHSIG:
    case PR_GET_TSC:
    case PR_GET_CHILD_SUBREAPER:
        return 4;
    case 0x41555856: /* PR_GET_AUXV */
        return call->a[2];
    default:
        return 0;
    }
}

/* Other codes take a number. */
static u64 arch_prctl_length(u32 code)
{
    switch (code) {
    case ARCH_GET_FS:
    case ARCH_GET_GS:
    case 0x1021 ... 0x1025: /* ARCH_GET_XCOMP_SUPP and what follows */
    case 0x4001 ... 0x4003: /* ARCH_GET_UNTAG_MASK and what follows */
    case 0x5005:            /* ARCH_SHSTK_STATUS */
        return 8;
    default:
        return 0;
    }
}

static bool keyctl_reads(u32 operation)
{
    return operation == KEYCTL_READ || operation == KEYCTL_DESCRIBE || operation == KEYCTL_GET_SECURITY;
}

static u64 ptrace_length(const struct call *call)
{
    struct ptrace_peeksiginfo_args peek = {0};

    switch (call->a[0]) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
    case PTRACE_PEEKUSR:
    case PTRACE_GETEVENTMSG:
        return 8;
    case PTRACE_GETREGS:
        return 216;
    case PTRACE_GETFPREGS:
        return 512;
    case PTRACE_GETSIGINFO:
        return 128;
    case PTRACE_PEEKSIGINFO:
        return probe_read(&peek, call->a[2], sizeof(peek)) && peek.nr > 0 ? (u64)peek.nr * 128 : 0;
    case PTRACE_GETREGSET:
        return sizeof(struct iovec);
    case PTRACE_GETSIGMASK:
    case PTRACE_GET_SYSCALL_INFO:
    case PTRACE_GET_RSEQ_CONFIGURATION:
        return call->a[2];
    default:
        return 0;
    }
}

/* --- buffers that the arguments only lead to --- */

static void open_vectors(u64 at, u64 count)
{
    struct iovec one;

    for (u64 i = 0; i < count && i < UIO_MAXIOV && probe_read(&one, at + i * sizeof(one), sizeof(one)); i++)
        dirty_allow((u64)one.iov_base, one.iov_len);
}

static void open_argument_1(const struct call *call)
{
    open_vectors(call->a[1], call->a[2]);
}

static void open_message(u64 at)
{
    struct msghdr m;

    if (!probe_read(&m, at, sizeof(m)))
        return;
    dirty_allow(at, sizeof(m));
    if (m.msg_name)
        dirty_allow((u64)m.msg_name, m.msg_namelen);
    if (m.msg_control)
        dirty_allow((u64)m.msg_control, m.msg_controllen);
    open_vectors((u64)m.msg_iov, m.msg_iovlen);
}

static void open_recvmsg(const struct call *call)
{
    open_message(call->a[1]);
}

static void open_recvmmsg(const struct call *call)
{
    for (u64 i = 0; i < (u32)call->a[2] && i < UIO_MAXIOV; i++) {
        u64 at = call->a[1] + i * sizeof(struct mmsghdr);

        dirty_allow(at, sizeof(struct mmsghdr));
        open_message(at);
    }
}

static void open_ptrace(const struct call *call)
{
    if (call->a[0] == PTRACE_GETREGSET)
        open_vectors(call->a[3], 1);
}

/* Filled when the request is done, which may be later: opened in time. */
static void open_io_submit(const struct call *call)
{
    struct iocb request;
    u64 at;

    for (u64 i = 0; i < call->a[1] && probe_read(&at, call->a[2] + i * sizeof(at), sizeof(at)); i++) {
        if (!probe_read(&request, at, sizeof(request)))
            return;
        dirty_allow(at, sizeof(request));
        if (request.aio_lio_opcode == IOCB_CMD_PREAD)
            dirty_allow(request.aio_buf, request.aio_nbytes);
        else if (request.aio_lio_opcode == IOCB_CMD_PREADV)
            open_vectors(request.aio_buf, request.aio_nbytes);
    }
}

static void open_clone3(const struct call *call)
{
    struct clone_args args;

    if (call->a[1] < CLONE_ARGS_SIZE_VER0 || !probe_read(&args, call->a[0], CLONE_ARGS_SIZE_VER0))
        return;
    if (args.flags & CLONE_PIDFD)
        dirty_allow(args.pidfd, 4);
    if (args.flags & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID))
        dirty_allow(args.child_tid, 4);
    if (args.flags & CLONE_PARENT_SETTID)
        dirty_allow(args.parent_tid, 4);
}

static void open_getxattrat(const struct call *call)
{
    struct {
        u64 value;
        u32 size, flags;
    } args;

    if (call->a[5] >= sizeof(args) && probe_read(&args, call->a[4], sizeof(args)))
        dirty_allow(args.value, args.size);
}

/* --- the table --- */

struct row {
    u16 nr;
    u8 argument;
    u64 (*length)(const struct call *call);
    void (*open)(const struct call *call); /* instead of it */
};

#define OF(i) (call->a[i])
#define AT(i) number_at(call->a[i])
#define NAME(i) MIN(AT(i), sizeof(struct sockaddr_storage)) /* of a socket, whose length is at argument i */
#define SET(n) (((u64)(u32)(n) + 63) / 64 * 8)              /* a bit for each of n */
#define OPENS(name, function)
#define WRITES(name, argument, length) \
    static u64 length_of_##name##argument(const struct call *call) \
    { \
        (void)call; \
        return (length); \
    }
#include "interpose/writes.def"
#undef WRITES
#undef OPENS

static const struct row rows[] = {
#define WRITES(name, argument, length) {SYS_##name, argument, length_of_##name##argument, NULL},
#define OPENS(name, function) {SYS_##name, 0, NULL, function},
#include "interpose/writes.def"
#undef WRITES
#undef OPENS
};

static u16 first[CALL_MAX]; /* row + 1 */

void writes_start(void)
{
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
        if (!first[rows[i].nr])
            first[rows[i].nr] = (u16)(i + 1);
}

bool writes_known(u64 nr)
{
    return nr < CALL_MAX && first[nr];
}

static void open_argument(const struct call *call, const struct row *row)
{
    u64 length;

    if (call->a[row->argument] && (length = row->length(call)))
        dirty_allow(call->a[row->argument], length);
}

void writes_open(const struct call *call)
{
    for (u32 i = first[call->nr] - 1u; i < ARRAY_SIZE(rows) && rows[i].nr == call->nr; i++) {
        if (rows[i].open)
            rows[i].open(call);
        else
            open_argument(call, &rows[i]);
    }
}
