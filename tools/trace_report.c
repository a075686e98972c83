/* mmioshim trace report: a page about a transcript. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"
#include "trace.h"
#include "trace/parts.h"
#include "trace_count.h"

#define MOST 10u /* entries of each list */

static const char help[] =
    "Usage: mmioshim trace report FILE\n"
    "Sums up a transcript: how long, who, which devices, the call stacks with the most accesses, polls, findings.\n"
    "FILE - is standard input.\n"
    "\n"
    "  -h, --help  this text\n";

static void print_stack(const struct trace_input *in, u32 stack)
{
    char text[16384];
    struct fmt f = FMT_INIT(text);

    if (!stack)
        return;
    trace_print_stack(&f, stack, &in->names);
    printf("%s", fmt_end(&f));
}

static void print_place(const struct trace_input *in, const struct trace_record *r)
{
    char text[512];
    struct fmt f = FMT_INIT(text);

    count_register(in, r, &f);
    printf("%s %s", count_device(in, r), fmt_end(&f));
}

/* Seconds with six digits. */
static void print_seconds(u64 ns)
{
    printf("%lu.%06lu s", ns / 1000000000, ns / 1000 % 1000000);
}

static void print_head(const struct trace_counts *c, const struct trace_input *in)
{
    static const char *const formats[] = {[TRACE_RING] = "binary", [TRACE_TEXT_LINES] = "text", [TRACE_JSON_LINES] = "JSON lines"};
    u64 accesses = c->all.reads + c->all.writes, ns = c->until - c->from;

    printf("transcript: %s, %lu accesses (%lu reads, %lu writes), %lu lint, %lu other events, %lu lost\n",
           formats[in->format], accesses, c->all.reads, c->all.writes, c->lint, c->other,
           c->ended ? c->totals.lost : in->lost);
    if (!c->ended)
        puts("end: none, the machine still runs or was killed");
    if (c->from) {
        printf("time: ");
        print_seconds(ns);
        if (ns)
            printf(", %.0f accesses a second", (double)accesses * 1e9 / (double)ns);
        putchar('\n');
    }
    if (in->format == TRACE_RING)
        printf("programs: %zu process%s, %zu thread%s\n", c->processes.used, c->processes.used == 1 ? "" : "es",
               c->threads.used, c->threads.used == 1 ? "" : "s");
}

static void print_devices(const struct trace_counts *c, const struct trace_input *in)
{
    u64 all = c->all.reads + c->all.writes;

    puts("devices, most accesses first:");
    for (size_t i = 0; i < c->devices.n; i++) {
        const struct count *d = &c->devices.all[i];
        unsigned shown = 0;

        printf("    %s %lu %% (%lu reads, %lu writes):", count_device(in, &d->first), (d->reads + d->writes) * 100 / all,
               d->reads, d->writes);
        for (size_t k = 0; k < c->registers.n && shown < 4; k++) {
            const struct count *reg = &c->registers.all[k];
            char text[512];
            struct fmt f = FMT_INIT(text);

            if (reg->first.device != d->first.device)
                continue;
            count_register(in, &reg->first, &f);
            printf("%s %s %lu", shown++ ? "," : "", fmt_end(&f), reg->reads + reg->writes);
        }
        putchar('\n');
    }
}

static void print_stacks(const struct trace_counts *c, const struct trace_input *in)
{
    if (!c->stacks.n)
        return;
    printf("call stacks, most accesses first (%zu in all):\n", c->stacks.n);
    for (size_t i = 0; i < MIN(c->stacks.n, (size_t)MOST); i++) {
        const struct count *s = &c->stacks.all[i];

        printf("  %lu accesses (%lu reads, %lu writes), the first to ", s->reads + s->writes, s->reads, s->writes);
        print_place(in, &s->first);
        printf(" #%lu\n", s->first.seq);
        print_stack(in, s->first.stack);
    }
}

static int by_times(const void *a, const void *b)
{
    const struct poll *x = a, *y = b;

    if (x->times != y->times)
        return x->times > y->times ? -1 : 1;
    return x->first.seq < y->first.seq ? -1 : x->first.seq > y->first.seq;
}

static void print_polls(const struct trace_counts *c, const struct trace_input *in)
{
    if (!c->npolls)
        return;
    qsort(c->polls, c->npolls, sizeof(*c->polls), by_times);
    printf("polls, the longest first (%zu in all):\n", c->npolls);
    for (size_t i = 0; i < MIN(c->npolls, (size_t)MOST); i++) {
        const struct poll *p = &c->polls[i];
        char text[160];
        struct fmt value = FMT_INIT(text);

        fmt_hexbytes(&value, p->first.value, part_width(&p->first));
        printf("  %lu times ", p->times);
        print_place(in, &p->first);
        printf(" was %s, from #%lu", fmt_end(&value), p->first.seq);
        if (p->until > p->first.time && p->first.time) {
            printf(" for ");
            print_seconds(p->until - p->first.time);
        }
        putchar('\n');
        print_stack(in, p->first.stack);
    }
}

static void print_rules(const struct trace_counts *c, const struct trace_input *in)
{
    if (!c->rules.n)
        return;
    puts("lint, most often first:");
    for (size_t i = 0; i < c->rules.n; i++) {
        const struct count *rule = &c->rules.all[i];

        printf("    %s %lu, the first", rule->text, rule->reads);
        if (rule->first.seq)
            printf(" #%lu", rule->first.seq);
        printf(" %s\n", count_device(in, &rule->first));
    }
}

int trace_report(int argc, char **argv)
{
    struct trace_counts c = {0};
    struct trace_file file;
    struct trace_input in;
    int ret;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    if (argc != 2 || (argv[1][0] == '-' && argv[1][1])) {
        tool_error("usage: mmioshim trace report FILE");
        return TOOL_ERROR;
    }
    ret = trace_file_open(&file, &in, argv[1]);
    if (ret)
        return ret;
    trace_count(&c, &in);
    counts_sort(&c.devices);
    counts_sort(&c.registers);
    counts_sort(&c.stacks);
    counts_sort(&c.rules);
    print_head(&c, &in);
    if (c.all.reads + c.all.writes)
        print_devices(&c, &in);
    print_stacks(&c, &in);
    print_polls(&c, &in);
    print_rules(&c, &in);
    trace_counts_free(&c);
    return trace_file_close(&file, &in);
}
