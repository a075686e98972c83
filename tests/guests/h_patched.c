/* flags: -O1 -no-pie -lpthread */
/*
 * What may be different where a hot access was replaced by a jump: each action
 * makes an access often, and then once or more under a condition.
 */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "b_guest.h"

#define OFTEN 100

void h_store(volatile void *to, unsigned value);
unsigned h_load(const volatile void *from);
unsigned h_kept(const volatile void *from);
__asm__(".text\n .balign 4096, 0xcc\n .globl h_store, h_load, h_text_end\n"
        ".type h_store, @function\n h_store: .cfi_startproc\n movl %esi, (%rdi)\n movl $0, %eax\n ret\n .cfi_endproc\n"
        ".size h_store, . - h_store\n"
        ".type h_load, @function\n h_load: .cfi_startproc\n movl (%rdi), %eax\n movl $0, %ecx\n ret\n .cfi_endproc\n"
        ".size h_load, . - h_load\n"
        /* the same, or -1 if rcx changes */
        ".globl h_kept\n .type h_kept, @function\n h_kept: .cfi_startproc\n leaq 85(%rdi), %rcx\n movl (%rdi), %eax\n"
        "leaq -85(%rcx), %rcx\n cmpq %rcx, %rdi\n je 1f\n movl $-1, %eax\n 1: ret\n .cfi_endproc\n"
        ".size h_kept, . - h_kept\n .balign 4096, 0xcc\n h_text_end:\n");

/* With DF set our own code runs with DF clear, as its string instructions want it, and the program's stays. */
static int direction(int argc, char **argv)
{
    volatile uint32_t *virtio = (volatile uint32_t *)0x10001000;
    unsigned long flags, kept = 0, bad = 0;

    (void)argc, (void)argv;
    for (unsigned i = 0; i < OFTEN; i++) {
        virtio[0x30 / 4] = 1; /* QueueSel: below the queues, which a reset clears; DeviceFeaturesSel as well */
        virtio[0x14 / 4] = 1;
        *SCR = 0x5a;
        __asm__ volatile("std\n\tcall h_store\n\tpushfq\n\tpopq %0\n\tcld"
                         : "=&r"(flags)
                         : "D"(virtio + 0x70 / 4), "S"(i % 2) /* Status: 0 resets */
                         : "rax", "rcx", "memory", "cc");
        kept += flags >> 10 & 1;
        bad += *SCR != 0x5a;
        bad += virtio[0x70 / 4] != i % 2;
        EQUAL(virtio[0], 0x74726976);
    }
    EQUAL(bad, 0);
    EQUAL(kept, OFTEN);
    return 0;
}

/* A task with the storage of the thread that made it, both at one site. */
static volatile int child_stop, child_failed, child_runs;

static int same_storage(void *argument)
{
    uint32_t *mine = argument;

    for (unsigned i = 0; !child_stop; i++) {
        uint32_t got;

        mine[i % 64] = i;
        got = h_kept(mine + i % 64);
        child_failed |= got != i;
        child_runs++;
    }
    return 0;
}

static int shared(int argc, char **argv)
{
    static uint32_t theirs[64], ours[64];
    static _Alignas(16) char stack[65536];
    int pid, status = 0, bad = 0;

    (void)argc, (void)argv;
    for (unsigned i = 0; i < OFTEN; i++)
        h_kept((void *)SCRATCH);
    pid = clone(same_storage, stack + sizeof(stack), CLONE_VM | SIGCHLD, theirs);
    if (pid < 0)
        return 1;
    while (!child_runs)
        sched_yield();
    for (unsigned i = 0; i < 20000000 && !child_failed && !bad; i++) {
        ours[i % 64] = ~i;
        bad = h_kept(ours + i % 64) != ~i;
    }
    child_stop = 1;
    EQUAL(waitpid(pid, &status, 0), pid);
    EQUAL(status, 0);
    EQUAL(child_failed, 0);
    EQUAL(bad, 0);
    return 0;
}

