/* virtio-iommu against VIRTIO 1.2, 5.13, over the tables that it programs. */
#include "virtio_driver.h"

#include <errno.h>

#include "memory/iommu.h"

enum { OWNER = 1, OUT = DRIVER_DATA, IN = DRIVER_DATA + 0x100, EVENT = DRIVER_DATA + 0x400, TAIL = 4, PAGE = 0x1000 };
enum { ATTACH = 1, DETACH, MAP, UNMAP, PROBE };
enum { S_OK, S_IOERR, S_UNSUPP, S_DEVERR, S_INVAL, S_RANGE, S_NOENT, S_FAULT, S_NOMEM };
enum { UNWRITTEN = -1 };

#define INPUT_RANGE   1ull
#define DOMAIN_RANGE  2ull
#define MAP_UNMAP     4ull
#define PROBES        0x10ull
#define BYPASS_CONFIG 0x40ull
#define ALL           (INPUT_RANGE | DOMAIN_RANGE | MAP_UNMAP | PROBES | BYPASS_CONFIG)

static struct iommu tables;
static const struct lock_self self = {.tid = 1, .pid = 1};

/* --- the core's side --- */

static bool op_endpoint(struct mmioshim_device *dev, u32 endpoint)
{
    (void)dev;
    return iommu_find(&tables, OWNER, endpoint);
}

static int op_attach(struct mmioshim_device *dev, u32 domain, u32 endpoint, bool bypass)
{
    (void)dev;
    return iommu_attach(&tables, OWNER, domain, endpoint, bypass, &self);
}

static int op_detach(struct mmioshim_device *dev, u32 domain, u32 endpoint)
{
    (void)dev;
    return iommu_detach(&tables, OWNER, domain, endpoint, &self);
}

static int op_map(struct mmioshim_device *dev, u32 domain, u64 first, u64 last, u64 target, unsigned flags)
{
    struct iommu_mapping m = {.first = first, .last = last, .target = target, .flags = (u8)flags};

    (void)dev;
    CHECK(first <= last && last - first <= ~0ull - target && flags <= 3);
    return iommu_map(&tables, OWNER, domain, &m, &self);
}

static int op_unmap(struct mmioshim_device *dev, u32 domain, u64 first, u64 last)
{
    (void)dev;
    return iommu_unmap(&tables, OWNER, domain, first, last, &self);
}

static void op_detach_all(struct mmioshim_device *dev)
{
    (void)dev;
    iommu_detach_all(&tables, OWNER, &self);
}

static void op_bypass(struct mmioshim_device *dev, bool bypass)
{
    (void)dev;
    iommu_bypass(&tables, OWNER, bypass, &self);
}

static bool op_fault(struct mmioshim_device *dev, struct mmioshim_dma_fault *fault)
{
    struct iommu_fault f;

    (void)dev;
    if (!iommu_take_fault(&tables, OWNER, &f, &self))
        return false;
    *fault = (struct mmioshim_dma_fault){f.endpoint, f.addr, f.write, f.unattached};
    return true;
}

static const struct mmioshim_iommu ops = {
    .endpoint = op_endpoint, .attach = op_attach, .detach = op_detach, .map = op_map,
    .unmap = op_unmap, .detach_all = op_detach_all, .bypass = op_bypass, .fault = op_fault,
};

static struct mmioshim_host host;

/* Where a byte of endpoint 7 lies; ~0: nowhere, and the fault is reported. */
static u64 where(u64 addr, bool write)
{
    struct iommu_endpoint *ep = iommu_find(&tables, OWNER, 7);
    struct iommu_fault fault;
    u64 machine, len = 1;
    bool ok;

    iommu_enter(ep, &self);
    ok = iommu_translate(&tables, ep, addr, &len, write, &machine, &fault);
    iommu_leave(ep, &self);
    if (!ok)
        iommu_report(&tables, &fault, &self);
    return ok ? machine : ~0ull;
}

/* --- the driver's side --- */

