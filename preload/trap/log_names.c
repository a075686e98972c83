#include "trap/log_names.h"

#include "base/mem.h"
#include "cpu/cpu.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "base/trapsafe.h"

static void name_pc(void *context, u64 pc, struct fmt *out)
{
    (void)context;
    backtrace_where(pc, out);
}

static const char *name_frame(void *context, u32 stack, unsigned i)
{
    (void)context;
    return backtrace_frame(stack, i);
}

static void name_insn(void *context, const struct trace_record *r, struct fmt *out)
{
    (void)context;
    /* Address 0: operands relative to rip are shown as such, and the transcript is the same from run to run. */
    cpu_disassemble(r->insn, r->insn_len, 0, out);
}

/* Stacks as they were last printed, by id. Under the log's lock; one that is pushed out is rendered again. */
static struct kept_stack {
    u32 id;
    u32 length;
    const char *text;
} kept_stacks[1024];

static const char *name_stack(void *context, u32 stack, size_t *length)
{
    struct kept_stack *k = &kept_stacks[stack % ARRAY_SIZE(kept_stacks)];
    static char buf[16384];
    struct fmt f = FMT_INIT(buf);
    struct trace_names n = {.frame = name_frame};
    char *text;

    (void)context;
    if (k->id != stack || !k->text) {
        trace_print_stack(&f, stack, &n);
        text = f.full ? NULL : bump_alloc(f.len + 1);
        if (!text)
            return NULL;
        memcpy(text, buf, f.len);
        *k = (struct kept_stack){stack, (u32)f.len, text};
    }
    *length = k->length;
    return k->text;
}

struct trace_names log_names(const struct bus *bus)
{
    return (struct trace_names){bus->names, bus->ndevices, NULL, name_pc, name_frame, name_stack, name_insn};
}
