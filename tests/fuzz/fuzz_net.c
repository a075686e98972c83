/*
 * Fuzzer of a virtio network card behind good queues: frames, their headers and
 * commands of the control queue are the input. Every memory is as large as it
 * says, so that a sanitizer sees a byte too far; each request must come back,
 * and the device go on. What is cut is looked at: frames no longer than the
 * wire takes, with as much payload together as the large one had.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address. Alone, built with -DSTANDALONE: fuzz_net RUNS SEED
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/classes.h"
#include "virtio/mmio.h"
#include "virtio/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE 0x80000000ull
enum { RING = 0x1000, RX_SIZE = 64, BUFFER = 700, RAM = 0x50000, FRAME_AT = 0x10000, RX_AT = 0x30000, MOST = 66000 };

static u8 *ram, *scratch;
static struct mmioshim_device device;
static u64 sent_bytes;
static unsigned sent_frames;

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_net: %s\n", what);
    abort();
}

static bool reach(u64 addr, u64 n)
{
    return addr >= BASE && addr - BASE <= RAM && n <= RAM - (addr - BASE);
}

static bool host_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t n)
{
    (void)dev;
    if (!reach(addr, n))
        return false;
    memcpy(buf, ram + (addr - BASE), n);
    return true;
}

static const void *host_direct(struct mmioshim_device *dev, u64 addr, size_t n)
{
    (void)dev;
    return reach(addr, n) ? ram + (addr - BASE) : NULL;
}

static bool host_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t n)
{
    (void)dev;
    if (!reach(addr, n))
        return false;
    memcpy(ram + (addr - BASE), buf, n);
    return true;
}

static int host_send(struct mmioshim_device *dev, const void *frame, size_t n)
{
    static volatile u8 sink;

    (void)dev;
    require(n >= 14 && n <= 1518, "a frame that is none");
    sink = ((const u8 *)frame)[n - 1];
    (void)sink;
    sent_bytes += n;
    sent_frames++;
    return 0;
}

static size_t host_receive(struct mmioshim_device *dev, u64 *position, void *frame, size_t room)
{
    (void)dev;
    if (*position)
        return 0;
    ++*position;
    memset(frame, 0x33, room < 900 ? room : 900);
    return room < 900 ? room : 900;
}

static void *host_buffer(struct mmioshim_device *dev, size_t *size)
{
    (void)dev;
    *size = sizeof(struct net_header) + NET_LARGE + NET_MTU_MAX + NET_OVERHEAD;
    return scratch;
}

static void host_irq(struct mmioshim_device *dev, unsigned number, bool level)
{
    (void)dev;
    (void)number;
    (void)level;
}

static void host_soon(struct mmioshim_device *dev)
{
    dev->class->service(dev);
}

static const struct mmioshim_host host = {
    .irq = host_irq, .soon = host_soon, .packet_send = host_send, .packet_receive = host_receive, .packet_buffer = host_buffer,
    .dma_read = host_read, .dma_fetch = host_read, .dma_write = host_write, .dma_store = host_write,
    .dma_direct = host_direct,
};

static void reg(u32 offset, u64 value)
{
    class_virtio_mmio.write(&device, offset, 4, (u32)value);
}

/* --- a driver that keeps to the rules of queues --- */

static u16 available[8], used[8];

static void put(u64 offset, u64 value, unsigned n)
{
    memcpy(ram + offset, &value, n);
}

static u16 get16(u64 offset)
{
    return (u16)(ram[offset] | ram[offset + 1] << 8);
}

static void queue(unsigned number, unsigned size)
{
    u64 at = RING * number;

    reg(VIRTIO_QUEUE_SEL, number);
    reg(VIRTIO_QUEUE_NUM, size);
    for (unsigned i = 0; i < 3; i++)
        reg(VIRTIO_QUEUE_DESC_LOW + 0x10 * i, BASE + at + 0x400 * i);
    reg(VIRTIO_QUEUE_READY, 1);
    available[number] = used[number] = 0;
}

static void describe(unsigned number, unsigned i, u64 offset, u32 length, u16 flags, u16 next)
{
    u64 at = RING * number + 16 * i;

    put(at, BASE + offset, 8);
    put(at + 8, length, 4);
    put(at + 12, flags, 2);
    put(at + 14, next, 2);
}

