/*
 * Fuzzer of the virtio IOMMU and its tables against a model. An input is a
 * program for a hostile driver: requests of any size and contents. After each
 * of them its status, and what every endpoint reaches of each page, must be what
 * the model has, which was written from VIRTIO 1.2, 5.13 alone: arrays of pages.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address. Alone, built with -DSTANDALONE:
 * fuzz_iommu RUNS SEED [FILE...] mutates the files, or makes inputs of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/classes.h"
#include "memory/iommu.h"
#include "virtio/mmio.h"
#include "virtio/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE   0x80000000ull
#define PAGE   0x1000ull
#define LIMIT  ((u64)1 << 48) /* of input addresses, when that feature was accepted */
#define NOTHING UINT64_MAX
enum { RAM = 0x4000, OWNER = 1, ENDPOINTS = 3, DOMAINS = 4, PAGES = 24, REQUEST = 0x3000, ANSWER = 0x3800 };
enum { S_OK, S_IOERR, S_UNSUPP, S_DEVERR, S_INVAL, S_RANGE, S_NOENT, S_FAULT, S_NOMEM, UNWRITTEN = 0xee };

static u8 ram[RAM];
static struct iommu *tables;
static const struct lock_self self = {.tid = 1, .pid = 1};
static unsigned long changes, refusals;

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_iommu: %s\n", what);
    abort();
}

/* --- the machine --- */

static bool host_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t n)
{
    (void)dev;
    if (addr < BASE || addr - BASE > RAM || n > RAM - (addr - BASE))
        return false;
    memcpy(buf, ram + (addr - BASE), n);
    return true;
}

/* Rings go the way of checked copies. */
static const void *host_direct(struct mmioshim_device *dev, u64 addr, size_t n)
{
    (void)dev;
    (void)addr;
    (void)n;
    return NULL;
}

static bool host_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t n)
{
    (void)dev;
    if (addr < BASE || addr - BASE > RAM || n > RAM - (addr - BASE))
        return false;
    memcpy(ram + (addr - BASE), buf, n);
    return true;
}

static void host_irq(struct mmioshim_device *dev, unsigned number, bool level)
{
    (void)dev;
    (void)number;
    (void)level;
}

static void host_soon(struct mmioshim_device *dev)
{
    (void)dev;
}

static bool op_endpoint(struct mmioshim_device *dev, u32 endpoint)
{
    (void)dev;
    return iommu_find(tables, OWNER, endpoint);
}

static int op_attach(struct mmioshim_device *dev, u32 domain, u32 endpoint, bool bypass)
{
    (void)dev;
    return iommu_attach(tables, OWNER, domain, endpoint, bypass, &self);
}

static int op_detach(struct mmioshim_device *dev, u32 domain, u32 endpoint)
{
    (void)dev;
    return iommu_detach(tables, OWNER, domain, endpoint, &self);
}

static int op_map(struct mmioshim_device *dev, u32 domain, u64 first, u64 last, u64 target, unsigned flags)
{
    struct iommu_mapping m = {.first = first, .last = last, .target = target, .flags = (u8)flags};

    (void)dev;
    require(first <= last && target <= UINT64_MAX - (last - first), "a range that wraps");
    return iommu_map(tables, OWNER, domain, &m, &self);
}

static int op_unmap(struct mmioshim_device *dev, u32 domain, u64 first, u64 last)
{
    (void)dev;
    require(first <= last, "a range that ends before it begins");
    return iommu_unmap(tables, OWNER, domain, first, last, &self);
}

static void op_detach_all(struct mmioshim_device *dev)
{
    (void)dev;
    iommu_detach_all(tables, OWNER, &self);
}

static void op_bypass(struct mmioshim_device *dev, bool bypass)
{
    (void)dev;
    iommu_bypass(tables, OWNER, bypass, &self);
}

static bool op_fault(struct mmioshim_device *dev, struct mmioshim_dma_fault *fault)
{
    (void)dev;
    (void)fault;
    return false;
}

static const struct mmioshim_iommu ops = {
    .endpoint = op_endpoint, .attach = op_attach, .detach = op_detach, .map = op_map,
    .unmap = op_unmap, .detach_all = op_detach_all, .bypass = op_bypass, .fault = op_fault,
};

static const struct mmioshim_host host = {
    .irq = host_irq, .soon = host_soon, .iommu = &ops,
    .dma_read = host_read, .dma_fetch = host_read, .dma_write = host_write, .dma_store = host_write,
    .dma_direct = host_direct,
};

static struct mmioshim_device device;

static void reg(u32 offset, u32 value)
{
    class_virtio_mmio.write(&device, offset, 4, value);
}

/* --- the model: pages; what lies outside of them is never mapped --- */

