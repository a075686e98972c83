/* C++ exceptions around accesses that are hot, and out of a signal handler at one (-fnon-call-exceptions). */
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <stdexcept>
#include <sys/mman.h>

namespace {

volatile unsigned *at(unsigned n)
{
    return reinterpret_cast<volatile unsigned *>(0x40000000ul + n * 512);
}

unsigned long failures, thrown, freed;
__thread unsigned long accesses;

void check(bool good, const char *what)
{
    if (!good && __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 10)
        fprintf(stderr, "failed: %s\n", what);
}

struct guard {
    volatile unsigned *p;

    explicit guard(volatile unsigned *p_) : p(p_) { p[1] = p[1] + 1; accesses += 2; }
    ~guard() { p[2] = p[2] + 1; accesses += 2; __atomic_fetch_add(&freed, 1, __ATOMIC_RELAXED); }
};

__attribute__((noinline)) unsigned deep(volatile unsigned *p, unsigned n)
{
    guard g(p);

    if (n == 0) {
        accesses += 1;
        if (p[0] & 1)
            throw std::runtime_error("odd");
        return 1;
    }
    unsigned got = deep(p, n - 1);
    accesses += 1;
    return got + p[0];
}

__attribute__((noinline)) void round(volatile unsigned *p, unsigned i)
{
    unsigned left = 0;

    p[0] = i;
    p[1] = p[2] = 0;
    accesses += 3;
    try {
        unsigned got = deep(p, i % 5);
        check(got == 1 + i % 5 * i, "what deep returns");
    } catch (const std::runtime_error &e) {
        check(strcmp(e.what(), "odd") == 0 && i % 2 == 1, "what was thrown");
        __atomic_fetch_add(&thrown, 1, __ATOMIC_RELAXED);
        left = 1;
    }
    check(left == i % 2, "thrown where it should");
    check(p[1] == i % 5 + 1 && p[2] == i % 5 + 1, "guards");
    accesses += 2;
}

struct fault {
    void *address;
};

void on_fault(int, siginfo_t *info, void *)
{
    throw fault{info->si_addr};
}

__attribute__((noinline)) unsigned through(volatile unsigned *p, volatile unsigned *q)
{
    guard g(q);

    accesses += p != nullptr;
    return *p;
}

/* The same instruction: in the window, in memory, nowhere. */
void faults(unsigned times)
{
    struct sigaction act = {};
    unsigned memory[4] = {5, 0, 0, 0}, caught = 0;

    act.sa_sigaction = on_fault;
    act.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &act, nullptr);
    for (unsigned i = 0; i < times; i++) {
        at(4)[0] = i;
        check(through(at(4), at(5)) == i, "through the window");
        accesses += 1;
        check(through(memory, memory) == 5, "through memory");
        accesses -= 5; /* not those */
        try {
            if (i > 40)
                through(nullptr, at(5));
        } catch (const fault &f) {
            caught += f.address == nullptr;
        }
    }
    check(caught == times - 41, "faults caught");
    printf("caught %u\n", caught);
}

unsigned rounds;

void *thread(void *n)
{
    for (unsigned i = 0; i < rounds; i++)
        round(at(10 + static_cast<unsigned>(reinterpret_cast<unsigned long>(n))), i);
    return reinterpret_cast<void *>(accesses);
}

}

int main(int argc, char **argv)
{
    pthread_t threads[4];
    unsigned long total = 0;
    void *made;

    rounds = argc > 1 ? static_cast<unsigned>(atoi(argv[1])) : 200;
    if (getenv("STRESS_PLAIN"))
        mmap(reinterpret_cast<void *>(0x40000000ul), 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (unsigned long i = 0; i < 4; i++)
        pthread_create(&threads[i], nullptr, thread, reinterpret_cast<void *>(i));
    for (auto t : threads) {
        pthread_join(t, &made);
        total += reinterpret_cast<unsigned long>(made);
    }
    check(thrown == rounds / 2 * 4, "number thrown");
    faults(100);
    printf("thrown %lu\nfreed %lu\naccesses %lu\nfailures %lu\n", thrown, freed, total + accesses, failures);
    return failures != 0;
}
