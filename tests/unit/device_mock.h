/*
 * A machine of one device for unit tests: a host that records what the device
 * asks of it and answers what the test says.
 */
#ifndef MMIOSHIM_TESTS_DEVICE_MOCK_H
#define MMIOSHIM_TESTS_DEVICE_MOCK_H

#include "unit.h"

#include "base/types.h"
#include "devices/classes.h"

struct mock_property {
    const char *name;
    u32 length;
    const void *data; /* NULL: the cell */
    u8 cell[4];
};

struct mock {
    struct mmioshim_device dev; /* first: the host finds its mock by it */
    size_t state_size;
    bool line[4];
    unsigned irq_calls, irq_changes;
    u64 wall, clock, wake_at;
    unsigned wakes, input_wakes, resets, ends;
    int end_status;
    u8 sent[4096];
    unsigned nsent;
    bool busy; /* the host end takes nothing */
    u8 input[64];
    unsigned nreceived, ninput;
    unsigned polls, receives;
};

static inline struct mock *mock_of(struct mmioshim_device *dev)
{
    return (struct mock *)(void *)dev;
}

static void mock_irq(struct mmioshim_device *dev, unsigned line, bool level)
{
    struct mock *m = mock_of(dev);

    CHECK(line < dev->class->lines);
    if (line < 4) {
        m->irq_calls++;
        m->irq_changes += m->line[line] != level;
        m->line[line] = level;
    }
}

static u64 mock_clock(struct mmioshim_device *dev)
{
    return mock_of(dev)->clock;
}

static u64 mock_wall_clock(struct mmioshim_device *dev)
{
    return mock_of(dev)->wall;
}

static void mock_wake(struct mmioshim_device *dev)
{
    mock_of(dev)->wakes++;
}

static void mock_wake_at(struct mmioshim_device *dev, u64 ns)
{
    mock_of(dev)->wakes++;
    mock_of(dev)->wake_at = ns;
}

static void mock_wake_on_input(struct mmioshim_device *dev)
{
    mock_of(dev)->input_wakes++;
}

static bool mock_dma_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    (void)dev, (void)addr, (void)buf, (void)len;
    return false;
}

static bool mock_dma_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    (void)dev, (void)addr, (void)buf, (void)len;
    return false;
}

static bool mock_send(struct mmioshim_device *dev, u8 byte)
{
    struct mock *m = mock_of(dev);

    if (m->busy)
        return false;
    m->sent[m->nsent++ % sizeof(m->sent)] = byte;
    return true;
}

static int mock_receive(struct mmioshim_device *dev)
{
    struct mock *m = mock_of(dev);

    m->receives++;
    return m->nreceived < m->ninput ? m->input[m->nreceived++] : -1;
}

static bool mock_pending(struct mmioshim_device *dev)
{
    struct mock *m = mock_of(dev);

    m->polls++;
    return m->nreceived < m->ninput;
}

static unsigned mock_waiting(struct mmioshim_device *dev)
{
    return mock_pending(dev) ? mock_of(dev)->ninput - mock_of(dev)->nreceived : 0;
}

static bool mock_room(struct mmioshim_device *dev)
{
    return !mock_of(dev)->busy;
}

static void mock_end(struct mmioshim_device *dev, int status)
{
    mock_of(dev)->ends++;
    mock_of(dev)->end_status = status;
}

static void mock_reset_machine(struct mmioshim_device *dev)
{
    mock_of(dev)->resets++;
}

/* A node is a list of properties that ends with a NULL name. */
static const void *mock_property(const struct mmioshim_node *node, const char *name, u32 *length)
{
    for (const struct mock_property *p = (const void *)node; p && p->name; p++)
        if (strcmp(p->name, name) == 0) {
            *length = p->length;
            return p->data ? p->data : p->cell;
        }
    return NULL;
}

static bool mock_property_u32(const struct mmioshim_node *node, const char *name, u32 *value)
{
    u32 length = 0;
    const u8 *p = mock_property(node, name, &length);

    if (!p || length != 4)
        return false;
    *value = (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
    return true;
}

/* There is one node. */
static bool mock_property_u32_at(const struct mmioshim_node *node, const char *path, const char *name, u32 *value)
{
    (void)path;
    return mock_property_u32(node, name, value);
}

static const struct mmioshim_host mock_host = {
    .irq = mock_irq,
    .clock = mock_clock,
    .wall_clock = mock_wall_clock,
    .wake = mock_wake,
    .wake_at = mock_wake_at,
    .wake_on_input = mock_wake_on_input,
    .dma_read = mock_dma_read,
    .dma_write = mock_dma_write,
    .char_send = mock_send,
    .char_receive = mock_receive,
    .char_pending = mock_pending,
    .char_waiting = mock_waiting,
    .char_room = mock_room,
    .end_program = mock_end,
    .reset_machine = mock_reset_machine,
    .property_u32 = mock_property_u32,
    .property = mock_property,
    .property_u32_at = mock_property_u32_at,
};

/* A big-endian cell. */
#define CELL(property, value) \
    {property, 4, NULL, {(u8)((u32)(value) >> 24), (u8)((u32)(value) >> 16), (u8)((u32)(value) >> 8), (u8)(value)}}
#define STRINGS(property, text) {property, sizeof(text), text, {0}}

#define END {.name = NULL}

/* create() as the core does it: zeroed state, then a cold reset. NULL, or what was wrong with the node. */
static inline const char *mock_create(struct mock *m, const struct mmioshim_class *class, u64 size,
                                      const struct mock_property *node)
{
    const char *why = NULL;

    memset(m, 0, sizeof(*m));
    m->state_size = class->state_for ? class->state_for(size) : class->state_size;
    m->dev = (struct mmioshim_device){
        .class = class, .host = &mock_host, .size = size, .name = "device@0", .state = calloc(1, m->state_size),
    };
    if (class->create && class->create(&m->dev, (const void *)node, &why))
        return why ? why : "no reason given";
    class->reset(&m->dev, MMIOSHIM_RESET_COLD);
    return NULL;
}

static inline enum mmioshim_status rd_status(struct mock *m, u64 offset, unsigned width, u64 *value)
{
    *value = 0xdeadbeefdeadbeef;
    return m->dev.class->read(&m->dev, offset, width, value);
}

static inline u64 rd(struct mock *m, u64 offset, unsigned width)
{
    u64 value;

    CHECK_EQ(rd_status(m, offset, width, &value), MMIOSHIM_OK);
    return value;
}

static inline enum mmioshim_status wr_status(struct mock *m, u64 offset, unsigned width, u64 value)
{
    return m->dev.class->write(&m->dev, offset, width, value);
}

static inline void wr(struct mock *m, u64 offset, unsigned width, u64 value)
{
    CHECK_EQ(wr_status(m, offset, width, value), MMIOSHIM_OK);
}

#endif