static struct {
    u64 features;
    int domain[ENDPOINTS + 1]; /* of an endpoint, -1: none */
    bool bypass;               /* of those */
    struct {
        bool there, bypass;
        u32 map[PAGES];        /* number of the request that mapped a page, 0: none */
        u64 target[PAGES];
        u32 flags[PAGES];
    } domains[DOMAINS];
    u32 requests;
} m;

static void m_end_domains(void)
{
    for (int d = 0; d < DOMAINS; d++) {
        bool used = false;

        for (u32 e = 1; e <= ENDPOINTS; e++)
            used |= m.domain[e] == d;
        if (!used)
            memset(&m.domains[d], 0, sizeof(m.domains[d]));
    }
}

static u32 word(unsigned at)
{
    u32 value;

    memcpy(&value, ram + REQUEST + at, 4);
    return value;
}

static u64 quad(unsigned at)
{
    return word(at) | (u64)word(at + 4) << 32;
}

static u8 m_attach(void)
{
    u32 domain = word(4), endpoint = word(8), flags = word(12);

    if (word(16) || flags & ~(m.features & 0x40 ? 1u : 0u))
        return S_INVAL;
    if (endpoint < 1 || endpoint > ENDPOINTS)
        return S_NOENT;
    if (m.features & 2 && domain > 255)
        return S_RANGE;
    if (m.domains[domain].there && m.domains[domain].bypass != flags)
        return S_INVAL;
    if (m.domain[endpoint] == (int)domain)
        return S_OK;
    m.domain[endpoint] = -1;
    m_end_domains();
    m.domain[endpoint] = (int)domain;
    m.domains[domain].there = true;
    m.domains[domain].bypass = flags;
    return S_OK;
}

static u8 m_detach(void)
{
    u32 domain = word(4), endpoint = word(8);

    if (endpoint < 1 || endpoint > ENDPOINTS)
        return S_NOENT;
    if (m.domain[endpoint] != (int)domain)
        return S_INVAL;
    m.domain[endpoint] = -1;
    m_end_domains();
    return S_OK;
}

/* Which pages; false: they reach past those that the model has. */
static bool m_pages(u64 first, u64 last, u64 *from, u64 *to)
{
    *from = first / PAGE;
    *to = last / PAGE;
    return *to < PAGES;
}

static u8 m_map(void)
{
    u32 domain = word(4), flags = word(32);
    u64 first = quad(8), last = quad(16), target = quad(24), from, to;

    if (flags > 3 || last < first)
        return S_INVAL;
    if (first % PAGE || target % PAGE || last % PAGE != PAGE - 1 || (m.features & 1 && last >= LIMIT) ||
        (m.features & 2 && domain > 255))
        return S_RANGE;
    if (target + (last - first) < target)
        return S_FAULT;
    if (!m.domains[domain].there)
        return S_NOENT;
    if (m.domains[domain].bypass)
        return S_INVAL;
    require(m_pages(first, last, &from, &to), "the input maps too much");
    for (u64 p = from; p <= to; p++)
        if (m.domains[domain].map[p])
            return S_INVAL;
    for (u64 p = from; p <= to; p++) {
        m.domains[domain].map[p] = m.requests;
        m.domains[domain].target[p] = target + (p - from) * PAGE;
        m.domains[domain].flags[p] = flags;
    }
    return S_OK;
}

/* Does a mapping lie in [first, last] and outside of it, too? */
static u8 m_unmap(void)
{
    u32 domain = word(4);
    u64 first = quad(8), last = quad(16);
    u32 *map;

    if (word(24) || last < first)
        return S_INVAL;
    if ((m.features & 1 && last >= LIMIT) || (m.features & 2 && domain > 255))
        return S_RANGE;
    if (!m.domains[domain].there)
        return S_NOENT;
    if (m.domains[domain].bypass)
        return S_INVAL;
    map = m.domains[domain].map;
    for (u64 p = 0; p < PAGES; p++)
        for (u64 q = 0; q < PAGES; q++) {
            bool touched = first <= p * PAGE + PAGE - 1 && last >= p * PAGE;
            bool whole = first <= q * PAGE && last >= q * PAGE + PAGE - 1;

            if (map[p] && map[p] == map[q] && touched && !whole)
                return S_RANGE;
        }
    for (u64 p = 0; p < PAGES; p++)
        if (first <= p * PAGE && last >= p * PAGE + PAGE - 1)
            map[p] = 0;
    return S_OK;
}

