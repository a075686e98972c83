/* Nanoseconds of a register that a callback of Unicorn answers, and of a turn of the work loop under it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#include "measure.h"
#include "peers/loops.h"

#define CODE   0x10000
#define TABLE  0x20000
#define DEVICE 0x10000000
#define SIZE   0x8000

static uc_engine *engine;
static uint64_t reads;

static void check(uc_err error)
{
    if (error != UC_ERR_OK) {
        fprintf(stderr, "unicorn: %s\n", uc_strerror(error));
        exit(1);
    }
}

static uint64_t on_read(uc_engine *uc, uint64_t offset, unsigned size, void *context)
{
    (void)uc;
    (void)offset;
    (void)size;
    (void)context;
    reads++;
    return 0x5a;
}

static void on_write(uc_engine *uc, uint64_t offset, unsigned size, uint64_t value, void *context)
{
    (void)uc;
    (void)offset;
    (void)size;
    (void)value;
    (void)context;
}

struct guest {
    uint64_t start, end, base;
};

static void run(long n, void *at)
{
    const struct guest *guest = at;
    uint64_t count = (uint64_t)n, base = guest->base;

    check(uc_reg_write(engine, UC_X86_REG_RCX, &count));
    check(uc_reg_write(engine, UC_X86_REG_RBX, &base));
    check(uc_emu_start(engine, guest->start, guest->end, 0, 0));
}

static struct guest put(uint64_t at, const uint8_t *from, const uint8_t *to, uint64_t base)
{
    size_t size = (size_t)(to - from);

    check(uc_mem_write(engine, at, from, size));
    return (struct guest){at, at + size, base};
}

/* Both must have done here what they do elsewhere, or their times mean nothing. */
static void verify(struct guest *work, struct guest *device)
{
    uint32_t table[4096] = {0};
    uint64_t result;

    run(1000, work);
    check(uc_reg_read(engine, UC_X86_REG_RAX, &result));
    if ((uint32_t)result != peer_work(table, 1000)) {
        fprintf(stderr, "unicorn: another result of the same loop\n");
        exit(1);
    }
    run(1000, device);
    if (reads != 1000) {
        fprintf(stderr, "unicorn: %lu reads of 1000\n", (unsigned long)reads);
        exit(1);
    }
}

int main(void)
{
    struct guest work, device;

    pin_last();
    check(uc_open(UC_ARCH_X86, UC_MODE_64, &engine));
    check(uc_mem_map(engine, CODE, SIZE, UC_PROT_READ | UC_PROT_EXEC));
    check(uc_mem_map(engine, TABLE, SIZE, UC_PROT_READ | UC_PROT_WRITE));
    check(uc_mmio_map(engine, DEVICE, 0x1000, on_read, NULL, on_write, NULL));
    work = put(CODE, peer_work_code, peer_work_end, TABLE);
    device = put(CODE + 0x1000, peer_register_code, peer_register_end, DEVICE);
    verify(&work, &device);
    measure(&(struct job){"register", run, NULL, &device, 1l << 30});
    measure(&(struct job){"work", run, NULL, &work, 1l << 30});
    return 0;
}
