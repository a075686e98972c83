/* flags: -lpthread */
/*
 * Busy waiting.
 *   g_poll poll ADDR COUNT     COUNT reads of a byte at one place; 0: for ever
 *   g_poll runs                runs of reads that end in every way, and what is between them
 *   g_poll threads COUNT       two threads that poll two registers at the same time, and another one that is in between
 *   g_poll exec PROGRAM...     polls, and becomes another program
 *   g_poll fork                a child while its parent polls
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define UART   0x10000000ul
#define LSR    (UART + 5)
#define SCR    (UART + 7)
#define STATUS 0x10001070ul /* of the first virtio device */

__attribute__((noinline)) static void poll_byte(unsigned long addr, unsigned long count)
{
    volatile uint8_t *reg = (volatile uint8_t *)addr;

    for (unsigned long i = 0; !count || i < count; i++)
        (void)*reg;
}

__attribute__((noinline)) static void put(unsigned long addr, uint8_t value)
{
    *(volatile uint8_t *)addr = value;
}

static void runs(void)
{
    poll_byte(LSR, 5);
    poll_byte(LSR, 1); /* another place that it is called from */
    poll_byte(SCR, 3); /* another register */
    put(SCR, 1);       /* a write */
    put(SCR, 1);       /* is never folded */
    poll_byte(SCR, 3); /* another value */
    poll_byte(SCR, 2);
    for (int i = 0; i < 4; i++) /* the same place, four runs of one */
        poll_byte(i & 1 ? LSR : SCR, 1);
    put(UART + 1, 2); /* an interrupt is raised in between */
    poll_byte(LSR, 100);
}

static unsigned long reads;

static void *worker(void *addr)
{
    poll_byte((unsigned long)addr, reads);
    return NULL;
}

static void threads(void)
{
    pthread_t t[2];

    pthread_create(&t[0], NULL, worker, (void *)LSR);
    pthread_create(&t[1], NULL, worker, (void *)SCR);
    for (int i = 0; i < 20; i++)
        put(STATUS, 0);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
}

static void with_child(void)
{
    pid_t pid;

    poll_byte(LSR, 4);
    pid = fork();
    if (pid == 0) {
        poll_byte(LSR, 3);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    poll_byte(SCR, 2);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    reads = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
    if (strcmp(word, "poll") == 0 && argc > 3)
        poll_byte(reads, strtoul(argv[3], NULL, 0));
    else if (strcmp(word, "runs") == 0)
        runs();
    else if (strcmp(word, "threads") == 0)
        threads();
    else if (strcmp(word, "fork") == 0)
        with_child();
    else if (strcmp(word, "exec") == 0 && argc > 2) {
        poll_byte(LSR, 6);
        execv(argv[2], argv + 2);
        return 1;
    } else {
        return 2;
    }
    return 0;
}
