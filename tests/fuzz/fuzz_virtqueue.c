/*
 * Fuzzer of virtqueues against a model. An input is a program for a hostile
 * driver: it describes queues, writes descriptors, rings and any bytes of RAM,
 * and notifies. After each notification all of RAM, the device status, the
 * interrupt status and the places in the rings must be what the model has,
 * which was written from VIRTIO 1.2 alone, as simply as it can be.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address. Alone, built with -DSTANDALONE:
 * fuzz_virtqueue RUNS SEED [FILE...] mutates the files, or makes inputs of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/classes.h"
#include "virtio/mmio.h"
#include "virtio/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE 0x80000000ull
enum { RAM = 0x3000, FILL = 0xa5, PIECE = 256, MOST = 4096 };

static u8 *ram; /* of the device: an allocation of its own, so that a sanitizer sees a byte too far */
static u64 operations;
static bool line;
static bool legacy; /* version 1 of the registers */

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_virtqueue: %s\n", what);
    abort();
}

/* --- the machine --- */

static bool reach(u64 addr, u64 n)
{
    return addr >= BASE && addr - BASE <= RAM && n <= RAM - (addr - BASE);
}

static bool host_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t n)
{
    (void)dev;
    require(++operations < 10000000, "the device does not come to an end");
    if (!reach(addr, n))
        return false;
    memcpy(buf, ram + (addr - BASE), n);
    return true;
}

static bool host_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t n)
{
    (void)dev;
    require(++operations < 10000000, "the device does not come to an end");
    if (!reach(addr, n))
        return false;
    memcpy(ram + (addr - BASE), buf, n);
    return true;
}

static bool direct; /* may the device look at memory itself? */

static const void *host_direct(struct mmioshim_device *dev, u64 addr, size_t n)
{
    (void)dev;
    return direct && reach(addr, n) ? ram + (addr - BASE) : NULL;
}

static size_t host_random(struct mmioshim_device *dev, void *buf, size_t n)
{
    (void)dev;
    require(n <= PIECE, "more random bytes than there is room for");
    memset(buf, FILL, n);
    return n;
}

static void host_irq(struct mmioshim_device *dev, unsigned number, bool level)
{
    (void)dev;
    require(number == 0, "another line");
    line = level;
}

static bool asked;

static void host_soon(struct mmioshim_device *dev)
{
    (void)dev;
    asked = true;
}

static const struct mmioshim_host host = {
    .irq = host_irq, .soon = host_soon, .random = host_random,
    .dma_read = host_read, .dma_fetch = host_read, .dma_write = host_write, .dma_store = host_write,
    .dma_direct = host_direct,
};

static struct mmioshim_device device;

static void reg(u32 offset, u32 value)
{
    class_virtio_mmio.write(&device, offset, 4, value);
}

static u32 get(u32 offset)
{
    u64 value = 0;

    class_virtio_mmio.read(&device, offset, 4, &value);
    return (u32)value;
}

/* --- the model: one queue of random bytes --- */

static struct model {
    u8 ram[RAM];
    bool ready, broken, packed, events, indirect;
    u32 size, next, used, told; /* split: running; packed: places counted on, the wrap counter is what is left of them */
    u64 desc, driver, device;
    unsigned isr;
} m;

static u64 m_get(u64 addr, unsigned n, bool *ok)
{
    u64 value = 0;

    *ok = *ok && reach(addr, n);
    if (*ok)
        memcpy(&value, m.ram + (addr - BASE), n);
    return value;
}

static void m_put(u64 addr, unsigned n, u64 value, bool *ok)
{
    *ok = *ok && reach(addr, n);
    if (*ok)
        memcpy(m.ram + (addr - BASE), &value, n);
}

static void m_break(void)
{
    m.broken = true;
    m.isr |= legacy ? 0 : 2;
}

struct m_chain {
    u64 addr[256], total;
    u32 length[256], n, out, places;
    u16 id;
    bool sees_in;
};

/* False: it breaks a rule. */
static bool m_add(struct m_chain *c, u64 addr, u32 length, bool write)
{
    if (c->n == m.size || (c->sees_in && !write))
        return false;
    c->total += length;
    if (c->total > 0x100000000ull)
        return false;
    c->addr[c->n] = addr;
    c->length[c->n] = length;
    c->n++;
    c->out += !write;
    c->sees_in |= write;
    return true;
}

