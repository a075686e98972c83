/*
 * A program that configures a PCI bus by its arguments, in order. It knows nothing of the library. Words, all numbers
 * hexadecimal, W = 1, 2, 4 or 8 bytes, what is read is printed:
 *   cW:BB:DD.F+REG[=VALUE]   configuration space by ECAM at 0x30000000
 *   pW:BB:DD.F+REG[=VALUE]   by ports 0xcf8 and 0xcfc
 *   mW:ADDR[=VALUE]          memory
 *   iW:PORT[=VALUE]          a port
 *   scan                     what is on the bus: function by function, bus by bus, as systems look for it
 *   bars:BB:DD.F             sizes of BARs, found by writing ones; they are as before afterwards
 *   caps:BB:DD.F             numbers of capabilities, then of extended ones
 *   fork ... wait            a child does the words between
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECAM 0x30000000ul

struct place {
    unsigned bus, slot, function, reg;
};

static uint64_t load(unsigned width, uintptr_t addr)
{
    switch (width) {
    case 1:
        return *(volatile uint8_t *)addr;
    case 2:
        return *(volatile uint16_t *)addr;
    case 4:
        return *(volatile uint32_t *)addr;
    default:
        return *(volatile uint64_t *)addr;
    }
}

static void store(unsigned width, uintptr_t addr, uint64_t value)
{
    switch (width) {
    case 1:
        *(volatile uint8_t *)addr = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)addr = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)addr = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)addr = value;
    }
}

static uint64_t port_in(unsigned width, unsigned short port)
{
    return width == 1 ? inb(port) : width == 2 ? inw(port) : inl(port);
}

static void port_out(unsigned width, unsigned short port, uint64_t value)
{
    if (width == 1)
        outb((unsigned char)value, port);
    else if (width == 2)
        outw((unsigned short)value, port);
    else
        outl((unsigned)value, port);
}

static uintptr_t ecam(struct place p)
{
    return ECAM + (p.bus << 20 | p.slot << 15 | p.function << 12 | p.reg);
}

static unsigned config(unsigned bus, unsigned slot, unsigned function, unsigned reg, unsigned width)
{
    return (unsigned)load(width, ecam((struct place){bus, slot, function, reg}));
}

/* --- words --- */

static void scan_bus(unsigned bus)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        unsigned most = config(bus, slot, 0, 0x0e, 1) & 0x80 ? 8 : 1;

        for (unsigned f = 0; f < most; f++) {
            unsigned id = config(bus, slot, f, 0, 4), kind;

            if (id == 0xffffffff)
                continue;
            kind = config(bus, slot, f, 0x0e, 1) & 0x7f;
            printf("%02x:%02x.%u %04x:%04x class %06x\n", bus, slot, f, id & 0xffff, id >> 16, config(bus, slot, f, 8, 4) >> 8);
            if (kind == 1)
                scan_bus(config(bus, slot, f, 0x19, 1));
        }
    }
}

static void bars(struct place p)
{
    for (p.reg = 0x10; p.reg < 0x28; p.reg += 4) {
        uint32_t before = (uint32_t)load(4, ecam(p)), got;

        store(4, ecam(p), 0xffffffff);
        got = (uint32_t)load(4, ecam(p));
        store(4, ecam(p), before);
        printf("%x ", got);
    }
    printf("\n");
}

static void capabilities(struct place p)
{
    unsigned at = config(p.bus, p.slot, p.function, 0x34, 1);

    for (unsigned n = 0; at && n < 48; n++, at = config(p.bus, p.slot, p.function, at + 1, 1))
        printf("%x ", config(p.bus, p.slot, p.function, at, 1));
    printf("|");
    for (at = 0x100; at >= 0x100 && config(p.bus, p.slot, p.function, at, 4) + 1u > 1;
         at = config(p.bus, p.slot, p.function, at, 4) >> 20)
        printf(" %x", config(p.bus, p.slot, p.function, at, 2));
    printf("\n");
}

static struct place place_of(const char *text)
{
    struct place p = {0, 0, 0, 0};

    sscanf(text, "%x:%x.%u+%x", &p.bus, &p.slot, &p.function, &p.reg);
    return p;
}

static void access_word(char *word)
{
    unsigned width = (unsigned)(word[1] - '0');
    char *equals = strchr(word, '=');
    uint64_t value = equals ? strtoull(equals + 1, NULL, 16) : 0;
    struct place p = place_of(word + 3);
    uintptr_t addr = word[0] == 'c' ? ecam(p) : strtoull(word + 3, NULL, 16);
    unsigned short port = word[0] == 'p' ? (unsigned short)(0xcfc + (p.reg & 3)) : (unsigned short)addr;

    if (word[0] == 'p')
        outl(0x80000000 | p.bus << 16 | p.slot << 11 | p.function << 8 | (p.reg & 0xfc), 0xcf8);
    if (word[0] == 'c' || word[0] == 'm') {
        if (equals)
            store(width, addr, value);
        else
            printf("%llx\n", (unsigned long long)load(width, addr));
    } else if (equals) {
        port_out(width, port, value);
    } else {
        printf("%llx\n", (unsigned long long)port_in(width, port));
    }
}

int main(int argc, char **argv)
{
    int child = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    iopl(3);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "scan") == 0) {
            scan_bus(0);
        } else if (strncmp(argv[i], "bars:", 5) == 0) {
            bars(place_of(argv[i] + 5));
        } else if (strncmp(argv[i], "caps:", 5) == 0) {
            capabilities(place_of(argv[i] + 5));
        } else if (strcmp(argv[i], "fork") == 0) {
            child = fork() == 0;
            while (!child && strcmp(argv[i], "wait") != 0)
                i++;
            if (!child)
                wait(NULL);
        } else if (strcmp(argv[i], "wait") == 0) {
            if (child)
                return 0;
        } else {
            access_word(argv[i]);
        }
    }
    return 0;
}
