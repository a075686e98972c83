/* flags: -pthread */
/*
 * A program made of its arguments: accesses, output and an end, one word each,
 * done in order. It knows nothing of the library. Words:
 *   r1|r2|r4|r8:ADDR         load; the value is printed
 *   w1|w2|w4|w8:ADDR=VALUE   store
 *   or1:ADDR=VALUE           read-modify-write in one instruction
 *   stosb:ADDR=VALUE,COUNT   rep stosb
 *   movsb:TO=FROM,COUNT      rep movsb
 *   v16|v32|v64:ADDR=SEED    one vector store of the bytes SEED, SEED+1...
 *   vr16|vr32|vr64:ADDR      one vector load; the bytes are printed, the last first
 *   fill:ADDR=VALUE,LENGTH   plain byte stores
 *   scatter:ADDR=STEP,COUNT  a byte store every STEP bytes
 *   sum:ADDR=LENGTH          reads bytes, prints their sum
 *   input:ADDR=LENGTH        read(2) of standard input to ADDR; the result is printed
 *   rest                     what standard input still has
 *   puts:TEXT write:TEXT err:TEXT   printf, write(1), write(2)
 *   close:FD open:PATH       open prints the descriptor
 *   fsize:BYTES              limit of file size from here on
 *   loop:COUNT               does the next word COUNT times
 *   handler                  a SIGSEGV handler that says the address and ends with 7
 *   fork ... join            a child does the words between, and ends
 *   chdir:PATH touch:PATH pause
 *   exit:N _exit:N _Exit:N quick:N return:N abort raise:N kill:N crash:ADDR thread_exit
 */
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static NOINLINE uint64_t load(unsigned width, uint64_t addr)
{
    void *p = (void *)addr;

    switch (width) {
    case 1:
        return *(volatile uint8_t *)p;
    case 2:
        return *(volatile uint16_t *)p;
    case 4:
        return *(volatile uint32_t *)p;
    default:
        return *(volatile uint64_t *)p;
    }
}

static NOINLINE void store(unsigned width, uint64_t addr, uint64_t value)
{
    void *p = (void *)addr;

    switch (width) {
    case 1:
        *(volatile uint8_t *)p = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)p = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)p = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)p = value;
    }
}

static NOINLINE void or1(uint64_t addr, uint64_t value)
{
    __asm__ volatile("orb %b1, (%0)" : : "r"(addr), "q"(value) : "memory", "cc");
}

static NOINLINE void stosb(uint64_t addr, uint64_t value, uint64_t count)
{
    __asm__ volatile("rep stosb" : "+D"(addr), "+c"(count) : "a"(value) : "memory");
}

static NOINLINE void movsb(uint64_t to, uint64_t from, uint64_t count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static NOINLINE void vector16(uint64_t addr, uint8_t *bytes, int write)
{
    if (write)
        __asm__ volatile("movdqu (%1), %%xmm1; movdqu %%xmm1, (%0)" : : "r"(addr), "r"(bytes) : "xmm1", "memory");
    else
        __asm__ volatile("movdqu (%0), %%xmm1; movdqu %%xmm1, (%1)" : : "r"(addr), "r"(bytes) : "xmm1", "memory");
}

static NOINLINE void vector32(uint64_t addr, uint8_t *bytes, int write)
{
    if (write)
        __asm__ volatile("vmovdqu (%1), %%ymm1; vmovdqu %%ymm1, (%0)" : : "r"(addr), "r"(bytes) : "xmm1", "memory");
    else
        __asm__ volatile("vmovdqu (%0), %%ymm1; vmovdqu %%ymm1, (%1)" : : "r"(addr), "r"(bytes) : "xmm1", "memory");
}

static NOINLINE void vector64(uint64_t addr, uint8_t *bytes, int write)
{
    if (write)
        __asm__ volatile("vmovdqu64 (%1), %%zmm1; vmovdqu64 %%zmm1, (%0)" : : "r"(addr), "r"(bytes) : "xmm1", "memory");
    else
        __asm__ volatile("vmovdqu64 (%0), %%zmm1; vmovdqu64 %%zmm1, (%1)" : : "r"(addr), "r"(bytes) : "xmm1", "memory");
}

static void vector(unsigned width, uint64_t addr, uint8_t seed, int write)
{
    uint8_t bytes[64] = {0};

    for (unsigned i = 0; write && i < width; i++)
        bytes[i] = (uint8_t)(seed + i);
    if (width == 64)
        vector64(addr, bytes, write);
    else if (width == 32)
        vector32(addr, bytes, write);
    else
        vector16(addr, bytes, write);
    if (write)
        return;
    for (unsigned i = width; i-- > 0;)
        printf("%02x", bytes[i]);
    printf("\n");
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "handled %d at 0x%lx\n", sig, (unsigned long)info->si_addr);

    (void)context;
    if (write(1, text, (size_t)n) != n)
        _exit(8);
    _exit(7);
}

static void set_handler(void)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &act, NULL);
}

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        exit(9);
}

static void rest(void)
{
    char c;

    fflush(stdout);
    say(1, "rest=");
    while (read(0, &c, 1) == 1)
        if (write(1, &c, 1) != 1)
            exit(9);
    say(1, "\n");
}

