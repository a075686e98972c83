/* flags: -O1 -lpthread -ldl -rdynamic */
/*
 * Every way in which a process begins, becomes another, changes who and where
 * it is, and ends, with accesses before and after. Where memory is shared with
 * the children, as a machine's is, what is printed is the same without one.
 */
#include <dlfcn.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>

#include "e_guest.h"

extern char **environ;

/* Ordinary memory is shared with children as well. */
static void shared(void)
{
    if (getenv("B_PLAIN"))
        mmap((void *)UART, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static char self[PATH_MAX];

static void find_self(void)
{
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        _exit(94);
}

static void show_descriptors(const char *what)
{
    char list[400] = "";

    for (int fd = 0; fd < 100; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            snprintf(list + strlen(list), sizeof(list) - strlen(list), " %d", fd);
    show("%s:%s\n", what, list);
}

/* child WORD: what a program finds when it was started. */
static int child(int argc, char **argv)
{
    char cwd[PATH_MAX];

    use(0x21);
    show_descriptors(argc ? argv[0] : "child");
    show("cwd %s leader %d group %d\n", getcwd(cwd, sizeof(cwd)), getsid(0) == getpid(), getpgrp() == getpid());
    use(0x22);
    return 7;
}

static int status_of(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* --- fork and vfork --- */

static int do_fork(int argc, char **argv)
{
    (void)argc, (void)argv;
    shared();
    *(volatile uint8_t *)(RAM + 0x1000) = 1;
    for (int i = 0; i < 20; i++) {
        pid_t pid;

        put((unsigned)i);
        pid = fork();
        if (pid == 0) {
            int value = (int)get();

            *(volatile uint8_t *)(RAM + 0x3000 + (unsigned)i % 6 * 0x2000) = 1;
            put((unsigned)value + 100);
            _exit(value);
        }
        show("child %#x", status_of(pid));
        show(" left %u\n", get());
    }
    return 0;
}

static int do_vfork(int argc, char **argv)
{
    static volatile int from_child;

    (void)argc, (void)argv;
    find_self();
    for (volatile int i = 0; i < 20; i++) {
        pid_t pid;

        put((unsigned)i);
        pid = vfork();
        if (pid == 0) {
            from_child = (int)get() + 1;
            put((unsigned)from_child);
            if (i % 2)
                execl(self, "e_process", "child", "from vfork", (char *)NULL);
            _exit(i);
        }
        show("child %#x told %d\n", status_of(pid), from_child);
        use((unsigned)i);
    }
    return 0;
}

/* --- posix_spawn --- */

static void spawn_with(const char *what, posix_spawn_file_actions_t *actions, short flags)
{
    char *argv[] = {"e_process", "child", (char *)(uintptr_t)what, NULL};
    posix_spawnattr_t attr;
    pid_t pid = -1;
    int error;

    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, flags);
    error = posix_spawn(&pid, self, actions, &attr, argv, environ);
    show("%s: %d %#x\n", what, error, error ? 0 : status_of(pid));
    posix_spawn_file_actions_destroy(actions);
    posix_spawn_file_actions_init(actions);
    use(0x23);
}

static int spawn(int argc, char **argv)
{
    posix_spawn_file_actions_t a;

    (void)argc, (void)argv;
    find_self();
    posix_spawn_file_actions_init(&a);
    for (int fd = 20; fd < 24; fd++)
        dup2(0, fd);
    use(1);
    spawn_with("plain", &a, 0);
    posix_spawn_file_actions_addopen(&a, 30, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&a, 1, 31);
    posix_spawn_file_actions_addclose(&a, 21);
    spawn_with("open, dup2, close", &a, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addchdir_np(&a, "/proc");
    spawn_with("chdir", &a, POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_addclosefrom_np(&a, 3);
    spawn_with("closefrom", &a, 0);
    posix_spawn_file_actions_addclosefrom_np(&a, 22);
    posix_spawn_file_actions_adddup2(&a, 1, 70);
    spawn_with("closefrom, dup2", &a, POSIX_SPAWN_USEVFORK);
    posix_spawn_file_actions_addopen(&a, 30, "/nonexistent/file", O_RDONLY, 0);
    spawn_with("fails", &a, 0);
    return 0;
}

/* --- the shell --- */

static int shell(int argc, char **argv)
{
    char command[PATH_MAX + 100], line[300];
    FILE *f;

    (void)argc, (void)argv;
    find_self();
    snprintf(command, sizeof(command), "exec %s child 'through a shell'", self);
    for (int i = 0; i < 3; i++) {
        use(3);
        show("system %#x\n", system(command));
        f = popen(command, "r");
        while (f && fgets(line, sizeof(line), f))
            show("read: %s", line);
        show("pclose %#x\n", f ? pclose(f) : -1);
        f = popen("cat", "we");
        fprintf(f, "written\n");
        show("pclose %#x\n", pclose(f));
    }
    use(4);
    return 0;
}

/* --- exec of itself --- */

/* again N [empty]: N generations in one process. */
static int again(int argc, char **argv)
{
    char count[20];
    int n = argc ? atoi(argv[0]) : 0;

    use((unsigned)n);
    show("%d pid kept %d\n", n, argc < 2 || atoi(argv[1]) == getpid());
    if (n == 0)
        return 5;
    find_self();
    snprintf(count, sizeof(count), "%d", n - 1);
    snprintf(self + strlen(self) + 1, 20, "%d", getpid());
    execl(self, "e_process", "again", count, self + strlen(self) + 1, (char *)NULL);
    return 96;
}

/* --- descriptors --- */

static void close_all(const char *how)
{
    if (strcmp(how, "closefrom") == 0)
        closefrom(3);
    else if (strcmp(how, "close_range") == 0)
        close_range(3, ~0u, 0);
    else if (strcmp(how, "libc-range") == 0)
        libc_call(SYS_close_range, 3, ~0u, 0, 0, 0);
    else if (strcmp(how, "inline-range") == 0)
        inline_call(SYS_close_range, 3, ~0u, 0, 0, 0);
    else if (strstr(how, "calls"))
        for (int fd = 3; fd < 4096; fd++)
            (strcmp(how, "inline-calls") == 0 ? inline_call : libc_call)(SYS_close, fd, 0, 0, 0, 0);
    else
        for (int fd = 3; fd < sysconf(_SC_OPEN_MAX) && fd < 4096; fd++)
            close(fd);
}

static int close_and_go_on(int argc, char **argv)
{
    pid_t pid;

    find_self();
    use(1);
    close_all(argc ? argv[0] : "loop");
    show_descriptors("closed");
    use(2);
    *(volatile uint8_t *)(RAM + 0x5000) = 1;
    show("first free %d\n", open("/dev/null", O_RDONLY));
    pid = fork();
    if (pid == 0) {
        use(3);
        execl(self, "e_process", "child", "after", (char *)NULL);
    }
    show("status %#x\n", status_of(pid));
    use(4);
    return 0;
}

/* --- where and who --- */

static int change_directory(int argc, char **argv)
{
    (void)argc, (void)argv;
    find_self();
    use(1);
    if (chdir("/proc/self") < 0)
        return 91;
    use(2);
    if (fork() == 0) {
        execl(self, "e_process", "again", "2", (char *)NULL);
        _exit(96);
    }
    wait(NULL);
    if (chdir("/") < 0)
        return 91;
    execl(self, "e_process", "again", "2", (char *)NULL);
    return 96;
}

static int change_root(int argc, char **argv)
{
    int status;

    use(1);
    if (argc < 1 || chroot(argv[0]) < 0 || chdir("/") < 0)
        return 77;
    use(2);
    show("nothing here: %d\n", access("/proc", F_OK));
    if (fork() == 0) {
        use(3);
        *(volatile uint8_t *)(RAM + 0x4000) = 1;
        _exit(3);
    }
    wait(&status);
    show("status %#x\n", status);
    use(4);
    return 0;
}

static volatile int stop;

static void *loop(void *unused)
{
    while (!stop)
        put(0x5a);
    show("thread: %d %d\n", (int)inline_call(SYS_getuid, 0, 0, 0, 0, 0), (int)inline_call(SYS_getgid, 0, 0, 0, 0, 0));
    return unused;
}

/* libc changes the user of every thread, by a signal of its own: into the middle of accesses. */
static int change_user(int argc, char **argv)
{
    pthread_t t[2];
    int status;

    (void)argc, (void)argv;
    shared();
    put(1);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, loop, NULL);
    usleep(10000);
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 77;
    usleep(10000);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    if (fork() == 0) {
        use(3);
        *(volatile uint8_t *)(RAM + 0x6000) = 1;
        _exit(getuid() == 65534 ? 3 : 4);
    }
    wait(&status);
    show("status %#x back %d\n", status, setuid(0));
    use(4);
    return 0;
}

/* --- a daemon --- */

static int do_daemon(int argc, char **argv)
{
    char name[PATH_MAX];
    FILE *out;

    if (argc < 2)
        return 97;
    use(1);
    if (daemon(0, 0) < 0)
        return 91;
    use(2);
    snprintf(name, sizeof(name), "%s.new", argv[0]);
    out = fopen(name, "w");
    fprintf(out, "%d %d\n", getsid(0) == getpid(), fcntl(3, F_GETFD) >= 0);
    if (strcmp(argv[1], "closes") == 0)
        closefrom(fileno(out) + 1);
    put(0x39);
    fprintf(out, "%#x\n", get());
    fclose(out);
    if (fork() == 0) { /* and one more, which the daemon outlives */
        use(3);
        _exit(0);
    }
    wait(NULL);
    *(volatile uint8_t *)(RAM + 0x2000) = 1;
    return rename(name, argv[0]);
}

/* --- libraries --- */

/* load LIBRARY TIMES: it uses the window as it comes, when it is called, and as it goes. */
static int load(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < atoi(argv[1]); i++) {
        void *library = dlopen(argv[0], i & 1 ? RTLD_LAZY | RTLD_LOCAL : RTLD_NOW | RTLD_GLOBAL);
        void (*touch)(int) = library ? (void (*)(int))dlsym(library, "touch") : NULL;

        if (!touch) {
            fprintf(stderr, "%s\n", dlerror());
            return 91;
        }
        touch(i);
        EQUAL(get(), (uint8_t)i);
        EQUAL(dlclose(library), 0);
    }
    show("done\n");
    return 0;
}

/* For the library. */
void put_for_library(unsigned value);
void put_for_library(unsigned value)
{
    put(value);
}

/* --- beginnings and ends --- */

static int whole_life;

__attribute__((constructor(200))) static void before_main(int argc, char **argv)
{
    whole_life = argc > 1 && strcmp(argv[1], "life") == 0;
    if (whole_life) {
        show("constructor\n");
        put(0x10);
    }
}

__attribute__((destructor)) static void after_main(void)
{
    if (whole_life) {
        show("destructor\n");
        put(0x14);
    }
}

static void at_exit(void)
{
    show("atexit\n");
    use(0x12);
}

static void at_quick_exit_(void)
{
    show("at_quick_exit\n");
    use(0x13);
}

static void on_abort(int sig)
{
    show("handler %d\n", sig);
    use((unsigned)sig);
}

static void *leave_by_thread(void *unused)
{
    (void)unused;
    use(0x16);
    exit(9);
}

static int life(int argc, char **argv)
{
    const char *how = argc ? argv[0] : "return";
    pthread_t t;

    use(0x11);
    atexit(at_exit);
    at_quick_exit(at_quick_exit_);
    *(volatile uint8_t *)(RAM + 0x8000) = 1;
    if (strcmp(how, "exit") == 0)
        exit(4);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(5);
    if (strcmp(how, "_exit") == 0)
        _exit(6);
    if (strcmp(how, "_Exit") == 0)
        _Exit(6);
    if (strcmp(how, "raw-libc") == 0)
        libc_call(SYS_exit_group, 8, 0, 0, 0, 0);
    if (strcmp(how, "raw") == 0)
        inline_call(SYS_exit_group, 8, 0, 0, 0, 0);
    if (strcmp(how, "handled-abort") == 0)
        signal(SIGABRT, on_abort);
    if (strcmp(how, "ignored-abort") == 0)
        signal(SIGABRT, SIG_IGN);
    if (strcmp(how, "blocked-abort") == 0)
        mask_change(SIG_SETMASK, EVERY);
    if (strstr(how, "abort"))
        abort();
    if (strcmp(how, "thread") == 0) {
        pthread_create(&t, NULL, leave_by_thread, NULL);
        pthread_join(t, NULL);
    }
    if (strcmp(how, "last-thread") == 0) {
        pthread_create(&t, NULL, leave_by_thread, NULL);
        pthread_exit(NULL);
    }
    return 3;
}

/* --- for debuggers --- */

__attribute__((noinline)) static int third(int n, const char *how)
{
    put((unsigned)n);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "segv") == 0)
        *(volatile int *)(HOLE + 0x10) = n;
    if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGSEGV);
    put((unsigned)n + 1);
    return n + (int)get();
}

