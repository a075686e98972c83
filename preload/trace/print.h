/*
 * Printers: records to text and JSON lines (design: "Transcript"). Pure, any
 * context. Each writes whole lines, ended by a newline, into the buffer.
 */
#ifndef MMIOSHIM_TRACE_PRINT_H
#define MMIOSHIM_TRACE_PRINT_H

#include "base/fmt.h"
#include "base/range.h"
#include "mmioshim/device.h"
#include "trace/record.h"

/* What a reader knows of a device. */
struct trace_device {
    const char *name;       /* "uart@10000000" */
    const char *label;      /* "UART" */
    const char *compatible; /* "ns16550a" */
    struct range window;
    const struct mmioshim_register *registers;
    u16 nregisters;
    bool port; /* window is a range of I/O ports */
    bool moves; /* it is on the PCI bus, and window begins at 0: where it is changes at run time */
};

struct trace_bank {
    const char *name; /* "memory@80000000" */
    struct range range;
};

#define TRACE_FRAMES 64 /* most frames of a stack */

/* Resolves what a record only names. */
struct trace_names {
    const struct trace_device *devices;
    u32 ndevices;
    void *context;
    /* Appends "module+0xoffset" ("?" for anonymous code). */
    void (*pc)(void *context, u64 pc, struct fmt *out);
    /* Frame i of a stack, "uart_putc+0x1c (driver)"; NULL behind the last. */
    const char *(*frame)(void *context, u32 stack, unsigned i);
    /*
     * The lines of a whole stack as trace_print_stack() makes them, kept by somebody who prints it often; NULL: not
     * kept. May itself be NULL.
     */
    const char *(*stack)(void *context, u32 stack, size_t *length);
    /* Appends the instruction disassembled, or its bytes where no disassembler is at hand. */
    void (*insn)(void *context, const struct trace_record *record, struct fmt *out);
};

enum { TRACE_SHOW_TIME = 1, TRACE_SHOW_PID = 2, TRACE_SHOW_INSN = 4 };

/* One event with its call stack, if it has one. */
void trace_print_text(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                      unsigned show);
/* The event alone; the stack line comes from trace_print_json_stack before its id is first used. */
void trace_print_json(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                      unsigned show);
void trace_print_json_stack(struct fmt *out, u32 stack, const struct trace_names *names);

/*
 * The kernel's mmiotrace: what comes before the first event, and one event with its stack. Anything else is a MARK:
 * n bytes of text, whose breaks become spaces.
 */
void trace_print_mmiotrace_begin(struct fmt *out, const struct trace_names *names, u64 time);
void trace_print_mmiotrace(struct fmt *out, const struct trace_record *record, const struct trace_names *names);
void trace_print_mmiotrace_mark(struct fmt *out, u64 time, const char *body, size_t n);

/* The lines of a call stack as text shows them, frame by frame. */
void trace_print_stack(struct fmt *out, u32 stack, const struct trace_names *names);

/* Lines of the [MEM] block. */
void trace_print_bank(struct fmt *out, const struct trace_bank *bank, bool json);
void trace_print_window(struct fmt *out, const struct trace_device *device, bool json);

struct trace_totals {
    u64 accesses, reads, writes, lint, lost;
};

void trace_print_exit(struct fmt *out, const struct trace_totals *totals, bool json);

/* Dirty pages: sorted ranges that neither overlap nor touch. `note` (or NULL) is appended in parentheses, text only. */
void trace_print_dirty(struct fmt *out, const char *mode, u64 pages, u64 total, const struct range *ranges, u64 nranges,
                       const char *note, bool json);

/*
 * The register that starts at an offset of a class in the given view and direction, else one that contains the
 * offset, or TRACE_NONE; *element gets the array index.
 */
u16 trace_find_register(const struct mmioshim_register *registers, u16 count, u64 offset, unsigned view, bool write,
                        u16 *element);

/* MMIOSHIM_LOG_FILTER: "device=uart*,op=write,addr=A-B"; comma-separated, all must hold; "all" or empty: everything. */
struct trace_filter {
    char device[64]; /* glob with * and ?, empty: any */
    u8 op;           /* TRACE_READ, TRACE_WRITE, 0xff: any */
    bool by_addr;
    u64 first, last;
};

/* 0, or -1 with *why = what is wrong and what is allowed (static text). */
int trace_filter_parse(struct trace_filter *filter, const char *text, const char **why);
bool trace_filter_match(const struct trace_filter *filter, const struct trace_record *record,
                        const struct trace_names *names);

#endif