struct word {
    char name[16];
    const char *text;
    uint64_t a, b, c;
};

static struct word parse(const char *word)
{
    struct word w = {.text = ""};
    const char *colon = strchr(word, ':');
    size_t n = colon ? (size_t)(colon - word) : strlen(word);
    char *end;

    memcpy(w.name, word, n < sizeof(w.name) ? n : sizeof(w.name) - 1);
    if (!colon)
        return w;
    w.text = colon + 1;
    w.a = strtoull(w.text, &end, 0);
    if (*end == '=')
        w.b = strtoull(end + 1, &end, 0);
    if (*end == ',')
        w.c = strtoull(end + 1, &end, 0);
    return w;
}

static int is(const struct word *w, const char *name)
{
    return strcmp(w->name, name) == 0;
}

static int memory_word(const struct word *w)
{
    const char *digits = w->name + strcspn(w->name, "0123456789");
    unsigned width = (unsigned)atoi(digits);
    uint64_t sum = 0;

    if (w->name[0] == 'r' && digits == w->name + 1)
        printf("0x%lx\n", load(width, w->a));
    else if (w->name[0] == 'w' && digits == w->name + 1)
        store(width, w->a, w->b);
    else if (w->name[0] == 'v' && width)
        vector(width, w->a, (uint8_t)w->b, w->name[1] != 'r');
    else if (is(w, "or1"))
        or1(w->a, w->b);
    else if (is(w, "stosb"))
        stosb(w->a, w->b, w->c);
    else if (is(w, "movsb"))
        movsb(w->a, w->b, w->c);
    else if (is(w, "fill"))
        for (uint64_t i = 0; i < w->c; i++)
            ((volatile uint8_t *)w->a)[i] = (uint8_t)w->b;
    else if (is(w, "scatter"))
        for (uint64_t i = 0; i < w->c; i++)
            *(volatile uint8_t *)(w->a + i * w->b) = 1;
    else if (is(w, "sum")) {
        for (uint64_t i = 0; i < w->b; i++)
            sum += ((volatile uint8_t *)w->a)[i];
        printf("%lu\n", sum);
    } else if (is(w, "input")) {
        ssize_t n = read(0, (void *)w->a, w->b);

        printf("read %zd%s%s\n", n, n < 0 ? " " : "", n < 0 ? strerrorname_np(errno) : "");
    } else
        return 0;
    return 1;
}

static int file_word(const struct word *w)
{
    if (is(w, "puts"))
        printf("%s\n", w->text);
    else if (is(w, "write"))
        say(1, w->text);
    else if (is(w, "err"))
        say(2, w->text);
    else if (is(w, "rest"))
        rest();
    else if (is(w, "close"))
        close((int)w->a);
    else if (is(w, "open"))
        printf("descriptor %d\n", open(w->text, O_RDWR | O_CREAT | O_TRUNC, 0666));
    else if (is(w, "fsize"))
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){w->a, w->a});
    else if (is(w, "touch"))
        close(open(w->text, O_WRONLY | O_CREAT, 0666));
    else if (is(w, "chdir"))
        return chdir(w->text) == 0;
    else
        return 0;
    return 1;
}

static int end_word(const struct word *w)
{
    if (is(w, "exit"))
        exit((int)w->a);
    if (is(w, "_exit"))
        _exit((int)w->a);
    if (is(w, "_Exit"))
        _Exit((int)w->a);
    if (is(w, "quick"))
        quick_exit((int)w->a);
    if (is(w, "abort"))
        abort();
    if (is(w, "thread_exit"))
        pthread_exit(NULL);
    if (is(w, "raise"))
        raise((int)w->a);
    else if (is(w, "kill"))
        kill(getpid(), (int)w->a);
    else if (is(w, "crash"))
        printf("%lu\n", load(4, w->a));
    else if (is(w, "handler"))
        set_handler();
    else if (is(w, "pause"))
        sleep(20); /* until a signal comes; no test waits longer */
    else
        return 0;
    return 1;
}

static NOINLINE int do_word(const char *text)
{
    struct word w = parse(text);

    if (memory_word(&w) || file_word(&w) || end_word(&w))
        return 1;
    fprintf(stderr, "a_poke: %s\n", text);
    exit(99);
}

/* Forks; the parent goes on behind "join", once the child is gone. */
static int do_fork(char **words, int at)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0)
        return at;
    waitpid(pid, &status, 0);
    while (words[at] && strcmp(words[at], "join") != 0)
        at++;
    return at;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        unsigned long times = 1;

        if (strcmp(argv[i], "fork") == 0) {
            i = do_fork(argv, i);
            continue;
        }
        if (strcmp(argv[i], "join") == 0)
            return 0;
        if (strncmp(argv[i], "return:", 7) == 0)
            return atoi(argv[i] + 7);
        if (strncmp(argv[i], "loop:", 5) == 0 && i + 1 < argc)
            times = strtoul(argv[i++] + 5, NULL, 0);
        while (times--)
            do_word(argv[i]);
    }
    return 0;
}