/* Random bytes into the writable buffers, piece by piece, until something cannot be reached. */
static u32 m_fill(const struct m_chain *c)
{
    u32 done = 0;

    for (u32 i = c->out; i < c->n; i++)
        for (u32 at = 0; at < c->length[i];) {
            u32 n = c->length[i] - at;

            n = n > PIECE ? PIECE : n;
            n = n > MOST - done ? MOST - done : n;
            if (!n || !reach(c->addr[i] + at, n))
                return done;
            memset(m.ram + (c->addr[i] + at - BASE), FILL, n);
            at += n;
            done += n;
        }
    return done;
}

static bool m_split_walk(struct m_chain *c, u16 head)
{
    u64 table = m.desc, count = m.size, at = head;
    bool inside = false;

    for (u64 steps = 0; steps < count; steps++) {
        bool ok = at < count;
        u64 addr, length, flags, next;

        addr = m_get(table + 16 * at, 8, &ok);
        length = m_get(table + 16 * at + 8, 4, &ok);
        flags = m_get(table + 16 * at + 12, 2, &ok);
        next = m_get(table + 16 * at + 14, 2, &ok);
        if (!ok)
            return false;
        if (flags & 4) {
            if (inside || !m.indirect || (flags & 1) || length == 0 || length % 16)
                return false;
            inside = true;
            table = addr;
            count = length / 16;
            at = 0;
            steps = UINT64_MAX; /* begins anew */
            continue;
        }
        if (!m_add(c, addr, (u32)length, flags & 2))
            return false;
        if (!(flags & 1))
            return true;
        at = next;
    }
    return false;
}

static void m_split(void)
{
    bool ok = true;
    u32 before = m.told;

    for (;;) {
        struct m_chain c = {.n = 0};
        u64 idx = m_get(m.driver + 2, 2, &ok), head;
        u32 written;

        if (ok && idx == (u16)m.next && m.events) {
            m_put(m.device + 4 + 8 * m.size, 2, m.next, &ok);
            idx = m_get(m.driver + 2, 2, &ok);
        }
        if (ok && idx == (u16)m.next)
            break;
        ok = ok && (u16)(idx - m.next) <= m.size;
        head = m_get(m.driver + 4 + 2 * ((u16)m.next % m.size), 2, &ok);
        if (!ok)
            return m_break();
        m.next = (u16)(m.next + 1);
        if (!m_split_walk(&c, (u16)head))
            return m_break();
        written = m_fill(&c);
        m_put(m.device + 4 + 8 * ((u16)m.used % m.size), 8, head | (u64)written << 32, &ok);
        m_put(m.device + 2, 2, m.used + 1, &ok);
        if (!ok)
            return m_break();
        m.used = (u16)(m.used + 1);
    }
    m.told = m.used;
    if (m.used == before)
        return;
    if (m.events) {
        u16 event = (u16)m_get(m.driver + 4 + 2 * m.size, 2, &ok);
        bool passed = false;

        for (u16 i = (u16)before; i != (u16)m.used; i++)
            passed |= i == event;
        m.isr |= ok && passed;
    } else {
        m.isr |= !(m_get(m.driver, 2, &ok) & 1) && ok;
    }
    if (!ok)
        m_break();
}

static unsigned m_wrap(u32 count)
{
    return 1 ^ (count / m.size & 1);
}

static bool m_packed_table(struct m_chain *c, u64 table, u64 length)
{
    for (u64 i = 0; i < length / 16; i++) {
        bool ok = true;
        u64 addr = m_get(table + 16 * i, 8, &ok), n = m_get(table + 16 * i + 8, 4, &ok);
        u64 flags = m_get(table + 16 * i + 14, 2, &ok);

        if (!ok || (flags & 4) || !m_add(c, addr, (u32)n, flags & 2))
            return false;
    }
    return true;
}

static bool m_packed_walk(struct m_chain *c)
{
    for (;;) {
        u64 at = m.desc + 16 * (m.next % m.size);
        bool ok = c->places < m.size;
        u64 addr = m_get(at, 8, &ok), length = m_get(at + 8, 4, &ok), id = m_get(at + 12, 2, &ok);
        u64 flags = m_get(at + 14, 2, &ok);

        if (!ok)
            return false;
        m.next++;
        c->places++;
        c->id = (u16)id;
        if (flags & 4) {
            if (!m.indirect || (flags & 1) || length == 0 || length % 16 || !m_packed_table(c, addr, length))
                return false;
        } else if (!m_add(c, addr, (u32)length, flags & 2)) {
            return false;
        }
        if (!(flags & 1))
            return true;
    }
}