/* The status of a request of n readable bytes, with so much room for the answer; UNWRITTEN: it comes back as it was. */
static u8 m_request(u32 n, u32 room)
{
    static const u32 sizes[] = {0, 20, 20, 36, 28, 72};
    u8 type = n ? ram[REQUEST] : 0;

    m.requests++;
    if (room < 4 || n < 4 || type < 1 || type > 5 || (!(m.features & 4) && (type == 3 || type == 4)))
        return UNWRITTEN;
    if (n < sizes[type])
        return S_INVAL;
    switch (type) {
    case 1:
        return m_attach();
    case 2:
        return m_detach();
    case 3:
        return m_map();
    case 4:
        return m_unmap();
    default:
        return room < 68 ? S_INVAL : word(4) >= 1 && word(4) <= ENDPOINTS ? S_OK : S_NOENT;
    }
}

static u64 m_where(u32 endpoint, u64 page, bool write)
{
    int d = m.domain[endpoint];

    if (d < 0 ? m.bypass : m.domains[d].bypass)
        return page * PAGE + 5;
    if (d < 0 || !m.domains[d].map[page] || !(m.domains[d].flags[page] & (write ? 2 : 1)))
        return NOTHING;
    return m.domains[d].target[page] + 5;
}

/* --- comparison --- */

static u64 where(u32 endpoint, u64 page, bool write)
{
    struct iommu_endpoint *ep = iommu_find(tables, OWNER, endpoint);
    struct iommu_fault fault;
    u64 machine, len = PAGE;
    bool ok;

    iommu_enter(ep, &self);
    ok = iommu_translate(tables, ep, page * PAGE + 5, &len, write, &machine, &fault);
    iommu_leave(ep, &self);
    require(len && len <= PAGE, "a length");
    return ok ? machine : NOTHING;
}

