/* What the guests b_*.c share: addresses of the machine, checks that count, and one table of what a guest can do. */
#ifndef B_GUEST_H
#define B_GUEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UART 0x10000000ul
#define SCR ((volatile uint8_t *)(UART + 7)) /* the scratch register: keeps what was written, does nothing else */
#define LSR ((volatile uint8_t *)(UART + 5))
#define SCRATCH 0x40000000ul /* of b_scratch.dts */
#define RAM 0x80000000ul
#define HOLE 0x30000000ul /* nothing of any map used here, and nothing of a program */

static int failures __attribute__((unused));

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

/* Values are shown where they differ. */
#define EQUAL(got, want) \
    do { \
        long got_ = (long)(got), want_ = (long)(want); \
        if (got_ != want_) { \
            fprintf(stderr, "%s:%d: %s is %#lx, not %#lx\n", __FILE__, __LINE__, #got, (unsigned long)got_, \
                    (unsigned long)want_); \
            failures++; \
        } \
    } while (0)

struct action {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the word behind the name */
};

/*
 * With B_PLAIN in the environment there is ordinary memory where the machine
 * would be: what a guest does and prints then is what it must do and print.
 */
static inline void plain_memory(void)
{
    static const unsigned long at[] = {UART, SCRATCH, RAM};
    static int there;

    for (unsigned i = 0; !there && getenv("B_PLAIN") && i < 3; i++)
        if (mmap((void *)at[i], 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
            MAP_FAILED)
            perror("mmap");
    there = 1;
}

/* Runs the action that argv[1] names. */
static inline int run_action(const struct action *table, unsigned n, int argc, char **argv)
{
    plain_memory();
    for (unsigned i = 0; i < n && argc > 1; i++)
        if (strcmp(argv[1], table[i].name) == 0) {
            int status = table[i].run(argc - 2, argv + 2);

            return status ? status : failures != 0;
        }
    fprintf(stderr, "%s: no such action\n", argc > 1 ? argv[1] : "");
    return 99;
}

#endif