static void m_packed(void)
{
    u32 before = m.told, written;
    bool ok = true;
    u64 place, flags;

    for (;;) {
        struct m_chain c = {.n = 0};
        u64 at = m.desc + 16 * (m.next % m.size);

        flags = m_get(at + 14, 2, &ok);
        if (!ok)
            return m_break();
        if ((flags >> 7 & 1) != m_wrap(m.next) || (flags >> 15) == m_wrap(m.next))
            break;
        if (!m_packed_walk(&c))
            return m_break();
        written = m_fill(&c);
        at = m.desc + 16 * (m.used % m.size);
        m_put(at + 8, 4, written, &ok);
        m_put(at + 12, 2, c.id, &ok);
        m_put(at + 14, 2, (m_wrap(m.used) ? 0x8080 : 0) | (c.sees_in ? 2 : 0), &ok);
        if (!ok)
            return m_break();
        m.used += c.places;
    }
    m.told = m.used;
    if (m.used == before)
        return;
    place = m_get(m.driver, 2, &ok);
    flags = m_get(m.driver + 2, 2, &ok) & 3;
    if (!ok)
        return m_break();
    if (flags == 2 && m.events) {
        bool passed = false;

        for (u32 i = before; i != m.used; i++)
            passed |= i % m.size == (place & 0x7fff) && m_wrap(i) == place >> 15;
        m.isr |= passed;
    } else {
        m.isr |= flags != 1;
    }
}

/* --- the driver --- */

struct input {
    const u8 *at;
    size_t left;
};

static u32 take(struct input *in, unsigned n)
{
    u32 value = 0;

    for (unsigned i = 0; i < n; i++, in->left -= in->left > 0)
        value |= in->left ? (u32)*in->at++ << 8 * i : 0;
    return value;
}

static void poke(u64 addr, const void *bytes, unsigned n)
{
    if (!reach(addr, n))
        return;
    memcpy(ram + (addr - BASE), bytes, n);
    memcpy(m.ram + (addr - BASE), bytes, n);
}

static void poke16(u64 addr, u16 value)
{
    poke(addr, &value, 2);
}

/* An address: most lie in RAM, at its edges, or in the rings. */
static u64 some_address(struct input *in)
{
    static const u64 places[] = {0, BASE - 1, BASE + RAM - 4, BASE + RAM, UINT64_MAX - 8, 0x10000000, (u64)1 << 63, UINT64_MAX};
    u32 kind = take(in, 1);

    if (kind < 16)
        return places[kind % 8];
    return BASE + take(in, 2) % (RAM + 16);
}

static u32 some_length(struct input *in)
{
    static const u32 lengths[] = {0, 1, 15, 16, 17, 32, 255, 256, 257, 4096, 0x80000000, 0xffffffff, 48, 64, 128, 24};
    u32 kind = take(in, 1);

    return kind < 192 ? kind % 64 : lengths[kind % 16];
}

/* 2.7.2, 4.2.4: one page number, and all else follows from it. */
static void set_up_legacy(struct input *in)
{
    u32 choice = take(in, 1), low = choice & 3 ? take(in, 1) : 8, shift = take(in, 1), align = take(in, 1), page = take(in, 1);
    u32 accepted = (u32)((choice & 8 ? VIRTIO_F_EVENT_IDX : 0) | (choice & 16 ? VIRTIO_F_INDIRECT_DESC : 0));

    shift = shift < 240 ? 4 + shift % 9 : shift % 32;
    align = align < 240 ? 1u << align % 13 : align - 240 < 8 ? 0x80000000u >> (align - 240) : align;
    page = page < 240 ? (u32)(BASE >> shift) + page % 4 : take(in, 4);
    reg(VIRTIO_STATUS, 0);
    reg(VIRTIO_GUEST_PAGE_SIZE, 1u << shift);
    reg(VIRTIO_STATUS, 3);
    reg(VIRTIO_DRIVER_FEATURES_SEL, 0);
    reg(VIRTIO_DRIVER_FEATURES, accepted | (choice & 4 ? 1 : 0)); /* 1: not offered */
    reg(VIRTIO_QUEUE_SEL, 0);
    reg(VIRTIO_QUEUE_NUM, low);
    reg(VIRTIO_QUEUE_ALIGN, align);
    reg(VIRTIO_QUEUE_PFN, page);
    if (choice & 32)
        reg(VIRTIO_STATUS, 7);
    m.packed = m.broken = false;
    m.events = choice & 8;
    m.indirect = choice & 16;
    m.size = low;
    m.desc = (u64)page << shift;
    m.driver = m.desc + 16 * low;
    m.device = m.driver + 6 + 2 * low;
    if (align && !(align & (align - 1)))
        while (m.device % align)
            m.device += align - m.device % align;
    m.ready = page && low && low <= 256 && !(low & (low - 1)) && align && !(align & (align - 1)) && m.desc % 16 == 0 &&
              m.device % 4 == 0;
    m.next = m.used = m.told = m.isr = 0;
    require(get(VIRTIO_QUEUE_PFN) == (m.ready ? page : 0), "QueuePFN");
}

