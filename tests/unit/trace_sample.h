/* A small machine with names, for the tests of the printers. */
#ifndef MMIOSHIM_TESTS_TRACE_SAMPLE_H
#define MMIOSHIM_TESTS_TRACE_SAMPLE_H

#include "base/mem.h"
#include "trace/print.h"

static const struct mmioshim_field lsr_fields[] = {{"DR", 0, 1}, {"OE", 1, 1}, {"THRE", 5, 1}, {"TEMT", 6, 1}};
static const struct mmioshim_field lcr_fields[] = {{"WLS", 0, 2}, {"STB", 2, 1}, {"DLAB", 7, 1}};
static const struct mmioshim_field time_fields[] = {{"LOW", 0, 32}, {"HIGH", 32, 32}};
static const struct mmioshim_field whole_fields[] = {{"ALL", 0, 64}};

enum { REG_RBR, REG_THR, REG_DLL, REG_IER, REG_DLM, REG_LCR, REG_LSR };

static const struct mmioshim_register uart_registers[] = {
    [REG_RBR] = {.name = "RBR", .offset = 0, .width = 1, .access = MMIOSHIM_RO, .flags = MMIOSHIM_REG_DATA},
    [REG_THR] = {.name = "THR", .offset = 0, .width = 1, .access = MMIOSHIM_WO, .flags = MMIOSHIM_REG_DATA},
    [REG_DLL] = {.name = "DLL", .offset = 0, .width = 1, .view = 1},
    [REG_IER] = {.name = "IER", .offset = 1, .width = 1},
    [REG_DLM] = {.name = "DLM", .offset = 1, .width = 1, .view = 1},
    [REG_LCR] = {.name = "LCR", .offset = 3, .width = 1, MMIOSHIM_FIELDS(lcr_fields)},
    [REG_LSR] = {.name = "LSR", .offset = 5, .width = 1, .access = MMIOSHIM_RO, MMIOSHIM_FIELDS(lsr_fields)},
};

enum { REG_MAGIC, REG_PRIORITY, REG_THRESHOLD, REG_CLAIM, REG_MTIME, REG_WHOLE };

static const struct mmioshim_register other_registers[] = {
    [REG_MAGIC] = {.name = "MagicValue", .offset = 0, .width = 4, .access = MMIOSHIM_RO},
    [REG_PRIORITY] = {.name = "priority", .offset = 0x100, .width = 4, .count = 8, .stride = 4},
    [REG_THRESHOLD] = {.name = "threshold", .offset = 0x200, .width = 4, .count = 3, .stride = 16},
    [REG_CLAIM] = {.name = "claim", .offset = 0x204, .width = 4, .count = 3, .stride = 16},
    [REG_MTIME] = {.name = "mtime", .offset = 0x300, .width = 8, MMIOSHIM_FIELDS(time_fields)},
    [REG_WHOLE] = {.name = "whole", .offset = 0x308, .width = 8, MMIOSHIM_FIELDS(whole_fields)},
};

static const struct trace_device sample_devices[] = {
    {"uart@10000000", "UART", "ns16550a", {0x10000000, 0x1000}, uart_registers, ARRAY_SIZE(uart_registers), false, false},
    {"virtio_mmio@10001000", "VIRTIO", "virtio,mmio", {0x10001000, 0x1000}, other_registers,
     ARRAY_SIZE(other_registers), false, false},
};

static void sample_pc(void *context, u64 pc, struct fmt *out)
{
    (void)context;
    fmt_str(out, "driver+");
    fmt_hex(out, pc - 0x400000);
}

static const char *sample_frame(void *context, u32 stack, unsigned i)
{
    static const char *const frames[] = {"uart_putc+0x1c (driver)", "main+0x44 (driver)"};

    (void)context;
    return stack == 7 && i < ARRAY_SIZE(frames) ? frames[i] : NULL;
}

static void sample_insn(void *context, const struct trace_record *record, struct fmt *out)
{
    (void)context;
    (void)record;
    fmt_str(out, "mov byte ptr [rax], dl");
}

static const struct trace_names sample_names = {
    .devices = sample_devices,
    .ndevices = ARRAY_SIZE(sample_devices),
    .pc = sample_pc,
    .frame = sample_frame,
    .insn = sample_insn,
};

/* An access of the sample machine; the device's window gives the address. */
static struct trace_record sample_access(u16 device, u16 reg, u64 offset, u8 op, u32 width, u64 value)
{
    struct trace_record r = {.type = TRACE_MMIO, .op = op, .device = device, .reg = reg, .width = width};

    r.offset = offset;
    r.addr = (device < ARRAY_SIZE(sample_devices) ? sample_devices[device].window.base : 0) + offset;
    r.seq = 1;
    r.pid = 4711;
    r.tid = 4712;
    r.pid_ordinal = r.tid_ordinal = 1;
    r.time = 1700000000000042999ull;
    r.pc = 0x401189;
    r.insn[0] = 0x88;
    r.insn[1] = 0x10;
    r.insn_len = 2;
    memcpy(r.value, &value, sizeof(value));
    return r;
}

#endif
