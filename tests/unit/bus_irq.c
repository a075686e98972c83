/* A whole machine, the built-in virt, in one process: where lines go, what is heard of them, and time. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/process.h"
#include "base/sys.h"
#include "bus/host.h"
#include "bus/irq.h"
#include "devices/classes.h"

static struct machine machine;
static struct machine_desc desc;
static struct bus bus;
static struct lock_self self;

static u32 told_hart, told_number, told;

static void hear(u32 hart, u32 number, const struct lock_self *who)
{
    CHECK_EQ(who->tid, self.tid);
    CHECK(!lock_held(&machine.arena->irqs.lock, who));
    told_hart = hart;
    told_number = number;
    told++;
}

static void setup(bool virtual)
{
    char text[512];
    struct fmt error = FMT_INIT(text);
    struct arena_plan plan;
    u32 pid = (u32)getpid();

    self = (struct lock_self){.tid = (u32)sys_gettid(), .pid = pid, .start = process_start(pid)};
    bus_plan(&bus, &plan, &desc, "", virtual);
    if (machine_attach(&machine, &desc, "", "virt", true, &plan, &error) < 0 ||
        (lanes_start(arena_lanes(machine.arena), true),
         bus_start(&bus, &machine, UNASSIGNED_ONES, "uart@10000000=null", &error) < 0)) {
        printf("# %s\n", fmt_end(&error));
        CHECK(!"there is a machine");
        exit(1);
    }
    CHECK(!machine.joined);
    irq_watch(hear);
}

static struct bus_device *named(const char *name)
{
    for (u32 i = 0; i < bus.ndevices; i++)
        if (strcmp(bus.devices[i].dev.name, name) == 0)
            return &bus.devices[i];
    CHECK(!"there is such a device");
    exit(1);
}

/* What the trap does behind an access, without its log. Returns the number of lines that changed. */
static u32 requests(void)
{
    struct bus_requests r;
    u32 changes = 0;

    while (bus_take_requests(&r)) {
        changes += r.nirqs;
        for (u32 i = 0; i < r.nirqs; i++)
            irq_deliver(&bus, &r.irqs[i], &self);
        if (r.more)
            irq_deliver_all(&bus, &self);
        if (r.due)
            bus_serve_due(&bus, &self);
    }
    return changes;
}

static u64 get(struct bus_device *d, u64 offset, unsigned width)
{
    struct bus_note note;
    u64 value = 0;

    bus_lock(d, &self);
    CHECK_EQ(bus_access(&bus, d, offset, &value, width, false, &note), MMIOSHIM_OK);
    bus_unlock(d, &self);
    bus_tick(&bus);
    requests();
    return value;
}

static u32 put(struct bus_device *d, u64 offset, unsigned width, u64 value)
{
    struct bus_note note;

    bus_lock(d, &self);
    CHECK_EQ(bus_access(&bus, d, offset, &value, width, true, &note), MMIOSHIM_OK);
    bus_unlock(d, &self);
    bus_tick(&bus);
    return requests();
}

static void route(const struct bus_device *d, u32 line, enum irq_end end, u32 target, u32 number)
{
    CHECK_EQ(d->routes[line].end, end);
    CHECK_EQ(d->routes[line].target, target);
    CHECK_EQ(d->routes[line].number, number);
}

TEST(routes)
{
    const struct bus_device *plic, *clint;

    setup(false);
    plic = named("plic@c000000");
    clint = named("clint@2000000");
    CHECK_EQ(named("uart@10000000")->shared->nwires, 1);
    route(named("uart@10000000"), 0, IRQ_DEVICE, plic->dev.index, 10);
    route(named("rtc@101000"), 0, IRQ_DEVICE, plic->dev.index, 11);
    CHECK_EQ(plic->shared->nwires, 2);
    route(plic, 0, IRQ_HART, 0, 11);
    route(plic, 1, IRQ_HART, 0, 9);
    CHECK_EQ(clint->shared->nwires, 2);
    route(clint, 0, IRQ_HART, 0, 3);
    route(clint, 1, IRQ_HART, 0, 7);
    CHECK_EQ(named("test@100000")->shared->nwires, 0);
    CHECK_EQ(machine.arena->irqs.nharts, 1);
    CHECK_EQ(machine.arena->irqs.hart[0].signal[11], 29);
}

