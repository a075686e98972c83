/*
 * Instructions as compilers and people write them: one of each shape in the code of installed libraries, with its
 * operand in a window and once across each of its edges. harvest [DIRECTORY [BYTES]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare.h"
#include "shapes.h"

/* Comparisons of each shape within the window. */
#define ROUNDS 12

/*
 * Shapes there should be at least: new ones come ever more slowly. libc and libstdc++ alone have 1200 in 5 MB; where
 * there is as much code as is wanted, many kinds of it are there.
 */
static bool enough(const struct harvest *h, unsigned long most)
{
    unsigned least = h->bytes >= most && most >= 16ul << 20 ? 3000 : 500 + (unsigned)(h->bytes >> 13);

    return h->count >= least && h->bytes >= MIN(most, 1000000ul) && h->instructions >= h->bytes / 8 &&
           h->with_memory >= h->instructions / 4;
}

struct reason {
    const char *why;
    unsigned long count;
};

static struct reason reasons[16];

static void skip(const char *why)
{
    for (unsigned k = 0; k < ARRAY_SIZE(reasons); k++) {
        if (!reasons[k].why)
            reasons[k].why = why;
        if (reasons[k].why == why) {
            reasons[k].count++;
            return;
        }
    }
}

/* True: it was compared. */
static bool try_shape(const struct insn *i, struct tally *tally)
{
    bool aimed = true;

    for (unsigned round = 0; round < ROUNDS && aimed; round++)
        aimed = compare_at(i, round & 1 ? ALIGNED : INSIDE, tally);
    for (unsigned place = ACROSS_PAGE; place < PLACES && aimed; place++)
        aimed = compare_at(i, (enum place)place, tally);
    return aimed;
}

static unsigned try_all(const struct harvest *h, struct tally *tally, unsigned *illegal)
{
    unsigned compared = 0;

    for (unsigned k = 0; k < h->count; k++) {
        unsigned long illegal_before = tally->illegal, runs_before = tally->runs;
        struct insn i;

        if (k % 256 == 0)
            alarm(60);
        if (!insn_decode(&i, h->shapes[k].bytes, h->shapes[k].length))
            continue;
        if (insn_unsuitable(&i)) {
            skip(insn_unsuitable(&i));
        } else if (!try_shape(&i, tally)) {
            skip("cannot be aimed");
        } else {
            compared++;
            *illegal += tally->illegal - illegal_before == tally->runs - runs_before;
        }
    }
    return compared;
}

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : "/usr/lib/x86_64-linux-gnu";
    unsigned long most = argc > 2 ? strtoul(argv[2], NULL, 0) : 16ul << 20;
    struct tally tally = {0};
    unsigned compared, illegal = 0;
    struct harvest h;

    compare_init();
    tap_plan(2);
    shapes_harvest(&h, directory, most);
    tap_result(enough(&h, most), "harvested",
               "%u shapes of %lu instructions with memory, of %lu in %lu bytes of %u files", h.count, h.with_memory,
               h.instructions, h.bytes, h.files);
    compared = try_all(&h, &tally, &illegal);
    for (unsigned k = 0; k < ARRAY_SIZE(reasons) && reasons[k].why; k++)
        printf("# %lu shapes left out: %s\n", reasons[k].count, reasons[k].why);
    printf("# %u shapes are not for this CPU: illegal both ways\n", illegal);
    tap_result(tally.differences == 0 && compared >= h.count / 10 * 9 && tally.completed >= tally.runs / 2 &&
                   tally.excused < tally.runs / 50, "compared",
               "%u shapes, %lu comparisons, %lu completed, %lu faults, %lu excused, %lu differences", compared,
               tally.runs, tally.completed, tally.faults, tally.excused, tally.differences);
    return tap_status();
}
