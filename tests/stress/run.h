/* Functions are run on a window and on plain memory, and what comes of it is compared. */
#ifndef STRESS_RUN_H
#define STRESS_RUN_H

#include <stdbool.h>
#include <stdio.h>

#include "stress.h"

/*
 * What one thread, or one depth of handlers in it, has to itself: a block of
 * the window and one of plain memory with the same contents.
 */
struct lane {
    unsigned number;
    uint64_t random;
};

/* Of all threads and handlers, updated atomically. */
extern uint64_t comparisons, failures, accesses, calls_made;

#define FAIL(...) \
    do { \
        if (__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 20) \
            fail_line(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            FAIL("%s", #condition); \
    } while (0)
#define EQUAL(got, want) \
    do { \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want); \
        if (got_ != want_) \
            FAIL("%s is %#lx, not %#lx", #got, got_, want_); \
    } while (0)

/* One write(2), so that handlers may. */
__attribute__((format(printf, 3, 4))) void fail_line(const char *file, int line, const char *format, ...);

void add(uint64_t *to, uint64_t n);
uint64_t next_random(uint64_t *state);
long now_ms(void);

/* Maps plain memory below 4 GiB. With STRESS_PLAIN in the environment, the places of windows are plain memory as well. */
void run_init(void);

volatile struct block *window_of(unsigned lane);
struct block *plain_of(unsigned lane);

/* Other contents, the same in both blocks. */
void lane_fill(struct lane *lane, unsigned number, uint64_t seed);
/* Both blocks must be equal. `who`: what ran last. */
void lane_check(struct lane *lane, const char *who);
/* `times` calls on either block, in an order that chance decides; results are compared. */
void lane_run(struct lane *lane, const struct function *f, unsigned times);

/* What every action prints last; the exit status. */
int run_report(void);

struct action {
    const char *name;
    void (*run)(int argc, char **argv); /* argv[0] is the word behind the name */
};

uint64_t argument(int argc, char **argv, int n, uint64_t otherwise);
/* Runs what argv[1] names. */
int run_main(const struct action *table, unsigned n, int argc, char **argv);

#endif