static void set_up_modern(struct input *in)
{
    u32 choice = take(in, 1), low = choice & 3 ? take(in, 1) : 8;
    u64 accepted = VIRTIO_F_VERSION_1 | (choice & 4 ? VIRTIO_F_RING_PACKED : 0) | (choice & 8 ? VIRTIO_F_EVENT_IDX : 0) |
                   (choice & 16 ? VIRTIO_F_INDIRECT_DESC : 0) | (choice & 32 ? VIRTIO_F_IN_ORDER : 0);
    u64 area[3] = {BASE, BASE + 0x1000, BASE + 0x1800};

    if (choice >= 0xe0)
        for (unsigned i = 0; i < 3; i++)
            area[i] = some_address(in);
    reg(VIRTIO_STATUS, 0);
    reg(VIRTIO_STATUS, 1);
    reg(VIRTIO_STATUS, 3);
    for (u32 i = 0; i < 2; i++) {
        reg(VIRTIO_DRIVER_FEATURES_SEL, i);
        reg(VIRTIO_DRIVER_FEATURES, (u32)(accepted >> 32 * i));
    }
    reg(VIRTIO_STATUS, 11);
    reg(VIRTIO_QUEUE_SEL, 0);
    reg(VIRTIO_QUEUE_NUM, low);
    for (u32 i = 0; i < 3; i++) {
        reg(VIRTIO_QUEUE_DESC_LOW + 16 * i, (u32)area[i]);
        reg(VIRTIO_QUEUE_DESC_HIGH + 16 * i, (u32)(area[i] >> 32));
    }
    reg(VIRTIO_QUEUE_READY, 1);
    reg(VIRTIO_STATUS, 15);
    m.packed = choice & 4;
    m.events = choice & 8;
    m.indirect = choice & 16;
    m.ready = low && low <= 256 && area[0] % 16 == 0 &&
              (m.packed ? area[1] % 4 == 0 && area[2] % 4 == 0 : !(low & (low - 1)) && area[1] % 2 == 0 && area[2] % 4 == 0);
    m.broken = false;
    m.size = low;
    m.desc = area[0];
    m.driver = area[1];
    m.device = area[2];
    m.next = m.used = m.told = m.isr = 0;
    require(get(VIRTIO_QUEUE_READY) == m.ready, "QueueReady");
}

static void set_up(struct input *in)
{
    if (legacy)
        set_up_legacy(in);
    else
        set_up_modern(in);
}

static void descriptor(struct input *in)
{
    u32 where = take(in, 1), flags = take(in, 1);
    u64 table = where & 0x80 ? BASE + 0x2000 : m.desc, addr = where & 0x80 || !(flags & 4) ? some_address(in) : BASE + 0x2000;
    u32 length = some_length(in);
    u16 third = (u16)take(in, 1), fourth = (u16)(flags & 7);
    u8 bytes[16];

    if (m.packed && m.size) {
        unsigned wrap = m_wrap(m.next + (where % m.size < m.next % m.size ? m.size : 0)) & 1;

        fourth |= flags & 0x40 ? (flags & 8 ? 0x80 : 0) | (flags & 16 ? 0x8000 : 0) : wrap ? 0x80 : 0x8000;
    }
    memcpy(bytes, &addr, 8);
    memcpy(bytes + 8, &length, 4);
    memcpy(bytes + (m.packed ? 12 : 14), &third, 2);
    memcpy(bytes + (m.packed ? 14 : 12), &fourth, 2);
    poke(table + 16ull * (m.size && !(where & 0x80) ? where % m.size : where & 0x1f), bytes, 16);
}

