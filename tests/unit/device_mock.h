/*
 * A machine of one device for unit tests: a host that records what the device
 * asks of it and answers what the test says.
 */
#ifndef MMIOSHIM_TESTS_DEVICE_MOCK_H
#define MMIOSHIM_TESTS_DEVICE_MOCK_H

#include "unit.h"

#include <setjmp.h>

#include "base/range.h"
#include "base/types.h"
#include "devices/classes.h"

struct mock_property {
    const char *name;
    u32 length;
    const void *data; /* NULL: the cell */
    u8 cell[4];
};

#define MOCK_TRANSFERS 64

struct mock {
    struct mmioshim_device dev; /* first: the host finds its mock by it */
    size_t state_size;
    bool line[4];
    unsigned irq_calls, irq_changes;
    u32 raised; /* lines that were raised, ever: bit each */
    bool by_messages; /* the device is a PCI function's, whose messages are on */
    u64 wall, clock, wake_at;
    unsigned wakes, input_wakes, resets, ends;
    int end_status;
    u8 sent[4096];
    unsigned nsent;
    bool busy; /* the host end takes nothing */
    unsigned busy_after; /* from so many sent bytes on; 0: never */
    bool stuck; /* and cannot be waited for */
    unsigned waits;
    u8 input[64];
    unsigned nreceived, ninput;
    unsigned end_wakes; /* of which host ends the device wants to hear, bit each */
    unsigned input_end, sent_end; /* which host end has the input, which had the last byte */
    unsigned gone;                /* host ends where nobody is, bit each */
    u16 columns, rows;            /* of the terminal that the first is, and one column more a number of the others; 0: it is none */
    unsigned polls, receives;
    /* RAM that DMA reaches: ram_size bytes at MOCK_RAM; NULL: none. */
    u8 *ram;
    u64 ram_size;
    unsigned fetches, transfers, refused, soon;
    u64 feed; /* where somebody else counts up 16 bits whenever the device looks there; 0: nowhere */
    /* A disk; NULL: none. */
    u8 *disk;
    u64 disk_size;
    unsigned flushes;
    enum mmioshim_poll polled;
    bool later; /* it answers later */
    struct mmioshim_transfer begun[MOCK_TRANSFERS];
    unsigned nbegun, nending, nended; /* transfers: that are under way, that may end, that have */
    bool disk_readonly;
    int disk_error; /* 0, or what every use of it gives */
    /* Frames: the last one that was sent; those that arrive are frames of i + 60 bytes of value i. */
    u8 frame[10000];
    size_t frame_length;
    unsigned nframes, arriving;
    u8 wire[1 << 17]; /* all that were sent, one behind another */
    size_t wire_length, wire_frames[1500]; /* their lengths */
    unsigned wire_room; /* frames that it takes; 0: all */
    u8 packet_buffer[81920];
    bool elsewhere, unplugged; /* this is not the worker, the host end is another process's; nobody is on the other side */
    unsigned undone;
};

/* A service that is cut short: at which step (what the device asks of its host) it ends. */
static jmp_buf mock_death;
static unsigned mock_step, mock_last_step;

/* Before and behind what the device asks for: a process can die at either. */
static inline void mock_live(void)
{
    if (mock_last_step && ++mock_step == mock_last_step)
        longjmp(mock_death, 1);
}

#define MOCK_RAM 0x80000000ull

static inline struct mock *mock_of(struct mmioshim_device *dev)
{
    return (struct mock *)(void *)dev;
}

static void mock_irq(struct mmioshim_device *dev, unsigned line, bool level)
{
    struct mock *m = mock_of(dev);

    CHECK(line < dev->class->lines);
    m->raised |= level && line < 32 ? 1u << line : 0;
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

static void mock_soon(struct mmioshim_device *dev)
{
    mock_of(dev)->soon++;
}

static bool mock_move(struct mmioshim_device *dev, u64 addr, void *buf, size_t len, bool write)
{
    struct mock *m = mock_of(dev);
    u64 at = addr - MOCK_RAM;

    mock_live();
    if (!m->ram || (len && (at >= m->ram_size || len > m->ram_size - at))) {
        m->refused++;
        return false;
    }
    if (len)
        memcpy(write ? m->ram + at : buf, write ? buf : m->ram + at, len);
    mock_live();
    return true;
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

static void mock_wake_on_end(struct mmioshim_device *dev, unsigned end)
{
    mock_of(dev)->input_wakes++;
    mock_of(dev)->end_wakes |= 1u << end;
}

static void mock_poll(struct mmioshim_device *dev, enum mmioshim_poll how)
{
    mock_of(dev)->polled = how;
}

static bool mock_dma_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    mock_of(dev)->transfers++;
    return mock_move(dev, addr, buf, len, false);
}

static bool mock_dma_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    mock_of(dev)->transfers++;
    return mock_move(dev, addr, (void *)(uintptr_t)buf, len, true);
}

