/* mmioshim trace stats: how often, by device, register and place in the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"
#include "trace.h"
#include "trace_count.h"

static const char help[] =
    "Usage: mmioshim trace stats [--json] FILE\n"
    "Counts what is in a transcript: accesses by device and register and by place in the program, findings, what was\n"
    "lost. FILE - is standard input.\n"
    "\n"
    "  -j, --json  one JSON object\n"
    "  -h, --help  this text\n";

static void register_text(const struct trace_input *in, const struct count *count, char *text, size_t n)
{
    struct fmt f = {.buf = text, .cap = n};

    count_register(in, &count->first, &f);
    fmt_end(&f);
}

/* --- text --- */

static void print_counts(const struct count *c)
{
    printf("%lu accesses (%lu reads, %lu writes)\n", c->reads + c->writes, c->reads, c->writes);
}

static void print_totals(const struct trace_counts *c, const struct trace_input *in)
{
    u64 shown = c->all.reads + c->all.writes;

    print_counts(&c->all);
    printf("%lu lint, %lu other events, %lu lost\n", c->lint, c->other, c->ended ? c->totals.lost : in->lost);
    if (shown)
        printf("numbers #%lu to #%lu, of which %lu are not here%s\n", c->first_seq, c->last_seq,
               c->last_seq - c->first_seq + 1 > shown ? c->last_seq - c->first_seq + 1 - shown : 0,
               in->filtered ? " (the transcript was filtered)" : "");
    if (c->ended && c->totals.accesses != shown)
        printf("the machine had %lu accesses (%lu reads, %lu writes)\n", c->totals.accesses, c->totals.reads,
               c->totals.writes);
}

static void print_text(struct trace_counts *c, const struct trace_input *in)
{
    char text[512];

    print_totals(c, in);
    for (size_t i = 0; i < c->devices.n; i++) {
        printf("%s: ", count_device(in, &c->devices.all[i].first));
        print_counts(&c->devices.all[i]);
        for (size_t k = 0; k < c->registers.n; k++) {
            const struct count *reg = &c->registers.all[k];

            if (reg->first.device != c->devices.all[i].first.device)
                continue;
            register_text(in, reg, text, sizeof(text));
            printf("    %s %lu reads, %lu writes\n", text, reg->reads, reg->writes);
        }
    }
    if (c->sites.n)
        puts("places:");
    for (size_t i = 0; i < c->sites.n; i++) {
        const struct count *site = &c->sites.all[i];

        register_text(in, site, text, sizeof(text));
        printf("    %s %lu %s %s %s\n", site->text, site->reads + site->writes, count_device(in, &site->first), text,
               site->reads && site->writes ? "read write" : site->reads ? "read" : "write");
    }
    if (c->rules.n)
        puts("lint:");
    for (size_t i = 0; i < c->rules.n; i++)
        printf("    %s %lu\n", c->rules.all[i].text, c->rules.all[i].reads);
}

/* --- JSON --- */

static void json_text(const char *key, const char *text)
{
    char buf[4096];
    struct fmt f = FMT_INIT(buf);

    fmt_json(&f, text);
    printf("\"%s\":\"%s\"", key, fmt_end(&f));
}

static void json_counts(const struct count *c)
{
    printf(",\"reads\":%lu,\"writes\":%lu", c->reads, c->writes);
}

static void json_registers(const struct trace_counts *c, const struct trace_input *in, u16 device)
{
    char text[512];
    bool any = false;

    printf(",\"registers\":[");
    for (size_t k = 0; k < c->registers.n; k++) {
        const struct count *reg = &c->registers.all[k];

        if (reg->first.device != device)
            continue;
        printf(any ? ",{" : "{");
        any = true;
        register_text(in, reg, text, sizeof(text));
        json_text("register", text);
        json_counts(reg);
        putchar('}');
    }
    putchar(']');
}

static void print_json(const struct trace_counts *c, const struct trace_input *in)
{
    char text[512];

    printf("{\"accesses\":%lu,\"reads\":%lu,\"writes\":%lu,\"lint\":%lu,\"lost\":%lu,\"devices\":[",
           c->all.reads + c->all.writes, c->all.reads, c->all.writes, c->lint, c->ended ? c->totals.lost : in->lost);
    for (size_t i = 0; i < c->devices.n; i++) {
        printf(i ? ",{" : "{");
        json_text("device", count_device(in, &c->devices.all[i].first));
        json_counts(&c->devices.all[i]);
        json_registers(c, in, c->devices.all[i].first.device);
        putchar('}');
    }
    printf("],\"places\":[");
    for (size_t i = 0; i < c->sites.n; i++) {
        const struct count *site = &c->sites.all[i];

        printf(i ? ",{" : "{");
        json_text("pc", site->text);
        putchar(',');
        json_text("device", count_device(in, &site->first));
        putchar(',');
        register_text(in, site, text, sizeof(text));
        json_text("register", text);
        json_counts(site);
        putchar('}');
    }
    printf("],\"rules\":[");
    for (size_t i = 0; i < c->rules.n; i++) {
        printf(i ? ",{" : "{");
        json_text("rule", c->rules.all[i].text);
        printf(",\"count\":%lu}", c->rules.all[i].reads);
    }
    puts("]}");
}

/* --- the verb --- */

int trace_stats(int argc, char **argv)
{
    bool json = argc > 2 && (strcmp(argv[1], "--json") == 0 || strcmp(argv[1], "-j") == 0);
    struct trace_counts c = {0};
    struct trace_file file;
    struct trace_input in;
    int ret;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    if (argc != 2 + json || (argv[1 + json][0] == '-' && argv[1 + json][1])) {
        tool_error("usage: mmioshim trace stats [--json] FILE");
        return TOOL_ERROR;
    }
    ret = trace_file_open(&file, &in, argv[1 + json]);
    if (ret)
        return ret;
    trace_count(&c, &in);
    counts_sort(&c.devices);
    counts_sort(&c.registers);
    counts_sort(&c.sites);
    if (json)
        print_json(&c, &in);
    else
        print_text(&c, &in);
    trace_counts_free(&c);
    return trace_file_close(&file, &in);
}
