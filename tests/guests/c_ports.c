/*
 * Port I/O as its arguments say, in order:
 *   inb:P inw:P inl:P, outb:P=V ...   one access, reads are printed
 *   insb:P=N insw: insl:              rep ins, N units, printed as bytes
 *   outs:P=TEXT                       rep outsb
 *   iopl:LEVEL, ioperm:FROM,NUM,ON    the call, its result is printed
 *   exec                              a new program does the rest; system: a child of system(3)
 *   fork                              a child does the rest, the parent waits for it
 *   peek:A poke:A=V                   a byte of memory
 *   forms strings bursts faults windows canonical   programs of their own, below; they print what went wrong
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define SCRATCH 0x200 /* ports of plain memory */

static int failures;

#define CHECK_EQ(got, want) \
    do { \
        unsigned long long got_ = (unsigned long long)(got), want_ = (unsigned long long)(want); \
        if (got_ != want_) { \
            printf("%d: %s is %#llx, not %#llx\n", __LINE__, #got, got_, want_); \
            failures++; \
        } \
    } while (0)

/* What the scratch ports hold, from the first on. */
static void ports_hold(const char *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(inb((unsigned short)(SCRATCH + i)), (unsigned char)bytes[i]);
}

#define PATTERN 0xa5a5a5a5a5a5a5a5ull

/* One instruction with rax and rdx as given. */
#define RUN(text, rax, rdx) __asm__ volatile(text : "+a"(rax) : "d"(rdx) : "memory")

/* Widths, immediate and dx, and what they leave of rax and of the flags. */
static void forms(void)
{
    unsigned long rax = 0x1122334455667788, dx = 0xffffffffffff0000 | SCRATCH, flags;

    RUN("outl %%eax, %%dx", rax, dx);
    ports_hold("\x88\x77\x66\x55\0", 5);
    RUN("outw %%ax, %%dx", rax, dx + 2);
    RUN("outb %%al, %%dx", rax, dx + 7);
    ports_hold("\x88\x77\x88\x77\0\0\0\x88\0", 9);
    rax = PATTERN;
    RUN("inb %%dx, %%al", rax, dx);
    CHECK_EQ(rax, 0xa5a5a5a5a5a5a588);
    rax = PATTERN;
    RUN("inw %%dx, %%ax", rax, dx);
    CHECK_EQ(rax, 0xa5a5a5a5a5a57788);
    rax = PATTERN;
    RUN("inl %%dx, %%eax", rax, dx);
    CHECK_EQ(rax, 0x77887788);
    rax = PATTERN;
    RUN("rex.w inl %%dx, %%eax", rax, dx);
    CHECK_EQ(rax, 0x77887788);
    rax = PATTERN; /* the clock is not modelled: ones */
    RUN("inb $0x70, %%al", rax, dx);
    CHECK_EQ(rax, 0xa5a5a5a5a5a5a5ff);
    rax = PATTERN;
    RUN("inl $0x70, %%eax", rax, dx);
    CHECK_EQ(rax, 0xffffffff);
    RUN("outb %%al, $0x80", rax, dx);
    __asm__ volatile("stc; inb %%dx, %%al; pushfq; pop %1" : "+a"(rax), "=r"(flags) : "d"(dx) : "cc");
    CHECK_EQ(flags & 1, 1);
}

struct string {
    unsigned long rdi, rsi, rcx;
};

#define STRING(text, s, port) \
    __asm__ volatile(text : "+D"((s).rdi), "+S"((s).rsi), "+c"((s).rcx) : "d"((unsigned long)(port)) : "memory", "cc")

static void strings(void)
{
    static char out[] = "0123456789abcdef", in[17];
    struct string s = {0, (unsigned long)out, 9};

    STRING("outsb", s, SCRATCH);
    CHECK_EQ(s.rsi, (unsigned long)out + 1);
    CHECK_EQ(s.rcx, 9);
    ports_hold("0\0", 2);
    outsw(SCRATCH + 2, out, 3);
    outsl(SCRATCH + 4, out, 3);
    ports_hold("0\0" "4589ab\0", 9);
    s = (struct string){0, (unsigned long)out + 3, 4}; /* the last byte that goes out is the first */
    STRING("std; rep outsb; cld", s, SCRATCH + 8);
    CHECK_EQ(s.rsi, (unsigned long)out - 1);
    CHECK_EQ(s.rcx, 0);
    ports_hold("0\0" "4589ab0\0", 10);
    insl(SCRATCH + 4, in, 2);
    CHECK_EQ(memcmp(in, "89ab89ab\0", 9), 0);
    insw(SCRATCH + 2, in + 1, 2);
    CHECK_EQ(memcmp(in, "845459ab\0", 9), 0);
    insb(SCRATCH + 8, in + 15, 1);
    CHECK_EQ(memcmp(in + 8, "\0\0\0\0\0\0\0" "0", 9), 0);
    s = (struct string){(unsigned long)in + 4, 0, 2};
    STRING("std; rep insl; cld", s, SCRATCH + 4);
    CHECK_EQ(s.rdi, (unsigned long)in - 4);
    CHECK_EQ(memcmp(in, "89ab89ab\0", 9), 0);
    s = (struct string){(unsigned long)in, 0, 0};
    STRING("rep insb", s, SCRATCH);
    CHECK_EQ(s.rdi, (unsigned long)in);
    CHECK_EQ(in[0], '8');
}

/* Prefix 67, more than one burst, and a repetition in memory below 4 GiB. */
static void bursts(void)
{
    unsigned n = 10000;
    unsigned char *low = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    struct string s = {0, (unsigned long)low | 0x5a00000000000000, 0xff00000000000000 | n};

    for (unsigned i = 0; i < n; i++)
        low[i] = (unsigned char)(i * 7);
    STRING("addr32 rep outsb", s, SCRATCH);
    CHECK_EQ(s.rsi, (unsigned long)low + n);
    CHECK_EQ(s.rcx, 0);
    ports_hold((char *)&low[n - 1], 1);
    s = (struct string){(unsigned long)low, 0, n};
    STRING("rep insb", s, SCRATCH);
    CHECK_EQ(s.rdi, (unsigned long)low + n);
    for (unsigned i = 0; i < n; i++)
        if (low[i] != low[n - 1])
            failures++;
}

static struct {
    siginfo_t info;
    unsigned long rip, rdi, rsi, rcx;
    int count;
    char *mend; /* page that becomes writable */
} seen;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)sig;
    seen.info = *info;
    seen.rip = (unsigned long)regs[REG_RIP];
    seen.rdi = (unsigned long)regs[REG_RDI];
    seen.rsi = (unsigned long)regs[REG_RSI];
    seen.rcx = (unsigned long)regs[REG_RCX];
    if (seen.count++ > 2 || mprotect(seen.mend, 4096, PROT_READ | PROT_WRITE) < 0)
        _exit(3);
}