static void offer(unsigned number, unsigned size, u16 head)
{
    u64 at = RING * number + 0x400;

    put(at + 4 + 2 * (available[number] % size), head, 2);
    put(at + 2, ++available[number], 2);
}

static void refill(unsigned number)
{
    u64 at = RING * number + 0x800;

    for (; used[number] != get16(at + 2); used[number]++) {
        u64 entry = at + 4 + 8 * (used[number] % RX_SIZE);

        require(get16(entry) < RX_SIZE && get16(entry + 4) <= BUFFER, "a used entry that was never available");
        offer(number, RX_SIZE, get16(entry));
    }
}

static void start(bool loopback, u32 features)
{
    static u64 state[64 << 10];
    const char *why;

    require(class_virtio_mmio.state_size <= sizeof(state), "the state is larger");
    memset(state, 0, sizeof(state));
    memset(ram, 0, RAM);
    device = (struct mmioshim_device){.class = &class_virtio_mmio, .host = &host, .state = state, .size = 0x1000, .name = "net"};
    require(class_virtio_mmio.plug(&device, loopback ? "net:loopback,queues=2" : "net:pcap,queues=2", &why) == 0, "no card");
    class_virtio_mmio.reset(&device, MMIOSHIM_RESET_COLD);
    reg(VIRTIO_STATUS, 3);
    /* Almost any: what needs other features gets them. */
    features = (features & 0xffffff & (u32)virtio_features(&device)) | NET_CTRL_VQ | NET_CSUM;
    features |= features & NET_HOST_ECN ? NET_HOST_TSO4 : 0;
    features |= features & NET_GUEST_ECN ? NET_GUEST_TSO4 : 0;
    features |= features & (NET_GUEST_TSO4 | NET_GUEST_TSO6) ? NET_GUEST_CSUM : 0;
    reg(VIRTIO_DRIVER_FEATURES, features);
    reg(VIRTIO_DRIVER_FEATURES_SEL, 1);
    reg(VIRTIO_DRIVER_FEATURES, 1);
    reg(VIRTIO_STATUS, 11);
}

static bool begin(bool loopback, u32 features)
{
    start(loopback, features);
    if (!(virtio_of(&device)->status & VIRTIO_FEATURES_OK))
        return false;
    for (unsigned i = 0; i <= net_control_queue(&device); i++)
        queue(i, RX_SIZE);
    reg(VIRTIO_STATUS, 15);
    for (unsigned i = 0; i < net_control_queue(&device); i += 2) {
        for (u16 k = 0; k < RX_SIZE; k++) {
            describe(i, k, RX_AT + BUFFER * k, BUFFER, VIRTIO_DESC_WRITE, 0);
            offer(i, RX_SIZE, k);
        }
        reg(VIRTIO_QUEUE_NOTIFY, i);
    }
    return true;
}

/* n bytes at FRAME_AT, in two pieces, as a frame or a command. */
static void request(unsigned number, u32 n, u32 cut)
{
    bool command = number == net_control_queue(&device);
    u16 before = get16(RING * number + 0x802);

    cut = n ? cut % n : 0;
    describe(number, 0, FRAME_AT, cut, VIRTIO_DESC_NEXT, 1);
    describe(number, 1, FRAME_AT + cut, n - cut, command ? VIRTIO_DESC_NEXT : 0, 2);
    describe(number, 2, RX_AT - 16, 1, VIRTIO_DESC_WRITE, 0);
    ram[RX_AT - 16] = 0xee;
    offer(number, RX_SIZE, 0);
    reg(VIRTIO_QUEUE_NOTIFY, number);
    if (!command && number / 2 >= net_of(&device)->active) {
        put(RING * number + 0x402, --available[number], 2); /* silent */
        return;
    }
    require(get16(RING * number + 0x802) == (u16)(before + 1), "a request did not come back");
    require(!command || ram[RX_AT - 16] <= 1, "a command that was not answered");
}