static bool mock_dma_fetch(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    struct mock *m = mock_of(dev);

    m->fetches++;
    if (m->feed && addr == m->feed) {
        u16 value;

        memcpy(&value, m->ram + (addr - MOCK_RAM), 2);
        value++;
        memcpy(m->ram + (addr - MOCK_RAM), &value, 2);
    }
    return mock_move(dev, addr, buf, len, false);
}

/* Only where a test says so, since nobody sees what a device does there. */
static bool mock_direct;

static const void *mock_dma_direct(struct mmioshim_device *dev, u64 addr, size_t len)
{
    const struct mock *m = mock_of(dev);

    return mock_direct && !m->feed && range_contains((struct range){MOCK_RAM, m->ram_size}, addr, len) ? m->ram + (addr - MOCK_RAM) : NULL;
}

static bool mock_dma_store(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    return mock_move(dev, addr, (void *)(uintptr_t)buf, len, true);
}

static u64 mock_disk_size(struct mmioshim_device *dev)
{
    return mock_of(dev)->disk_size;
}

static int mock_disk_move(struct mmioshim_device *dev, u64 position, u64 addr, size_t len, bool to_ram)
{
    struct mock *m = mock_of(dev);

    CHECK(position <= m->disk_size && len <= m->disk_size - position);
    m->transfers++;
    if (m->disk_error)
        return m->disk_error;
    return mock_move(dev, addr, m->disk + position, len, to_ram) ? 0 : -14 /* EFAULT */;
}

static void mock_disk_soon(struct mmioshim_device *dev, u64 position, size_t len)
{
    struct mock *m = mock_of(dev);

    CHECK(position <= m->disk_size && len <= m->disk_size - position);
}

static int mock_disk_read(struct mmioshim_device *dev, u64 position, u64 addr, size_t len)
{
    return mock_disk_move(dev, position, addr, len, true);
}

static int mock_disk_write(struct mmioshim_device *dev, u64 position, u64 addr, size_t len)
{
    return mock_disk_move(dev, position, addr, len, false);
}

static int mock_disk_control(struct mmioshim_device *dev, enum mmioshim_disk what, u64 position, u64 len)
{
    struct mock *m = mock_of(dev);

    if (m->disk_error)
        return m->disk_error;
    if (what == MMIOSHIM_DISK_FLUSH) {
        m->flushes++;
        return 0;
    }
    CHECK(position <= m->disk_size && len <= m->disk_size - position);
    memset(m->disk + position, what == MMIOSHIM_DISK_DISCARD ? 0xdd : 0, len);
    return 0;
}

static int mock_disk_copy(struct mmioshim_device *dev, u64 position, void *buf, size_t len, bool put)
{
    struct mock *m = mock_of(dev);

    CHECK(position <= m->disk_size && len <= m->disk_size - position);
    m->transfers++;
    if (m->disk_error)
        return m->disk_error;
    memcpy(put ? m->disk + position : buf, put ? buf : m->disk + position, len);
    return 0;
}

static int mock_disk_get(struct mmioshim_device *dev, u64 position, void *buf, size_t len)
{
    return mock_disk_copy(dev, position, buf, len, false);
}

static int mock_disk_put(struct mmioshim_device *dev, u64 position, const void *buf, size_t len)
{
    return mock_disk_copy(dev, position, (void *)(uintptr_t)buf, len, true);
}

static bool mock_disk_readonly(struct mmioshim_device *dev)
{
    return mock_of(dev)->disk_readonly;
}

/* A disk that answers later: as many transfers as it was given wait until the test lets them end. */
static bool mock_disk_later(struct mmioshim_device *dev)
{
    return mock_of(dev)->later;
}

