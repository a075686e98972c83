/* flags: -lpthread */
/*
 * System calls that write into the program's memory, each into ordinary memory
 * and into RAM that nobody wrote before, across the end of a page: results and
 * contents must be the same.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "../../preload/mmioshim/client.h"
#include "b_guest.h"

#define PAGE 4096ul

static int file; /* with 5000 bytes of text in lines */

/* What a test itself wrote before the call is forgotten: pages are closed again. */
static void closed(void)
{
    mmioshim_dirty_clear();
}

/* --- files --- */

static long from_start(int fd)
{
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static long do_fread(char *b)
{
    FILE *f = fdopen(dup((int)from_start(file)), "r");
    char line[64] = "";

    setvbuf(f, b, _IOFBF, 2048);
    if (!fgets(line, sizeof(line), f))
        return -1;
    fclose(f);
    return (long)strlen(line);
}

/* As much as this goes into the caller's memory without a buffer between. */
static long do_fread_straight(char *b)
{
    FILE *f = fdopen(dup((int)from_start(file)), "r");
    long n;

    setvbuf(f, NULL, _IONBF, 0);
    n = (long)fread(b, 1, 3000, f);
    fclose(f);
    return n;
}

static long do_fscanf(char *b)
{
    FILE *f = fdopen(dup((int)from_start(file)), "r");
    int n = -1;

    setvbuf(f, b, _IOFBF, 1000);
    if (fscanf(f, "line %d", &n) != 1)
        n = -1;
    fclose(f);
    return n;
}

static long do_pread(char *b) { return pread(file, b, 3000, 7); }
static long do_readv(char *b) { return readv((int)from_start(file), (struct iovec[]){{b, 2}, {b + 2, 2000}}, 2); }
static long do_preadv2(char *b) { return preadv2(file, &(struct iovec){b, 100}, 1, 3, 0); }
static long do_stat(char *b) { return stat("/", (struct stat *)b); }
static long do_fstatat(char *b) { return fstatat(AT_FDCWD, "/", (struct stat *)b, 0); }
static long do_statx(char *b) { return statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, (struct statx *)b); }
static long do_statfs(char *b) { return statfs("/proc", (struct statfs *)b); }
static long do_getdents(char *b) { return syscall(SYS_getdents, open("/proc/self/task", O_RDONLY), b, 2000) > 0; }
static long do_getdents64(char *b) { return syscall(SYS_getdents64, open("/proc/self/task", O_RDONLY), b, 2000) > 0; }
static long do_readlink(char *b) { return readlink("/proc/self/exe", b, 200); }
static long do_getcwd(char *b) { return getcwd(b, 200) != NULL; }
static long do_realpath(char *b) { return realpath("/proc/../bin/./sh", b) != NULL; }
static long do_flock(char *b)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    long ret;

    memcpy(b, &lock, sizeof(lock));
    closed();
    ret = fcntl(file, F_GETLK, b);
    return ret * 100 + ((struct flock *)b)->l_type;
}
static long do_getown(char *b) { return fcntl(file, F_GETOWN_EX, b) * 10 + 1; }
static long do_hints(char *b) { return fcntl(file, F_GET_RW_HINT, b); }
static long do_handle(char *b)
{
    struct file_handle *h = (void *)b;
    int ret;

    h->handle_bytes = 0;
    closed();
    ret = name_to_handle_at(AT_FDCWD, "/", h, (int *)(b + 64), 0);
    return ret * 1000 + errno;
}
static long do_fionread(char *b) { return ioctl((int)from_start(file), FIONREAD, b); }
static long do_xattr(char *b)
{
    fsetxattr(file, "user.mmioshim", "value", 5, 0);
    errno = 0;
    return fgetxattr(file, "user.mmioshim", b, 100) * 1000 + errno;
}
static long do_sendfile(char *b)
{
    int out = memfd_create("out", 0);
    long n;

    *(off_t *)b = 3;
    closed();
    n = sendfile(out, file, (off_t *)b, 100);
    close(out);
    return n * 1000 + *(off_t *)b;
}
static long do_copy_range(char *b)
{
    int out = memfd_create("out", 0);
    long n = copy_file_range(file, (off_t *)b, out, (off_t *)(b + 64), 100, 0);

    close(out);
    return n * 1000 + *(off_t *)b + *(off_t *)(b + 64);
}
static long do_pipe(char *b)
{
    long ret = pipe2((int *)b, O_CLOEXEC);

    close(((int *)b)[0]);
    close(((int *)b)[1]);
    return ret;
}
static long do_vmsplice(char *b)
{
    int ends[2];

    if (pipe(ends) < 0 || write(ends[1], "0123456789", 10) != 10)
        return -1;
    return vmsplice(ends[0], &(struct iovec){b, 100}, 1, 0);
}
static long do_splice(char *b)
{
    int ends[2];

    return pipe(ends) < 0 ? -1 : splice(file, (off_t *)b, ends[1], NULL, 100, 0) * 1000 + *(off_t *)b;
}

