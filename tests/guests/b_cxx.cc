/* flags: -O1 -lpthread */
/* C++: exceptions through frames that use windows, in threads, from constructors, through cancellation. */
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define SCR ((volatile uint8_t *)0x10000007)

static std::atomic<int> alive;

struct Guard {
    Guard() { ++alive; *SCR = 0xa0; }
    ~Guard() { --alive; *SCR = 0xb0; } /* runs while the exception flies */
};

__attribute__((noinline)) static int deep(int n)
{
    Guard guard;

    *SCR = (uint8_t)n;
    if (n == 0)
        throw std::runtime_error("SCR is " + std::to_string(*SCR));
    return deep(n - 1) + 1;
}

static int exceptions()
{
    for (int i = 0; i < 200; i++) {
        try {
            deep(10);
            return 1;
        } catch (const std::runtime_error &e) {
            if (std::strcmp(e.what(), "SCR is 0") != 0 || alive != 0 || *SCR != 0xb0)
                return 2;
        }
    }
    return 0;
}

static int threads()
{
    std::vector<std::thread> all;
    std::atomic<int> caught{0};

    for (int i = 0; i < 8; i++)
        all.emplace_back([&caught] {
            for (int j = 0; j < 50; j++) {
                try {
                    deep(5);
                } catch (const std::exception &) {
                    ++caught;
                }
            }
        });
    for (auto &t : all)
        t.join();
    return caught == 400 && alive == 0 ? 0 : 3;
}

/* thread_local objects whose constructors and destructors use the device. */
struct Local {
    Local() { *SCR = 1; }
    ~Local() { *SCR = 0xdd; }
    int value = 0;
};
static thread_local Local local;

static int locals()
{
    for (int i = 0; i < 50; i++)
        std::thread([] { local.value++; }).join();
    return *SCR == 0xdd ? 0 : 4;
}

/* Cancellation unwinds like an exception that cannot be stopped. */
static std::atomic<bool> going;

static void *until_cancelled(void *)
{
    Guard guard;

    going = true;
    for (;;) {
        *SCR = 2;
        pthread_testcancel();
    }
    return nullptr;
}

static int cancel()
{
    for (int i = 0; i < 50; i++) {
        pthread_t t;
        void *got;

        going = false;
        pthread_create(&t, nullptr, until_cancelled, nullptr);
        while (!going)
            std::this_thread::yield();
        pthread_cancel(t);
        pthread_join(t, &got);
        if (got != PTHREAD_CANCELED || alive != 0)
            return 5;
    }
    return 0;
}

/* A static object: its constructor runs before main, its destructor after it. */
struct Whole {
    Whole() { text = "whole"; }
    ~Whole() { std::printf("%s ends\n", text.c_str()); }
    std::string text;
};
static Whole whole;

static int nobody_catches()
{
    *SCR = 1;
    throw std::logic_error("nobody catches this");
}

int main(int argc, char **argv)
{
    std::string what = argc > 1 ? argv[1] : "";

    if (what == "exceptions")
        return exceptions();
    if (what == "threads")
        return threads();
    if (what == "locals")
        return locals();
    if (what == "cancel")
        return cancel();
    if (what == "uncaught")
        return nobody_catches();
    if (what == "plain") {
        try {
            throw std::runtime_error("plain");
        } catch (const std::exception &e) {
            std::printf("caught %s\n", e.what());
        }
        return 7;
    }
    return 99;
}