TEST(from_the_device_to_the_hart)
{
    struct bus_device *uart, *plic;
    const struct arena_hart *hart;

    setup(false);
    uart = named("uart@10000000");
    plic = named("plic@c000000");
    hart = &machine.arena->irqs.hart[0];
    CHECK_EQ(put(uart, 1, 1, 2), 1); /* its line, and no more: nothing is enabled */
    CHECK_EQ(told, 0);
    CHECK_EQ(put(plic, 4 * 10, 4, 1), 0);
    CHECK_EQ(put(plic, 0x2080, 4, 1 << 10), 1);
    CHECK_EQ(told, 1);
    CHECK_EQ(told_hart, 0);
    CHECK_EQ(told_number, 9);
    CHECK_EQ(hart->pending, 1 << 9);
    CHECK_EQ(put(plic, 0x2000, 4, 1 << 10), 1);
    CHECK_EQ(told, 2);
    CHECK_EQ(hart->pending, 1 << 9 | 1 << 11);
    CHECK_EQ(get(plic, 0x200004, 4), 10);
    CHECK_EQ(hart->pending, 0);
    CHECK_EQ(get(uart, 2, 1), 0x02);
    CHECK_EQ(put(plic, 0x200004, 4, 10), 0);
    CHECK_EQ(put(uart, 0, 1, 'x'), 3); /* the UART's, and both contexts' */
    CHECK_EQ(told, 4);
}

/* As UIO has it (Linux drivers/uio/uio_pdrv_genirq.c): an event masks itself, a write unmasks. */
TEST(level_events)
{
    struct bus_device *uart;
    u32 i;

    setup(false);
    uart = named("uart@10000000");
    i = uart->dev.index;
    put(uart, 1, 1, 2);
    CHECK_EQ(irq_event_count(&bus, i, 0), 1);
    get(uart, 2, 1);
    put(uart, 0, 1, 'x');
    CHECK_EQ(irq_event_count(&bus, i, 0), 2);
    irq_event_set(&bus, i, 0, false, true, &self);
    get(uart, 2, 1);
    put(uart, 0, 1, 'x');
    CHECK_EQ(irq_event_count(&bus, i, 0), 3);
    get(uart, 2, 1);
    put(uart, 0, 1, 'x');
    CHECK_EQ(irq_event_count(&bus, i, 0), 3); /* masked */
    irq_event_mask(&bus, i, 0, false, &self);
    CHECK_EQ(irq_event_count(&bus, i, 0), 4); /* it is high */
    get(uart, 2, 1);
    irq_event_mask(&bus, i, 0, false, &self);
    CHECK_EQ(irq_event_count(&bus, i, 0), 4); /* low */
    irq_event_mask(&bus, i, 0, false, &self); /* nothing to unmask */
    put(uart, 0, 1, 'x');
    CHECK_EQ(irq_event_count(&bus, i, 0), 5);
}

TEST(edge_events)
{
    struct bus_device *uart;
    u32 i;

    setup(false);
    uart = named("uart@10000000");
    i = uart->dev.index;
    irq_event_set(&bus, i, 0, true, false, &self);
    irq_event_mask(&bus, i, 0, true, &self);
    for (int n = 0; n < 3; n++) {
        put(uart, 1, 1, 0);
        put(uart, 1, 1, 2);
        get(uart, 2, 1);
    }
    CHECK_EQ(irq_event_count(&bus, i, 0), 0);
    irq_event_mask(&bus, i, 0, false, &self); /* it is low: one edge was kept */
    CHECK_EQ(irq_event_count(&bus, i, 0), 1);
    put(uart, 0, 1, 'x');
    CHECK_EQ(irq_event_count(&bus, i, 0), 2);
    irq_event_mask(&bus, i, 0, true, &self);
    irq_event_mask(&bus, i, 0, false, &self); /* high, and no new edge */
    CHECK_EQ(irq_event_count(&bus, i, 0), 2);
    CHECK_EQ(irq_event_count(&bus, i, 1), 0); /* no such line */
    CHECK_EQ(irq_event_count(&bus, 4000, 0), 0);
    CHECK_EQ(irq_event_wait(&bus, i, 1, 0, 0), (u64)-EINVAL);
    irq_event_mask(&bus, 4000, 0, false, &self);
}

