/*
 * A UART that is written to by its interrupt, as on a board without an
 * operating system: the line goes through the PLIC to the hart, and SIGIO
 * stands for the trap. The main program only waits.
 */
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#define UART 0x10000000ul
#define PLIC 0x0c000000ul

#define UART_IRQ 10
#define THR (*(volatile uint8_t *)(UART + 0))
#define IER (*(volatile uint8_t *)(UART + 1))
#define IIR (*(volatile uint8_t *)(UART + 2))
#define IER_THRE 0x02 /* interrupt when a character has been sent */
#define PRIORITY(source) (*(volatile uint32_t *)(PLIC + 4 * (source)))
#define ENABLE    (*(volatile uint32_t *)(PLIC + 0x2000))   /* context 0: machine mode of hart 0 */
#define THRESHOLD (*(volatile uint32_t *)(PLIC + 0x200000))
#define CLAIM     (*(volatile uint32_t *)(PLIC + 0x200004))

static const char *volatile next = "ok";

static void trap(int signal)
{
    uint32_t source = CLAIM;

    (void)signal;
    if (source != UART_IRQ)
        return;
    (void)IIR; /* takes the interrupt back */
    if (*next)
        THR = (uint8_t)*next++;
    else
        IER = 0;
    CLAIM = source; /* complete */
}

int main(void)
{
    struct sigaction action = {.sa_handler = trap};
    sigset_t io, none;

    sigemptyset(&none);
    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    sigprocmask(SIG_BLOCK, &io, NULL);
    sigaction(SIGIO, &action, NULL);
    PRIORITY(UART_IRQ) = 1;
    THRESHOLD = 0;
    ENABLE = 1u << UART_IRQ;
    IER = IER_THRE;
    while (IER)
        sigsuspend(&none);
    return 0;
}
