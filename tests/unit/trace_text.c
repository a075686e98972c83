/* The text transcript, line by line as the contract with users shows it. */
#include "unit.h"

#include "trace_sample.h"

static char buffer[65536];

static const char *text(const struct trace_record *r, unsigned show)
{
    struct fmt out = FMT_INIT(buffer);

    trace_print_text(&out, r, &sample_names, show);
    return fmt_end(&out);
}

TEST(write_with_stack)
{
    struct trace_record r = sample_access(0, REG_THR, 0, TRACE_WRITE, 1, 0x41);

    r.stack = 7;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 THR write1 0x41 'A' #1\n"
                           "    at uart_putc+0x1c (driver)\n"
                           "    by main+0x44 (driver)\n");
}

TEST(flags)
{
    struct trace_record r = sample_access(0, REG_LSR, 5, TRACE_READ, 1, 0x60);

    r.seq = 2;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #2\n");
    r.value[0] = 0;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x0 #2\n");
    r = sample_access(0, REG_LCR, 3, TRACE_WRITE, 1, 0x83);
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000003 -> uart@10000000 LCR write1 0x83 WLS=0x3|DLAB #1\n");
}

TEST(unassigned)
{
    struct trace_record r = sample_access(1, TRACE_NONE, 0x234, TRACE_READ, 4, 0xffffffff);

    r.seq = 3;
    r.flags = TRACE_UNASSIGNED;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001234 -> virtio_mmio@10001000 +0x234 read4 0xffffffff unassigned #3\n");
    r.flags = 0;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001234 -> virtio_mmio@10001000 +0x234 read4 0xffffffff #3\n");
    r.device = TRACE_NONE;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001234 -> unmapped read4 0xffffffff #3\n");
}

TEST(port)
{
    struct trace_record r = sample_access(0, REG_IER, 1, TRACE_WRITE, 1, 0);

    r.type = TRACE_PORT;
    r.addr = 0x3f9;
    CHECK_STR(text(&r, 0), "[PORT] trap at 0x3f9 -> uart@10000000 IER write1 0x0 #1\n");
}

TEST(characters)
{
    struct trace_record r = sample_access(0, REG_RBR, 0, TRACE_READ, 1, '\n');

    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 RBR read1 0xa #1\n");
    r.value[0] = ' ';
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 RBR read1 0x20 ' ' #1\n");
    r.value[0] = 0x7f;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 RBR read1 0x7f #1\n");
    r = sample_access(0, REG_THR, 0, TRACE_WRITE, 4, 'x');
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 THR write4 0x78 'x' #1\n");
    r.value[3] = 1;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 THR write4 0x1000078 #1\n");
    r = sample_access(0, REG_DLL, 0, TRACE_WRITE, 1, 'x');
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000000 -> uart@10000000 DLL write1 0x78 #1\n");
}

TEST(arrays_and_parts)
{
    struct trace_record r = sample_access(1, REG_PRIORITY, 0x108, TRACE_WRITE, 4, 7);

    r.element = 2;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001108 -> virtio_mmio@10001000 priority[2] write4 0x7 #1\n");
    r = sample_access(1, REG_MTIME, 0x304, TRACE_READ, 4, 5);
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001304 -> virtio_mmio@10001000 mtime+4 read4 0x5 HIGH=0x5 #1\n");
    r = sample_access(1, REG_WHOLE, 0x308, TRACE_READ, 8, UINT64_MAX);
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001308 -> virtio_mmio@10001000 whole read8 0xffffffffffffffff "
                           "ALL=0xffffffffffffffff #1\n");
}

TEST(wide_values)
{
    struct trace_record r = sample_access(1, TRACE_NONE, 0x400, TRACE_READ, 16, 0x1122334455667788);

    r.value[8] = 0x99;
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10001400 -> virtio_mmio@10001000 +0x400 read16 0x991122334455667788 #1\n");
    r.width = 64;
    memset(r.value, 0, sizeof(r.value));
    r.value[63] = 0x10;
    CHECK(strstr(text(&r, 0), "read64 0x10000000000000000000") != NULL);
    /* A wide read that begins at LSR: the whole value, the flags of LSR alone. */
    r = sample_access(0, REG_LSR, 5, TRACE_READ, 2, 0xff20);
    CHECK_STR(text(&r, 0), "[MMIO] trap at 0x10000005 -> uart@10000000 LSR read2 0xff20 THRE #1\n");
}

