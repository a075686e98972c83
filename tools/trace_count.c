#include "trace_count.h"

#include <stdlib.h>
#include <string.h>

#include "tool.h"
#include "trace/parts.h"

#define RUN 3u /* reads that make a poll */

/* The run that a thread is in. */
struct run {
    struct poll poll;
    u32 pid, tid;
};

struct counting {
    struct trace_counts *c;
    struct trace_input *in;
    struct run *runs;
    size_t nruns, run_room;
    struct table run_of;
    struct recent {
        struct trace_record access;
        size_t site; /* index of its place */
    } recent[256]; /* by number: what a repeat is a repeat of */
};

static struct count *count_of(struct counts *counts, u64 a, u64 b, const struct trace_record *r)
{
    u64 *number = table_find(&counts->index, a, b);

    if (!*number) {
        counts->all = table_grow(counts->all, counts->n, &counts->room, sizeof(*counts->all));
        counts->all[counts->n++] = (struct count){.first = *r};
        *number = counts->n;
    }
    return &counts->all[*number - 1];
}

static void add(struct count *count, const struct trace_record *r, u64 times)
{
    *(r->op == TRACE_WRITE ? &count->writes : &count->reads) += times;
}

static u64 hash_text(const char *text)
{
    u64 h = 0xcbf29ce484222325ull;

    for (; *text; text++)
        h = (h ^ (u8)*text) * 0x100000001b3ull;
    return h;
}

/* Device and register of an access as one number; where there is no register, the offset. */
static u64 register_key(const struct trace_record *r)
{
    return r->reg != TRACE_NONE ? (u64)r->reg << 16 | r->element | (u64)1 << 63 : r->device != TRACE_NONE ? r->offset : r->addr;
}

/* The place of the record at hand. */
static size_t site_of(struct counting *g, const struct trace_record *r)
{
    char text[512];
    struct fmt pc = FMT_INIT(text);
    struct count *count;

    part_pc(&pc, r, &g->in->names);
    count = count_of(&g->c->sites, hash_text(fmt_end(&pc)), register_key(r) * 31 + r->device, r);
    if (!count->text)
        count->text = tool_format("%s", text);
    return (size_t)(count - g->c->sites.all);
}

static void count_access(struct counting *g, const struct trace_record *r, size_t site, u64 times)
{
    struct trace_counts *c = g->c;

    add(&c->all, r, times);
    add(count_of(&c->devices, r->device, 0, r), r, times);
    add(count_of(&c->registers, r->device, register_key(r), r), r, times);
    add(&c->sites.all[site], r, times);
    if (r->stack)
        add(count_of(&c->stacks, r->stack, 0, r), r, times);
}

/* --- polls --- */

static void end_run(struct counting *g, struct run *run)
{
    struct trace_counts *c = g->c;

    if (run->poll.times < RUN)
        return;
    c->polls = table_grow(c->polls, c->npolls, &c->poll_room, sizeof(*c->polls));
    c->polls[c->npolls++] = run->poll;
}

static bool goes_on(const struct poll *p, const struct trace_record *r)
{
    const struct trace_record *f = &p->first;

    return p->times && r->op == TRACE_READ && f->type == r->type && f->addr == r->addr && f->width == r->width &&
           f->pc == r->pc && f->stack == r->stack && memcmp(f->value, r->value, part_width(r)) == 0;
}

static struct run *run_of(struct counting *g, const struct trace_record *r)
{
    u64 *number = table_find(&g->run_of, r->pid, r->tid);

    if (!*number) {
        g->runs = table_grow(g->runs, g->nruns, &g->run_room, sizeof(*g->runs));
        g->runs[g->nruns++] = (struct run){.pid = r->pid, .tid = r->tid};
        *number = g->nruns;
    }
    return &g->runs[*number - 1];
}

static void note_run(struct counting *g, const struct trace_record *r)
{
    struct run *run = run_of(g, r);

    if (!goes_on(&run->poll, r)) {
        end_run(g, run);
        run->poll = (struct poll){.first = *r, .times = r->op == TRACE_READ};
    } else {
        run->poll.times++;
    }
    run->poll.last_seq = r->seq;
    run->poll.until = r->time;
}

