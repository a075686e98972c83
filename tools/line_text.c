/* Lines of text, as preload/trace/text.c and summary.c write them. */
#include <stdlib.h>
#include <string.h>

#include "line_input.h"

/* The next word; the rest follows *cursor. Empty at the end of the line. */
static char *word(char **cursor)
{
    char *w = *cursor, *end = strchr(w, ' ');

    if (end) {
        *end = 0;
        *cursor = end + 1;
    } else {
        *cursor = w + strlen(w);
    }
    return w;
}

static bool skip(char **cursor, const char *prefix)
{
    size_t n = strlen(prefix);

    if (strncmp(*cursor, prefix, n) != 0)
        return false;
    *cursor += n;
    return true;
}

/* --- [MEM] --- */

static void parse_map(struct trace_input *in, char *p)
{
    bool port = false, moves = false;
    struct range range;
    char *label, *place, *name;

    if (skip(&p, "RAM: ")) {
        word(&p);
        place = word(&p);
        if (lines_range(place, &range))
            lines_add_bank(in, p, range);
        return;
    }
    if (!skip(&p, "MMIO: ") && !(port = skip(&p, "PORTS: ")) && !(moves = skip(&p, "PCI: ")))
        return;
    label = word(&p);
    place = word(&p);
    name = word(&p);
    if (lines_range(place, &range))
        lines_add_device(in, name, label, *p ? p : NULL, range, port, moves);
}

/* --- what is at the end of a line --- */

/* " t=SEC.USEC pid=N tid=N insn="..."", from the back. */
static void cut_extras(struct lines *l, struct trace_record *r, char *line)
{
    char *insn = strstr(line, " insn=\""), *pid, *time;
    size_t n = strlen(line);

    if (insn && n && line[n - 1] == '"') {
        line[n - 1] = 0;
        *insn = 0;
        l->insn = insn + 7;
        r->insn_len = 1;
    }
    pid = strstr(line, " pid=");
    if (pid && strstr(pid, " tid=")) {
        r->pid = (u32)strtoul(pid + 5, NULL, 10);
        r->tid = (u32)strtoul(strstr(pid, " tid=") + 5, NULL, 10);
        *pid = 0;
    }
    for (time = NULL; (pid = strstr(time ? time + 1 : line, " t=")); )
        time = pid;
    if (time && strspn(time + 3, "0123456789.") == strlen(time + 3)) {
        r->time = lines_time(time + 3);
        *time = 0;
    }
}

/* "write4" */
static bool parse_op(struct trace_record *r, const char *w)
{
    char *end;

    if (strncmp(w, "read", 4) == 0)
        w += 4;
    else if (strncmp(w, "write", 5) == 0 && (r->op = TRACE_WRITE))
        w += 5;
    else
        return false;
    r->width = (u32)strtoul(w, &end, 10);
    return end > w && !*end;
}

/* The stack under an access, if there is one. */
static void take_stack(struct lines *l, struct trace_record *r)
{
    const char *frames[TRACE_FRAMES], *line;
    unsigned count = 0;
    size_t n;

    while (count < TRACE_FRAMES && (line = lines_peek(l, &n)) && n > 7 &&
           memcmp(line, count ? "    by " : "    at ", 7) == 0) {
        frames[count++] = lines_keep(l, line + 7, n - 7);
        l->at = MIN(line + n + 1, l->end);
        l->number++;
    }
    if (count)
        r->stack = lines_stack(l, frames, count, 0);
}

/* --- events --- */

/* "DEVICE PLACE", of which PLACE may be missing; stops before the operation. */
static bool parse_where(struct trace_input *in, struct trace_record *r, char **p)
{
    char *device = word(p), *place = *p, *op;
    u64 base = 0;

    r->device = lines_device(in, device);
    if (r->device != TRACE_NONE)
        base = in->map.devices[r->device].window.base;
    r->offset = r->addr - base;
    r->reg = TRACE_NONE;
    op = word(p);
    if (parse_op(r, op))
        return true;
    if (!parse_op(r, word(p)))
        return false;
    lines_place(in, r, place);
    return true;
}

static bool parse_access(struct trace_input *in, struct lines *l, char *p, u8 type)
{
    struct trace_record *r = &in->record;
    char *hash, *value, *end;

    *r = (struct trace_record){.type = type};
    cut_extras(l, r, p);
    hash = strrchr(p, '#');
    if (!skip(&p, "trap at ") || !hash)
        return false;
    r->seq = strtoull(hash + 1, NULL, 10);
    r->addr = strtoull(p, &end, 16);
    p = end;
    if (!skip(&p, " -> ") || !parse_where(in, r, &p))
        return false;
    value = word(&p);
    if (r->width == 0 || r->width > TRACE_MAX_WIDTH || !lines_value(r, value))
        return false;
    if (strncmp(p, "unassigned", 10) == 0)
        r->flags = TRACE_UNASSIGNED;
    take_stack(l, r);
    return true;
}

static void copy_text(struct trace_record *r, const char *first, const char *second)
{
    size_t n = MIN(strlen(first), (size_t)TRACE_TEXT - 1), m;

    memcpy(r->text, first, n);
    if (!second || n + 2 >= TRACE_TEXT)
        return;
    m = MIN(strlen(second), (size_t)TRACE_TEXT - 2 - n);
    memcpy(r->text + n + 1, second, m);
}

