/*
 * sifive,plic-1.0.0: the platform-level interrupt controller of RISC-V
 * machines. Source: RISC-V Platform-Level Interrupt Controller Specification
 * 1.0.0, whose section names and quotations are used below.
 *
 * Sources are numbered from 1 to riscv,ndev. A context is what is told of
 * interrupts, a mode of a hart; entry i of interrupts-extended is where
 * context i goes, and is line i of this device. Every gateway is of the
 * level-triggered kind. Priorities and thresholds have three bits, as on
 * SiFive's chips and QEMU's "virt" machine.
 */
#include "base/mem.h"
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

enum {
    PRIORITY = 0x000000,
    PENDING = 0x001000,
    ENABLE = 0x002000,
    ENABLE_STRIDE = 0x80,
    CONTEXT = 0x200000, /* threshold, and at +4 claim and complete */
    CONTEXT_STRIDE = 0x1000,
    CLAIM = 4,
    ONE_CONTEXT = CONTEXT + CONTEXT_STRIDE,
};

enum { SOURCES = 1024, WORDS = SOURCES / 32, CONTEXTS = 15872, PRIORITY_MASK = 7 };

struct context {
    u32 enable[WORDS];
    u8 threshold;
    u8 line; /* level last given to the host */
    u8 reserved[2];
};

struct plic {
    u32 ndev, ncontexts;
    u32 level[WORDS];   /* wires from the sources: they survive a warm reset */
    u32 pending[WORDS];
    u32 claimed[WORDS]; /* "the gateway will not forward any new request until it has received the completion" */
    u8 priority[SOURCES];
    struct context context[];
};

static bool bit(const u32 *words, u32 id)
{
    return words[id / 32] >> (id % 32) & 1;
}

static void set_bit(u32 *words, u32 id, bool value)
{
    u32 mask = (u32)1 << (id % 32);

    words[id / 32] = value ? words[id / 32] | mask : words[id / 32] & ~mask;
}

/* Sources of a word that exist: 0 "is defined to mean no interrupt". */
static u32 existing(const struct plic *plic, u32 word)
{
    u32 after = plic->ndev + 1 - 32 * word; /* of the last one in this word */
    u32 all = plic->ndev < 32 * word ? 0 : after >= 32 ? UINT32_MAX : ((u32)1 << after) - 1;

    return word == 0 ? all & ~(u32)1 : all;
}

/* The pending and enabled source of the highest priority, the lowest number among equals; 0: none. */
static u32 best(const struct plic *plic, const struct context *c)
{
    u32 found = 0;

    for (u32 word = 0; word <= plic->ndev / 32; word++)
        for (u32 left = plic->pending[word] & c->enable[word]; left; left &= left - 1) {
            u32 id = 32 * word + (u32)__builtin_ctz(left);

            if (plic->priority[id] > plic->priority[found])
                found = id;
        }
    return found;
}

/* "The PLIC will mask all interrupts of a priority less than or equal to threshold." */
static void update(struct mmioshim_device *dev)
{
    struct plic *plic = dev->state;

    for (u32 i = 0; i < plic->ncontexts; i++) {
        struct context *c = &plic->context[i];
        u8 line = plic->priority[best(plic, c)] > c->threshold;

        if (line == c->line)
            continue;
        c->line = line;
        dev->host->irq(dev, i, line);
    }
}

/* The gateway of a source sends a request while its wire is high and no earlier one is being handled. */
static void gateway(struct plic *plic, u32 id)
{
    if (bit(plic->level, id) && !bit(plic->claimed, id))
        set_bit(plic->pending, id, true);
}

/* A request that was sent stays "even if the source deasserts the interrupt". */
static void plic_irq_in(struct mmioshim_device *dev, unsigned line, bool level)
{
    struct plic *plic = dev->state;

    if (line == 0 || line > plic->ndev || bit(plic->level, line) == level)
        return;
    set_bit(plic->level, line, level);
    gateway(plic, line);
    update(dev);
}