static void plug(const char *attachment)
{
    driver_machine(attachment);
    host = mock_host;
    host.iommu = &ops;
    vm.dev.host = &host;
    memset(&tables, 0, sizeof(tables));
    for (u32 id = 7; id <= 8; id++)
        CHECK(iommu_add(&tables, OWNER, id, class_virtio_mmio.translates(&vm.dev)));
    class_virtio_mmio.reset(&vm.dev, MMIOSHIM_RESET_COLD);
}

static void start_with(const char *attachment, u64 features)
{
    plug(attachment);
    CHECK(driver_negotiate(features | VIRTIO_F_VERSION_1));
    driver_queue(0, 16);
    driver_queue(1, 16);
    driver_go();
}

static void start(void)
{
    start_with("iommu:bypass=off", ALL);
}

/* A request of `n` bytes at OUT, for whose answer there is so much room. Status, or UNWRITTEN. */
static int request(u32 n, u32 room)
{
    u32 id, length = 0;

    memset(at(IN), 0xee, 0x100);
    driver_add(0, (struct buffer[]){{MOCK_RAM + OUT, n, false}, {MOCK_RAM + IN, room, true}}, 2);
    driver_kick(0);
    CHECK(driver_take(0, &id, &length));
    driver_taken(0, 2);
    if (!length) {
        CHECK_EQ(*(u8 *)at(IN), 0xee);
        return UNWRITTEN;
    }
    CHECK_EQ(length, room);
    CHECK_EQ(get32(IN + room - TAIL) >> 8, 0); /* reserved */
    return *(u8 *)at(IN + room - TAIL);
}

static void head(u32 type)
{
    memset(at(OUT), 0, 0x100);
    put32(OUT, type | 0xabcdef00u); /* "The device MUST ignore field reserved" */
}

static int attach(u32 domain, u32 endpoint, u32 flags)
{
    head(ATTACH);
    put32(OUT + 4, domain);
    put32(OUT + 8, endpoint);
    put32(OUT + 12, flags);
    return request(20, TAIL);
}

static int detach(u32 domain, u32 endpoint)
{
    head(DETACH);
    put32(OUT + 4, domain);
    put32(OUT + 8, endpoint);
    put64(OUT + 12, 0x1234); /* "The device MUST ignore reserved" */
    return request(20, TAIL);
}

static int map(u32 domain, u64 first, u64 last, u64 target, u32 flags)
{
    head(MAP);
    put32(OUT + 4, domain);
    put64(OUT + 8, first);
    put64(OUT + 16, last);
    put64(OUT + 24, target);
    put32(OUT + 32, flags);
    return request(36, TAIL);
}

static int unmap(u32 domain, u64 first, u64 last)
{
    head(UNMAP);
    put32(OUT + 4, domain);
    put64(OUT + 8, first);
    put64(OUT + 16, last);
    return request(28, TAIL);
}

static int probe(u32 endpoint, u32 room)
{
    head(PROBE);
    put32(OUT + 4, endpoint);
    put64(OUT + 40, 0x99); /* "MUST ignore field reserved" */
    return request(72, room);
}

/* --- clauses --- */

static void device(void)
{
    plug("iommu");
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 23);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 1);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 256);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 2);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
    CHECK_EQ(driver_offered() & 0xffffff, ALL);
}

static void configuration(void)
{
    plug("iommu");
    CHECK_EQ(rd(&vm, 0x100, 4), 0xfffff000);
    CHECK_EQ(rd(&vm, 0x104, 4), 0xffffffff);
    CHECK_EQ(rd(&vm, 0x108, 4) | rd(&vm, 0x10c, 4), 0);
    CHECK_EQ(rd(&vm, 0x110, 4), 0xffffffff);
    CHECK_EQ(rd(&vm, 0x114, 4), 0xffff);
    CHECK_EQ(rd(&vm, 0x118, 4), 0);
    CHECK_EQ(rd(&vm, 0x11c, 4), 255);
    CHECK_EQ(rd(&vm, 0x120, 4), 64);
    CHECK_EQ(rd(&vm, 0x124, 1), 1);
    CHECK_EQ(rd(&vm, 0x124, 4), 1);
    for (u32 offset = 0x100; offset < 0x124; offset += 4)
        CHECK_EQ(wr_status(&vm, offset, 4, 0), MMIOSHIM_READ_ONLY);
}