/* Another process of the machine waits, and is woken once for each. */
TEST(events_wake_other_processes)
{
    struct bus_device *uart;
    struct arena_wire *wire;
    int status;
    pid_t pid;
    u32 i;

    setup(false);
    uart = named("uart@10000000");
    i = uart->dev.index;
    wire = &arena_wires(machine.arena, i)[0];
    CHECK_EQ(irq_event_wait(&bus, i, 0, 1, CLOCK_NEVER), (u64)-EAGAIN);
    CHECK_EQ(irq_event_wait(&bus, i, 0, 0, 1000), (u64)-ETIMEDOUT);
    CHECK_EQ(wire->waiters, 0);
    pid = fork();
    if (pid == 0) {
        alarm(60);
        for (u32 seen = 0; seen < 100; seen++)
            while (irq_event_count(&bus, i, 0) == seen)
                irq_event_wait(&bus, i, 0, seen, CLOCK_NEVER);
        _exit(irq_event_count(&bus, i, 0) == 100 ? 0 : 3);
    }
    put(uart, 1, 1, 2);
    for (u32 n = 1; n < 100; n++) {
        while (!__atomic_load_n(&wire->waiters, __ATOMIC_SEQ_CST))
            sched_yield();
        get(uart, 2, 1);
        put(uart, 0, 1, 'x');
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(wire->waiters, 0);
}

/* --- descriptors --- */

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

/* An edge of the UART's line. */
static void pulse(struct bus_device *uart)
{
    get(uart, 2, 1);
    put(uart, 0, 1, 'x');
}

static int listen_to(struct bus_device *uart)
{
    int fd = irq_event_open(&bus, uart->dev.index, 0, O_CLOEXEC | O_NONBLOCK, &self);

    CHECK(fd >= 0);
    return fd;
}

TEST(descriptors)
{
    u32 device = 0, line = 9, count = 0;
    struct bus_device *uart;
    int a, b;

    setup(false);
    uart = named("uart@10000000");
    put(uart, 1, 1, 2);
    a = listen_to(uart);
    b = listen_to(uart);
    CHECK_EQ(fcntl(a, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(a, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK(irq_event_line(&bus, a, &device, &line));
    CHECK_EQ(device, uart->dev.index);
    CHECK_EQ(line, 0);
    CHECK(!readable(a)); /* what was before does not count */
    CHECK_EQ(irq_event_read(&bus, a, &count, &self), (u64)-EAGAIN);
    CHECK_EQ(count, 1);
    for (int n = 0; n < 500; n++) /* more than the queue of a socket takes (max_dgram_qlen) */
        pulse(uart);
    CHECK(readable(a) && readable(b));
    CHECK_EQ(irq_event_read(&bus, a, &count, &self), 0);
    CHECK_EQ(count, 501);
    CHECK(!readable(a) && readable(b));
    CHECK_EQ(irq_event_read(&bus, a, &count, &self), (u64)-EAGAIN);
    pulse(uart);
    CHECK(readable(a));
    CHECK_EQ(irq_event_read(&bus, b, &count, &self), 0);
    CHECK_EQ(count, 502);
    CHECK(readable(a) && !readable(b));
}

TEST(descriptors_that_are_none)
{
    struct sockaddr_un foreign = {.sun_family = AF_UNIX, .sun_path = "\0mmioshim-irq-0123456789abcdef"};
    u32 device, line, count;
    int fd, pair[2];

    setup(false);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&foreign, sizeof(sa_family_t) + 30), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    listen_to(named("uart@10000000"));
    CHECK(!irq_event_line(&bus, fd, &device, &line));
    CHECK(!irq_event_line(&bus, pair[0], &device, &line));
    CHECK(!irq_event_line(&bus, 0, &device, &line));
    CHECK(!irq_event_line(&bus, -1, &device, &line));
    CHECK_EQ(irq_event_read(&bus, fd, &count, &self), (u64)-EBADF);
    CHECK_EQ(irq_event_open(&bus, named("uart@10000000")->dev.index, 1, 0, &self), (u64)-EINVAL);
    CHECK_EQ(irq_event_open(&bus, 4000, 0, 0, &self), (u64)-EINVAL);
}

/* uio_pdrv_genirq: an event masks the line; what is high when it is unmasked is the next one. */
TEST(descriptors_of_masked_lines)
{
    struct bus_device *uart;
    u32 count;
    int fd;

    setup(false);
    uart = named("uart@10000000");
    irq_event_set(&bus, uart->dev.index, 0, false, true, &self);
    fd = listen_to(uart);
    put(uart, 1, 1, 2);
    CHECK(readable(fd));
    CHECK_EQ(irq_event_read(&bus, fd, &count, &self), 0);
    pulse(uart);
    CHECK(!readable(fd)); /* masked */
    irq_event_mask(&bus, uart->dev.index, 0, false, &self);
    CHECK(readable(fd));
    CHECK_EQ(irq_event_read(&bus, fd, &count, &self), 0);
    CHECK_EQ(count, 2);
    get(uart, 2, 1);
    irq_event_mask(&bus, uart->dev.index, 0, false, &self);
    CHECK(!readable(fd)); /* low */
}

/* Places are free again when the last copy is closed, wherever it was; until then they are not. */
TEST(descriptors_come_and_go)
{
    struct bus_device *uart;
    int fds[ARENA_LISTENERS], status;
    pid_t pid;

    setup(false);
    uart = named("uart@10000000");
    for (u32 i = 0; i < ARENA_LISTENERS; i++)
        fds[i] = listen_to(uart);
    CHECK_EQ(irq_event_open(&bus, uart->dev.index, 0, 0, &self), (u64)-ENOSPC);
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    close(fds[7]);
    CHECK_EQ(irq_event_open(&bus, uart->dev.index, 0, 0, &self), (u64)-ENOSPC);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    fds[7] = listen_to(uart);
    put(uart, 1, 1, 2);
    for (u32 i = 0; i < ARENA_LISTENERS; i++) {
        CHECK(readable(fds[i]));
        close(fds[i]);
    }
    CHECK_EQ(machine.arena->listeners_used, ARENA_LISTENERS);
    for (u32 i = 0; i < ARENA_LISTENERS; i++)
        machine.arena->listeners[i].told = 0;
    pulse(uart); /* nobody is there */
    CHECK_EQ(machine.arena->listeners_used, 0);
}

/* As a driver waits: epoll, in a process that has the descriptor from another, while a third makes the events. */
static void follow(int fd, u32 until)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);
    u32 count = 0, before = 0;

    alarm(60);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    while (count < until) {
        if (epoll_wait(epoll, &event, 1, -1) != 1 || irq_event_read(&bus, fd, &count, &self) || count <= before)
            _exit(3);
        before = count;
    }
    _exit(epoll_wait(epoll, &event, 1, 0)); /* nothing is left */
}

TEST(descriptors_in_other_processes)
{
    struct bus_device *uart;
    pid_t child[2];
    int status, fd;

    setup(false);
    uart = named("uart@10000000");
    put(uart, 1, 1, 2);
    for (int i = 0; i < 2; i++) {
        fd = listen_to(uart);
        child[i] = fork();
        if (child[i] == 0) {
            self.tid = self.pid = (u32)getpid();
            self.start = process_start(self.pid);
            follow(fd, 2001);
        }
        close(fd);
    }
    if (fork() == 0) {
        self.tid = self.pid = (u32)getpid();
        self.start = process_start(self.pid);
        for (int n = 0; n < 1000; n++)
            pulse(uart);
        _exit(0);
    }
    wait(&status);
    CHECK_EQ(status, 0);
    for (int n = 0; n < 1000; n++)
        pulse(uart);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(waitpid(child[i], &status, 0), child[i]);
        CHECK_EQ(status, 0);
    }
}

