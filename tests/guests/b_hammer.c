/* flags: -lpthread */
/*
 * Concurrency: processes and threads that change the same words of a window
 * with locked instructions; every change must count, once.
 *   b_hammer sum PROCESSES THREADS ROUNDS
 *   b_hammer spin            adds for ever, until it is killed
 *   b_hammer add ROUNDS      adds, and leaves it to others to look at the sum
 */
#include <pthread.h>
#include <sys/wait.h>

#include "b_guest.h"

static volatile uint64_t *const sum = (volatile uint64_t *)SCRATCH;
static volatile uint32_t *const ticks = (volatile uint32_t *)(SCRATCH + 8);
static volatile uint16_t *const votes = (volatile uint16_t *)(SCRATCH + 14);
static int rounds;

static void *work(void *unused)
{
    (void)unused;
    for (int i = 0; i < rounds; i++) {
        uint64_t one = 3;
        uint16_t old, next;

        __asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(*sum) : : "memory", "cc");
        __asm__ volatile("lock incl %0" : "+m"(*ticks) : : "memory", "cc");
        do {
            old = *votes;
            next = (uint16_t)(old + 1);
        } while (!__atomic_compare_exchange_n(votes, &old, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    }
    return NULL;
}

static void process(int threads)
{
    pthread_t t[64];

    for (int i = 0; i < threads; i++)
        CHECK(pthread_create(&t[i], NULL, work, NULL) == 0);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
}

static int do_sum(int argc, char **argv)
{
    int processes = argc > 2 ? atoi(argv[0]) : 0, threads = argc > 2 ? atoi(argv[1]) : 0, status;
    uint64_t all;

    rounds = argc > 2 ? atoi(argv[2]) : 0;
    if (threads > 64)
        return 97;
    for (int i = 0; i < processes; i++)
        if (fork() == 0) {
            process(threads);
            exit(failures);
        }
    for (int i = 0; i < processes; i++) {
        wait(&status);
        EQUAL(status, 0);
    }
    all = (uint64_t)processes * (uint64_t)threads * (uint64_t)rounds;
    EQUAL(*sum, 3 * all);
    EQUAL(*ticks, all);
    EQUAL(*votes, (uint16_t)all);
    return 0;
}

static int spin(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("ready");
    fflush(stdout);
    for (;;)
        __asm__ volatile("lock incl %0" : "+m"(*ticks) : : "memory", "cc");
    return 0;
}

static int add(int argc, char **argv)
{
    for (int i = argc > 0 ? atoi(argv[0]) : 0; i > 0; i--)
        __asm__ volatile("lock incl %0" : "+m"(*ticks) : : "memory", "cc");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {{"sum", do_sum}, {"spin", spin}, {"add", add}};

    return run_action(table, 3, argc, argv);
}