static void bypass_field(void)
{
    plug("iommu");
    CHECK_EQ(wr_status(&vm, 0x124, 1, 0), MMIOSHIM_READ_ONLY); /* not without the feature */
    CHECK_EQ(where(5, true), 5);
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | BYPASS_CONFIG));
    wr(&vm, 0x124, 1, 0);
    CHECK_EQ(rd(&vm, 0x124, 1), 0);
    CHECK_EQ(where(5, true), ~0ull);
    CHECK_EQ(wr_status(&vm, 0x124, 1, 2), MMIOSHIM_READ_ONLY);
    CHECK_EQ(rd(&vm, 0x124, 1), 0);
    wr(&vm, VIRTIO_STATUS, 4, 0); /* not changed by device reset, */
    CHECK_EQ(rd(&vm, 0x124, 1), 0);
    CHECK_EQ(where(5, true), ~0ull);
    class_virtio_mmio.reset(&vm.dev, MMIOSHIM_RESET_COLD); /* but by that of the machine */
    CHECK_EQ(rd(&vm, 0x124, 1), 1);
    CHECK_EQ(where(5, true), 5);
    plug("iommu:bypass=off");
    CHECK_EQ(rd(&vm, 0x124, 1), 0);
    CHECK_EQ(where(5, true), ~0ull);
}

static void reset_detaches(void)
{
    start();
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(map(1, 0, PAGE - 1, 0x5000, 3), S_OK);
    CHECK_EQ(where(5, true), 0x5005);
    where(0x10000, true);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    CHECK_EQ(where(5, true), ~0ull);
    CHECK_EQ(tables.nfaults, 1); /* the last one; those before are forgotten */
}

static void unknown_requests(void)
{
    start();
    head(6);
    CHECK_EQ(request(36, TAIL), UNWRITTEN);
    head(0);
    CHECK_EQ(request(36, TAIL), UNWRITTEN);
    start_with("iommu", BYPASS_CONFIG);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 3), UNWRITTEN);
    CHECK_EQ(unmap(1, 0, PAGE - 1), UNWRITTEN);
}

static void no_tail(void)
{
    start();
    head(ATTACH);
    put32(OUT + 8, 7);
    CHECK_EQ(request(20, 3), UNWRITTEN);
    CHECK_EQ(request(3, TAIL), UNWRITTEN);
    CHECK_EQ(request(19, TAIL), S_INVAL);
    CHECK_EQ(where(5, true), ~0ull);
    CHECK_EQ(iommu_find(&tables, OWNER, 7)->domain, 0);
}

/* Head, body and tail may lie in any number of pieces (2.6.4). */
static void framing(void)
{
    struct buffer pieces[12] = {{MOCK_RAM + OUT, 1, false}, {MOCK_RAM + OUT + 1, 3, false}, {MOCK_RAM + OUT + 4, 16, false},
                                {MOCK_RAM + IN, 1, true}, {MOCK_RAM + IN + 1, 3, true}};
    u32 id = 0, length = 0;

    start();
    head(ATTACH);
    put32(OUT + 4, 1);
    put32(OUT + 8, 7);
    memset(at(IN), 0xee, 8);
    driver_add(0, pieces, 5);
    driver_kick(0);
    CHECK(driver_take(0, &id, &length));
    CHECK_EQ(length, 4);
    CHECK_EQ(get32(IN), 0);
    CHECK_EQ(iommu_find(&tables, OWNER, 7)->domain, 1);
}

