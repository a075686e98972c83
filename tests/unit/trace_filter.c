/* MMIOSHIM_LOG_FILTER, and the search for registers. */
#include "unit.h"

#include "trace_sample.h"

static struct trace_filter filter;

static const char *wrong(const char *text)
{
    const char *why = NULL;
    int ret = trace_filter_parse(&filter, text, &why);

    return ret == 0 ? (why ? "no error, but a reason" : "") : why;
}

static bool shows(const char *text, const struct trace_record *r)
{
    CHECK_STR(wrong(text), "");
    return trace_filter_match(&filter, r, &sample_names);
}

TEST(accepts)
{
    CHECK_STR(wrong(""), "");
    CHECK_STR(wrong("all"), "");
    CHECK_EQ(filter.op, 0xff);
    CHECK(!filter.by_addr);
    CHECK_STR(wrong("device=uart*,op=write,addr=0x10000000-0x10000fff"), "");
    CHECK_STR(filter.device, "uart*");
    CHECK_EQ(filter.op, TRACE_WRITE);
    CHECK(filter.by_addr);
    CHECK_EQ(filter.first, 0x10000000);
    CHECK_EQ(filter.last, 0x10000fff);
    CHECK_STR(wrong("addr=0XfFfFfFfFfFfFfFfF"), "");
    CHECK_EQ(filter.first, UINT64_MAX);
    CHECK_EQ(filter.last, UINT64_MAX);
    CHECK_STR(wrong("addr=4096-4097,op=read"), "");
    CHECK_EQ(filter.last, 4097);
}

#define REFUSES(text, part) CHECK(strstr(wrong(text), part) != NULL)

TEST(refuses)
{
    REFUSES("uart", "KEY=VALUE; allowed: device=GLOB, op=read|write, addr=FIRST-LAST");
    REFUSES("colour=red", "unknown key; allowed: device=GLOB");
    REFUSES("op=both", "op is read or write");
    REFUSES("op=", "op is read or write");
    REFUSES("op=read,op=write", "given twice");
    REFUSES("device=a,device=b", "given twice");
    REFUSES("device=", "needs a name");
    REFUSES("addr=1,addr=2", "given twice");
    REFUSES("addr=", "addr is FIRST-LAST");
    REFUSES("addr=0x", "addr is FIRST-LAST");
    REFUSES("addr=1-", "addr is FIRST-LAST");
    REFUSES("addr=-1", "addr is FIRST-LAST");
    REFUSES("addr=1z", "addr is FIRST-LAST");
    REFUSES("addr=12a", "addr is FIRST-LAST");
    REFUSES("addr=0x10000000000000000", "addr is FIRST-LAST");
    REFUSES("addr=18446744073709551616", "addr is FIRST-LAST");
    REFUSES("addr=2-1", "before the first");
    REFUSES("op=read,", "KEY=VALUE");
    REFUSES("op=read,all", "all stands alone");
    REFUSES("device=0123456789012345678901234567890123456789012345678901234567890123", "63 characters");
}

TEST(matches_devices)
{
    struct trace_record r = sample_access(0, REG_LSR, 5, TRACE_READ, 1, 0);

    CHECK(shows("", &r));
    CHECK(shows("device=uart*", &r));
    CHECK(shows("device=*", &r));
    CHECK(shows("device=uart@10000000", &r));
    CHECK(shows("device=u?rt@*0", &r));
    CHECK(shows("device=*@1*00**", &r));
    CHECK(!shows("device=uart", &r));
    CHECK(!shows("device=uart@1000000", &r));
    CHECK(!shows("device=art*", &r));
    CHECK(!shows("device=*1", &r));
    CHECK(!shows("device=uart@10000000?", &r));
    r.device = TRACE_NONE;
    CHECK(shows("device=unmapped", &r));
    CHECK(!shows("device=uart*", &r));
}

TEST(matches_op_and_address)
{
    struct trace_record r = sample_access(0, REG_LSR, 0x10, TRACE_READ, 4, 0);

    CHECK(shows("op=read", &r));
    CHECK(!shows("op=write", &r));
    CHECK(!shows("device=uart*,op=write", &r));
    CHECK(shows("addr=0x10000010", &r));
    CHECK(shows("addr=0x10000013-0x10000020", &r));
    CHECK(shows("addr=0-0x10000010", &r));
    CHECK(!shows("addr=0x10000014-0x10000020", &r));
    CHECK(!shows("addr=0-0x1000000f", &r));
    r.addr = UINT64_MAX - 3;
    CHECK(shows("addr=0xffffffffffffffff", &r));
    CHECK(!shows("addr=0-3", &r));
}

TEST(other_events)
{
    struct trace_record r = {.type = TRACE_IRQ, .device = 0, .addr = 10};

    CHECK(shows("device=uart*", &r));
    CHECK(!shows("device=virtio*", &r));
    CHECK(!shows("op=read", &r));
    CHECK(!shows("addr=10", &r));
    r.type = TRACE_MARK;
    r.device = TRACE_NONE;
    CHECK(shows("device=virtio*,op=write,addr=1", &r));
    r.type = TRACE_FAULT;
    CHECK(shows("device=virtio*,op=write,addr=1", &r));
}

static u16 element;

static u16 uart(u64 offset, unsigned view, bool write)
{
    return trace_find_register(uart_registers, ARRAY_SIZE(uart_registers), offset, view, write, &element);
}

static u16 other(u64 offset)
{
    return trace_find_register(other_registers, ARRAY_SIZE(other_registers), offset, 0, false, &element);
}

TEST(registers_by_view_and_direction)
{
    CHECK_EQ(uart(0, 0, false), REG_RBR);
    CHECK_EQ(uart(0, 0, true), REG_THR);
    CHECK_EQ(uart(0, 1, false), REG_DLL);
    CHECK_EQ(uart(0, 1, true), REG_DLL);
    CHECK_EQ(uart(1, 0, true), REG_IER);
    CHECK_EQ(uart(1, 1, true), REG_DLM);
    CHECK_EQ(uart(1, 2, true), REG_IER);
    /* A write to a register that can only be read still has its name. */
    CHECK_EQ(uart(5, 0, true), REG_LSR);
    CHECK_EQ(uart(2, 0, false), TRACE_NONE);
    CHECK_EQ(uart(6, 0, false), TRACE_NONE);
    CHECK_EQ(uart(UINT64_MAX, 0, false), TRACE_NONE);
    CHECK_EQ(trace_find_register(NULL, 0, 0, 0, false, &element), TRACE_NONE);
}

TEST(registers_in_arrays)
{
    CHECK_EQ(other(0x100), REG_PRIORITY);
    CHECK_EQ(element, 0);
    CHECK_EQ(other(0x11c), REG_PRIORITY);
    CHECK_EQ(element, 7);
    CHECK_EQ(other(0x120), TRACE_NONE);
    /* Two arrays that take turns. */
    CHECK_EQ(other(0x210), REG_THRESHOLD);
    CHECK_EQ(element, 1);
    CHECK_EQ(other(0x224), REG_CLAIM);
    CHECK_EQ(element, 2);
    CHECK_EQ(other(0x208), TRACE_NONE);
    CHECK_EQ(other(0x230), TRACE_NONE);
    CHECK_EQ(other(2), REG_MAGIC);
    CHECK_EQ(other(4), TRACE_NONE);
    CHECK_EQ(other(0x304), REG_MTIME);
}