/* "The claim operation is not affected by the setting of the priority threshold register." */
static u32 claim(struct mmioshim_device *dev, const struct context *c)
{
    struct plic *plic = dev->state;
    u32 id = best(plic, c);

    if (id == 0)
        return 0;
    set_bit(plic->pending, id, false);
    set_bit(plic->claimed, id, true);
    update(dev);
    return id;
}

/*
 * "If the completion ID does not match an interrupt source that is currently enabled for the target, the completion is
 * silently ignored." One that is not being handled changes nothing either.
 */
static enum mmioshim_status complete(struct mmioshim_device *dev, const struct context *c, u32 id)
{
    struct plic *plic = dev->state;

    if (id == 0 || id > plic->ndev || !bit(c->enable, id) || !bit(plic->claimed, id))
        return MMIOSHIM_GUEST_BUG;
    set_bit(plic->claimed, id, false);
    gateway(plic, id);
    update(dev);
    return MMIOSHIM_OK;
}

/* ---- registers ---- */

/* A register of this machine; else kind is NOTHING. */
struct place {
    enum { NOTHING, AT_PRIORITY, AT_PENDING, AT_ENABLE, AT_THRESHOLD, AT_CLAIM } kind;
    u32 context;
    u32 index; /* source, or word of sources */
};

static struct place locate_enable(const struct plic *plic, u32 at)
{
    struct place p = {AT_ENABLE, at / ENABLE_STRIDE, at % ENABLE_STRIDE / 4};

    if (p.context >= plic->ncontexts || p.index > plic->ndev / 32)
        p.kind = NOTHING;
    return p;
}

static struct place locate_context(const struct plic *plic, u32 at)
{
    struct place p = {NOTHING, at / CONTEXT_STRIDE, 0};
    u32 inside = at % CONTEXT_STRIDE / 4 * 4;

    if (p.context < plic->ncontexts && inside <= CLAIM)
        p.kind = inside == CLAIM ? AT_CLAIM : AT_THRESHOLD;
    return p;
}

static struct place locate(const struct plic *plic, u64 offset)
{
    u32 at = (u32)offset;

    if (offset > UINT32_MAX)
        return (struct place){NOTHING, 0, 0};
    if (at >= CONTEXT)
        return locate_context(plic, at - CONTEXT);
    if (at >= ENABLE)
        return locate_enable(plic, at - ENABLE);
    if (at >= PENDING && (at - PENDING) / 4 <= plic->ndev / 32)
        return (struct place){AT_PENDING, 0, (at - PENDING) / 4};
    if (at >= PRIORITY + 4 && at < PENDING && at / 4 <= plic->ndev)
        return (struct place){AT_PRIORITY, 0, at / 4};
    return (struct place){NOTHING, 0, 0};
}

static enum mmioshim_status check(struct place p, u64 offset, unsigned width)
{
    if (p.kind == NOTHING)
        return MMIOSHIM_NO_REGISTER;
    return width == 4 && offset % 4 == 0 ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

static enum mmioshim_status plic_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct plic *plic = dev->state;
    struct place p = locate(plic, offset);
    enum mmioshim_status status = check(p, offset, width);

    *value = 0;
    if (status != MMIOSHIM_OK)
        return status;
    switch (p.kind) {
    case AT_PRIORITY:
        *value = plic->priority[p.index];
        break;
    case AT_PENDING:
        *value = plic->pending[p.index];
        break;
    case AT_ENABLE:
        *value = plic->context[p.context].enable[p.index];
        break;
    case AT_THRESHOLD:
        *value = plic->context[p.context].threshold;
        break;
    default:
        *value = claim(dev, &plic->context[p.context]);
    }
    return MMIOSHIM_OK;
}

static enum mmioshim_status plic_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct plic *plic = dev->state;
    struct place p = locate(plic, offset);
    enum mmioshim_status status = check(p, offset, width);

    if (status != MMIOSHIM_OK)
        return status;
    switch (p.kind) {
    case AT_PRIORITY:
        plic->priority[p.index] = value & PRIORITY_MASK;
        break;
    case AT_PENDING:
        return MMIOSHIM_READ_ONLY;
    case AT_ENABLE:
        plic->context[p.context].enable[p.index] = (u32)value & existing(plic, p.index);
        break;
    case AT_THRESHOLD:
        plic->context[p.context].threshold = value & PRIORITY_MASK;
        break;
    default:
        return complete(dev, &plic->context[p.context], (u32)value);
    }
    update(dev);
    return MMIOSHIM_OK;
}