/* Memory that faults in the middle: the handler sees how far it came, mends the page, and it goes on from there. */
static void faults(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct string s = {(unsigned long)page + 4092, 0, 3};

    sigaction(SIGSEGV, &action, NULL);
    seen.mend = page + 4096;
    outl(0x64636261, SCRATCH);
    mprotect(seen.mend, 4096, PROT_READ);
    STRING("rep insl", s, SCRATCH);
    CHECK_EQ(seen.count, 1);
    CHECK_EQ(seen.info.si_code, SEGV_ACCERR);
    CHECK_EQ(seen.info.si_addr, (unsigned long)seen.mend);
    CHECK_EQ(seen.rdi, (unsigned long)seen.mend);
    CHECK_EQ(seen.rcx, 2);
    CHECK_EQ(s.rdi, (unsigned long)page + 4104);
    CHECK_EQ(s.rcx, 0);
    CHECK_EQ(memcmp(page + 4092, "abcdabcdabcd\0", 13), 0);
    mprotect(seen.mend, 4096, PROT_NONE);
    seen.count = 0;
    s = (struct string){0, (unsigned long)page + 4094, 4};
    STRING("rep outsb", s, SCRATCH + 8);
    CHECK_EQ(seen.count, 1);
    CHECK_EQ(seen.info.si_addr, (unsigned long)seen.mend);
    CHECK_EQ(seen.rsi, (unsigned long)seen.mend);
    CHECK_EQ(seen.rcx, 2);
    CHECK_EQ(s.rcx, 0);
    CHECK_EQ(inb(SCRATCH + 8), 'b');
    signal(SIGSEGV, SIG_DFL);
}

/* The memory operand is itself a window, or RAM. */
static void windows(void)
{
    volatile unsigned char *window = (void *)0x10000000;

    outl(0x34333231, SCRATCH);
    insl(SCRATCH, (void *)0x10000004, 2);
    CHECK_EQ(window[11], '4');
    window[5] = 'x';
    outsb(SCRATCH + 9, (void *)0x10000004, 2);
    CHECK_EQ(inb(SCRATCH + 9), 'x');
    insb(SCRATCH, (void *)0x80001fff, 2);
    CHECK_EQ(*(volatile unsigned short *)0x80001fff, 0x3131);
}

static sigjmp_buf back;

static void on_general(int sig, siginfo_t *info, void *context)
{
    seen.info = *info;
    siglongjmp(back, sig + (context == NULL));
}

