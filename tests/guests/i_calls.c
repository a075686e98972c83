/*
 * System calls on files of the machine's tree whose answers the kernel defines: prints each, and what came back. The
 * argument says which. It knows nothing of the library.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char bytes[8192];

static void say(const char *what, long ret)
{
    if (ret < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %ld\n", what, ret);
}

#define SAY(call) say(#call, (long)(call))
/* Only whether it works. */
#define TRY(call) say(#call, (long)(call) < 0 ? -1 : 0)

/* Descriptors may do what they were opened for. */
static void rights(void)
{
    int path = open("/dev/mem", O_PATH), r = open("/dev/mem", O_RDONLY), w = open("/dev/mem", O_WRONLY);
    int fdt = open("/sys/firmware/fdt", O_RDONLY), port = open("/dev/port", O_RDONLY);
    struct iovec v[2] = {{bytes, 2}, {bytes, (size_t)-1}};
    char *volatile bad = (char *)16;

    SAY(pwrite(r, bytes, 4, 0x10000000));
    SAY(pread(w, bytes, 4, 0x10000000));
    SAY(pread(path, bytes, 4, 0x10000000));
    SAY(pread(r, bytes, 4, -1));
    SAY(pread(fdt, bytes, 4, -1));
    SAY(pread(fdt, bad, 4, 0));
    SAY(pread(port, bad, 1, 0x3f8));
    SAY(pread(port, bad, 0, 0x3f8));
    SAY(preadv(fdt, v, 2, 0));
    SAY(lseek(r, 0, SEEK_END));
    SAY(lseek(port, 0, SEEK_END));
    SAY(lseek(r, 8, SEEK_SET));
}

/* What was said of a number while nobody had it is not true of who gets it next. */
static void numbers(void)
{
    int name = open("/sys/class/uio/uio0/name", O_RDONLY), dev = open("/dev", O_RDONLY);
    struct stat st;

    SAY(fstat(50, &st));
    SAY(read(50, bytes, 1));
    SAY(fcntl(name, F_DUPFD, 50));
    SAY((fstat(50, &st), st.st_size));
    SAY(openat(70, "mem", O_RDONLY));
    SAY(fcntl(dev, F_DUPFD, 70));
    SAY(fstatat(70, "uio0", &st, 0));
}

/* A process is in /proc until somebody has waited for it, by its number alone. */
static void dead(void)
{
    char path[64], mounts[64], zero[64];
    pid_t child = fork();
    struct stat st;

    if (!child)
        pause();
    snprintf(path, sizeof(path), "/proc/%d", child);
    snprintf(mounts, sizeof(mounts), "/proc/%d/mounts", child);
    snprintf(zero, sizeof(zero), "/proc/0%d", getpid());
    SAY(stat(path, &st));
    SAY(stat(mounts, &st));
    SAY(stat(zero, &st));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    SAY(stat(path, &st));
    SAY(open(mounts, O_RDONLY));
}

/* path_resolution(7): each component but the last one is a directory. */
static void walk(void)
{
    struct stat st;

    SAY(stat("/dev/nonexistent/../mem", &st));
    SAY(stat("/dev/null/../mem", &st));
    SAY(stat("/dev/fd/../fd/../../../dev/mem", &st));
    SAY(stat("/dev/mem/../null", &st));
    SAY(stat("/dev/mem/.", &st));
    SAY(stat("/dev/mem/", &st));
    SAY(stat("/sys/class/uio/uio0/./../../uio/.", &st));
    TRY(openat(open("/dev/uio0", O_PATH), ".", O_PATH));
    SAY(mkdir("/dev/hugepages/a//", 0700));
    SAY(mkdir("/dev/hugepages/a/", 0700));
    SAY(mkdir("/dev/hugepages/b/c", 0700));
    SAY(rmdir("/dev/hugepages/a/."));
    SAY(rmdir("/dev/hugepages/a/.."));
    SAY(unlink("/dev/hugepages/."));
    TRY(open("/dev/hugepages/f/", O_CREAT | O_RDWR, 0600));
    TRY(open("/dev/hugepages", O_TMPFILE | O_RDWR, 0600));
    TRY(open("/dev/mem", O_TMPFILE | O_RDWR, 0600));
    SAY(chdir("/dev/hugepages/a"));
    SAY(rmdir("/dev/hugepages/a/"));
    TRY(open("x", O_CREAT | O_RDWR, 0600));
    SAY(stat("/dev/hugepages/a", &st));
}

