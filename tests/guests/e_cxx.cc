// flags: -O1 -lpthread -fnon-call-exceptions
// Exceptions and forced unwinding through frames that use a window, in every thread. What is printed is the same on
// ordinary memory.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define SCR ((volatile uint8_t *)0x10000007)

static std::atomic<int> alive, destroyed, ready;

struct Guard {
    Guard() { ++alive; *SCR = 0xa0; }
    ~Guard() { --alive; ++destroyed; *SCR = 0xb0; }
};

struct Deep : std::runtime_error {
    explicit Deep(unsigned value) : std::runtime_error("value " + std::to_string(value)) {}
};

__attribute__((noinline)) static unsigned descend(unsigned n)
{
    Guard guard;

    *SCR = (uint8_t)n;
    if (n == 0)
        throw Deep(*SCR);
    try {
        return descend(n - 1) + *SCR;
    } catch (const Deep &) {
        *SCR = 0xcc;
        throw; // on its way
    }
}

// 200 times 6 levels: 6 guards, each with two writes; 6 values, one read, 5 catches. 24 accesses.
static int rounds(int count)
{
    int caught = 0;

    for (int i = 0; i < count; i++) {
        try {
            descend(5);
        } catch (const std::exception &e) {
            caught += std::strcmp(e.what(), "value 0") == 0;
        }
    }
    return caught;
}

static int exceptions()
{
    int caught = rounds(100);

    std::printf("caught %d alive %d destroyed %d\n", caught, alive.load(), destroyed.load());
    return 0;
}

// Every thread's last exception goes to its creator. The device is shared: values are not looked at.
static int futures()
{
    std::vector<std::future<int>> all;
    int caught = 0;

    for (int i = 0; i < 8; i++)
        all.push_back(std::async(std::launch::async, [] {
            for (int j = 0; j < 25; j++) {
                try {
                    descend(5);
                } catch (const Deep &) {
                }
            }
            return (int)descend(3); // 16 accesses
        }));
    for (auto &f : all) {
        try {
            f.get();
        } catch (const Deep &) {
            caught++;
        }
    }
    std::printf("caught %d alive %d destroyed %d\n", caught, alive.load(), destroyed.load());
    return 0;
}

// No signal, no window in the frames that throw: only in their neighbours.
static int pure()
{
    std::atomic<int> caught{0};
    std::vector<std::thread> all;

    for (int i = 0; i < 8; i++)
        all.emplace_back([&caught] {
            for (int j = 0; j < 200; j++) {
                if (j % 20 == 0)
                    *SCR = (uint8_t)j;
                try {
                    std::vector<int>(3).at((size_t)j + 3);
                } catch (const std::out_of_range &) {
                    caught++;
                }
            }
        });
    for (auto &t : all)
        t.join();
    std::printf("caught %d\n", caught.load());
    return 0;
}

static void waiting(int how, int fd)
{
    Guard guard;
    char byte;

    *SCR = 1;
    ready = 1;
    for (;;)
        if (how == 0) {
            if (read(fd, &byte, 1) < 0)
                return;
        } else {
            sleep(10);
        }
}

static int ends[2];

static void *cancelled(void *how)
{
    Guard guard;

    try {
        waiting((int)(intptr_t)how, ends[0]);
    } catch (const std::exception &) {
        std::abort(); // cancellation is no std::exception
    } catch (...) {
        *SCR = 2;
        throw;
    }
    return nullptr;
}

// 6 accesses each: two guards, one before the wait, one in the catch.
static int cancel()
{
    if (pipe(ends) < 0)
        return 91;
    for (int i = 0; i < 40; i++) {
        void *result;
        pthread_t t;

        ready = 0;
        if (pthread_create(&t, nullptr, cancelled, (void *)(intptr_t)(i & 1)))
            return 92;
        while (!ready)
            sched_yield();
        pthread_cancel(t);
        pthread_join(t, &result);
        if (result != PTHREAD_CANCELED)
            return 93;
    }
    std::printf("alive %d destroyed %d\n", alive.load(), destroyed.load());
    return 0;
}

static void throws(int)
{
    *SCR = 3;
    throw std::domain_error("fault");
}

__attribute__((noinline)) static int faults(volatile int *address)
{
    Guard guard;

    return *address;
}

// -fnon-call-exceptions: the handler of a fault throws, through the frame of the signal.
static int handler()
{
    struct sigaction act = {};
    int caught = 0;

    act.sa_handler = throws;
    act.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &act, nullptr);
    for (int i = 0; i < 100; i++) {
        try {
            faults((volatile int *)0x30000000);
        } catch (const std::domain_error &) {
            caught++;
            *SCR = 4;
        }
    }
    std::printf("caught %d alive %d destroyed %d\n", caught, alive.load(), destroyed.load());
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)();
    } table[] = {
        {"exceptions", exceptions}, {"futures", futures}, {"pure", pure}, {"cancel", cancel}, {"handler", handler}};

    if (std::getenv("B_PLAIN"))
        mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
             0);
    for (const auto &action : table)
        if (argc > 1 && std::strcmp(argv[1], action.name) == 0)
            return action.run();
    return 99;
}