TEST(lint)
{
    struct trace_record r = sample_access(1, REG_MAGIC, 0, TRACE_READ, 8, 0);

    r.type = TRACE_LINT;
    r.seq = 9;
    memcpy(r.text, "wide-access\0register takes 4-byte accesses", 42);
    CHECK_STR(text(&r, 0),
              "[LINT] wide-access #9 virtio_mmio@10001000 MagicValue read8: register takes 4-byte accesses\n");
    r.reg = TRACE_NONE;
    r.offset = 0x50;
    CHECK_STR(text(&r, 0), "[LINT] wide-access #9 virtio_mmio@10001000 +0x50 read8: register takes 4-byte accesses\n");
    r.seq = 0;
    r.width = 0;
    memset(r.text, 0, sizeof(r.text));
    memcpy(r.text, "syscall", 7);
    CHECK_STR(text(&r, 0), "[LINT] syscall virtio_mmio@10001000\n");
}

TEST(dma_and_irq)
{
    struct trace_record r = {.type = TRACE_DMA, .op = TRACE_WRITE, .device = 1, .reg = TRACE_NONE, .width = 512};

    r.addr = 0x80002000;
    CHECK_STR(text(&r, 0), "[DMA] virtio_mmio@10001000 write 0x80002000+512\n");
    r.flags = TRACE_FAILED;
    CHECK_STR(text(&r, 0), "[DMA] virtio_mmio@10001000 write 0x80002000+512 refused\n");
    r = (struct trace_record){.type = TRACE_IRQ, .device = 0, .reg = TRACE_NONE, .addr = 10, .width = 1};
    CHECK_STR(text(&r, 0), "[IRQ] uart@10000000 10 raised\n");
    r.width = 0;
    CHECK_STR(text(&r, 0), "[IRQ] uart@10000000 10 lowered\n");
}

TEST(mark_stays_one_line)
{
    struct trace_record r = {.type = TRACE_MARK, .device = TRACE_NONE, .reg = TRACE_NONE};

    memcpy(r.text, "text of a client request", 24);
    CHECK_STR(text(&r, 0), "[MARK] text of a client request\n");
    memcpy(r.text, "a\n[EXIT]\x1b", 10);
    r.text[9] = 0;
    CHECK_STR(text(&r, 0), "[MARK] a\\n[EXIT]\\x1b\n");
}

TEST(fault)
{
    struct trace_record r = {.type = TRACE_FAULT, .device = TRACE_NONE, .reg = TRACE_NONE, .width = 4};

    r.addr = 0x30000000;
    memcpy(r.text, "unmapped, nearest uart@10000000 ends at 0x10000fff", 51);
    CHECK_STR(text(&r, 0), "[FAULT] read4 0x30000000 unmapped, nearest uart@10000000 ends at 0x10000fff\n");
}

TEST(repeat)
{
    struct trace_record r = sample_access(0, REG_LSR, 5, TRACE_READ, 1, 999);

    r.type = TRACE_REPEAT;
    CHECK_STR(text(&r, 0), "[REPEAT] #1 repeated 999 times\n");
}

TEST(extras)
{
    struct trace_record r = sample_access(0, REG_THR, 0, TRACE_WRITE, 1, 0x41);

    r.stack = 7;
    CHECK_STR(text(&r, TRACE_SHOW_TIME | TRACE_SHOW_PID | TRACE_SHOW_INSN),
              "[MMIO] trap at 0x10000000 -> uart@10000000 THR write1 0x41 'A' #1 t=1700000000.000042 pid=4711 tid=4712 "
              "insn=\"mov byte ptr [rax], dl\"\n"
              "    at uart_putc+0x1c (driver)\n"
              "    by main+0x44 (driver)\n");
}