/* ---- life ---- */

static u32 most_contexts(u64 window_size)
{
    return window_size < ONE_CONTEXT ? 0 : (u32)MIN((window_size - CONTEXT) / CONTEXT_STRIDE, (u64)CONTEXTS);
}

static size_t plic_state_for(u64 window_size)
{
    return sizeof(struct plic) + most_contexts(window_size) * sizeof(struct context);
}

static int plic_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    struct plic *plic = dev->state;
    u32 ndev = 0, length = 0;

    if (!dev->host->property_u32(node, "riscv,ndev", &ndev) || ndev == 0 || ndev >= SOURCES) {
        *why = "riscv,ndev is not a number from 1 to 1023";
        return -1;
    }
    /* An entry is a phandle and one cell: contexts are modes of a hart, whose own controller has #interrupt-cells = 1. */
    if (!dev->host->property(node, "interrupts-extended", &length))
        length = 0;
    if (length % 8 || length / 8 > most_contexts(dev->size)) {
        *why = "interrupts-extended is not a list of phandle and number that has room in the window";
        return -1;
    }
    plic->ndev = ndev;
    plic->ncontexts = length / 8;
    return 0;
}

static void plic_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct plic *plic = dev->state;

    memset(plic->pending, 0, sizeof(plic->pending));
    memset(plic->claimed, 0, sizeof(plic->claimed));
    memset(plic->priority, 0, sizeof(plic->priority));
    if (kind == MMIOSHIM_RESET_COLD)
        memset(plic->level, 0, sizeof(plic->level));
    for (u32 i = 0; i < plic->ncontexts; i++) {
        plic->context[i] = (struct context){0};
        dev->host->irq(dev, i, false);
    }
    for (u32 id = 1; id <= plic->ndev; id++)
        gateway(plic, id);
}

/* What is saved: all but the levels given to the host, which follow. */
static size_t saved_size(const struct plic *plic)
{
    return sizeof(*plic) + plic->ncontexts * sizeof(struct context);
}

static long plic_save(struct mmioshim_device *dev, void *buf, size_t size)
{
    const struct plic *plic = dev->state;

    if (size >= saved_size(plic))
        memcpy(buf, plic, saved_size(plic));
    return (long)saved_size(plic);
}

/* The words of a saved state, where `kind` has none that does not exist. */
static bool words_possible(const struct plic *plic, const u32 *words)
{
    for (u32 word = 0; word < WORDS; word++)
        if (words[word] & ~existing(plic, word))
            return false;
    return true;
}

static bool possible(const struct plic *plic, const struct plic *saved)
{
    if (saved->ndev != plic->ndev || saved->ncontexts != plic->ncontexts || !words_possible(plic, saved->level) ||
        !words_possible(plic, saved->pending) || !words_possible(plic, saved->claimed))
        return false;
    for (u32 word = 0; word < WORDS; word++)
        if ((saved->pending[word] & saved->claimed[word]) ||
            (saved->level[word] & ~saved->pending[word] & ~saved->claimed[word]))
            return false;
    for (u32 id = 0; id < SOURCES; id++)
        if (saved->priority[id] > (id == 0 || id > plic->ndev ? 0 : PRIORITY_MASK))
            return false;
    return true;
}

static bool context_possible(const struct plic *plic, const struct context *c)
{
    return words_possible(plic, c->enable) && c->threshold <= PRIORITY_MASK && c->line <= 1 && !c->reserved[0] &&
           !c->reserved[1];
}