/* --- sockets --- */

static int pair[2];

static int listening(struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memset(name, 0, sizeof(*name));
    name->sun_family = AF_UNIX;
    snprintf(name->sun_path + 1, 40, "writes-%d-%d", getpid(), fd);
    if (bind(fd, (struct sockaddr *)name, sizeof(*name)) < 0 || listen(fd, 1) < 0)
        return -1;
    return fd;
}

static long do_accept(char *b)
{
    struct sockaddr_un name;
    int fd = listening(&name), from = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t *length = (void *)(b + 200);

    *length = sizeof(name);
    closed();
    if (connect(from, (struct sockaddr *)&name, sizeof(name)) < 0)
        return -1;
    return (accept(fd, (struct sockaddr *)b, length) >= 0) * 1000 + *length;
}
static long do_getsockname(char *b)
{
    socklen_t *length = (void *)(b + 200);

    *length = 100;
    closed();
    return getsockname(pair[0], (struct sockaddr *)b, length) * 1000 + *length;
}
static long do_getsockopt(char *b)
{
    socklen_t *length = (void *)(b + 200);

    *length = 4;
    closed();
    return getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, b, length) * 1000 + *length;
}
static long do_recvfrom(char *b)
{
    *(socklen_t *)(b + 200) = 100;
    closed();
    return write(pair[0], "hello", 5) + recvfrom(pair[1], b, 100, 0, (void *)(b + 300), (void *)(b + 200)) * 10;
}
static long do_recvmsg(char *b)
{
    struct iovec vector = {b + 100, 100};
    struct msghdr m = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = b + 1000, .msg_controllen = 100};

    return write(pair[0], "hello", 5) + recvmsg(pair[1], &m, 0) * 10 + (long)m.msg_controllen;
}
/* The headers lie in RAM, too, and were not written since the page was closed. */
static long do_recvmmsg(char *b)
{
    struct mmsghdr m[2];
    struct iovec vectors[2] = {{b + 1000, 100}, {b + 2000, 100}};

    memset(m, 0, sizeof(m));
    m[0].msg_hdr.msg_iov = vectors;
    m[1].msg_hdr.msg_iov = vectors + 1;
    m[0].msg_hdr.msg_iovlen = m[1].msg_hdr.msg_iovlen = 1;
    memcpy(b, m, sizeof(m));
    closed();
    if (send(pair[0], "one", 3, 0) + send(pair[0], "four", 4, 0) != 7)
        return -1;
    return recvmmsg(pair[1], (void *)b, 2, MSG_DONTWAIT, NULL) * 100 + ((struct mmsghdr *)b)[0].msg_len;
}
static long do_sendmmsg(char *b)
{
    struct iovec vector = {"word", 4};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
    char drop[8];

    memcpy(b, &m, sizeof(m));
    closed();
    return sendmmsg(pair[0], (void *)b, 1, 0) * 100 + ((struct mmsghdr *)b)->msg_len * 10 +
           (long)read(pair[1], drop, 8);
}
static long do_socketpair(char *b)
{
    long ret = socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)b);

    close(((int *)b)[0]);
    close(((int *)b)[1]);
    return ret;
}

/* --- waiting --- */