static void note_repeat(struct counting *g, const struct trace_record *repeat)
{
    const struct recent *recent = &g->recent[repeat->seq % ARRAY_SIZE(g->recent)];
    const struct trace_record *r = &recent->access;
    u64 times = part_count(repeat);
    struct run *run;

    if (!r->type || r->seq != repeat->seq)
        return;
    count_access(g, r, recent->site, times);
    run = run_of(g, r);
    if (run->poll.first.seq == r->seq) {
        run->poll.times += times;
        run->poll.until = repeat->time;
    }
}

/* --- the pass --- */

static void count_record(struct counting *g)
{
    struct trace_counts *c = g->c;
    const struct trace_record *r = &g->in->record;

    if (r->time) {
        c->from = c->from ? MIN(c->from, r->time) : r->time;
        c->until = MAX(c->until, r->time);
    }
    *table_find(&c->processes, r->pid, 0) = 1;
    *table_find(&c->threads, r->pid, r->tid) = 1;
    if (r->type == TRACE_MMIO || r->type == TRACE_PORT) {
        c->first_seq = c->first_seq ? MIN(c->first_seq, r->seq) : r->seq;
        c->last_seq = MAX(c->last_seq, r->seq);
        size_t site = site_of(g, r);

        g->recent[r->seq % ARRAY_SIZE(g->recent)] = (struct recent){*r, site};
        count_access(g, r, site, 1);
        note_run(g, r);
    } else if (r->type == TRACE_LINT) {
        struct count *rule = count_of(&c->rules, hash_text(r->text), 0, r);

        if (!rule->text)
            rule->text = tool_format("%.*s", TRACE_TEXT, r->text);
        rule->reads++;
        c->lint++;
    } else if (r->type == TRACE_REPEAT) {
        note_repeat(g, r);
    } else {
        c->other++;
    }
}

void trace_count(struct trace_counts *c, struct trace_input *in)
{
    struct counting *g = tool_alloc(sizeof(*g));
    enum trace_item item;

    g->c = c;
    g->in = in;
    while ((item = trace_input_next(in)) != ITEM_END) {
        if (item == ITEM_RECORD)
            count_record(g);
        if (item == ITEM_EXIT) {
            c->ended = true;
            c->totals = in->totals;
        }
    }
    for (size_t i = 0; i < g->nruns; i++)
        end_run(g, &g->runs[i]);
    table_free(&g->run_of);
    free(g->runs);
    free(g);
}

static int by_count(const void *a, const void *b)
{
    const struct count *x = a, *y = b;
    u64 n = x->reads + x->writes, m = y->reads + y->writes;

    if (n != m)
        return n > m ? -1 : 1;
    return x->first.seq < y->first.seq ? -1 : x->first.seq > y->first.seq;
}

void counts_sort(struct counts *counts)
{
    if (counts->n)
        qsort(counts->all, counts->n, sizeof(*counts->all), by_count);
}

static void free_counts(struct counts *counts)
{
    for (size_t i = 0; i < counts->n; i++)
        free(counts->all[i].text);
    free(counts->all);
    table_free(&counts->index);
}

void trace_counts_free(struct trace_counts *c)
{
    free_counts(&c->devices);
    free_counts(&c->registers);
    free_counts(&c->sites);
    free_counts(&c->stacks);
    free_counts(&c->rules);
    free(c->polls);
    table_free(&c->processes);
    table_free(&c->threads);
}

const char *count_device(const struct trace_input *in, const struct trace_record *r)
{
    return part_device_name(r, &in->names);
}

void count_register(const struct trace_input *in, const struct trace_record *r, struct fmt *out)
{
    struct trace_record whole = *r;
    const struct mmioshim_register *reg = part_register(r, &in->names);

    if (reg) {
        whole.offset = reg->offset + (u64)r->element * reg->stride;
        part_register_name(out, &whole, reg);
        return;
    }
    fmt_char(out, '+');
    fmt_hex(out, part_device(r, &in->names) ? r->offset : r->addr);
}