static int mock_disk_begun(struct mmioshim_device *dev)
{
    struct mock *m = mock_of(dev);

    return m->elsewhere ? -1 : (int)m->nbegun;
}

static bool mock_disk_begin(struct mmioshim_device *dev, const struct mmioshim_transfer *t)
{
    struct mock *m = mock_of(dev);

    mock_live();
    CHECK(m->nbegun < MOCK_TRANSFERS);
    CHECK(t->position <= m->disk_size && t->length <= m->disk_size - t->position);
    m->begun[m->nbegun++] = *t;
    mock_live();
    return true;
}

static int mock_transfer(struct mock *m, const struct mmioshim_transfer *t)
{
    u64 position = t->position, length = 0;
    int error = 0;

    m->flushes += t->safe || t->what == MMIOSHIM_DISK_FLUSH;
    if (t->what != MMIOSHIM_DISK_READ && t->what != MMIOSHIM_DISK_WRITE)
        return mock_disk_control(&m->dev, t->what, position, t->length);
    for (u32 i = 0; i < t->npieces && !error; i++) {
        error = mock_disk_move(&m->dev, position, t->pieces[i].addr, t->pieces[i].length, t->what == MMIOSHIM_DISK_READ);
        position += t->pieces[i].length;
        length += t->pieces[i].length;
    }
    CHECK(error || length == t->length);
    return error;
}

static bool mock_disk_ended(struct mmioshim_device *dev, int *error)
{
    struct mock *m = mock_of(dev);

    mock_live();
    if (!m->nending || !m->nbegun)
        return false;
    *error = mock_transfer(m, &m->begun[0]);
    m->nending--;
    m->nbegun--;
    m->nended++;
    memmove(m->begun, m->begun + 1, m->nbegun * sizeof(m->begun[0]));
    mock_live();
    return true;
}

static void mock_disk_forget(struct mmioshim_device *dev)
{
    mock_of(dev)->nbegun = 0;
}

static int mock_packet_send(struct mmioshim_device *dev, const void *frame, size_t len)
{
    struct mock *m = mock_of(dev);

    if (m->wire_room && m->nframes >= m->wire_room)
        return MMIOSHIM_LATER;
    m->frame_length = len;
    memcpy(m->frame, frame, len < sizeof(m->frame) ? len : sizeof(m->frame));
    if (len <= sizeof(m->wire) - m->wire_length && m->nframes < ARRAY_SIZE(m->wire_frames)) {
        memcpy(m->wire + m->wire_length, frame, len);
        m->wire_frames[m->nframes] = len;
        m->wire_length += len;
    }
    m->nframes++;
    return 0;
}

static void *mock_packet_buffer(struct mmioshim_device *dev, size_t *size)
{
    *size = sizeof(mock_of(dev)->packet_buffer);
    return mock_of(dev)->packet_buffer;
}

static size_t mock_packet_receive(struct mmioshim_device *dev, u64 *position, void *frame, size_t room)
{
    struct mock *m = mock_of(dev);
    size_t n = *position + 60;

    if (*position >= m->arriving || n > room)
        return 0;
    memset(frame, (int)*position, n);
    ++*position;
    return n;
}

static bool mock_packet_here(struct mmioshim_device *dev)
{
    return !mock_of(dev)->elsewhere;
}

static bool mock_packet_link(struct mmioshim_device *dev)
{
    return !mock_of(dev)->unplugged;
}

static void mock_packet_offload(struct mmioshim_device *dev, unsigned kinds)
{
    mock_of(dev)->undone = kinds;
}

/* 1, 2, 3, ... */
static size_t mock_random(struct mmioshim_device *dev, void *buf, size_t len)
{
    (void)dev;
    for (size_t i = 0; i < len; i++)
        ((u8 *)buf)[i] = (u8)(i + 1);
    return len;
}

static bool mock_send(struct mmioshim_device *dev, unsigned end, u8 byte)
{
    struct mock *m = mock_of(dev);

    m->sent_end = end;
    if (m->busy || (m->busy_after && m->nsent >= m->busy_after))
        return false;
    m->sent[m->nsent++ % sizeof(m->sent)] = byte;
    return true;
}

static size_t mock_write(struct mmioshim_device *dev, unsigned end, const void *bytes, size_t n)
{
    size_t done = 0;

    while (done < n && done < 3 && mock_send(dev, end, ((const u8 *)bytes)[done]))
        done++;
    return done;
}

