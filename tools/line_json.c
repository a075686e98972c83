/* JSON lines, as preload/trace/json.c and summary.c write them: one flat object a line. */
#include <stdlib.h>
#include <string.h>

#include "devices/classes.h"
#include "line_input.h"

/* --- one object, taken apart in its own line --- */

#define PAIRS 32

struct pair {
    char *key, *value; /* texts without quotes and escapes, anything else as it stands; NULL: null */
    char *array;       /* behind the bracket */
};

struct object {
    struct pair pairs[PAIRS];
    unsigned count;
};

static void blank(char **p)
{
    while (**p == ' ' || **p == '\t' || **p == '\r')
        ++*p;
}

static unsigned hex4(const char *p)
{
    char text[5] = {0};

    memcpy(text, p, strnlen(p, 4));
    return (unsigned)strtoul(text, NULL, 16);
}

/* UTF-8, RFC 3629. */
static char *put_code(char *out, unsigned code)
{
    if (code >= 0x800) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code >= 0x80) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)code;
    }
    return out;
}

/* A text in place: no escape is shorter than what it stands for. Behind the quote; NULL: it has no end. */
static char *get_text(char **p)
{
    static const char letters[] = "nrtbf", meant[] = "\n\r\t\b\f";
    char *start = ++*p, *out = start;

    for (; **p != '"'; ++*p) {
        const char *letter;

        if (!**p)
            return NULL;
        if (**p != '\\') {
            *out++ = **p;
            continue;
        }
        if (!*++*p)
            return NULL;
        letter = strchr(letters, **p);
        if (**p == 'u' && strnlen(*p + 1, 4) == 4) {
            out = put_code(out, hex4(*p + 1));
            *p += 4;
        } else {
            *out++ = letter ? meant[letter - letters] : **p;
        }
    }
    ++*p;
    *out = 0;
    return start;
}

/* To behind the end of an array that holds texts alone. */
static bool pass_array(char **p)
{
    bool quoted = false;

    for (++*p; **p && (quoted || **p != ']'); ++*p) {
        if (quoted && **p == '\\' && (*p)[1])
            ++*p;
        else if (**p == '"')
            quoted = !quoted;
    }
    if (!**p)
        return false;
    ++*p;
    return true;
}

static bool get_value(char **p, struct pair *pair)
{
    char *end;

    blank(p);
    if (**p == '"')
        return (pair->value = get_text(p));
    if (**p == '[') {
        pair->array = *p + 1;
        return pass_array(p);
    }
    end = *p + strcspn(*p, ",} \t\r");
    pair->value = strncmp(*p, "null", 4) == 0 ? NULL : *p;
    *p = end;
    return true;
}

/* The value's end is cut after the comma was seen. */
static bool get_object(struct object *o, char *p)
{
    o->count = 0;
    blank(&p);
    if (*p++ != '{')
        return false;
    for (;;) {
        struct pair *pair = &o->pairs[o->count];
        char *end, stop;

        *pair = (struct pair){0};
        blank(&p);
        if (*p != '"' || o->count == PAIRS - 1 || !(pair->key = get_text(&p)))
            return false;
        blank(&p);
        if (*p++ != ':' || !get_value(&p, pair))
            return false;
        o->count++;
        end = p;
        blank(&p);
        stop = *p;
        if (stop)
            p++;
        *end = 0;
        if (stop == '}')
            return true;
        if (stop != ',')
            return false;
    }
}

static const struct pair *find(const struct object *o, const char *key)
{
    for (unsigned i = 0; i < o->count; i++)
        if (strcmp(o->pairs[i].key, key) == 0)
            return &o->pairs[i];
    return NULL;
}

static const char *text(const struct object *o, const char *key)
{
    const struct pair *pair = find(o, key);

    return pair && pair->value ? pair->value : "";
}

static u64 number(const struct object *o, const char *key)
{
    return strtoull(text(o, key), NULL, 0);
}

/* --- events --- */

/*
 * JSON does not say that nobody models a place; it is so where there is no register, unless the model is one that has none
 * and storage instead.
 */