/* More is available in a split ring. */
static void offer(struct input *in)
{
    u32 head = take(in, 1), how = take(in, 1);
    bool ok = true;
    u16 idx = (u16)m_get(m.driver + 2, 2, &ok);

    if (!m.size)
        return;
    poke16(m.driver + 4 + 2 * (idx % m.size), (u16)(how < 250 ? head % m.size : head * 257));
    poke16(m.driver + 2, (u16)(idx + (how == 255 ? head : 1u)));
}

static void suppress(struct input *in)
{
    u16 value = (u16)take(in, 2), flags = (u16)take(in, 1);

    if (m.packed) {
        u32 place = m.used + value % 8;

        if (m.size && !(value & 0x8000))
            value = (u16)(place % m.size | m_wrap(place) << 15);
        poke16(m.driver, value);
        poke16(m.driver + 2, flags);
    } else {
        poke16(m.driver, flags);
        poke16(m.driver + 4 + 2 * m.size, value & 0x8000 ? value : (u16)(m.used + value % 4));
    }
}

static void compare(void)
{
    const struct virtio_queue *q = &virtio_of(&device)->queues[0];

    require(memcmp(ram, m.ram, RAM) == 0, "RAM differs");
    require(!!(virtio_of(&device)->status & VIRTIO_NEEDS_RESET) == m.broken, "NEEDS_RESET differs");
    require(!!(get(VIRTIO_STATUS) & VIRTIO_NEEDS_RESET) == (m.broken && !legacy), "NEEDS_RESET is seen otherwise");
    require(get(VIRTIO_INTERRUPT_STATUS) == m.isr, "the interrupt status differs");
    require(line == (m.isr != 0), "the interrupt line differs");
    if (!m.ready || m.broken)
        return;
    require(q->next == (m.packed ? m.next % m.size : m.next), "the next place differs");
    require(q->used == (m.packed ? m.used % m.size : m.used), "the used place differs");
}

static void kick(void)
{
    operations = 0;
    asked = false;
    reg(VIRTIO_QUEUE_NOTIFY, 0);
    require(asked == (m.ready && !m.broken), "who is served");
    if (asked) {
        class_virtio_mmio.service(&device);
        if (m.packed)
            m_packed();
        else
            m_split();
    }
    compare();
}

