/* Hand-written instructions, each with every form of address, at every place: in ordinary memory and in a window. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "compare.h"
#include "cpu_cases.h"
#include "cpu_form.h"
#include "diff_cases.h"

GROUP(integer, CASES_INTEGER, FORMS);
GROUP(high_byte, CASES_HIGH_BYTE, FORMS_WITHOUT_REX);
GROUP(x87, CASES_X87, FORMS);
GROUP(mmx, CASES_MMX, FORMS);
GROUP(sse, CASES_SSE, FORMS);
GROUP(avx, CASES_AVX, FORMS);
GROUP(avx512, CASES_AVX512, FORMS);
GROUP(fp16, CASES_FP16, FORMS);

#define WHOLE(text) ENTRY("0", text, "", "")

GROUP(addresses, CASES_ADDRESSES, WHOLE);
GROUP(string, CASES_STRING, WHOLE);
GROUP(stack, CASES_STACK, WHOLE);
GROUP(vector, CASES_VECTOR, WHOLE);
GROUP(xsave, CASES_XSAVE, WHOLE);
GROUP(segments, CASES_SEGMENTS, WHOLE);
GROUP(faults, CASES_FAULTS, WHOLE);

/* Rounds of each form at each place. */
#define ROUNDS 10

/* Groups that run once more, over the edge to a page that is read only. */
#define CLOSED_GROUPS 8

/* One group of cases: it fails if it has become smaller than it was. */
struct group {
    const char *name;
    const struct form_case *first, *last;
    unsigned rounds;
    unsigned least;     /* forms */
    unsigned completes; /* per cent of the comparisons that end without a signal, at least, where the CPU has them */
    const char *feature;
};

static bool has(const char *feature)
{
    __builtin_cpu_init();
    if (!feature)
        return true;
    if (strcmp(feature, "avx") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(feature, "avx512") == 0)
        return __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni");
    return false; /* no name for FP16 in gcc 12: nothing is expected */
}

static void try_form(const struct form_case *c, const struct group *g, struct tally *tally)
{
    struct insn i;

    if (!insn_decode(&i, c->bytes, (unsigned)c->length)) {
        printf("# %s: unknown to the decoder\n", c->text);
        tally->differences++;
        return;
    }
    for (unsigned place = 0; place < PLACES; place++)
        for (unsigned round = 0; round < g->rounds; round++)
            if (!compare_at(&i, (enum place)place, tally))
                return;
}

static void try_group(const struct group *g)
{
    struct tally tally = {0};
    unsigned forms = (unsigned)(g->last - g->first), without = 0;
    unsigned long least;

    alarm(60);
    for (const struct form_case *c = g->first; c < g->last; c++) {
        unsigned long before = tally.runs;

        try_form(c, g, &tally);
        if (tally.runs == before) {
            printf("# %s: cannot be aimed\n", c->text);
            without++;
        }
    }
    least = has(g->feature) ? tally.runs * g->completes / 100 : 0;
    tap_result(tally.differences == 0 && without == 0 && forms >= g->least && tally.completed >= least &&
                   tally.excused <= tally.runs / 5,
               g->name,
               "%u forms, %lu comparisons, %lu completed, %lu faults (%lu illegal), %lu excused, %lu differences",
               forms, tally.runs, tally.completed, tally.faults, tally.illegal, tally.excused, tally.differences);
}

/* Stores whose other part is in a page that is there, but closed to them. */
static void try_closed(const struct group *groups)
{
    struct tally tally = {0};
    struct insn i;

    arena_read_only = true;
    for (unsigned k = 0; k < CLOSED_GROUPS; k++)
        for (const struct form_case *c = groups[k].first; c < groups[k].last; c++)
            if (insn_decode(&i, c->bytes, (unsigned)c->length))
                compare_at(&i, TO_ABOVE, &tally);
    arena_read_only = false;
    tap_result(tally.differences == 0 && tally.runs >= 5400 && tally.faults >= 1500, "closed page",
               "%lu comparisons, %lu completed, %lu faults, %lu excused, %lu differences", tally.runs, tally.completed,
               tally.faults, tally.excused, tally.differences);
}

int main(void)
{
    const struct group groups[] = {
#define G(name, rounds, least, completes, feature) {#name, name##_first, name##_last, rounds, least, completes, feature}
        G(integer, ROUNDS, 1442, 70, NULL),
        G(high_byte, ROUNDS, 36, 75, NULL),
        G(x87, ROUNDS, 434, 60, NULL),
        G(mmx, ROUNDS, 217, 60, NULL),
        G(sse, ROUNDS, 973, 38, NULL),
        G(avx, ROUNDS, 833, 65, "avx"),
        G(avx512, ROUNDS, 1246, 65, "avx512"),
        G(fp16, ROUNDS, 231, 65, "fp16"),
        G(addresses, 20, 90, 70, NULL),
        G(string, 40, 86, 70, NULL),
        G(stack, 40, 47, 60, NULL),
        G(vector, 40, 40, 50, "avx512"),
        G(xsave, 100, 31, 40, NULL),
        G(segments, 40, 22, 30, NULL),
        G(faults, 40, 37, 35, NULL),
    };

    compare_init();
    tap_plan(ARRAY_SIZE(groups) + 1);
    for (unsigned k = 0; k < ARRAY_SIZE(groups); k++)
        try_group(&groups[k]);
    try_closed(groups);
    return tap_status();
}