/* Addresses that no page table can hold are a general protection fault without address; low ones are not mapped. */
static void canonical(void)
{
    struct sigaction action = {.sa_sigaction = on_general, .sa_flags = SA_SIGINFO};
    struct string s = {0x8000000000000000, 0, 1};

    sigaction(SIGSEGV, &action, NULL);
    if (!sigsetjmp(back, 1)) {
        STRING("rep insb", s, SCRATCH);
        failures++;
    }
    CHECK_EQ(seen.info.si_code, SI_KERNEL);
    CHECK_EQ(seen.info.si_addr, 0);
    seen.info.si_code = 0;
    s = (struct string){16, 0, 1};
    if (!sigsetjmp(back, 1)) {
        STRING("rep insb", s, SCRATCH);
        failures++;
    }
    CHECK_EQ(seen.info.si_code, SEGV_MAPERR);
    CHECK_EQ(seen.info.si_addr, 16);
    seen.info.si_code = 0;
    if (!sigsetjmp(back, 1)) { /* not about ports at all */
        *(volatile char *)0x8000000000000000 = 1;
        failures++;
    }
    CHECK_EQ(seen.info.si_code, SI_KERNEL);
    signal(SIGSEGV, SIG_DFL);
}

static void result(const char *what, int ret)
{
    printf("%s: %s\n", what, ret == 0 ? "0" : errno == EINVAL ? "EINVAL" : strerror(errno));
}

static void bytes(const unsigned char *data, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        printf("%02x%c", data[i], i + 1 < n ? ' ' : '\n');
}

static void string_in(unsigned short port, unsigned width, unsigned n)
{
    unsigned char data[256] = {0};

    if (n * width > sizeof(data))
        exit(2);
    if (width == 1)
        insb(port, data, n);
    else if (width == 2)
        insw(port, data, n);
    else
        insl(port, data, n);
    bytes(data, n * width);
}

static void split(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        return;
    waitpid(pid, &status, 0);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The same program, from the argument at argv[0] on. */
static void again(char **argv, int through_system)
{
    char command[4096] = "";
    char *name = argv[0];

    argv[0] = program_invocation_name;
    if (!through_system) {
        execv(program_invocation_name, argv);
        exit(4);
    }
    for (unsigned i = 0; argv[i]; i++)
        snprintf(command + strlen(command), sizeof(command) - strlen(command), "'%s' ", argv[i]);
    argv[0] = name;
    exit(system(command) != 0);
}

static int is(const char *op, const char *name)
{
    return strncmp(op, name, strlen(name)) == 0;
}

static int single(const char *op, unsigned short port, const char *value)
{
    unsigned v = value ? (unsigned)strtoul(value + 1, NULL, 0) : 0;

    if (is(op, "inb:"))
        printf("%#x\n", inb(port));
    else if (is(op, "inw:"))
        printf("%#x\n", inw(port));
    else if (is(op, "inl:"))
        printf("%#x\n", inl(port));
    else if (is(op, "outb:"))
        outb((unsigned char)v, port);
    else if (is(op, "outw:"))
        outw((unsigned short)v, port);
    else if (is(op, "outl:"))
        outl(v, port);
    else if (is(op, "outs:"))
        outsb(port, value + 1, strlen(value + 1));
    else if (is(op, "ins"))
        string_in(port, op[3] == 'b' ? 1 : op[3] == 'w' ? 2 : 4, v);
    else
        return 0;
    return 1;
}

static int memory(const char *op, unsigned long addr, const char *value)
{
    if (is(op, "peek:"))
        printf("%#x\n", *(volatile unsigned char *)addr);
    else if (is(op, "poke:"))
        *(volatile unsigned char *)addr = (unsigned char)strtoul(value + 1, NULL, 0);
    else
        return 0;
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } whole[] = {{"forms", forms},     {"strings", strings},     {"bursts", bursts}, {"faults", faults},
                 {"windows", windows}, {"canonical", canonical}, {"fork", split}};

    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *argument = strchr(argv[i], ':'), *value = strchr(argv[i], '=');
        unsigned long number = argument ? strtoul(argument + 1, NULL, 0) : 0;
        unsigned long from, num;
        int on, done = 0;

        for (unsigned k = 0; k < sizeof(whole) / sizeof(whole[0]); k++)
            if (strcmp(argv[i], whole[k].name) == 0) {
                whole[k].run();
                done = 1;
            }
        if (done)
            continue;
        if (strcmp(argv[i], "exec") == 0 || strcmp(argv[i], "system") == 0)
            again(argv + i, argv[i][0] == 's');
        if (is(argv[i], "iopl:"))
            result(argv[i], iopl((int)strtol(argument + 1, NULL, 0)));
        else if (sscanf(argv[i], "ioperm:%li,%li,%i", (long *)&from, (long *)&num, &on) == 3)
            result(argv[i], ioperm(from, num, on));
        else if (!single(argv[i], (unsigned short)number, value) && !memory(argv[i], number, value))
            return 2;
    }
    return failures != 0;
}