TEST(memory_map)
{
    struct fmt out = FMT_INIT(buffer);
    struct trace_bank bank = {"memory@80000000", {0x80000000, 0x20000000}};
    struct trace_device nobody = {"gpu@3000", NULL, "", {0x3000, 100}, NULL, 0, false, false};
    struct trace_device ports = {"serial@3f8", "UART", "ns16550a", {0x3f8, 8}, NULL, 0, true, false};

    trace_print_bank(&out, &bank, false);
    trace_print_window(&out, &sample_devices[0], false);
    trace_print_window(&out, &nobody, false);
    trace_print_window(&out, &ports, false);
    bank.range.size = 0x3000;
    trace_print_bank(&out, &bank, false);
    bank.range.size = 100;
    trace_print_bank(&out, &bank, false);
    bank.range = (struct range){UINT64_MAX - 0xfff, 0x1000};
    trace_print_bank(&out, &bank, false);
    CHECK_STR(fmt_end(&out), "[MEM] RAM: 512MB 0x80000000-0x9fffffff memory@80000000\n"
                             "[MEM] MMIO: UART 0x10000000-0x10000fff uart@10000000 ns16550a\n"
                             "[MEM] MMIO: unimplemented 0x3000-0x3063 gpu@3000\n"
                             "[MEM] PORTS: UART 0x3f8-0x3ff serial@3f8 ns16550a\n"
                             "[MEM] RAM: 12KB 0x80000000-0x80002fff memory@80000000\n"
                             "[MEM] RAM: 100B 0x80000000-0x80000063 memory@80000000\n"
                             "[MEM] RAM: 4KB 0xfffffffffffff000-0xffffffffffffffff memory@80000000\n");
}

TEST(dirty_and_exit)
{
    static const struct range ranges[] = {{0x80000000, 0x2000}, {0x80004000, 0x3000}};
    struct trace_totals totals = {42, 30, 12, 1, 0};
    struct fmt out = FMT_INIT(buffer);

    trace_print_dirty(&out, "uffd", 5, 131072, ranges, 2, NULL, false);
    trace_print_dirty(&out, "uffd", 5, 131072, ranges, 2, "1 process was killed", false);
    trace_print_dirty(&out, "mprotect", 0, 131072, NULL, 0, NULL, false);
    trace_print_exit(&out, &totals, false);
    CHECK_STR(fmt_end(&out), "[DIRTY] uffd: 5 of 131072 pages: 0x80000000-0x80001fff 0x80004000-0x80006fff\n"
                             "[DIRTY] uffd: 5 of 131072 pages: 0x80000000-0x80001fff 0x80004000-0x80006fff "
                             "(1 process was killed)\n"
                             "[DIRTY] mprotect: 0 of 131072 pages\n"
                             "[EXIT] 42 accesses (30 reads, 12 writes), 1 lint, 0 lost\n");
}

TEST(many_dirty_ranges_end_the_line)
{
    static struct range ranges[1000];
    static char small[512];
    struct fmt out = FMT_INIT(small);

    for (unsigned i = 0; i < 1000; i++)
        ranges[i] = (struct range){0x80000000 + i * 0x2000, 0x1000};
    trace_print_dirty(&out, "uffd", 1000, 131072, ranges, 1000, "note", false);
    CHECK(out.full);
    CHECK(out.len < sizeof(small));
    CHECK(strstr(fmt_end(&out), " more ranges (note)\n") != NULL);
    out = (struct fmt)FMT_INIT(small);
    trace_print_dirty(&out, "uffd", 1000, 131072, ranges, 1000, NULL, true);
    CHECK(out.full);
    CHECK(strstr(fmt_end(&out), "\"]}\n") != NULL);
}

/* Records of a damaged trace: no index is believed, no text runs on. */
TEST(hostile_records)
{
    struct trace_record r;
    unsigned seed = 1;

    for (unsigned round = 0; round < 20000; round++) {
        u8 *bytes = (u8 *)&r;

        for (size_t i = 0; i < sizeof(r); i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = (u8)(seed >> 16) | (i >= sizeof(r) - TRACE_TEXT);
        }
        r.type = (u8)(round % 10);
        r.device = (u16)(round % 4);
        r.reg = (u16)(round % 9);
        r.stack = 7;
        text(&r, round & 7);
    }
    CHECK(true);
}