static long do_poll(char *b)
{
    *(struct pollfd *)b = (struct pollfd){pair[0], POLLOUT, 0};
    closed();
    return poll((struct pollfd *)b, 1, 0) * 10 + ((struct pollfd *)b)->revents;
}
static long do_select(char *b)
{
    FD_SET(pair[0], (fd_set *)b);
    FD_SET(pair[0], (fd_set *)(b + 200));
    closed();
    return select(pair[0] + 1, (fd_set *)b, (fd_set *)(b + 200), (fd_set *)(b + 400), NULL) * 10 +
           FD_ISSET(pair[0], (fd_set *)b);
}
static long do_epoll(char *b)
{
    int fd = epoll_create1(0);

    epoll_ctl(fd, EPOLL_CTL_ADD, pair[0], &(struct epoll_event){EPOLLOUT, {.u32 = 0x1234}});
    return epoll_wait(fd, (struct epoll_event *)b, 4, 0) * 100000 + (long)((struct epoll_event *)b)->data.u32;
}
static long do_sleep(char *b)
{
    return clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 1000}, (struct timespec *)b);
}
static void on_alarm(int sig) { (void)sig; }
static long do_sleep_cut(char *b)
{
    struct itimerval soon = {{0, 0}, {0, 20000}};

    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &soon, NULL);
    errno = 0;
    return nanosleep(&(struct timespec){50, 0}, (struct timespec *)b) * 1000 + errno + ((struct timespec *)b)->tv_sec;
}
static long do_sigwait(char *b)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    return sigwaitinfo(&set, (siginfo_t *)b) * 100 + ((siginfo_t *)b)->si_signo;
}
static long do_sigpending(char *b) { return sigpending((sigset_t *)b); }
static long do_sigmask(char *b)
{
    return sigprocmask(SIG_BLOCK, NULL, (sigset_t *)b) * 10 + sigismember((sigset_t *)b, SIGUSR1);
}
static long do_aio(char *b)
{
    aio_context_t *context = (void *)b, all;
    struct iocb request = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)file,
                           .aio_buf = (uintptr_t)(b + 1000), .aio_nbytes = 500}, *list = &request;
    long ret = syscall(SYS_io_setup, 4, context);

    if (ret < 0)
        return errno;
    all = *context;
    ret = syscall(SYS_io_submit, all, 1, &list);
    ret = ret * 10 + syscall(SYS_io_getevents, all, 1, 1, b + 2000, NULL);
    ret = ret * 1000 + ((struct io_event *)(b + 2000))->res;
    syscall(SYS_io_destroy, all);
    memset(b, 0, 8);
    return ret;
}

/* --- the process and the machine --- */

