/* JSON lines: keys and their order are fixed. */
#include "unit.h"

#include "trace_sample.h"

static char buffer[65536];

static const char *json(const struct trace_record *r, unsigned show)
{
    struct fmt out = FMT_INIT(buffer);

    trace_print_json(&out, r, &sample_names, show);
    return fmt_end(&out);
}

TEST(access)
{
    struct trace_record r = sample_access(0, REG_THR, 0, TRACE_WRITE, 1, 0x41);

    r.stack = 7;
    CHECK_STR(json(&r, 0),
              "{\"type\":\"mmio\",\"seq\":1,\"op\":\"write\",\"width\":1,\"addr\":\"0x10000000\","
              "\"device\":\"uart@10000000\",\"offset\":0,\"register\":\"THR\",\"value\":\"0x41\",\"pid\":1,\"tid\":1,"
              "\"insn\":\"mov byte ptr [rax], dl\",\"pc\":\"driver+0x1189\",\"stack\":7}\n");
    CHECK_STR(json(&r, TRACE_SHOW_PID | TRACE_SHOW_TIME),
              "{\"type\":\"mmio\",\"seq\":1,\"op\":\"write\",\"width\":1,\"addr\":\"0x10000000\","
              "\"device\":\"uart@10000000\",\"offset\":0,\"register\":\"THR\",\"value\":\"0x41\","
              "\"pid\":4711,\"tid\":4712,"
              "\"insn\":\"mov byte ptr [rax], dl\",\"pc\":\"driver+0x1189\","
              "\"stack\":7,\"time\":\"1700000000.000042\"}\n");
}

TEST(port_without_register)
{
    struct trace_record r = sample_access(TRACE_NONE, TRACE_NONE, 0x70, TRACE_READ, 1, 0xff);

    r.type = TRACE_PORT;
    r.insn_len = 0;
    r.flags = TRACE_PRIVATE_PC;
    CHECK_STR(json(&r, 0), "{\"type\":\"port\",\"seq\":1,\"op\":\"read\",\"width\":1,\"addr\":\"0x70\","
                           "\"device\":\"unmapped\","
                           "\"offset\":112,\"register\":null,\"value\":\"0xff\","
                           "\"pid\":1,\"tid\":1,\"insn\":\"\",\"pc\":\"?\","
                           "\"stack\":0}\n");
}

TEST(stack)
{
    struct fmt out = FMT_INIT(buffer);

    trace_print_json_stack(&out, 7, &sample_names);
    trace_print_json_stack(&out, 8, &sample_names);
    CHECK_STR(fmt_end(&out), "{\"type\":\"stack\",\"id\":7,\"frames\":[\"uart_putc+0x1c (driver)\","
                             "\"main+0x44 (driver)\"]}\n"
                             "{\"type\":\"stack\",\"id\":8,\"frames\":[]}\n");
}

TEST(lint)
{
    struct trace_record r = sample_access(1, REG_MAGIC, 0, TRACE_READ, 8, 0);

    r.type = TRACE_LINT;
    r.seq = 9;
    memcpy(r.text, "wide-access\0register takes \"4\"", 30);
    CHECK_STR(json(&r, 0), "{\"type\":\"lint\",\"rule\":\"wide-access\",\"seq\":9,\"device\":\"virtio_mmio@10001000\","
                           "\"register\":\"MagicValue\",\"text\":\"register takes \\\"4\\\"\"}\n");
}

TEST(others)
{
    struct trace_record r = {.type = TRACE_DMA, .op = TRACE_WRITE, .device = 1, .reg = TRACE_NONE, .width = 512};

    r.addr = 0x80002000;
    CHECK_STR(json(&r, 0), "{\"type\":\"dma\",\"device\":\"virtio_mmio@10001000\",\"op\":\"write\","
                           "\"addr\":\"0x80002000\","
                           "\"length\":512,\"ok\":true}\n");
    r.flags = TRACE_FAILED;
    CHECK(strstr(json(&r, 0), "\"ok\":false}\n") != NULL);
    r = (struct trace_record){.type = TRACE_IRQ, .device = 0, .reg = TRACE_NONE, .addr = 10, .width = 1};
    CHECK_STR(json(&r, 0), "{\"type\":\"irq\",\"device\":\"uart@10000000\",\"line\":10,\"level\":1}\n");
    r = (struct trace_record){.type = TRACE_MARK};
    memcpy(r.text, "a\nb\xff", 4);
    CHECK_STR(json(&r, 0), "{\"type\":\"mark\",\"text\":\"a\\u000ab\\ufffd\"}\n");
    r = sample_access(TRACE_NONE, TRACE_NONE, 0x30000000, TRACE_READ, 4, 0);
    r.type = TRACE_FAULT;
    CHECK_STR(json(&r, 0),
              "{\"type\":\"fault\",\"op\":\"read\",\"width\":4,\"addr\":\"0x30000000\",\"pc\":\"driver+0x1189\"}\n");
    r = sample_access(0, REG_LSR, 5, TRACE_READ, 1, 999);
    r.type = TRACE_REPEAT;
    CHECK_STR(json(&r, 0), "{\"type\":\"repeat\",\"seq\":1,\"count\":999}\n");
}

TEST(summary)
{
    static const struct range ranges[] = {{0x80000000, 0x2000}, {0x80004000, 0x3000}};
    struct trace_bank bank = {"memory@80000000", {0x80000000, 0x20000000}};
    struct trace_totals totals = {42, 30, 12, 1, 0};
    struct fmt out = FMT_INIT(buffer);

    trace_print_bank(&out, &bank, true);
    trace_print_window(&out, &sample_devices[0], true);
    trace_print_dirty(&out, "uffd", 5, 131072, ranges, 2, "no note in JSON", true);
    trace_print_exit(&out, &totals, true);
    CHECK_STR(fmt_end(&out),
              "{\"type\":\"map\",\"kind\":\"ram\",\"base\":\"0x80000000\","
              "\"size\":536870912,\"device\":\"memory@80000000\","
              "\"compatible\":null}\n"
              "{\"type\":\"map\",\"kind\":\"mmio\",\"base\":\"0x10000000\",\"size\":4096,\"device\":\"uart@10000000\","
              "\"compatible\":\"ns16550a\"}\n"
              "{\"type\":\"dirty\",\"mode\":\"uffd\",\"pages\":5,\"total\":131072,"
              "\"ranges\":[\"0x80000000-0x80001fff\",\"0x80004000-0x80006fff\"]}\n"
              "{\"type\":\"exit\",\"accesses\":42,\"reads\":30,\"writes\":12,\"lint\":1,\"lost\":0}\n");
}

/* Whatever the record holds: one line, no raw control character. */
TEST(hostile_records)
{
    struct trace_record r;
    unsigned seed = 2;

    for (unsigned round = 0; round < 20000; round++) {
        u8 *bytes = (u8 *)&r;
        const char *line;

        for (size_t i = 0; i < sizeof(r); i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = (u8)(seed >> 16) | (i >= sizeof(r) - TRACE_TEXT);
        }
        r.type = (u8)(1 + round % 8);
        r.device = (u16)(round % 4);
        r.reg = (u16)(round % 9);
        line = json(&r, round & 7);
        CHECK(strchr(line, '\n') == line + strlen(line) - 1);
    }
}
