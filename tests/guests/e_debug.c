/* flags: -lpthread */
/* What debuggers step through, programs that step themselves, and threads that sleep in system calls. */
#include "e_guest.h"

#include <poll.h>

static int total;
int watched;

__attribute__((noinline)) int work(int n)
{
    *SCR = (uint8_t)n; /* first */
    total += *SCR;     /* second */
    *SCR = (uint8_t)(n + 1);
    watched = n;
    return n;
}

/* steps: 3 accesses, five times. */
static int steps(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int i = 0; i < 5; i++)
        work(i);
    show("total %d\n", total);
    return 0;
}

static void *use_window(void *argument)
{
    for (int i = 0; i < 50; i++)
        work(*(int *)argument);
    return NULL;
}

/* threads: two more use the same code. */
static int threads(int argc, char **argv)
{
    pthread_t t[2];
    int n = 7;

    (void)argc, (void)argv;
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, use_window, &n);
    use_window(&n);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    show("joined\n");
    return 0;
}

/* --- a program that steps itself --- */

static uint64_t stops[64];
static unsigned nstops;

static void stopped(int sig, siginfo_t *info, void *context)
{
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    if (sig == SIGTRAP && info->si_code == TRAP_TRACE && (uint64_t)info->si_addr == (uint64_t)regs[REG_RIP] && nstops < 64)
        stops[nstops++] = (uint64_t)regs[REG_RIP];
}

extern const char flag_begin[];

/* flag: the trap flag over a store, a load, a repeated store and a comparison; one trap for each step. */
static int flag(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = stopped, .sa_flags = SA_SIGINFO};
    volatile uint8_t *window = SCR;
    uint64_t count = 3, at = UART + 7;
    unsigned value = 0x41;

    (void)argc, (void)argv;
    sigaction(SIGTRAP, &act, NULL);
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
                     "pushfq\n\t"
                     "pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n"
                     "flag_begin:\n\t"
                     "nop\n\t"
                     "movb %b0, (%3)\n\t"
                     "movzbl (%3), %0\n\t"
                     "nop\n\t"
                     "rep stosb\n\t"
                     "cmpb $0x41, (%3)\n\t"
                     "popfq\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     : "+a"(value), "+c"(count), "+D"(at)
                     : "r"(window)
                     : "memory", "cc");
    for (unsigned i = 0; i < nstops; i++)
        show("%d\n", (int)(stops[i] - (uint64_t)flag_begin));
    show("value %#x count %lu at %#lx\n", value, (unsigned long)count, (unsigned long)at);
    __atomic_fetch_add(tally, 6, __ATOMIC_SEQ_CST);
    return 0;
}

/* flag-calls: the trap flag over system calls of libc, one that the library answers among them. */
static int flag_calls(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = stopped, .sa_flags = SA_SIGINFO}, was;
    unsigned in_libc = 0;
    int parent;

    (void)argc, (void)argv;
    put(1);
    sigaction(SIGTRAP, &act, NULL);
    sigaction(SIGSEGV, NULL, &was);
    getppid();
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc");
    parent = getppid();
    sigaction(SIGSEGV, NULL, &was);
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc");
    for (unsigned i = 0; i < nstops; i++)
        in_libc += stops[i] - (uint64_t)getppid < 16;
    show("%d stops in getppid, right %d handler %d\n", (int)in_libc, parent == getppid(), was.sa_handler != SIG_DFL);
    return 0;
}

/* --- sleeping --- */

static void woken(int sig)
{
    (void)sig;
}

__attribute__((noinline)) static void sleeps(const char *how)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct timespec minute = {60, 0};
    int fds[2];
    char c;
    sigset_t none;

    sigemptyset(&none);
    if (pipe(fds) < 0)
        _exit(91);
    if (strcmp(how, "read") == 0 && read(fds[0], &c, 1) != 1)
        show("ended\n");
    else if (strcmp(how, "nanosleep") == 0)
        nanosleep(&minute, NULL);
    else if (strcmp(how, "poll") == 0)
        poll(NULL, 0, 60000);
    else if (strcmp(how, "ppoll") == 0)
        ppoll(NULL, 0, &minute, &none);
    else if (strcmp(how, "sigsuspend") == 0)
        sigsuspend(&none);
    else if (strcmp(how, "cond") == 0) {
        pthread_mutex_lock(&mutex);
        pthread_cond_wait(&cond, &mutex);
    } else if (strcmp(how, "window") == 0) /* a buffer in the window */
        show("%d\n", (int)read(fds[0], (void *)SCR, 1));
}

__attribute__((noinline)) static void outer(const char *how)
{
    sleeps(how);
    show("woke up\n");
}

/* sleep HOW: in frames that a debugger shows. */
static int do_sleep(int argc, char **argv)
{
    signal(SIGUSR1, woken);
    put(1);
    show("%d\n", (int)getpid());
    outer(argc ? argv[0] : "read");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {{"steps", steps}, {"threads", threads}, {"flag", flag}, {"flag-calls", flag_calls},
                                          {"sleep", do_sleep}};

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