/* Waits until the host end has room. */
static bool mock_wait(struct mmioshim_device *dev, unsigned end)
{
    struct mock *m = mock_of(dev);

    (void)end;
    m->waits++;
    if (m->stuck)
        return false;
    m->busy = false;
    return true;
}

static int mock_receive(struct mmioshim_device *dev, unsigned end)
{
    struct mock *m = mock_of(dev);

    m->receives++;
    return end == m->input_end && m->nreceived < m->ninput ? m->input[m->nreceived++] : -1;
}

static bool mock_pending(struct mmioshim_device *dev, unsigned end)
{
    struct mock *m = mock_of(dev);

    m->polls++;
    return end == m->input_end && m->nreceived < m->ninput;
}

static unsigned mock_waiting(struct mmioshim_device *dev, unsigned end)
{
    return mock_pending(dev, end) ? mock_of(dev)->ninput - mock_of(dev)->nreceived : 0;
}

static bool mock_room(struct mmioshim_device *dev, unsigned end)
{
    (void)end;
    return !mock_of(dev)->busy;
}

static bool mock_connected(struct mmioshim_device *dev, unsigned end)
{
    return !(mock_of(dev)->gone >> end & 1);
}

static bool mock_size(struct mmioshim_device *dev, unsigned end, u16 *columns, u16 *rows)
{
    struct mock *m = mock_of(dev);

    *columns = (u16)(m->columns ? m->columns + end : 0);
    *rows = m->rows;
    return m->columns;
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

static bool mock_messages(struct mmioshim_device *dev)
{
    return mock_of(dev)->by_messages;
}

static const struct mmioshim_host mock_host = {
    .irq = mock_irq,
    .messages = mock_messages,
    .clock = mock_clock,
    .wall_clock = mock_wall_clock,
    .wake = mock_wake,
    .soon = mock_soon,
    .wake_at = mock_wake_at,
    .wake_on_input = mock_wake_on_input,
    .wake_on_end = mock_wake_on_end,
    .poll = mock_poll,
    .dma_read = mock_dma_read,
    .dma_write = mock_dma_write,
    .dma_fetch = mock_dma_fetch,
    .dma_store = mock_dma_store,
    .dma_direct = mock_dma_direct,
    .disk_size = mock_disk_size,
    .disk_read = mock_disk_read,
    .disk_write = mock_disk_write,
    .disk_control = mock_disk_control,
    .disk_soon = mock_disk_soon,
    .disk_later = mock_disk_later,
    .disk_begun = mock_disk_begun,
    .disk_begin = mock_disk_begin,
    .disk_ended = mock_disk_ended,
    .disk_forget = mock_disk_forget,
    .disk_get = mock_disk_get,
    .disk_put = mock_disk_put,
    .disk_readonly = mock_disk_readonly,
    .packet_send = mock_packet_send,
    .packet_receive = mock_packet_receive,
    .packet_buffer = mock_packet_buffer,
    .packet_here = mock_packet_here,
    .packet_link = mock_packet_link,
    .packet_offload = mock_packet_offload,
    .random = mock_random,
    .char_send = mock_send,
    .char_write = mock_write,
    .char_wait = mock_wait,
    .char_receive = mock_receive,
    .char_pending = mock_pending,
    .char_waiting = mock_waiting,
    .char_room = mock_room,
    .char_connected = mock_connected,
    .char_size = mock_size,
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

/* The same for a slot and what is plugged into it. */
static inline const char *mock_plug(struct mock *m, const struct mmioshim_class *class, u64 size, const char *attachment)
{
    const char *why = mock_create(m, class, size, NULL);

    if (!why && class->plug(&m->dev, attachment, &why) == 0)
        why = NULL;
    if (!why)
        class->reset(&m->dev, MMIOSHIM_RESET_COLD);
    return why;
}

/* Runs the service of the device, which dies at a step, counted from 0; how many steps it made. */
static inline unsigned mock_steps(struct mock *m, unsigned last)
{
    mock_step = 0;
    mock_last_step = last + 1 ? last + 1 : UINT32_MAX;
    if (setjmp(mock_death) == 0)
        m->dev.class->service(&m->dev);
    mock_last_step = 0;
    return mock_step;
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