static bool parse_lint(struct trace_input *in, char *p)
{
    struct trace_record *r = &in->record;
    char *text = strstr(p, ": "), *rule = word(&p);

    if (text) {
        *text = 0;
        text += 2;
    }
    copy_text(r, rule, text);
    if (*p == '#')
        r->seq = strtoull(word(&p) + 1, NULL, 10);
    if (strchr(p, ' ')) {
        const struct lines *l = in->own;

        r->addr = l->last.seq == r->seq ? l->last.addr : 0;
        return parse_where(in, r, &p);
    }
    r->device = lines_device(in, p);
    r->reg = TRACE_NONE;
    return true;
}

static bool parse_dma(struct trace_input *in, char *p)
{
    struct trace_record *r = &in->record;
    char *end;

    r->device = lines_device(in, word(&p));
    r->op = strcmp(word(&p), "write") == 0 ? TRACE_WRITE : TRACE_READ;
    r->addr = strtoull(p, &end, 16);
    r->width = *end == '+' ? (u32)strtoul(end + 1, &end, 10) : 0;
    if (strcmp(end, " refused") == 0)
        r->flags = TRACE_FAILED;
    return true;
}

static bool parse_irq(struct trace_input *in, char *p)
{
    struct trace_record *r = &in->record;

    r->device = lines_device(in, word(&p));
    r->addr = strtoull(word(&p), NULL, 10);
    r->flags = strcmp(p, "sent") == 0 ? TRACE_MESSAGE : 0;
    r->width = r->flags || strcmp(p, "raised") == 0;
    return true;
}

static bool parse_fault(struct trace_input *in, char *p)
{
    struct trace_record *r = &in->record;

    if (!parse_op(r, word(&p)))
        return false;
    r->addr = strtoull(word(&p), NULL, 16);
    copy_text(r, p, NULL);
    return true;
}

static bool parse_mark(struct trace_input *in, char *p)
{
    copy_text(&in->record, p, NULL);
    return true;
}

static bool parse_repeat(struct trace_input *in, char *p)
{
    struct trace_record *r = &in->record;
    u64 count;

    if (*p != '#')
        return false;
    r->seq = strtoull(word(&p) + 1, NULL, 10);
    if (!skip(&p, "repeated "))
        return false;
    count = strtoull(p, NULL, 10);
    memcpy(r->value, &count, sizeof(count));
    return true;
}

/* --- the end --- */

static bool parse_dirty(struct trace_input *in, char *p)
{
    struct lines *l = in->own;
    struct trace_dirty *d = &in->dirty;
    char *note = strstr(p, " ("), *mode = word(&p);
    size_t n = strlen(mode);
    struct range range;

    if (!n || mode[n - 1] != ':')
        return false;
    d->mode = lines_keep(l, mode, n - 1);
    d->note = NULL;
    if (note && note[strlen(note) - 1] == ')') {
        note[strlen(note) - 1] = 0;
        d->note = lines_keep(l, note + 2, strlen(note + 2));
        *note = 0;
    }
    d->pages = strtoull(word(&p), NULL, 10);
    word(&p);
    d->total = strtoull(word(&p), NULL, 10);
    d->nranges = 0;
    for (word(&p); *p;)
        if (lines_range(word(&p), &range))
            lines_add_range(in, range);
    return true;
}

static bool parse_exit(struct trace_input *in, const char *p)
{
    struct trace_totals t = {0};
    u64 *const fields[] = {&t.accesses, &t.reads, &t.writes, &t.lint, &t.lost};
    static const char *const words[] = {" accesses (", " reads, ", " writes), ", " lint, ", " lost"};

    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        char *end;

        *fields[i] = strtoull(p, &end, 10);
        if (end == p || strncmp(end, words[i], strlen(words[i])) != 0)
            return false;
        p = end + strlen(words[i]);
    }
    in->totals = t;
    in->lost = t.lost;
    return true;
}

static const struct {
    const char *word;
    u8 type;
    bool (*parse)(struct trace_input *in, char *rest);
} kinds[] = {
    {"[LINT] ", TRACE_LINT, parse_lint}, {"[DMA] ", TRACE_DMA, parse_dma},       {"[IRQ] ", TRACE_IRQ, parse_irq},
    {"[MARK] ", TRACE_MARK, parse_mark}, {"[FAULT] ", TRACE_FAULT, parse_fault}, {"[REPEAT] ", TRACE_REPEAT, parse_repeat},
};

static enum trace_item parse_event(struct trace_input *in, struct lines *l, char *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (skip(&p, kinds[i].word)) {
            in->record = (struct trace_record){.type = kinds[i].type, .device = TRACE_NONE, .reg = TRACE_NONE};
            cut_extras(l, &in->record, p);
            if (!kinds[i].parse(in, p))
                return ITEM_END;
            take_stack(l, &in->record);
            return ITEM_RECORD;
        }
    l->others++;
    return ITEM_END;
}

enum trace_item text_parse(struct trace_input *in, struct lines *l, bool map)
{
    char *p = l->line;

    if (map) {
        if (skip(&p, "[MEM] "))
            parse_map(in, p);
        return ITEM_END;
    }
    if (skip(&p, "[MMIO] "))
        return parse_access(in, l, p, TRACE_MMIO) ? ITEM_RECORD : ITEM_END;
    if (skip(&p, "[PORT] "))
        return parse_access(in, l, p, TRACE_PORT) ? ITEM_RECORD : ITEM_END;
    if (skip(&p, "[DIRTY] "))
        return parse_dirty(in, p) ? ITEM_DIRTY : ITEM_END;
    if (skip(&p, "[EXIT] "))
        return parse_exit(in, p) ? ITEM_EXIT : ITEM_END;
    if (skip(&p, "[MEM] "))
        return ITEM_END;
    return parse_event(in, l, p);
}
