/* Threads: each gets its alternate stack before its first instruction of the program. */
#include <pthread.h>
#include <threads.h>

#include "interpose/interpose.h"
#include "trap/thread.h"

static void *run(void *argument)
{
    struct thread *t = argument;

    thread_adopt(t);
    return t->start(t->argument);
}

EXPORT int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*start)(void *),
                          void *restrict argument)
{
    struct thread *creator = interpose_machine ? thread_self() : NULL;
    struct thread *t = creator ? thread_reserve() : NULL;
    int ret;

    if (!t)
        return REAL(pthread_create)(thread, attributes, start, argument);
    t->start = start;
    t->argument = argument;
    t->segv_blocked = creator->segv_blocked;
    ret = REAL(pthread_create)(thread, attributes, run, t);
    if (ret)
        thread_unreserve(t);
    return ret;
}

/* glibc's own goes past pthread_create's PLT entry. */
static void *run_c11(void *argument)
{
    struct thread *t = argument;

    thread_adopt(t);
    return (void *)(intptr_t)((thrd_start_t)(void *)t->start)(t->argument);
}

EXPORT int thrd_create(thrd_t *thread, thrd_start_t start, void *argument)
{
    struct thread *creator = interpose_machine ? thread_self() : NULL;
    struct thread *t = creator ? thread_reserve() : NULL;
    int ret;

    if (!t)
        return REAL(thrd_create)(thread, start, argument);
    t->start = (void *(*)(void *))(void *)start;
    t->argument = argument;
    t->segv_blocked = creator->segv_blocked;
    ret = REAL(thrd_create)(thread, (thrd_start_t)(void *)run_c11, t);
    if (ret != thrd_success)
        thread_unreserve(t);
    return ret;
}
