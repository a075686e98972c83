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
    CHECK_EQ(driver_offered() & 0xffffff, 5); /* a terminal has a size */
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
    CHECK_EQ(vm.end_wakes, 1);
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

/* --- size --- */

static void size(void)
{
    u32 generation;

    driver_machine("console:pty");
    vm.columns = 132;
    vm.rows = 43;
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | 1));
    driver_queue(RX, 8);
    driver_queue(TX, 8);
    driver_go();
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG, 2), 132);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 2, 2), 43);
    send("x");
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 2, 0);
    generation = (u32)rd(&vm, VIRTIO_CONFIG_GENERATION, 4);
    vm.columns = 80;
    send("y"); /* it is seen when the device has something to do */
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 2, 2);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG_GENERATION, 4), generation + 1);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG, 2), 80);
    driver_machine("console:null");
    CHECK_EQ(driver_offered() & 1, 0);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG, 2), 0);
}

/* --- ports --- */

enum { CONTROL_RX = 2, CONTROL_TX, RX1, TX1, CONTROL_AT = DRIVER_DATA + 0x20000, SAID_AT = DRIVER_DATA + 0x30000 };
enum { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

static unsigned told_at;

static void control_buffers(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        driver_add(CONTROL_RX, (struct buffer[]){{MOCK_RAM + CONTROL_AT + 64 * i, 64, true}}, 1);
    told_at = CONTROL_AT;
}

static void say(u32 id, u16 event, u16 value)
{
    put32(SAID_AT, id);
    put16(SAID_AT + 4, event);
    put16(SAID_AT + 6, value);
    driver_add(CONTROL_TX, (struct buffer[]){{MOCK_RAM + SAID_AT, 8, false}}, 1);
    driver_kick(CONTROL_TX);
    CHECK_EQ(taken(CONTROL_TX), 0);
}

/* The next message from the device; what follows its eight bytes. */
static const char *told(u32 id, u16 event, u16 value, u32 more)
{
    const char *rest = (const char *)at(told_at + 8);

    CHECK_EQ(taken(CONTROL_RX), 8 + more);
    CHECK_EQ(get32(told_at), id);
    CHECK_EQ(get16(told_at + 4), event);
    CHECK_EQ(get16(told_at + 6), value);
    told_at += 64;
    return rest;
}

static void told_nothing(void)
{
    CHECK_EQ(taken(CONTROL_RX), UINT32_MAX);
}

static void start_ports(const char *attachment, u64 more)
{
    driver_machine(attachment);
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | 2 | more));
    for (unsigned q = 0; q < 6; q++)
        driver_queue(q, 32);
    driver_go();
}

static void ports_offered(void)
{
    driver_machine("console:stdio+port:org.example.agent=socket:/tmp/x,server+console:pty");
    CHECK_EQ(driver_offered() & 0xffffff, 7);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 4, 4), 3);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "stdio\nsocket:/tmp/x,server\npty");
    for (u32 q = 0; q < 10; q++) {
        wr(&vm, VIRTIO_QUEUE_SEL, 4, q);
        CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), q < 8 ? 256 : 0);
    }
    driver_machine("console:stdio");
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 2);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
}

static void ports_come_up(void)
{
    const char *name;

    start_ports("console:pty+port:agent=null", 1);
    vm.columns = 80;
    vm.rows = 25;
    say(0, PORT_READY, 1); /* nobody said that there is one */
    control_buffers(8);
    driver_kick(CONTROL_RX);
    told_nothing();
    say(0, DEVICE_READY, 1);
    told(0, DEVICE_ADD, 0, 0);
    told(1, DEVICE_ADD, 0, 0);
    told_nothing();
    say(0, DEVICE_READY, 1); /* those that exist are not added again */
    told_nothing();
    say(0, PORT_READY, 1);
    told(0, CONSOLE_PORT, 1, 0);
    name = told(0, RESIZE, 0, 4);
    CHECK_EQ((u8)name[0], 80);
    CHECK_EQ((u8)name[2], 25);
    told(0, PORT_OPEN, 1, 0);
    vm.gone = 2;
    say(1, PORT_READY, 1);
    name = told(1, PORT_NAME, 1, 5);
    CHECK(memcmp(name, "agent", 5) == 0);
    told_nothing(); /* nobody is there */
}

/* Messages wait for buffers, and none is lost. */
static void messages_wait(void)
{
    start_ports("console:null+port:agent=null", 0);
    say(0, DEVICE_READY, 1);
    say(0, PORT_READY, 1);
    say(1, PORT_READY, 1);
    told_nothing();
    control_buffers(3);
    driver_kick(CONTROL_RX);
    told(0, DEVICE_ADD, 0, 0);
    told(0, CONSOLE_PORT, 1, 0);
    told(0, PORT_OPEN, 1, 0);
    told_nothing();
    control_buffers(8);
    driver_kick(CONTROL_RX);
    told(1, DEVICE_ADD, 0, 0);
    told(1, PORT_NAME, 1, 5);
    told(1, PORT_OPEN, 1, 0);
    told_nothing();
}

static void bring_up(void)
{
    start_ports("console:null+port:agent=null", 0);
    control_buffers(16);
    say(0, DEVICE_READY, 1);
    say(0, PORT_READY, 1);
    say(1, PORT_READY, 1);
    for (unsigned i = 0; i < 6; i++)
        CHECK(taken(CONTROL_RX) != UINT32_MAX);
    told_at += 6 * 64;
}