/* The program makes its text writable when no descriptor can be had. */
static int descriptors(int argc, char **argv)
{
    struct rlimit none = {0, 0};

    (void)argc, (void)argv;
    *(volatile uint32_t *)SCRATCH = 0x1234;
    for (unsigned i = 0; i < OFTEN; i++)
        EQUAL(h_load((void *)SCRATCH), 0x1234);
    setrlimit(RLIMIT_NOFILE, &none);
    EQUAL(mprotect((void *)h_store, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    *SCR = 0x5a;
    for (unsigned i = 0; i < OFTEN; i++)
        EQUAL(h_load(SCR - 7) >> 31, 0);
    return 0;
}

/* Patched text is taken back again and again, while threads run in it. */
static volatile int over;

static void *loads(void *failed)
{
    while (!over)
        if (h_load((void *)SCRATCH) != 0x1234)
            *(volatile int *)failed = 1;
    return NULL;
}

static int comes(int argc, char **argv)
{
    pthread_t threads[3];
    int failed = 0;

    *(volatile uint32_t *)SCRATCH = 0x1234;
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, loads, &failed);
    for (int i = 0, n = argc ? atoi(argv[0]) : 1000; i < n; i++) {
        for (unsigned k = 0; k < OFTEN; k++)
            EQUAL(h_load((void *)SCRATCH), 0x1234);
        if (argc > 1)
            EQUAL(madvise((void *)h_store, 4096, MADV_DONTNEED), 0);
        else
            EQUAL(mremap((void *)h_store, 4096, 4096, 0), h_store); /* nothing moves */
    }
    over = 1;
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    EQUAL(failed, 0);
    return 0;
}

/*
 * A UART whose other end is a full pipe, and signals while its register waits: flags that are wanted behind the store
 * are there. Our own standard output becomes that pipe before the shim begins.
 */
static volatile int come;
static int drain = -1;

static void on_alarm(int sig)
{
    static char all[65536];

    (void)sig;
    if (++come >= 20)
        while (read(drain, all, sizeof(all)) > 0)
            ;
}

static __attribute__((noinline)) unsigned long put_with_flags(volatile uint8_t *to, unsigned char byte, unsigned long flags)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushq %0\n\tpopfq\n\tmovb %2, (%1)\n\tpushfq\n\tpopq %0\n\tlea 128(%%rsp), %%rsp"
                     : "+r"(flags)
                     : "r"(to), "q"(byte)
                     : "memory", "cc");
    return flags;
}

static int waits(int argc, char **argv)
{
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    char number[12];
    int ends[2], lost = 0;

    if (!argc) {
        if (pipe(ends) || fcntl(ends[1], F_SETPIPE_SZ, 4096) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 || dup2(ends[1], 1) < 0)
            return 1;
        snprintf(number, sizeof(number), "%d", ends[0]);
        execl("/proc/self/exe", "h_patched", "waits", number, (char *)NULL);
        return 1;
    }
    drain = atoi(argv[0]);
    signal(SIGALRM, on_alarm);
    for (unsigned i = 0; i < OFTEN; i++)
        put_with_flags(SCR, 'x', 0x202);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned i = 0; i < 10; i++) {
        unsigned long set = i & 1 ? 0x8d7 : 0x202;

        lost += (put_with_flags((volatile uint8_t *)UART, 'x', set) & 0x8d5) != (set & 0x8d5);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    EQUAL(lost, 0);
    CHECK(come >= 20);
    return 0;
}

/* More sites than one pool of trampolines has slots for. */
#define MANY 400

extern const char h_many[];
__asm__(".text\n .balign 4096, 0xcc\n .globl h_many\n h_many:\n .rept 400\n .balign 16, 0xcc\n .cfi_startproc\n"
        "movl (%rdi), %eax\n movl %eax, %ecx\n addl 4(%rdi), %ecx\n movl %ecx, %eax\n ret\n .cfi_endproc\n .endr\n"
        ".balign 4096, 0xcc\n");

/* No address space is left: nothing more is patched, and that is not looked for at every site anew. */
static int confined(int argc, char **argv)
{
    struct rlimit none = {4096, 4096};

    (void)argc, (void)argv;
    ((volatile uint32_t *)SCRATCH)[0] = 3;
    ((volatile uint32_t *)SCRATCH)[1] = 4;
    setrlimit(RLIMIT_AS, &none);
    for (unsigned k = 0; k < 20; k++)
        for (unsigned i = 0; i < MANY; i++)
            EQUAL(((unsigned (*)(unsigned long))(unsigned long)(h_many + 16 * i))(SCRATCH), 7);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"direction", direction},
        {"shared", shared},
        {"descriptors", descriptors},
        {"waits", waits},
        {"comes", comes},
        {"confined", confined},
    };

    return run_action(table, sizeof(table) / sizeof(table[0]), argc, argv);
}