static void acknowledge(u32 bits)
{
    reg(VIRTIO_INTERRUPT_ACK, bits & 3);
    m.isr &= ~(bits & 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const char *why;

    device = (struct mmioshim_device){
        .class = &class_virtio_mmio, .host = &host, .state = calloc(1, class_virtio_mmio.state_size), .size = 0x200, .name = "v",
    };
    ram = calloc(1, RAM);
    direct = size & 1;
    memset(m.ram, 0, RAM);
    legacy = size && (data[0] & 0xc0) == 0x40;
    require(class_virtio_mmio.plug(&device, legacy ? "rng,legacy" : "rng", &why) == 0, "no rng");
    class_virtio_mmio.reset(&device, MMIOSHIM_RESET_COLD);
    set_up(&in);
    while (in.left) {
        switch (take(&in, 1) % 16) {
        case 0:
            set_up(&in);
            break;
        case 1:
            poke16(BASE + take(&in, 2) % RAM, (u16)take(&in, 2));
            break;
        case 2:
            suppress(&in);
            break;
        case 3:
            acknowledge(take(&in, 1));
            break;
        case 4: case 5: case 6: case 7:
            kick();
            break;
        case 8: case 9: case 10:
            offer(&in);
            break;
        default:
            descriptor(&in);
        }
    }
    kick();
    free(ram);
    free(device.state);
    return 0;
}

#ifdef STANDALONE
static u64 state;

static u32 next_random(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(state >> 33);
}

static u8 *put(u8 *p, unsigned n, u32 value)
{
    for (unsigned i = 0; i < n; i++)
        *p++ = (u8)(value >> 8 * i);
    return p;
}

/* Chains as a driver makes them, with a mistake here and there. Places are those of a queue of eight. */
static u8 *make_chain(u8 *p, u32 *place, u32 setup)
{
    u32 n = 1 + next_random() % 4, out = next_random() % (n + 1), head = *place;

    for (u32 i = 0; i < n; i++, *place = (*place + 1) % 8) {
        u32 flags = (i + 1 < n ? 1 : 0) | (i >= out ? 2 : 0) | (setup & 16 && next_random() % 8 == 0 ? 4 : 0);

        if (flags & 4)
            flags &= next_random() % 4 ? 4u : 7u;
        if (next_random() % 64 == 0)
            flags = next_random();
        p = put(p, 1, 11);
        p = put(p, 1, *place);
        p = put(p, 1, flags & 0xff);
        if (!(flags & 4)) {
            p = put(p, 1, next_random() % 64 ? 16 + next_random() % 240 : next_random());
            p = put(p, 2, next_random() % 4 ? 0x2800 + next_random() % 0x600 : next_random());
        }
        p = put(p, 1, flags & 4 ? 193u + next_random() % 63 : next_random());
        p = put(p, 1, setup & 4 ? next_random() : next_random() % 64 ? (*place + 1) % 8 : next_random());
        if (flags & 4)
            break;
    }
    if (!(setup & 4)) {
        p = put(p, 1, 8);
        p = put(p, 1, next_random() % 64 ? head : next_random());
        p = put(p, 1, next_random() % 256);
    }
    return p;
}

static size_t make_table(u8 *start, u8 *p)
{
    u32 n = 1 + next_random() % 6;

    for (u32 i = 0; i < n; i++) {
        p = put(p, 1, 11);
        p = put(p, 1, 0x80 | i);
        p = put(p, 1, (i + 1 < n ? 1 : 0) | 2 | (next_random() % 64 ? 0 : 4));
        p = put(p, 1, 16 + next_random() % 240);
        p = put(p, 2, 0x2800 + next_random() % 0x600);
        p = put(p, 1, next_random());
        p = put(p, 1, next_random() % 32 ? i + 1 : next_random());
    }
    return (size_t)(p - start);
}

static size_t make(u8 *start)
{
    u32 setup = next_random() % 16 ? next_random() & 0x3c : next_random() & 0xff, rounds = next_random() % 12, place = 0;
    u8 *p = put(start, 1, setup);

    if (next_random() % 4 == 0) {
        setup = (setup & 0x3b) | 0x40;
        *start = (u8)setup;
    }
    if (setup & 3)
        p = put(p, 1, next_random() % 4 ? 1u << next_random() % 8 : next_random());
    if (setup & 0x40) {
        p = put(p, 1, next_random() % 8 ? 4 + next_random() % 9 : next_random());
        p = put(p, 1, next_random() % 8 ? 2 + next_random() % 11 : next_random());
        p = put(p, 1, next_random() % 8 ? 0 : next_random());
    }
    for (u32 i = 0; i < rounds; i++) {
        if (setup & 16 && next_random() % 2)
            p = start + make_table(start, p);
        for (u32 chains = next_random() % 3; chains > 0; chains--)
            p = make_chain(p, &place, setup);
        if (next_random() % 4 == 0) {
            p = put(p, 1, 2);
            p = put(p, 2, next_random());
            p = put(p, 1, next_random() % 4);
        }
        if (next_random() % 32 == 0) {
            p = put(p, 1, 1);
            p = put(p, 2, next_random());
            p = put(p, 2, next_random());
        }
        p = put(p, 1, 4);
        if (next_random() % 2) {
            p = put(p, 1, 3);
            p = put(p, 1, next_random());
        }
        if (next_random() % 64 == 0)
            *(start + next_random() % (size_t)(p - start)) ^= (u8)(1u << next_random() % 8);
    }
    return (size_t)(p - start);
}

static size_t load(const char *path, u8 *input, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f) {
        perror(path);
        exit(2);
    }
    n = fread(input, 1, size, f);
    fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000, good = 0, broken = 0, used = 0;
    static u8 input[8192];

    state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    for (unsigned long run = 0; run < runs; run++) {
        size_t n = argc > 3 ? load(argv[3 + next_random() % (u32)(argc - 3)], input, sizeof(input)) : make(input);

        LLVMFuzzerTestOneInput(input, n);
        good += m.ready && !m.broken;
        broken += m.broken;
        used += m.used;
    }
    printf("fuzz_virtqueue: %lu runs, %lu ended well, %lu broken, %lu requests in the last queues\n", runs, good, broken, used);
    /* A fuzzer that only ever meets one of them looks at nothing. */
    return runs >= 10000 && (good < runs / 10 || broken < runs / 50 || used < runs / 2);
}
#endif