static long do_uname(char *b) { return uname((struct utsname *)b); }
static long do_hostname(char *b) { return gethostname(b, 100); }
static long do_sysinfo(char *b) { return sysinfo((struct sysinfo *)b); }
static long do_times(char *b) { return times((struct tms *)b) != -1; }
static long do_rusage(char *b) { return getrusage(RUSAGE_SELF, (struct rusage *)b); }
static long do_rlimit(char *b) { return getrlimit(RLIMIT_STACK, (struct rlimit *)b); }
static long do_affinity(char *b) { return sched_getaffinity(0, 128, (cpu_set_t *)b); }
static long do_getcpu(char *b) { return syscall(SYS_getcpu, b, b + 8, NULL); }
static long do_sched_param(char *b) { return sched_getparam(0, (struct sched_param *)b); }
static long do_sched_attr(char *b) { return syscall(SYS_sched_getattr, 0, b, 48, 0); }
static long do_interval(char *b) { return sched_rr_get_interval(0, (struct timespec *)b); }
static long do_resuid(char *b) { return getresuid((uid_t *)b, (uid_t *)(b + 8), (uid_t *)(b + 16)); }
static long do_resgid(char *b) { return getresgid((gid_t *)b, (gid_t *)(b + 8), (gid_t *)(b + 16)); }
static long do_groups(char *b) { return getgroups(64, (gid_t *)b); }
static long do_capget(char *b)
{
    *(uint32_t *)(b + 200) = 0x20080522; /* version 3 */
    closed();
    return syscall(SYS_capget, b + 200, b);
}
static long do_name(char *b) { return prctl(PR_GET_NAME, b); }
static long do_pdeathsig(char *b) { return prctl(PR_GET_PDEATHSIG, b); }
static long do_random(char *b) { return syscall(SYS_getrandom, b, 300, 0); }
static long do_clock(char *b) { return syscall(SYS_clock_gettime, CLOCK_REALTIME, b); }
static long do_timeofday(char *b) { return syscall(SYS_gettimeofday, b, b + 64); }
static long do_time(char *b) { return syscall(SYS_time, b) > 0; }
static long do_resolution(char *b) { return clock_getres(CLOCK_THREAD_CPUTIME_ID, (struct timespec *)b); }
static long do_timer(char *b)
{
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    long ret = syscall(SYS_timer_create, CLOCK_MONOTONIC, &none, b);
    int id = *(int *)b;

    ret += syscall(SYS_timer_settime, id, 0, &(struct itimerspec){{1, 0}, {9, 0}}, b + 100);
    ret += syscall(SYS_timer_gettime, id, b + 200);
    ret += syscall(SYS_timer_delete, id);
    memset(b, 0, 4);
    return ret * 100 + ((struct itimerspec *)(b + 200))->it_interval.tv_sec;
}
static long do_timerfd(char *b)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    long ret = timerfd_settime(fd, 0, &(struct itimerspec){{2, 0}, {9, 0}}, (struct itimerspec *)b);

    ret += timerfd_gettime(fd, (struct itimerspec *)(b + 100)) * 10;
    return ret + ((struct itimerspec *)(b + 100))->it_interval.tv_sec;
}
static long do_adjtimex(char *b) { return syscall(SYS_adjtimex, b) >= 0; }
static long do_mincore(char *b) { return mincore((void *)((uintptr_t)&file & ~(PAGE - 1)), PAGE, (void *)b); }
static long do_fs_base(char *b) { return syscall(SYS_arch_prctl, 0x1003, b); }
static long do_robust(char *b) { return syscall(SYS_get_robust_list, 0, b, b + 64); }
static long do_vm_readv(char *b)
{
    struct iovec to = {b, 500}, from = {(void *)(uintptr_t)"of this process, eleven words long as it were", 40};

    return process_vm_readv(getpid(), &to, 1, &from, 1, 0);
}
static long do_wait(char *b)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(7);
    return (wait4(pid, (int *)b, 0, (struct rusage *)(b + 64)) == pid) * 100 + WEXITSTATUS(*(int *)b);
}
static long do_waitid(char *b)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(9);
    return waitid(P_PID, (id_t)pid, (siginfo_t *)b, WEXITED) * 100 + ((siginfo_t *)b)->si_status;
}
static long do_ptrace(char *b)
{
    struct iovec set = {b + 500, 512};
    long ret;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    ret = ptrace(PTRACE_GETREGS, pid, NULL, b);
    ret += ptrace(PTRACE_GETREGSET, pid, (void *)1 /* NT_PRSTATUS */, &set);
    ret += ptrace(PTRACE_GETSIGINFO, pid, NULL, b + 1200);
    ret = ret * 1000 + (long)set.iov_len + ((siginfo_t *)(b + 1200))->si_signo;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return ret;
}
/* The child's number, written for the parent and for the child. */
static long do_clone(char *b)
{
    long pid = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, b, b + 64, 0);
    int status;

    if (pid == 0)
        syscall(SYS_exit_group, *(int *)(b + 64) != getpid());
    waitpid((pid_t)pid, &status, 0);
    status = (*(int *)b == pid) * 1000 + status;
    memset(b, 0, 4);
    return status;
}
static long do_msg(char *b)
{
    int id = msgget(IPC_PRIVATE, 0600);
    struct {
        long type;
        char text[8];
    } m = {1, "message"};
    long ret = msgsnd(id, &m, 8, 0) * 1000 + msgrcv(id, b, 100, 0, 0);

    ret = ret * 10 + msgctl(id, IPC_STAT, (struct msqid_ds *)(b + 200));
    msgctl(id, IPC_RMID, NULL);
    memset(b + 200, 0, 200);
    return ret;
}
static long do_sem(char *b)
{
    int id = semget(IPC_PRIVATE, 5, 0600);
    long ret;

    semctl(id, 4, SETVAL, 3);
    ret = semctl(id, 0, GETALL, b) * 10 + ((unsigned short *)b)[4];
    semctl(id, 0, IPC_RMID);
    return ret;
}
static long do_shm(char *b)
{
    int id = shmget(IPC_PRIVATE, 12345, 0600);
    long ret = shmctl(id, IPC_STAT, (struct shmid_ds *)b) * 100000 + (long)((struct shmid_ds *)b)->shm_segsz;

    shmctl(id, IPC_RMID, NULL);
    memset(b, 0, 112);
    return ret;
}