static void one(const u8 **data, size_t *size)
{
    u32 n = (*data)[1] | (u32)(*data)[2] << 8, fill = (*data)[4], have;
    unsigned kind = (*data)[0], number = kind & 1 ? net_control_queue(&device) : kind & 2 ? 1 : 3;
    u32 cut = (*data)[3] * 7u;
    u64 bytes = sent_bytes;
    unsigned frames = sent_frames;

    if (number > net_control_queue(&device))
        number = 1;
    *data += 5;
    *size -= 5;
    have = (u32)MIN(*size, MIN(n, 120u));
    memset(ram + FRAME_AT, (int)fill, MOST);
    memcpy(ram + FRAME_AT, *data, have);
    *data += have;
    *size -= have;
    request(number, n, cut);
    if (sent_frames > frames + 1)
        require(sent_bytes - bytes >= n - sizeof(struct net_header), "less was sent than there was");
    for (unsigned i = 0; i < net_control_queue(&device); i += 2)
        refill(i);
    require(!(virtio_of(&device)->status & VIRTIO_NEEDS_RESET), "the device broke");
    require(net_of(&device)->active >= 1 && net_of(&device)->active <= 2, "pairs that there are not");
    require(class_virtio_mmio.load(&device, class_virtio_mmio.version, device.state, class_virtio_mmio.state_size) == 0,
            "a state that it would not load");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u32 features;

    if (!ram) {
        ram = malloc(RAM);
        scratch = malloc(sizeof(struct net_header) + NET_LARGE + NET_MTU_MAX + NET_OVERHEAD);
    }
    if (size < 5)
        return 0;
    memcpy(&features, data + 1, 4);
    if (!begin(data[0] & 1, features))
        return 0;
    for (data += 5, size -= 5; size > 5;)
        one(&data, &size);
    return 0;
}

#ifdef STANDALONE

static u64 seed;

static u32 random_number(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (u32)(seed >> 33);
}

static u8 *put_bytes(u8 *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

/* A frame that is almost good: header, Ethernet, IP and TCP, with a field or two that lie. */
static u8 *make_frame(u8 *p)
{
    u8 b[100] = {0}, *ip = b + 26;
    bool six = random_number() & 1, large = random_number() & 1;
    u32 tcp = six ? 54 : 34, n = random_number() % (large ? 66000 : 1530);

    b[0] = random_number() % 4 != 0;
    b[1] = large ? (u8)((six ? 4 : 1) | (random_number() % 8 ? 0 : 0x80)) : 0;
    b[4] = (u8)random_number();
    b[5] = (u8)(random_number() % 6);
    b[6] = (u8)tcp;
    b[8] = 16;
    memcpy(b + 12, "\x52\x54\x00\x12\x34\x56\x02", 7);
    memcpy(b + 24, six ? "\x86\xdd\x60" : "\x08\x00\x45", 3);
    ip[six ? 6 : 9] = 6;
    b[12 + tcp + 12] = 0x50;
    for (unsigned i = random_number() % 3; i; i--)
        b[random_number() % sizeof(b)] = (u8)random_number();
    p = put_bytes(p, (u8[]){(u8)(random_number() & 2), (u8)n, (u8)(n >> 8), (u8)random_number(), (u8)random_number()}, 5);
    return put_bytes(p, b, MIN(n, sizeof(b)));
}

static u8 *make_command(u8 *p)
{
    u8 b[40];
    u32 n = random_number() % sizeof(b);

    for (u32 i = 0; i < sizeof(b); i++)
        b[i] = random_number() % 3 ? (u8)(random_number() % 4) : (u8)random_number();
    b[0] = (u8)(random_number() % 6);
    b[1] = (u8)(random_number() % 6);
    p = put_bytes(p, (u8[]){1, (u8)n, 0, (u8)random_number(), (u8)random_number()}, 5);
    return put_bytes(p, b, n);
}

int main(int argc, char **argv)
{
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
    static u8 input[4096];

    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    for (unsigned long i = 0; i < runs; i++) {
        u32 features = random_number() | random_number() << 16;
        u8 *p = input;

        if (random_number() % 4)
            features |= NET_CTRL_VQ | NET_CSUM | NET_GUEST_CSUM | NET_HOST_TSO4 | NET_HOST_TSO6 | NET_GUEST_TSO4;
        p = put_bytes(p, (u8[]){(u8)random_number()}, 1);
        p = put_bytes(p, &features, 4);
        for (unsigned k = random_number() % 8 + 1; k; k--)
            p = random_number() % 3 ? make_frame(p) : make_command(p);
        LLVMFuzzerTestOneInput(input, (size_t)(p - input) + 5);
    }
    printf("%lu runs, %u frames sent\n", runs, sent_frames);
    return 0;
}

#endif