static void refused_memory(void)
{
    u32 id = 0, length = 0;

    start();
    driver_add(0, (struct buffer[]){{MOCK_RAM + OUT, 4, false}, {0x1000, 16, false}, {MOCK_RAM + IN, 4, true}}, 3);
    head(ATTACH);
    driver_kick(0);
    CHECK(driver_take(0, &id, &length));
    CHECK_EQ(length, 4);
    CHECK_EQ(*(u8 *)at(IN), S_IOERR);
    CHECK(!driver_broken());
}

static void attaching(void)
{
    start();
    head(ATTACH);
    put32(OUT + 4, 1);
    put32(OUT + 8, 7);
    put32(OUT + 16, 1);
    CHECK_EQ(request(20, TAIL), S_INVAL); /* reserved */
    CHECK_EQ(attach(1, 7, 2), S_INVAL);
    CHECK_EQ(attach(1, 9, 0), S_NOENT);
    CHECK_EQ(attach(256, 7, 0), S_RANGE);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(attach(1, 8, 0), S_OK);
    CHECK_EQ(attach(1, 8, 1), S_INVAL);
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 3), S_OK);
    CHECK_EQ(attach(2, 7, 1), S_OK);
    CHECK_EQ(where(0x12345, true), 0x12345);
    CHECK_EQ(attach(2, 8, 0), S_INVAL);
    CHECK_EQ(map(2, 0, PAGE - 1, 0, 3), S_INVAL);
    CHECK_EQ(unmap(2, 0, PAGE - 1), S_INVAL);
    start_with("iommu", MAP_UNMAP);
    CHECK_EQ(attach(1, 7, 1), S_INVAL); /* a flag of a feature that was not accepted */
    CHECK_EQ(attach(0xffffffff, 7, 0), S_OK); /* any number, without DOMAIN_RANGE */
}

static void detaching(void)
{
    start();
    CHECK_EQ(detach(1, 9), S_NOENT);
    CHECK_EQ(detach(1, 7), S_INVAL);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(map(1, 0, PAGE - 1, 0x5000, 3), S_OK);
    CHECK_EQ(detach(2, 7), S_INVAL);
    CHECK_EQ(detach(1, 8), S_INVAL);
    CHECK_EQ(where(0, false), 0x5000);
    CHECK_EQ(detach(1, 7), S_OK);
    CHECK_EQ(where(0, false), ~0ull);
    CHECK_EQ(map(1, 0, PAGE - 1, 0x5000, 3), S_NOENT); /* it has ceased to exist */
}

static void mapping(void)
{
    start();
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 3), S_NOENT);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(map(1, 1, PAGE - 1, 0, 3), S_RANGE);
    CHECK_EQ(map(1, 0, PAGE - 2, 0, 3), S_RANGE);
    CHECK_EQ(map(1, 0, PAGE, 0, 3), S_RANGE);
    CHECK_EQ(map(1, 0, PAGE - 1, 8, 3), S_RANGE);
    CHECK_EQ(map(1, PAGE, 0, 0, 3), S_INVAL);
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 4), S_INVAL); /* MMIO is not offered */
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 0x80000003), S_INVAL);
    CHECK_EQ(map(1, 1ull << 48, (1ull << 48) + PAGE - 1, 0, 3), S_RANGE);
    CHECK_EQ(map(1, 0, (1ull << 48) - 1, ~0ull << 47, 3), S_FAULT); /* what it maps to wraps */
    CHECK_EQ(map(300, 0, PAGE - 1, 0, 3), S_RANGE);
    CHECK_EQ(map(1, 2 * PAGE, 4 * PAGE - 1, 0x70000, 3), S_OK);
    CHECK_EQ(map(1, 0, 3 * PAGE - 1, 0, 3), S_INVAL); /* something is there */
    CHECK_EQ(where(0, true), ~0ull);
    CHECK_EQ(map(1, 0, 2 * PAGE - 1, 0x90000, 1), S_OK);
    CHECK_EQ(where(2 * PAGE - 1, false), 0x90000 + 2 * PAGE - 1);
    CHECK_EQ(where(2 * PAGE - 1, true), ~0ull);
    CHECK_EQ(where(2 * PAGE, true), 0x70000);
    start_with("iommu", MAP_UNMAP);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(map(1, 0, ~0ull, 0, 3), S_OK); /* all 64 bits, without INPUT_RANGE */
}