/* --- all of them --- */

enum { EXACT, VARIES, MAYBE }; /* are the contents the same each time? MAYBE: yes, and perhaps nothing is written */

#define T(name, kind) {#name, do_##name, kind}

static const struct {
    const char *name;
    long (*run)(char *);
    int kind;
} tests[] = {
    T(fread, EXACT), T(fread_straight, EXACT), T(fscanf, EXACT), T(pread, EXACT), T(readv, EXACT), T(preadv2,
    EXACT), T(stat, VARIES), T(fstatat, VARIES), T(statx, VARIES), T(statfs, VARIES), T(getdents, VARIES),
    T(getdents64, VARIES), T(readlink, EXACT), T(getcwd, EXACT), T(realpath, EXACT), T(flock, EXACT), T(getown,
    EXACT), T(hints, EXACT), T(handle, VARIES), T(fionread, EXACT), T(xattr, EXACT), T(sendfile, EXACT),
    T(copy_range, EXACT), T(pipe, EXACT), T(vmsplice, EXACT), T(splice, EXACT), T(accept, VARIES),
    T(getsockname, EXACT), T(getsockopt, EXACT), T(recvfrom, EXACT), T(recvmsg, EXACT), T(recvmmsg, VARIES),
    T(sendmmsg, VARIES), T(socketpair, EXACT), T(poll, EXACT), T(select, EXACT), T(epoll, EXACT), T(sleep,
    MAYBE), T(sleep_cut, VARIES), T(sigwait, VARIES), T(sigpending, EXACT), T(sigmask, EXACT), T(aio, VARIES),
    T(uname, EXACT), T(hostname, EXACT), T(sysinfo, VARIES), T(times, VARIES), T(rusage, VARIES), T(rlimit,
    EXACT), T(affinity, EXACT), T(getcpu, VARIES), T(sched_param, EXACT), T(sched_attr, EXACT), T(interval,
    VARIES), T(resuid, EXACT), T(resgid, EXACT), T(groups, MAYBE), T(capget, EXACT), T(name, EXACT),
    T(pdeathsig, EXACT), T(random, VARIES), T(clock, VARIES), T(timeofday, VARIES), T(time, VARIES),
    T(resolution, EXACT), T(timer, VARIES), T(timerfd, VARIES), T(adjtimex, VARIES), T(mincore, EXACT),
    T(fs_base, EXACT), T(robust, EXACT), T(vm_readv, EXACT), T(wait, VARIES), T(waitid, VARIES), T(ptrace,
    VARIES), T(clone, VARIES), T(msg, EXACT), T(sem, EXACT), T(shm, EXACT),
};

/* Each has two pages of RAM. With a name as argument, that test alone. */
int main(int argc, char **argv)
{
    static char plain[2 * PAGE] __attribute__((aligned(4096)));
    size_t count = sizeof(tests) / sizeof(*tests);

    file = memfd_create("file", 0);
    for (int i = 0; i < 500; i++)
        dprintf(file, "line %4d\n", i);
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0)
        return 99;
    for (size_t i = 0; i < count; i++) {
        char *ram = (char *)RAM + i * 2 * PAGE;
        long want, got;

        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        memset(plain, 0, sizeof(plain));
        want = tests[i].run(plain + PAGE - 2);
        got = tests[i].run(ram + PAGE - 2);
        if (tests[i].kind != MAYBE && mmioshim_dirty_test(ram) == 0 && mmioshim_dirty_test(ram + PAGE) == 0) {
            fprintf(stderr, "%s: clean\n", tests[i].name);
            failures++;
        }
        if (got != want) {
            fprintf(stderr, "%s: %ld, not %ld\n", tests[i].name, got, want);
            failures++;
        }
        if (tests[i].kind != VARIES && memcmp(plain, ram, sizeof(plain)) != 0) {
            fprintf(stderr, "%s: not the same bytes\n", tests[i].name);
            failures++;
        }
    }
    printf("%zu\n", count);
    return failures != 0;
}