TEST(virtual_time)
{
    struct bus_device *clint;
    u64 begin;

    setup(true);
    clint = named("clint@2000000");
    begin = clock_now(machine.arena);
    CHECK_EQ(begin, 0);
    CHECK_EQ(clock_next(machine.arena), CLOCK_NEVER);
    for (int n = 1; n <= 5; n++)
        get(named("test@100000"), 0, 4);
    CHECK_EQ(clock_now(machine.arena), 5 * CLOCK_STEP);
    CHECK_EQ(clock_wall(machine.arena), CLOCK_EPOCH + 5 * CLOCK_STEP);
    put(clint, 0x4000, 8, 1000); /* in 100 us */
    CHECK_EQ(clock_next(machine.arena), 100000);
    clock_jump(machine.arena, 1000);
    CHECK_EQ(clock_now(machine.arena), 7000);
    clock_jump(machine.arena, CLOCK_NEVER);
    CHECK_EQ(clock_now(machine.arena), 100000);
    clock_jump(machine.arena, CLOCK_NEVER); /* it is to be served first */
    CHECK_EQ(clock_now(machine.arena), 100000);
    CHECK_EQ(told, 0);
    bus_serve_due(&bus, &self);
    CHECK_EQ(requests(), 1);
    CHECK_EQ(told, 1);
    CHECK_EQ(told_number, 7);
    CHECK_EQ(clock_next_due(machine.arena), (u64)-1);
    clock_jump(machine.arena, CLOCK_NEVER); /* nobody waits for any time */
    CHECK_EQ(clock_now(machine.arena), 100000);
    clock_jump(machine.arena, 500);
    CHECK_EQ(clock_now(machine.arena), 100500);
}