static long open_by(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {flags, 0, resolve};

    return syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* openat2(2) goes where it may, and not further. */
static void within(void)
{
    int dev = open("/dev", O_RDONLY), usr = open("/usr", O_RDONLY), uio = open("/sys/class/uio", O_RDONLY);
    struct {
        struct open_how how;
        uint64_t more;
    } how = {{O_RDONLY, 0, 0}, 1};
    char fd[40];

    snprintf(fd, sizeof(fd), "/proc/self/fd/%d/name", open("/sys/class/uio/uio0", O_RDONLY));
    TRY(open_by(dev, "mem", O_RDONLY, RESOLVE_BENEATH));
    TRY(open_by(dev, "/dev/mem", O_RDONLY, RESOLVE_BENEATH));
    TRY(open_by(dev, "../dev/mem", O_RDONLY, RESOLVE_BENEATH));
    TRY(open_by(usr, "../dev/mem", O_RDONLY, RESOLVE_BENEATH));
    TRY(open_by(uio, "uio0/name", O_RDONLY, RESOLVE_BENEATH));
    TRY(open_by(uio, "./../uio", O_RDONLY, RESOLVE_BENEATH));
    TRY(open_by(dev, "/mem", O_RDONLY, RESOLVE_IN_ROOT));
    TRY(open_by(dev, "../../mem", O_RDONLY, RESOLVE_IN_ROOT));
    TRY(open_by(dev, "/dev/mem", O_RDONLY, RESOLVE_IN_ROOT));
    TRY(open_by(usr, "/dev/mem", O_RDONLY, RESOLVE_IN_ROOT));
    TRY(open_by(usr, "../../dev/mem", O_RDONLY, RESOLVE_IN_ROOT));
    TRY(open_by(AT_FDCWD, "/sys/class/uio/uio0/name", O_RDONLY, RESOLVE_NO_SYMLINKS));
    TRY(open_by(uio, "uio0", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
    TRY(open_by(AT_FDCWD, fd, O_RDONLY, 0));
    TRY(open_by(AT_FDCWD, fd, O_RDONLY, RESOLVE_NO_MAGICLINKS));
    TRY(open_by(AT_FDCWD, "/dev/mem", O_RDONLY, RESOLVE_NO_XDEV));
    TRY(open_by(dev, "mem", O_RDONLY, RESOLVE_NO_XDEV));
    TRY(open_by(uio, "../../../dev/mem", O_RDONLY, RESOLVE_NO_XDEV));
    TRY(open_by(AT_FDCWD, "/dev/mem", O_RDONLY, 1 << 20));
    TRY(open_by(AT_FDCWD, "/dev/mem", 1ull << 40, 0));
    TRY(syscall(SYS_openat2, AT_FDCWD, "/dev/mem", &how, sizeof(how)));
    how.more = 0;
    TRY(syscall(SYS_openat2, AT_FDCWD, "/dev/mem", &how, sizeof(how)));
}

/* What is written comes to the node, whichever way a program tries first. */
static void moved(void)
{
    int text = open("text", O_RDWR | O_CREAT | O_TRUNC, 0600), out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0600);
    int bind = open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_WRONLY), mem = open("/dev/mem", O_RDONLY);
    int name = open("/sys/class/uio/uio0/name", O_RDONLY), pipes[2];

    SAY(write(text, "1 2\n", 4));
    SAY(lseek(text, 0, SEEK_SET));
    SAY(pipe(pipes));
    SAY(write(pipes[1], "1 2\n", 4));
    SAY(sendfile(bind, text, NULL, 4));
    SAY(copy_file_range(text, NULL, bind, NULL, 4, 0));
    SAY(splice(pipes[0], NULL, bind, NULL, 4, 0));
    SAY(write(bind, "1 2\n", 4));
    SAY(sendfile(out, mem, NULL, 4));
    SAY(sendfile(out, name, NULL, 4096));
    SAY(sendfile(out, text, NULL, 4096));
}

/* Flags that there are, and what is said of files. */
static void said(void)
{
    int link = open("/sys/class/uio/uio0", O_PATH | O_NOFOLLOW), huge = open("/dev/hugepages/f", O_CREAT | O_RDWR, 0600);
    struct stat st;
    struct statx x;

    SAY(fstatat(AT_FDCWD, "/dev/mem", &st, 0x40000));
    SAY(statx(AT_FDCWD, "/dev/mem", 0x40000, STATX_BASIC_STATS, &x));
    SAY(statx(AT_FDCWD, "/dev/mem", AT_STATX_SYNC_TYPE, STATX_BASIC_STATS, &x));
    SAY(statx(AT_FDCWD, "/dev/mem", 0, STATX__RESERVED, &x));
    SAY(statx(AT_FDCWD, "/dev/mem", AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &x));
    SAY(syscall(SYS_faccessat2, AT_FDCWD, "/dev/mem", R_OK, 0x40000));
    SAY(syscall(SYS_faccessat2, AT_FDCWD, "/dev/mem", R_OK, AT_EACCESS));
    SAY(unlinkat(AT_FDCWD, "/dev/mem", 0x40000));
    SAY(unlinkat(AT_FDCWD, "/dev/mem", 0));
    SAY(readlinkat(link, "", bytes, sizeof(bytes)) > 8);
    SAY(readlinkat(huge, "", bytes, sizeof(bytes)));
    SAY(fallocate(huge, 0, 0, 4 << 20));
    SAY(statx(huge, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    SAY(x.stx_blocks);
    SAY(unlink("/dev/hugepages/f"));
}

/* What sysfs has for reading only nobody writes, root neither. */
static void modes(void)
{
    TRY(open("/sys/class/uio/uio0/name", O_RDWR));
    TRY(open("/sys/class/uio/uio0/name", O_WRONLY | O_TRUNC));
    TRY(open("/sys/class/uio/uio0/name", O_RDONLY));
    TRY(open("/sys/class/uio/uio0/name", O_PATH | O_RDWR));
    TRY(open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_RDONLY));
    TRY(open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_RDWR));
    TRY(open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_WRONLY));
    TRY(open("/sys/class/uio", O_PATH | O_RDWR | O_DIRECTORY));
    TRY(open("/sys/class/uio", O_RDWR));
}

