/* Interrupts of a GPIO bank, and of a PC's clock, in the style of a program without an operating system: by SIGIO. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>

#define GPIO ((volatile uint32_t *)0x3f200000)
enum { EDS = 0x40 / 4, REN = 0x4c / 4, FEN = 0x58 / 4 };

static volatile int runs, rose, fell;

static void on_pins(int signal)
{
    uint32_t events = GPIO[EDS], level = GPIO[0x34 / 4];

    (void)signal;
    GPIO[EDS] = events;
    runs++;
    rose += events >> 17 & level >> 17 & 1;
    fell += events >> 18 & ~level >> 18 & 1;
}

static void on_clock(int signal)
{
    (void)signal;
    outb(0xc, 0x70);
    runs += (inb(0x71) & 0xc0) == 0xc0;
}

static void await(volatile int *what, int wanted)
{
    sigset_t none;

    sigemptyset(&none);
    while (*what < wanted)
        sigsuspend(&none);
}

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigset_t block;

    sigemptyset(&block);
    sigaddset(&block, SIGIO);
    sigprocmask(SIG_BLOCK, &block, NULL);
    sigaction(SIGIO, &action, NULL);
}

static void pins(void)
{
    handle(on_pins);
    GPIO[REN] = 1u << 17;
    GPIO[FEN] = 1u << 18;
    puts("ready");
    fflush(stdout);
    await(&rose, 1);
    printf("17 rose, runs %d\n", runs);
    fflush(stdout);
    await(&fell, 1);
    printf("18 fell, runs %d\n", runs);
}

/* So many periods of 1/64 s. */
static void clock_ticks(int n)
{
    iopl(3);
    handle(on_clock);
    outb(0xa, 0x70);
    outb(0x2a, 0x71);
    outb(0xb, 0x70);
    outb(0x42, 0x71);
    await(&runs, n);
    outb(0xb, 0x70);
    outb(0x02, 0x71);
    printf("%d ticks\n", runs);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "clock") == 0)
        clock_ticks(atoi(argv[2]));
    else
        pins();
    return 0;
}