static void unmapping(void)
{
    start();
    CHECK_EQ(unmap(1, 0, PAGE - 1), S_NOENT);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(unmap(1, 0, 4), S_OK);
    CHECK_EQ(map(1, 0, 4 * PAGE - 1, 0x5000, 3), S_OK);
    CHECK_EQ(unmap(1, 0, PAGE - 1), S_RANGE);
    CHECK_EQ(unmap(1, PAGE, 8 * PAGE), S_RANGE);
    CHECK_EQ(where(0, true), 0x5000);
    head(UNMAP);
    put32(OUT + 4, 1);
    put64(OUT + 16, 4 * PAGE - 1);
    put32(OUT + 24, 1);
    CHECK_EQ(request(28, TAIL), S_INVAL); /* reserved */
    CHECK_EQ(where(0, true), 0x5000);
    CHECK_EQ(unmap(1, 8, 4), S_INVAL);
    CHECK_EQ(unmap(1, 0, 1ull << 48), S_RANGE);
    CHECK_EQ(unmap(1, 0, 9 * PAGE), S_OK);
    CHECK_EQ(where(0, true), ~0ull);
}

static void too_many_domains(void)
{
    start();
    for (u32 i = 0; i < IOMMU_DOMAINS; i++)
        tables.domains[i].owner = 9;
    CHECK_EQ(attach(1, 7, 0), S_NOMEM);
}

static void probing(void)
{
    start();
    CHECK_EQ(probe(7, 64 + TAIL), S_OK);
    for (u32 i = 0; i < 64; i += 4)
        CHECK_EQ(get32(IN + i), 0);
    CHECK_EQ(probe(9, 64 + TAIL), S_NOENT);
    CHECK_EQ(get32(IN), 0xeeeeeeee);
    CHECK_EQ(probe(7, 40 + TAIL), S_INVAL);
    CHECK_EQ(get32(IN), 0xeeeeeeee);
    CHECK_EQ(probe(7, TAIL), S_INVAL);
}

static void event(u32 i, u32 length)
{
    memset(at(EVENT + 32 * i), 0xee, 32);
    driver_add(1, &(struct buffer){MOCK_RAM + EVENT + 32 * i, length, true}, 1);
    driver_kick(1);
}

static void faults(void)
{
    u32 id = 0, length = 0;

    start();
    where(0x1234, true); /* nobody listens yet: it waits */
    vm.dev.class->service(&vm.dev);
    event(0, 24);
    CHECK(driver_take(1, &id, &length));
    CHECK_EQ(length, 24);
    CHECK_EQ(get32(EVENT), 1);         /* DOMAIN, and reserved */
    CHECK_EQ(get32(EVENT + 4), 0x102); /* WRITE, ADDRESS */
    CHECK_EQ(get32(EVENT + 8), 7);
    CHECK_EQ(get32(EVENT + 12), 0);
    CHECK_EQ(get32(EVENT + 16), 0x1234);
    CHECK_EQ(get32(EVENT + 20), 0);
    CHECK_EQ(attach(1, 7, 0), S_OK);
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 2), S_OK);
    event(1, 32);
    CHECK(!driver_take(1, &id, &length));
    wr(&vm, VIRTIO_INTERRUPT_ACK, 4, 1);
    where(0x8, false);
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(driver_take(1, &id, &length));
    CHECK_EQ(length, 24);
    CHECK_EQ(get32(EVENT + 32), 2); /* MAPPING */
    CHECK_EQ(get32(EVENT + 36), 0x101);
    event(2, 23); /* too small: not in several */
    event(3, 24);
    where(0x9, false);
    vm.dev.class->service(&vm.dev);
    CHECK(driver_take(1, &id, &length));
    CHECK_EQ(length, 0);
    CHECK(!driver_take(1, &id, &length));
}