/* How often uio0 comes, from there on. */
static int count_uio(DIR *dir)
{
    struct dirent *e;
    int n = 0;

    while ((e = readdir(dir)))
        n += strcmp(e->d_name, "uio0") == 0;
    return n;
}

/* Two directories of which one stays at its end, and places in them. */
static void ends(void)
{
    DIR *dir = opendir("/dev"), *other;
    struct dirent *e;
    long at = 0, next = 0;
    int again = 0;

    while ((e = readdir(dir)) && strcmp(e->d_name, "uio0") != 0)
        at = telldir(dir);
    next = telldir(dir);
    SAY(count_uio(dir));
    for (int i = 0; i < 200; i++) {
        other = opendir("/dev");
        again += count_uio(other);
        closedir(other);
    }
    SAY(again);
    SAY(count_uio(dir));
    seekdir(dir, at);
    SAY(count_uio(dir));
    seekdir(dir, next);
    SAY(count_uio(dir));
    rewinddir(dir);
    SAY(count_uio(dir));
    SAY(syscall(SYS_getdents64, dirfd(dir), bytes, 16));
    SAY(lseek(dirfd(dir), 0, SEEK_SET));
    SAY(syscall(SYS_getdents64, dirfd(dir), bytes, 16));
}

/* The working directory, by all its names. */
static void here(void)
{
    struct stat st, self;
    struct statx x;

    SAY(chdir("/sys/class/uio"));
    SAY(stat(".", &self));
    SAY(stat("/proc/self/cwd", &st) || st.st_ino != self.st_ino);
    SAY(stat("/proc/self/cwd/uio0", &st));
    SAY(stat("/proc/self/cwd/../uio/uio1", &st));
    SAY(lstat("/proc/self/cwd", &st) || !S_ISLNK(st.st_mode));
    SAY(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH) || st.st_ino != self.st_ino);
    SAY(statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) || x.stx_ino != self.st_ino);
    SAY(syscall(SYS_getdents64, open(".", O_PATH), bytes, 100));
    SAY(chdir("/usr"));
    SAY(stat("/proc/self/cwd/lib", &st));
}

/* /dev/uio0, opened for less than the descriptor is that stands for it: by itself, as a copy, in a child. */
static void access_of_uio(void)
{
    int r = open("/dev/uio0", O_RDONLY | O_NONBLOCK), w = open("/dev/uio0", O_WRONLY), rw = open("/dev/uio0", O_RDWR);
    int copy = dup(r), status;

    SAY(fcntl(r, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SAY(fcntl(w, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SAY(fcntl(rw, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SAY(write(r, "\1\0\0\0", 4));
    SAY(write(copy, "\1\0\0\0", 4));
    SAY(write(rw, "\1\0\0\0", 4));
    SAY(write(w, "\1\0\0\0", 4));
    SAY(read(w, bytes, 4));
    SAY(read(r, bytes, 4));
    SAY(read(r, bytes, 3));
    TRY(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0) == MAP_FAILED ? -1 : 0);
    TRY(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0) == MAP_FAILED ? -1 : 0);
    TRY(mmap(NULL, 4096, PROT_READ, MAP_SHARED, r, 0) == MAP_FAILED ? -1 : 0);
    TRY(mmap(NULL, 4096, PROT_READ, MAP_SHARED, w, 0) == MAP_FAILED ? -1 : 0);
    if (!fork())
        _exit(write(copy, "\1\0\0\0", 4) < 0 ? errno == EBADF : 2);
    wait(&status);
    SAY(WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {
        {"rights", rights},
        {"numbers", numbers},
        {"dead", dead},
        {"walk", walk},
        {"within", within},
        {"moved", moved},
        {"said", said},
        {"modes", modes},
        {"ends", ends},
        {"here", here},
        {"uio", access_of_uio},
    };

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (argc == 2 && strcmp(argv[1], parts[i].name) == 0)
            parts[i].run();
}
