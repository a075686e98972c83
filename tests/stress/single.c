/* One thread: what it does is the same in every run. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

struct set set_of(void *library)
{
    const unsigned *n = library ? dlsym(library, "function_count") : NULL;
    struct set set = {library ? dlsym(library, "functions") : NULL, n ? *n : 0};

    if (!set.all) {
        fprintf(stderr, "not a library of generated functions: %s\n", dlerror());
        exit(96);
    }
    return set;
}

static void shuffle(unsigned *order, unsigned n, uint64_t *random)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned j = (unsigned)(next_random(random) % i), kept = order[i - 1];

        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* Every function `rounds` times two calls on average, in another order each time. */
void run_set(struct set set, unsigned rounds, uint64_t seed, bool filter(const struct function *f))
{
    unsigned *order = calloc(set.n, sizeof(*order)), n = 0;
    uint64_t random = seed * 2 + 1;
    static struct lane lanes[BLOCKS];

    for (unsigned i = 0; i < set.n; i++)
        if (filter(&set.all[i]))
            order[n++] = i;
    for (unsigned i = 0; i < BLOCKS; i++)
        lane_fill(&lanes[i], i, seed + i);
    for (unsigned r = 0; r < rounds; r++) {
        shuffle(order, n, &random);
        for (unsigned i = 0; i < n; i++) {
            const struct function *f = &set.all[order[i]];
            unsigned lane = f->fixed ? 0 : 1 + (unsigned)(next_random(&random) % (BLOCKS - 1));

            lane_run(&lanes[lane], f, r % 3 + 1);
            if (r == rounds - 1 || next_random(&random) % 8 == 0)
                lane_check(&lanes[lane], f->name);
        }
    }
    printf("functions %u\n", n);
    free(order);
}

static bool any(const struct function *f)
{
    return f != NULL;
}

static bool is_exact(const struct function *f)
{
    return f->exact;
}

/* The same values and call stacks in each run: where unwind tables are wrong, frames are what happens to lie on the stack. */
static bool is_repeatable(const struct function *f)
{
    return !f->pointers && f->steady;
}

/* [ROUNDS [SEED]] */
void single(int argc, char **argv)
{
    run_set(own_set, (unsigned)argument(argc, argv, 0, 24), argument(argc, argv, 1, 1), any);
}

/* The same with those functions of which the number of accesses is known. */
void exact(int argc, char **argv)
{
    run_set(own_set, (unsigned)argument(argc, argv, 0, 24), argument(argc, argv, 1, 1), is_exact);
}

void repeatable(int argc, char **argv)
{
    run_set(own_set, (unsigned)argument(argc, argv, 0, 24), argument(argc, argv, 1, 1), is_repeatable);
}

/* Each function on windows with registers: no results to compare, but a transcript, with lint. */
void devices(int argc, char **argv)
{
    static const unsigned long at[] = {0x48000000, 0x48001000, 0x48000100, WINDOW};
    unsigned rounds = (unsigned)argument(argc, argv, 0, 5);
    uint64_t unused = 0;

    for (unsigned r = 0; r < rounds * 4; r++)
        for (unsigned i = 0; i < own_set.n; i++)
            if (!own_set.all[i].fixed && is_repeatable(&own_set.all[i]))
                own_set.all[i].window((volatile struct block *)at[(r + i) % 4], r * 5 + i, &unused);
}