__attribute__((noinline)) static int second(int n, const char *how)
{
    int value = third(n + 1, how);

    return value + 1;
}

__attribute__((noinline)) static int first(int n, const char *how)
{
    int value = second(n + 1, how);

    return value + 1;
}

/* debug HOW: three frames deep. */
static int debug(int argc, char **argv)
{
    int value = first(40, argc ? argv[0] : "none");

    show("value %d\n", value);
    return 0;
}

/* traced [quiet]: calls between two marks that a tracer sees, with accesses and a child among them, or without. */
static int traced(int argc, char **argv)
{
    char buffer[16];
    int fd, fds[2], quiet = argc > 0;

    (void)argv;
    put(0);
    if (access("/mark/begin", F_OK) == 0)
        return 91;
    fd = open("/dev/zero", O_RDONLY);
    if (!quiet)
        put((unsigned)fd);
    if (read(fd, buffer, sizeof(buffer)) != 16 || pipe(fds) < 0 || write(fds[1], "x", 1) != 1)
        return 91;
    if (!quiet)
        use(1);
    close(fd);
    getppid();
    fd = dup(fds[0]);
    if (!quiet)
        put((unsigned)fd);
    if (lseek(fd, 0, SEEK_SET) >= 0 || umask(022) == 0xfff)
        return 91;
    if (!quiet && fork() == 0)
        _exit((int)get());
    if (!quiet)
        wait(NULL);
    free(malloc(1 << 20));
    mprotect(mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, PROT_NONE);
    poll(NULL, 0, 1);
    getcwd(buffer, sizeof(buffer));
    show("written\n");
    if (access("/mark/end", F_OK) == 0)
        return 91;
    use(2);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"child", child},   {"fork", do_fork},      {"vfork", do_vfork},        {"spawn", spawn},
        {"shell", shell},   {"again", again},       {"close", close_and_go_on}, {"chdir", change_directory},
        {"chroot", change_root}, {"user", change_user}, {"daemon", do_daemon},  {"load", load},
        {"life", life},     {"debug", debug},       {"traced", traced},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