static void compare(void)
{
    for (u32 e = 1; e <= ENDPOINTS; e++)
        for (u64 page = 0; page < PAGES; page++)
            for (unsigned write = 0; write < 2; write++)
                require(where(e, page, write) == m_where(e, page, write), "an address differs");
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

static void put(unsigned at, u64 value, unsigned n)
{
    memcpy(ram + REQUEST + at, &value, n);
}

static void start(struct input *in)
{
    static const u64 area[3] = {BASE, BASE + 0x1000, BASE + 0x2000};

    m.features = take(in, 1) & 0x57;
    reg(VIRTIO_STATUS, 0);
    reg(VIRTIO_STATUS, 3);
    reg(VIRTIO_DRIVER_FEATURES_SEL, 0);
    reg(VIRTIO_DRIVER_FEATURES, (u32)m.features);
    reg(VIRTIO_DRIVER_FEATURES_SEL, 1);
    reg(VIRTIO_DRIVER_FEATURES, 1);
    reg(VIRTIO_STATUS, 11);
    reg(VIRTIO_QUEUE_SEL, 0);
    reg(VIRTIO_QUEUE_NUM, 8);
    for (u32 i = 0; i < 3; i++)
        reg(VIRTIO_QUEUE_DESC_LOW + 16 * i, (u32)area[i]);
    reg(VIRTIO_QUEUE_READY, 1);
    reg(VIRTIO_STATUS, 15);
    memset(ram, 0, sizeof(ram));
    for (u32 e = 1; e <= ENDPOINTS; e++)
        m.domain[e] = -1;
    memset(m.domains, 0, sizeof(m.domains));
}

/* An address of the model's pages, or one that cannot be mapped. */
static u64 some_address(struct input *in, u64 low)
{
    u32 kind = take(in, 1);

    if (kind < 200)
        return kind % PAGES * PAGE + low;
    return kind < 240 ? take(in, 2) % (PAGES * PAGE) : kind < 250 ? LIMIT + low : UINT64_MAX - take(in, 1);
}

static void fill(struct input *in, u8 type)
{
    u32 odd = take(in, 1);
    u64 first, last;

    memset(ram + REQUEST, 0, 128);
    put(0, type, 1);
    put(4, take(in, 1) % DOMAINS, 4);
    if (type == 5)
        put(4, take(in, 1) % 6, 4);
    if (type < 3) {
        put(8, take(in, 1) % 5, 4);
        put(12, type == 1 ? (odd & 7 ? 0 : 1) : odd, 4);
        put(16, type == 1 ? odd == 255 : odd, 4);
        return;
    }
    first = some_address(in, 0);
    last = some_address(in, PAGE - 1);
    if (odd & 1 && last < first && type < 5) {
        u64 swap = first - first % PAGE;

        first = last - last % PAGE;
        last = swap + PAGE - 1;
    }
    if (type == 3 && last / PAGE >= PAGES && last < LIMIT) /* the model has no such pages */
        last = PAGES * PAGE - 1;
    if (type == 3 && last >= LIMIT && !(m.features & 1))
        last = PAGE - 1;
    if (type < 5) {
        put(8, first, 8);
        put(16, last, 8);
    }
    if (type == 3) {
        put(24, odd < 200 ? take(in, 2) * PAGE : odd < 240 ? UINT64_MAX - PAGE + 1 : odd, 8);
        put(32, take(in, 1) % (odd < 240 ? 4 : 8), 4);
    } else if (type == 4) {
        put(24, odd == 254, 4);
    }
}

static void descriptor(unsigned i, u64 addr, u32 length, u16 flags)
{
    u8 *d = ram + 16 * i;
    u16 next = (u16)(i + 1);

    memcpy(d, &addr, 8);
    memcpy(d + 8, &length, 4);
    memcpy(d + 12, &flags, 2);
    memcpy(d + 14, &next, 2);
}

static void submit(u32 n, u32 cut, u32 room)
{
    u16 idx, used;
    u32 length;
    u8 status = UNWRITTEN, expected = m_request(n, room);

    memset(ram + ANSWER, UNWRITTEN, 128);
    descriptor(0, BASE + REQUEST, cut, 1);
    descriptor(1, BASE + REQUEST + cut, n - cut, 1);
    descriptor(2, BASE + ANSWER, room, 2);
    memcpy(&idx, ram + 0x1002, 2);
    idx++;
    memcpy(ram + 0x1002, &idx, 2);
    reg(VIRTIO_QUEUE_NOTIFY, 0);
    class_virtio_mmio.service(&device);
    memcpy(&used, ram + 0x2002, 2);
    require(used == idx, "a request is not given back");
    memcpy(&length, ram + 0x2004 + 8 * ((used - 1) % 8) + 4, 4);
    if (length)
        status = ram[ANSWER + length - 4];
    require(status == expected, "a status differs");
    for (u32 i = length; i < 128; i++)
        require(ram[ANSWER + i] == UNWRITTEN, "more was written than was said");
    changes += status == S_OK;
    refusals += status != S_OK;
    compare();
}

static void request(struct input *in)
{
    static const u32 sizes[] = {4, 20, 20, 36, 28, 72};
    u32 how = take(in, 1), type = how % 8, n, room = type == 5 ? 68 : 4;

    type = type == 6 ? 3 : type == 7 ? 4 : type;
    fill(in, (u8)type);
    n = sizes[type];
    if (how >= 240) {
        n = take(in, 1) % 100;
        room = take(in, 1) % 100;
        put(0, take(in, 1), 1);
        put(4, word(4) % DOMAINS, 4);
        if (ram[REQUEST] == 3) /* as it is it might map what the model has no pages for */
            put(0, 2, 1);
    }
    submit(n, take(in, 1) % (n + 1), room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const char *why;

    if (!tables)
        tables = calloc(1, sizeof(*tables));
    tables->nendpoints = 0;
    device = (struct mmioshim_device){
        .class = &class_virtio_mmio, .host = &host, .state = calloc(1, class_virtio_mmio.state_size), .size = 0x200, .name = "v",
    };
    m.bypass = size & 1;
    m.requests = 0;
    require(class_virtio_mmio.plug(&device, m.bypass ? "iommu" : "iommu:bypass=off", &why) == 0, "no IOMMU");
    for (u32 e = 1; e <= ENDPOINTS; e++)
        require(iommu_add(tables, OWNER, e, m.bypass), "no room");
    class_virtio_mmio.reset(&device, MMIOSHIM_RESET_COLD);
    start(&in);
    while (in.left) {
        u32 what = take(&in, 1);

        if (what < 250) {
            request(&in);
        } else if (what < 254 && m.features & 0x40) {
            m.bypass = what & 1;
            class_virtio_mmio.write(&device, 0x124, 1, m.bypass);
        } else {
            start(&in);
        }
    }
    reg(VIRTIO_STATUS, 0);
    for (u32 i = 0; i < IOMMU_DOMAINS; i++)
        require(!tables->domains[i].owner, "a domain outlives the reset");
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

static size_t make(u8 *start)
{
    u8 *p = start;

    *p++ = next_random() % 8 ? 0xff : (u8)next_random();
    for (u32 i = next_random() % 60; i > 0; i--) {
        *p++ = next_random() % 64 ? 0 : (u8)next_random();
        *p++ = next_random() % 16 ? (u8)(1 + next_random() % 239) : (u8)next_random();
        for (u32 k = 0; k < 12; k++)
            *p++ = next_random() % 8 ? (u8)(next_random() % 200) : (u8)next_random();
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
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000;
    static u8 input[8192];

    state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    for (unsigned long run = 0; run < runs; run++) {
        size_t n = argc > 3 ? load(argv[3 + next_random() % (u32)(argc - 3)], input, sizeof(input)) : make(input);

        LLVMFuzzerTestOneInput(input, n);
    }
    printf("fuzz_iommu: %lu runs, %lu requests that were obeyed, %lu refused\n", runs, changes, refusals);
    /* A fuzzer that only ever meets one of them looks at nothing. */
    return runs >= 1000 && (changes < runs || refusals < runs);
}
#endif
