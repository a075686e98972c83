/* pcap: capture files as others write them, and as others read them. */
#include "backend_sample.h"

static struct backend b;
static char in[64], out[64];

static void names(void)
{
    snprintf(in, sizeof(in), "/tmp/backend_pcap.in.%d", (int)getpid());
    snprintf(out, sizeof(out), "/tmp/backend_pcap.out.%d", (int)getpid());
}

static void put(FILE *f, u32 value, unsigned n, bool big)
{
    for (unsigned i = 0; i < n; i++)
        fputc((int)(value >> 8 * (big ? n - 1 - i : i) & 0xff), f);
}

static FILE *begin(u32 magic, u32 link, bool big)
{
    FILE *f = fopen(in, "wb");

    put(f, magic, 4, big);
    put(f, 2, 2, big);
    put(f, 4, 2, big);
    put(f, 0, 4, big);
    put(f, 0, 4, big);
    put(f, 262144, 4, big);
    put(f, link, 4, big);
    return f;
}

static void record(FILE *f, u32 captured, u32 length, int value, bool big)
{
    put(f, 0, 4, big);
    put(f, 0, 4, big);
    put(f, captured, 4, big);
    put(f, length, 4, big);
    for (u32 i = 0; i < captured && captured < 10000; i++)
        fputc(value, f);
}

static int open_pcap(const char *format, const char *path)
{
    char spec[200];

    snprintf(spec, sizeof(spec), format, path);
    b.first = true;
    return open_end(&b, spec);
}

static void reads(u32 magic, bool big)
{
    u8 frame[2048];
    u64 position = 0;
    FILE *f;

    names();
    f = begin(magic, 1, big);
    record(f, 60, 60, 1, big);
    record(f, 3000, 3000, 2, big); /* longer than the room */
    record(f, 64, 1500, 3, big);   /* cut short by who captured it */
    record(f, 1514, 1514, 4, big);
    record(f, 0x7fffffff, 60, 5, big); /* no sense: the end */
    record(f, 60, 60, 6, big);
    fclose(f);
    CHECK_EQ(open_pcap("pcap,in=%s", in), 0);
    CHECK_EQ(b.ops->packets->receive(&b, &position, frame, sizeof(frame)), 60);
    CHECK_EQ(frame[59], 1);
    CHECK_EQ(b.ops->packets->receive(&b, &position, frame, sizeof(frame)), 1514);
    CHECK_EQ(frame[0] + frame[1513], 8);
    CHECK_EQ(b.ops->packets->receive(&b, &position, frame, sizeof(frame)), -11 /* EAGAIN */);
    CHECK_EQ(b.ops->packets->receive(&b, &position, frame, sizeof(frame)), -11);
    CHECK_EQ(b.ops->packets->send(&b, frame, 60), 60);
    backend_close(&b);
    unlink(in);
}

TEST(all_byte_orders)
{
    reads(0xa1b2c3d4, false);
    reads(0xa1b2c3d4, true);
    reads(0xa1b23c4d, false);
    reads(0xa1b23c4d, true);
}

TEST(what_is_written_can_be_read)
{
    u8 frame[100], got[100];
    u64 position = 0;

    names();
    CHECK_EQ(open_pcap("pcap,out=%s", out), 0);
    CHECK_EQ(b.ops->packets->receive(&b, &position, got, sizeof(got)), -11);
    for (int i = 0; i < 3; i++) {
        memset(frame, i + 1, sizeof(frame));
        CHECK_EQ(b.ops->packets->send(&b, frame, (size_t)(60 + i)), 60 + i);
    }
    backend_close(&b);
    CHECK_EQ(open_pcap("pcap,in=%s", out), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(b.ops->packets->receive(&b, &position, got, sizeof(got)), 60 + i);
        CHECK_EQ(got[59 + i], i + 1);
    }
    CHECK_EQ(b.ops->packets->receive(&b, &position, got, sizeof(got)), -11);
    backend_close(&b);
    /* Another process of the machine goes on in the same file. */
    b.first = false;
    unlink(in);
    unlink(out);
}

TEST(refused)
{
    names();
    fclose(begin(0x0a0d0d0a, 1, false));
    CHECK_EQ(open_pcap("pcap,in=%s", in), -1);
    CHECK(strstr(error_text, "no pcap file"));
    fclose(begin(0xa1b2c3d4, 113, false));
    CHECK_EQ(open_pcap("pcap,in=%s", in), -1);
    CHECK(strstr(error_text, "not Ethernet"));
    fclose(fopen(in, "wb"));
    CHECK_EQ(open_pcap("pcap,in=%s", in), -1);
    CHECK(strstr(error_text, "no header"));
    unlink(in);
    CHECK_EQ(open_pcap("pcap,in=%s", in), -1);
    CHECK_EQ(open_pcap("pcap,out=%s", "/nonexistent/x"), -1);
    CHECK_EQ(open_pcap("pcap,file=%s", in), -1);
}