/* Killed at any step and served again, a request has one effect, and one answer: that of its effect. */
static void killed(void)
{
    for (unsigned step = 0;; step++) {
        u32 id = 0, length = 0;
        unsigned steps;

        start();
        CHECK_EQ(attach(1, 7, 0), S_OK);
        CHECK_EQ(map(1, PAGE, 2 * PAGE - 1, 0, 3), S_OK);
        head(MAP);
        put32(OUT + 4, 1);
        put64(OUT + 16, PAGE - 1);
        put32(OUT + 32, 3);
        memset(at(IN), 0xee, 4);
        driver_add(0, (struct buffer[]){{MOCK_RAM + OUT, 36, false}, {MOCK_RAM + IN, 4, true}}, 2);
        wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, 0);
        steps = mock_steps(&vm, step);
        vm.dev.class->service(&vm.dev);
        CHECK(driver_take(0, &id, &length));
        CHECK_EQ(length, 4);
        CHECK_EQ(*(u8 *)at(IN), S_OK);
        CHECK(!driver_take(0, &id, &length));
        CHECK_EQ(detach(1, 7), S_OK);
        if (steps <= step || unit_failures)
            return;
    }
}

static void packed(void)
{
    start_with("iommu", ALL | VIRTIO_F_RING_PACKED);
    for (u32 i = 0; i < 40; i++) {
        CHECK_EQ(attach(1, 7, 0), S_OK);
        CHECK_EQ(map(1, 0, PAGE - 1, 0x5000, 3), S_OK);
        CHECK_EQ(where(1, false), 0x5001);
        CHECK_EQ(detach(1, 7), S_OK);
    }
}

static bool yes(const struct mmioshim_device *dev)
{
    (void)dev;
    return true;
}

static void access_platform(void)
{
    driver_machine("rng");
    CHECK(!(driver_offered() & VIRTIO_F_ACCESS_PLATFORM));
    host = mock_host;
    host.translated = yes;
    vm.dev.host = &host;
    CHECK(driver_offered() & VIRTIO_F_ACCESS_PLATFORM);
    CHECK(!driver_negotiate(VIRTIO_F_VERSION_1));
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM));
}

static const struct clause clauses[] = {
    {"5.13.1, 5.13.2, 5.13.3", "number, queues, features", device},
    {"5.13.4", "the configuration space", configuration},
    {"5.13.4.2, 5.13.6", "bypass: written with the feature only, kept over device resets", bypass_field},
    {"5.13.5", "a reset detaches all endpoints", reset_detaches},
    {"5.13.6.2", "a request of an unknown type is not written to", unknown_requests},
    {"5.13.6", "nor is one whose tail cannot be found", no_tail},
    {"2.6.4.1", "no assumptions on how a request lies in descriptors", framing},
    {"5.13.6", "memory that cannot be read is a communication error", refused_memory},
    {"5.13.6.3.2", "ATTACH", attaching},
    {"5.13.6.4.2", "DETACH", detaching},
    {"5.13.6.5.2", "MAP", mapping},
    {"5.13.6.6.2", "UNMAP", unmapping},
    {"5.13.6", "NOMEM", too_many_domains},
    {"5.13.6.7.2", "PROBE", probing},
    {"5.13.6.9", "fault reports", faults},
    {"none", "a process that is killed in the middle of a request", killed},
    {"2.8", "the same in packed queues", packed},
    {"6.1", "ACCESS_PLATFORM where DMA is translated", access_platform},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}

TEST(attachments)
{
    const char *bad[] = {"iommu:bypass", "iommu:bypass=maybe", "iommu:bypass=off,x", "iommus"};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, bad[i]) != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "rng") == NULL);
    CHECK_EQ(class_virtio_mmio.translates(&vm.dev), -1);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, NULL) == NULL);
    CHECK_EQ(class_virtio_mmio.translates(&vm.dev), -1);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "iommu:bypass=on") == NULL);
    CHECK_EQ(class_virtio_mmio.translates(&vm.dev), 1);
}