static bool unassigned(const struct trace_input *in, const struct trace_record *r)
{
    const struct trace_device *d = r->device < in->map.ndevices ? &in->map.devices[r->device] : NULL;
    const struct mmioshim_class *class = d && d->compatible ? class_by_compatible(d->compatible) : NULL;

    return r->reg == TRACE_NONE && !(class && class->storage && !class->nregisters);
}

static void get_device(struct trace_input *in, const struct object *o)
{
    in->record.device = lines_device(in, text(o, "device"));
}

static void get_register(struct trace_input *in, const struct object *o)
{
    const struct pair *reg = find(o, "register");

    if (reg && reg->value)
        lines_place(in, &in->record, reg->value);
}

static bool get_access(struct trace_input *in, struct lines *l, const struct object *o)
{
    struct trace_record *r = &in->record;

    r->seq = number(o, "seq");
    r->width = (u32)number(o, "width");
    r->addr = number(o, "addr");
    r->offset = number(o, "offset");
    r->pid = number(o, "pid") & 0xffffffff;
    r->tid = number(o, "tid") & 0xffffffff;
    r->pid_ordinal = (u16)r->pid;
    r->tid_ordinal = (u16)r->tid;
    r->stack = (u32)number(o, "stack");
    get_register(in, o);
    l->pc = text(o, "pc");
    l->insn = text(o, "insn");
    r->insn_len = *l->insn != 0;
    if (unassigned(in, r))
        r->flags = TRACE_UNASSIGNED;
    return r->width && r->width <= TRACE_MAX_WIDTH && lines_value(r, text(o, "value"));
}

/* What a finding does not say of its access, the line before it did. */
static bool get_lint(struct trace_input *in, struct lines *l, const struct object *o)
{
    struct trace_record *r = &in->record;
    const char *rule = text(o, "rule"), *what = text(o, "text");
    size_t n = strlen(rule), m = strlen(what);

    r->seq = number(o, "seq");
    if (r->seq && r->seq == l->last.seq && r->device == l->last.device) {
        r->op = l->last.op;
        r->width = l->last.width;
        r->addr = l->last.addr;
        r->offset = l->last.offset;
        r->pid = l->last.pid;
        r->tid = l->last.tid;
    }
    get_register(in, o);
    if (n + m + 2 > TRACE_TEXT)
        return false;
    memcpy(r->text, rule, n);
    memcpy(r->text + n + 1, what, m);
    return true;
}

static bool get_dma(struct trace_input *in, struct lines *l, const struct object *o)
{
    struct trace_record *r = &in->record;

    (void)l;
    r->addr = number(o, "addr");
    r->width = (u32)number(o, "length");
    r->flags = strcmp(text(o, "ok"), "false") == 0 ? TRACE_FAILED : 0;
    return true;
}

static bool get_irq(struct trace_input *in, struct lines *l, const struct object *o)
{
    (void)l;
    in->record.addr = number(o, "line");
    in->record.width = number(o, "level") != 0;
    in->record.flags = strcmp(text(o, "message"), "true") == 0 ? TRACE_MESSAGE : 0;
    return true;
}

static bool get_mark(struct trace_input *in, struct lines *l, const struct object *o)
{
    const char *what = text(o, "text");

    (void)l;
    memcpy(in->record.text, what, MIN(strlen(what), (size_t)TRACE_TEXT - 1));
    return true;
}

static bool get_fault(struct trace_input *in, struct lines *l, const struct object *o)
{
    in->record.addr = number(o, "addr");
    in->record.width = (u32)number(o, "width");
    l->pc = text(o, "pc");
    return true;
}

static bool get_repeat(struct trace_input *in, struct lines *l, const struct object *o)
{
    u64 count = number(o, "count");

    (void)l;
    in->record.seq = number(o, "seq");
    memcpy(in->record.value, &count, sizeof(count));
    return true;
}

/* --- what is no record --- */