static int plic_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct plic *plic = dev->state;
    const u8 *contexts = (const u8 *)buf + sizeof(struct plic);
    struct plic saved;
    struct context c;

    if (version != 1 || size != saved_size(plic))
        return -1;
    memcpy(&saved, buf, sizeof(saved));
    if (!possible(plic, &saved))
        return -1;
    for (u32 i = 0; i < plic->ncontexts; i++) {
        memcpy(&c, contexts + i * sizeof(c), sizeof(c));
        if (!context_possible(plic, &c) || c.line != (saved.priority[best(&saved, &c)] > c.threshold))
            return -1;
    }
    memcpy(plic, buf, size);
    for (u32 i = 0; i < plic->ncontexts; i++)
        dev->host->irq(dev, i, plic->context[i].line);
    return 0;
}

/* ---- description ---- */

#define ENABLE_WORD(word) \
    {.name = "ENABLE" #word, .offset = ENABLE + 4 * (word), .width = 4, .count = CONTEXTS, .stride = ENABLE_STRIDE, \
     .doc = "a bit for each source from 32 * " #word " that is enabled for the context"}

static const struct mmioshim_register registers[] = {
    {.name = "PRIORITY", .offset = PRIORITY, .width = 4, .count = SOURCES, .stride = 4,
     .doc = "priority of a source, 0 to 7; 0 never interrupts"},
    {.name = "PENDING", .offset = PENDING, .width = 4, .access = MMIOSHIM_RO, .count = WORDS, .stride = 4,
     .flags = MMIOSHIM_REG_VOLATILE, .doc = "a bit for each source that waits to be claimed"},
    ENABLE_WORD(0), ENABLE_WORD(1), ENABLE_WORD(2), ENABLE_WORD(3), ENABLE_WORD(4), ENABLE_WORD(5), ENABLE_WORD(6),
    ENABLE_WORD(7), ENABLE_WORD(8), ENABLE_WORD(9), ENABLE_WORD(10), ENABLE_WORD(11), ENABLE_WORD(12), ENABLE_WORD(13),
    ENABLE_WORD(14), ENABLE_WORD(15), ENABLE_WORD(16), ENABLE_WORD(17), ENABLE_WORD(18), ENABLE_WORD(19), ENABLE_WORD(20),
    ENABLE_WORD(21), ENABLE_WORD(22), ENABLE_WORD(23), ENABLE_WORD(24), ENABLE_WORD(25), ENABLE_WORD(26), ENABLE_WORD(27),
    ENABLE_WORD(28), ENABLE_WORD(29), ENABLE_WORD(30), ENABLE_WORD(31),
    {.name = "THRESHOLD", .offset = CONTEXT, .width = 4, .count = CONTEXTS, .stride = CONTEXT_STRIDE,
     .doc = "only sources of a higher priority interrupt the context, 0 to 7"},
    {.name = "CLAIM", .offset = CONTEXT + CLAIM, .width = 4, .access = MMIOSHIM_RO, .count = CONTEXTS,
     .stride = CONTEXT_STRIDE, .flags = MMIOSHIM_REG_VOLATILE,
     .doc = "takes the most important pending source of the context; 0: none"},
    {.name = "COMPLETE", .offset = CONTEXT + CLAIM, .width = 4, .access = MMIOSHIM_WO, .count = CONTEXTS,
     .stride = CONTEXT_STRIDE, .doc = "the source has been handled, and may interrupt again"},
};

static const struct mmioshim_property properties[] = {
    {"riscv,ndev", "number of the last source, 1 to 1023"},
    {"interrupts-extended", "where each context goes: a hart's interrupt controller and a number"},
    {NULL, NULL},
};

static const char *const compatible[] = {"sifive,plic-1.0.0", "riscv,plic0", NULL};

const struct mmioshim_class class_sifive_plic = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "sifive_plic",
    .label = "PLIC",
    .description = "RISC-V platform-level interrupt controller",
    .compatible = compatible,
    .properties = properties,
    .min_size = ONE_CONTEXT,
    .widths = 4,
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = CONTEXTS,
    .version = 1,
    .state_for = plic_state_for,
    .create = plic_create,
    .reset = plic_reset,
    .read = plic_read,
    .write = plic_write,
    .irq_in = plic_irq_in,
    .save = plic_save,
    .load = plic_load,
};
