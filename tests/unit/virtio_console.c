/* virtio-console byte by byte against VIRTIO 1.2, 5.3. */
#include "virtio_driver.h"

enum { RX, TX, TX_AT = DRIVER_DATA, RX_AT = DRIVER_DATA + 0x10000 };

static void start(u64 more)
{
    driver_machine("console:null");
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | more));
    driver_queue(RX, 8);
    driver_queue(TX, 8);
    driver_go();
}

static void input(const char *text)
{
    vm.nreceived = 0;
    vm.ninput = (unsigned)strlen(text);
    memcpy(vm.input, text, vm.ninput);
}

static u32 taken(u32 queue)
{
    u32 id = 0, length = 0;

    if (!driver_take(queue, &id, &length))
        return UINT32_MAX;
    driver_taken(queue, 1);
    return length;
}

static void send(const char *text)
{
    memcpy(at(TX_AT), text, strlen(text));
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, (u32)strlen(text), false}}, 1);
    driver_kick(TX);
}

static void identity(void)
{
    driver_machine("console:stdio");
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 3);
    CHECK_EQ(driver_offered() & 0xffffff, 4);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 4, 4), 0);
    wr(&vm, VIRTIO_CONFIG + 8, 4, 'E'); /* before any negotiation */
    CHECK_EQ(vm.nsent, 1);
    CHECK_EQ(vm.sent[0], 'E');
    CHECK_EQ(wr_status(&vm, VIRTIO_CONFIG, 2, 1), MMIOSHIM_READ_ONLY);
}

static void sends(void)
{
    start(0);
    send("hello, ");
    CHECK_EQ(taken(TX), 0);
    send("world");
    CHECK_EQ(taken(TX), 0);
    CHECK_EQ(vm.nsent, 12);
    CHECK(memcmp(vm.sent, "hello, world", 12) == 0);
    /* what is not in RAM is not sent */
    driver_add(TX, (struct buffer[]){{0x1000, 5, false}}, 1);
    driver_kick(TX);
    CHECK_EQ(taken(TX), 0);
    CHECK_EQ(vm.nsent, 12);
}

static void waits(void)
{
    start(0);
    vm.busy = true; /* nothing is done before the host end has room */
    memcpy(at(TX_AT), "x", 1);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, 1, false}}, 1);
    CHECK_EQ(wr_status(&vm, VIRTIO_QUEUE_NOTIFY, 4, TX), MMIOSHIM_WAIT);
    CHECK_EQ(vm.soon, 0);
    CHECK_EQ(virtio_of(&vm.dev)->notified, 0);
    vm.busy = false;
    driver_kick(TX);
    CHECK_EQ(taken(TX), 0);
    CHECK_EQ(vm.waits, 0);
}

/* A process that cannot wait leaves the rest to another: no byte is lost, none is sent twice. */
static void half_sent(void)
{
    start(0);
    memcpy(at(TX_AT), "abcdef", 6);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, 3, false}, {MOCK_RAM + TX_AT + 3, 3, false}}, 2);
    wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, TX);
    vm.stuck = true;
    vm.busy_after = 4;
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(vm.nsent, 4);
    CHECK_EQ(taken(TX), UINT32_MAX);
    vm.busy = vm.stuck = false;
    vm.busy_after = 0;
    vm.soon = 0;
    rd(&vm, VIRTIO_STATUS, 4);
    CHECK_EQ(vm.soon, 1);
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(taken(TX), 0);
    CHECK_EQ(vm.nsent, 6);
    CHECK(memcmp(vm.sent, "abcdef", 6) == 0);
    send("!");
    CHECK_EQ(vm.sent[6], '!');
}

static void receives(void)
{
    start(0);
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT, 4, true}}, 1);
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT + 16, 64, true}}, 1);
    driver_kick(RX);
    CHECK_EQ(taken(RX), UINT32_MAX); /* buffers stay until there is something */
    CHECK_EQ(vm.input_wakes, 1);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 0);
    input("abcdefg");
    vm.dev.class->service(&vm.dev); /* the worker: there is input */
    CHECK_EQ(taken(RX), 4);
    CHECK_EQ(taken(RX), 3);
    CHECK(memcmp(at(RX_AT), "abcd", 4) == 0 && memcmp(at(RX_AT + 16), "efg", 3) == 0);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(vm.line[0]);
    /* Without a buffer it stays where it is. */
    input("xyz");
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(vm.nreceived, 0);
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT, 4, true}}, 1);
    driver_kick(RX);
    CHECK_EQ(taken(RX), 3);
}

static void options(void)
{
    static const char *const wrong[] = {"console", "console:", "console:disk:x", "console:tty", "console,pty"};

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, wrong[i]) != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "console:file:x,in=y") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "file:x,in=y");
}

static const struct clause clauses[] = {
    {"5.3.3, 5.3.4", "features, configuration, emergency writes", identity},
    {"5.3.6", "what is sent goes to the host end", sends},
    {"5.3.6", "a host end that takes nothing", waits},
    {"5.3.6", "a request that is half done", half_sent},
    {"5.3.6", "what arrives waits for buffers, and buffers for it", receives},
    {"", "options of an attachment", options},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