/* An access makes it due: the timer interrupts right behind it. */
TEST(accesses_take_time)
{
    struct bus_device *clint;
    int n = 0;

    setup(true);
    clint = named("clint@2000000");
    put(clint, 0x4000, 8, 101); /* 10.1 us */
    while (!told && n < 100) {
        get(named("test@100000"), 0, 4);
        n++;
    }
    CHECK_EQ(n, 10); /* and the store itself */
}

/* Several devices wait for different times: each is served once, in any order of asking. */
TEST(deadlines)
{
    struct arena *arena;
    int first, second;

    setup(true);
    arena = machine.arena;
    clock_ask(arena, 3, 3000);
    clock_ask(arena, 1, 1000);
    clock_ask(arena, 2, 2000);
    CHECK_EQ(clock_next(arena), 1000);
    CHECK_EQ(clock_next_due(arena), (u64)-1);
    arena->virtual_now = 2500;
    first = clock_next_due(arena);
    second = clock_next_due(arena);
    CHECK_EQ(first + second, 3);
    CHECK(first == 1 || first == 2);
    CHECK_EQ(clock_next_due(arena), (u64)-1);
    CHECK_EQ(clock_next(arena), 3000);
    clock_ask(arena, 3, CLOCK_NEVER); /* it has changed its mind */
    arena->virtual_now = 4000;
    CHECK_EQ(clock_next_due(arena), (u64)-1);
    CHECK_EQ(clock_next(arena), CLOCK_NEVER);
}

TEST(more_changes_than_there_is_room_for)
{
    struct bus_requests *r = &bus_requests;
    u32 changes;

    setup(false);
    put(named("plic@c000000"), 4 * 10, 4, 1);
    put(named("plic@c000000"), 0x2000, 4, 1 << 10);
    CHECK_EQ(told, 0);
    for (u32 n = 0; n < ARRAY_SIZE(r->irqs) + 3; n++)
        irq_raise(&named("rtc@101000")->dev, 0, n % 2 == 0);
    irq_raise(&named("uart@10000000")->dev, 0, true);
    CHECK(r->more);
    changes = requests();
    CHECK_EQ(changes, ARRAY_SIZE(r->irqs) + 1); /* what fitted, and the PLIC's own */
    CHECK_EQ(told, 1);                          /* the UART's came through all the same */
    CHECK_EQ(machine.arena->counters.lost, 4);
}