/* Calls for each text of an array; its line is spent afterwards. */
static unsigned get_array(const struct object *o, const char *key, char **texts, unsigned most)
{
    const struct pair *pair = find(o, key);
    char *p = pair ? pair->array : NULL;
    unsigned n = 0;

    while (p && n < most) {
        p += strcspn(p, "\"]");
        if (*p != '"' || !(texts[n] = get_text(&p)))
            break;
        n++;
        if (*p == ']')
            break;
        p++;
    }
    return n;
}

static void get_stack(struct lines *l, const struct object *o)
{
    char *frames[TRACE_FRAMES];
    unsigned n = get_array(o, "frames", frames, TRACE_FRAMES);

    if (number(o, "id") & 0xffffffff)
        lines_stack(l, (const char *const *)frames, n, (u32)number(o, "id"));
}

static void get_map(struct trace_input *in, const struct object *o)
{
    const char *kind = text(o, "kind");
    const struct pair *compatible = find(o, "compatible");
    struct range range = {number(o, "base"), number(o, "size")};

    if (strcmp(kind, "ram") == 0)
        lines_add_bank(in, text(o, "device"), range);
    else
        lines_add_device(in, text(o, "device"), NULL, compatible ? compatible->value : NULL, range,
                         strcmp(kind, "port") == 0, strcmp(kind, "pci") == 0);
}

static enum trace_item get_dirty(struct trace_input *in, struct lines *l, const struct object *o)
{
    const char *mode = text(o, "mode");
    const struct pair *ranges = find(o, "ranges");
    char *p = ranges ? ranges->array : NULL;
    struct range range;

    in->dirty.mode = lines_keep(l, mode, strlen(mode));
    in->dirty.note = NULL;
    in->dirty.pages = number(o, "pages");
    in->dirty.total = number(o, "total");
    in->dirty.nranges = 0;
    while (p && *(p += strcspn(p, "\"]")) == '"') {
        char *one = get_text(&p);

        if (!one)
            break;
        if (lines_range(one, &range))
            lines_add_range(in, range);
        if (*p == ']')
            break;
        p++;
    }
    return ITEM_DIRTY;
}

static const struct {
    const char *type;
    u8 record;
    bool (*get)(struct trace_input *in, struct lines *l, const struct object *o);
} kinds[] = {
    {"mmio", TRACE_MMIO, get_access}, {"port", TRACE_PORT, get_access}, {"lint", TRACE_LINT, get_lint},
    {"dma", TRACE_DMA, get_dma},      {"irq", TRACE_IRQ, get_irq},      {"mark", TRACE_MARK, get_mark},
    {"fault", TRACE_FAULT, get_fault}, {"repeat", TRACE_REPEAT, get_repeat},
};

static enum trace_item get_record(struct trace_input *in, struct lines *l, const struct object *o)
{
    struct trace_record *r = &in->record;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(text(o, "type"), kinds[i].type) != 0)
            continue;
        *r = (struct trace_record){.type = kinds[i].record, .reg = TRACE_NONE};
        r->op = strcmp(text(o, "op"), "write") == 0 ? TRACE_WRITE : TRACE_READ;
        r->time = lines_time(text(o, "time"));
        get_device(in, o);
        return kinds[i].get(in, l, o) ? ITEM_RECORD : ITEM_END;
    }
    return ITEM_END;
}

enum trace_item json_parse(struct trace_input *in, struct lines *l, bool map)
{
    static struct object o;
    const char *type;

    if (!get_object(&o, l->line)) {
        l->others++;
        return ITEM_END;
    }
    type = text(&o, "type");
    if (map) {
        if (strcmp(type, "map") == 0)
            get_map(in, &o);
        else if (strcmp(type, "stack") == 0)
            get_stack(l, &o);
        return ITEM_END;
    }
    if (strcmp(type, "dirty") == 0)
        return get_dirty(in, l, &o);
    if (strcmp(type, "exit") != 0)
        return get_record(in, l, &o);
    in->totals = (struct trace_totals){number(&o, "accesses"), number(&o, "reads"), number(&o, "writes"),
                                       number(&o, "lint"), number(&o, "lost")};
    in->lost = in->totals.lost;
    return ITEM_EXIT;
}