static void ports_are_apart(void)
{
    bring_up();
    send("to 0");
    CHECK_EQ(vm.sent_end, 0);
    driver_add(TX1, (struct buffer[]){{MOCK_RAM + TX_AT, 4, false}}, 1);
    driver_kick(TX1);
    CHECK_EQ(taken(TX1), 0);
    CHECK_EQ(vm.sent_end, 1);
    CHECK_EQ(vm.nsent, 8);
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT, 64, true}}, 1);
    driver_add(RX1, (struct buffer[]){{MOCK_RAM + RX_AT + 64, 64, true}}, 1);
    driver_kick(RX);
    driver_kick(RX1);
    CHECK_EQ(vm.end_wakes, 3);
    vm.input_end = 1;
    input("hello");
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(taken(RX), UINT32_MAX);
    CHECK_EQ(taken(RX1), UINT32_MAX); /* it is not open */
    say(1, PORT_OPEN, 1);
    CHECK_EQ(taken(RX1), 5);
    CHECK(memcmp(at(RX_AT + 64), "hello", 5) == 0);
    vm.input_end = 0;
    input("you");
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(taken(RX), 3);
    CHECK_EQ(taken(RX1), UINT32_MAX);
}

static void peers_come_and_go(void)
{
    bring_up();
    vm.gone = 2;
    vm.dev.class->service(&vm.dev);
    told(1, PORT_OPEN, 0, 0);
    vm.dev.class->service(&vm.dev);
    told_nothing();
    vm.gone = 1;
    vm.dev.class->service(&vm.dev);
    told(0, PORT_OPEN, 0, 0);
    told(1, PORT_OPEN, 1, 0);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 1, 1);
    wr(&vm, VIRTIO_STATUS, 4, 0); /* a reset forgets what was said, and keeps the names */
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | 2));
    for (unsigned q = 0; q < 6; q++)
        driver_queue(q, 32);
    driver_go();
    control_buffers(8);
    vm.dev.class->service(&vm.dev);
    told_nothing();
    say(0, DEVICE_READY, 1);
    told(0, DEVICE_ADD, 0, 0);
    told(1, DEVICE_ADD, 0, 0);
    say(1, PORT_READY, 1);
    told(1, PORT_NAME, 1, 5);
}

static u32 seed = 1;

static u32 any(u32 below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* Whatever a driver says, in buffers of any size and place: the state stays one that the device can have. */
static void hostile(void)
{
    static const u32 ids[] = {0, 1, 2, 7, 0xffffffff, 0x80000000};

    for (unsigned round = 0; round < 3000; round++) {
        if (round % 30 == 0)
            start_ports("console:null+port:agent=null", any(2) ? VIRTIO_F_RING_PACKED : 0);
        put32(SAID_AT, ids[any(ARRAY_SIZE(ids))]);
        put16(SAID_AT + 4, (u16)any(10));
        put16(SAID_AT + 6, (u16)any(3));
        driver_add(CONTROL_TX, (struct buffer[]){{any(8) ? MOCK_RAM + SAID_AT : any(2) * 0x1000ull, any(12), any(16) == 0}}, 1);
        driver_add(CONTROL_RX, (struct buffer[]){{any(8) ? MOCK_RAM + CONTROL_AT : 0x1000, any(20), any(16) != 0}}, 1);
        vm.gone = any(4);
        driver_kick(CONTROL_TX);
        driver_kick(CONTROL_RX);
        CHECK(!driver_broken());
        CHECK(virtio_valid(&vm.dev, virtio_of(&vm.dev)));
        while (taken(CONTROL_TX) != UINT32_MAX || taken(CONTROL_RX) != UINT32_MAX)
            ;
    }
}

static void options(void)
{
    static const char *const wrong[] = {
        "console", "console:", "console:disk:x", "console:tty", "console,pty", "console:port:x=null", "console:null+port:",
        "console:null+port:x", "console:null+port:x=", "console:null+port:=null", "console:null+console:",
        "console:null+port:a-name-that-is-longer-than-any-name-of-a-port-is=null",
        "console:null+console:null+console:null+console:null+console:null+console:null+console:null+console:null",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, wrong[i]) != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "console:file:x,in=y") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "file:x,in=y");
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "console:file:c++,in=y+port:a=file:b+c") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "file:c++,in=y\nfile:b+c");
}

static const struct clause clauses[] = {
    {"5.3.3, 5.3.4", "features, configuration, emergency writes", identity},
    {"5.3.6", "what is sent goes to the host end", sends},
    {"5.3.6", "a host end that takes nothing", waits},
    {"5.3.6", "a request that is half done", half_sent},
    {"5.3.6", "what arrives waits for buffers, and buffers for it", receives},
    {"5.3.4", "the size of the terminal", size},
    {"5.3.2, 5.3.4", "queues and number of ports", ports_offered},
    {"5.3.5, 5.3.6.2", "ports are added, made consoles, named, opened", ports_come_up},
    {"5.3.6.2", "messages wait for buffers", messages_wait},
    {"5.3.2", "each port has its own queues and its own host end", ports_are_apart},
    {"5.3.6.2", "PORT_OPEN tells who is there; a reset begins anew", peers_come_and_go},
    {"5.3.6.2", "messages that make no sense", hostile},
    {"", "options of an attachment", options},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
