/* What a network card does for its driver, against RFC 1071, 791, 8200 and 9293, computed here in another way. */
#include "virtio_driver.h"

enum { RX, TX, HEADER = 12, TX_AT = DRIVER_DATA, RX_AT = DRIVER_DATA + 0x20000, RX_STEP = 2048 };
enum { F_CSUM = 1, F_GUEST_CSUM = 2, F_GUEST_TSO4 = 1 << 7, F_GUEST_TSO6 = 1 << 8, F_TSO4 = 1 << 11, F_TSO6 = 1 << 12, F_ECN = 1 << 13, F_MRG = 1 << 15 };
enum { NEEDS_CSUM = 1, TCPV4 = 1, UDP = 3, TCPV6 = 4, ECN = 0x80 };

struct header {
    u8 flags, gso_type;
    u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static void start(const char *attachment, u64 features)
{
    driver_machine(attachment);
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | features));
    driver_queue(RX, 64);
    driver_queue(TX, 8);
    driver_go();
}

static void send(struct header h, const u8 *frame, u32 n)
{
    memcpy(at(TX_AT), &h, HEADER);
    memcpy(at(TX_AT + HEADER), frame, n);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, HEADER + n, false}}, 1);
    driver_kick(TX);
}

static unsigned lost(void)
{
    u32 id, length;
    unsigned before = vm.nframes;

    CHECK(driver_take(TX, &id, &length));
    CHECK(!driver_broken());
    return before == 0;
}

/* The sum of 16-bit words, modulo 65535: as an integer of many bits, not folded on the way. */
static u16 sum(const u8 *p, u32 n, u64 more)
{
    for (u32 i = 0; i < n; i++)
        more += (u64)p[i] << (i % 2 ? 0 : 8);
    return (u16)(more % 65535);
}

static u32 big(const u8 *p, unsigned n)
{
    u32 value = 0;

    while (n--)
        value = value << 8 | *p++;
    return value;
}

/* An IPv4 or IPv6 frame with a TCP segment whose payload counts up; its length. csum: as 5.1.6.2 wants it. */
static u32 segment(u8 *frame, bool six, bool tag, u32 payload, struct header *h)
{
    u32 ip = tag ? 18 : 14, tcp = ip + (six ? 40 : 20), data = tcp + 32, n = data + payload, pseudo;

    memset(frame, 0, data);
    memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
    if (tag)
        memcpy(frame + 12, "\x81\x00\x00\x05", 4);
    memcpy(frame + ip - 2, six ? "\x86\xdd" : "\x08\x00", 2);
    if (six) {
        frame[ip] = 0x60;
        frame[ip + 6] = 6;
        memset(frame + ip + 8, 0xab, 32);
    } else {
        frame[ip] = 0x45;
        memcpy(frame + ip + 4, "\xff\xfe", 2); /* the identification runs over */
        frame[ip + 9] = 6;
        memcpy(frame + ip + 12, "\x0a\0\0\1\x0a\0\0\2", 8);
    }
    memcpy(frame + tcp, "\x12\x34\0\x50\xff\xff\xff\x00", 8); /* the sequence number runs over */
    frame[tcp + 12] = 0x80;
    frame[tcp + 13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR, ACK, PSH, FIN */
    for (u32 i = 0; i < payload; i++)
        frame[data + i] = (u8)(i * 7 + (i >> 8));
    pseudo = sum(frame + (six ? ip + 8 : ip + 12), six ? 32 : 8, 6 + n - tcp);
    frame[tcp + 16] = (u8)(pseudo >> 8);
    frame[tcp + 17] = (u8)pseudo;
    *h = (struct header){.flags = NEEDS_CSUM, .csum_start = (u16)tcp, .csum_offset = 16, .hdr_len = (u16)data};
    return n;
}

/* A whole frame: lengths and checksums are right. */
static void check_frame(const u8 *frame, u32 n, bool six, bool tag)
{
    u32 ip = tag ? 18 : 14, tcp = ip + (six ? 40 : 20);

    CHECK_EQ(big(frame + ip + (six ? 4 : 2), 2), six ? n - tcp : n - ip);
    if (!six)
        CHECK_EQ(sum(frame + ip, 20, 0), 0);
    CHECK_EQ(sum(frame + tcp, n - tcp, (six ? sum(frame + ip + 8, 32, 0) : sum(frame + ip + 12, 8, 0)) + 6ull + n - tcp), 0);
}

static void checksum(void)
{
    u8 frame[2000];

    for (unsigned way = 0; way < 4; way++)
        for (u32 payload = 0; payload < 4; payload++) {
            bool six = way & 1, tag = way & 2;
            struct header h;
            u32 n = segment(frame, six, tag, payload, &h), ip = tag ? 18 : 14;

            if (six)
                frame[ip + 5] = (u8)(n - ip - 40);
            else
                frame[ip + 3] = (u8)(n - ip);
            if (!six) {
                u16 c = (u16)~sum(frame + ip, 20, 0);

                frame[ip + 10] = (u8)(c >> 8);
                frame[ip + 11] = (u8)c;
            }
            start("net:pcap", F_CSUM);
            send(h, frame, n);
            CHECK_EQ(vm.frame_length, n);
            check_frame(vm.frame, n, six, tag);
        }
}

/* A checksum of 0 means that there is none (RFC 768): it is written as ones, which is the same number. */
static void zero_checksum(void)
{
    u8 frame[60] = {[12] = 8};
    struct header h = {.flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};

    memset(frame + 34, 0xff, 2);
    start("net:pcap", F_CSUM);
    send(h, frame, sizeof(frame));
    CHECK_EQ(vm.nframes, 1);
    CHECK_EQ(big(vm.frame + 40, 2), 0xffff);
}

static void cut(void)
{
    static u8 large[65550];

    for (unsigned way = 0; way < 4; way++) {
        bool six = way & 1, tag = way & 2;
        struct header h;
        u32 payload = 10000, n = segment(large, six, tag, payload, &h), tcp = h.csum_start, data = tcp + 32, done = 0;
        const u8 *frame = vm.wire;

        start("net:pcap", F_CSUM | F_TSO4 | F_TSO6 | F_ECN);
        h.gso_type = (u8)((six ? TCPV6 : TCPV4) | ECN);
        h.gso_size = 1400;
        send(h, large, n);
        CHECK_EQ(vm.nframes, 8);
        for (unsigned i = 0; i < 8; i++) {
            u32 length = (u32)vm.wire_frames[i], part = length - data;

            CHECK_EQ(part, i < 7 ? 1400 : 200);
            check_frame(frame, length, six, tag);
            CHECK(memcmp(frame + data, large + data + done, part) == 0);
            CHECK(memcmp(frame, large, tcp - (six ? 40 : 20)) == 0);
            CHECK_EQ(big(frame + tcp + 4, 4), (u32)(0xffffff00 + done));
            CHECK_EQ(frame[tcp + 13], 0x10 | (i == 0 ? 0x80 : 0) | (i == 7 ? 0x09 : 0));
            if (!six)
                CHECK_EQ(big(frame + tcp - 16, 2), (u16)(0xfffe + i));
            done += part;
            frame += length;
        }
        CHECK_EQ(done, payload);
    }
}

/* 5.1.6.3, 5.1.6.4: a driver that takes them gets large ones, and sums undone, in a loopback; else they are done. */
static void loopback(void)
{
    static u8 large[65550];
    struct header h, back;
    u32 n = segment(large, false, false, 60000, &h), id, length = 0, total = 0, count = 0;

    h.gso_type = TCPV4;
    h.gso_size = 1460;
    start("net:loopback", F_CSUM | F_TSO4 | F_GUEST_CSUM | F_GUEST_TSO4 | F_MRG);
    for (unsigned i = 0; i < 40; i++)
        driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT + RX_STEP * i, RX_STEP, true}}, 1);
    driver_kick(RX);
    send(h, large, n);
    while (driver_take(RX, &id, &length)) {
        total += length;
        count++;
    }
    CHECK_EQ(total, HEADER + n);
    CHECK_EQ(count, (HEADER + n + RX_STEP - 1) / RX_STEP);
    memcpy(&back, at(RX_AT), sizeof(back));
    CHECK_EQ(back.num_buffers, count);
    CHECK(memcmp(&back, &h, 10) == 0);
    CHECK(memcmp(at(RX_AT + HEADER), large, RX_STEP - HEADER) == 0);

    n = segment(large, false, false, 2000, &h);
    h.gso_type = TCPV4;
    h.gso_size = 1400;
    start("net:loopback", F_CSUM | F_TSO4 | F_GUEST_CSUM);
    for (unsigned i = 0; i < 2; i++)
        driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT + RX_STEP * i, RX_STEP, true}}, 1);
    driver_kick(RX);
    send(h, large, n);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(driver_take(RX, &id, &length));
        CHECK_EQ(length, HEADER + 66 + (i ? 600 : 1400));
        memcpy(&back, at(RX_AT + RX_STEP * i), sizeof(back));
        CHECK_EQ(back.flags | back.gso_type, 0);
        check_frame(at(RX_AT + RX_STEP * i + HEADER), length - HEADER, false, false);
    }
}

/* 5.1.6.2.2: what a header says is not believed */
static void lies(void)
{
    static u8 frame[65550];
    struct header good, h;
    u32 n = segment(frame, false, false, 3000, &good);

    good.gso_type = TCPV4;
    good.gso_size = 1000;
#define LIE(change) \
    do { \
        h = good; \
        change; \
        start("net:pcap", F_CSUM | F_TSO4 | F_TSO6); \
        send(h, frame, n); \
        CHECK(lost()); \
    } while (0)
    LIE(h.csum_start = 0xffff);
    LIE(h.csum_start = (u16)n);
    LIE(h.csum_start = (u16)(n - 1));
    LIE(h.csum_offset = 0xffff);
    LIE(h.csum_offset = (u16)(n - h.csum_start - 1));
    LIE(h.csum_offset = 6); /* that of UDP */
    LIE(h.csum_start = 14); /* not where TCP is */
    LIE(h.csum_start = 35);
    LIE(h.flags = 0);
    LIE(h.gso_size = 0);
    LIE(h.gso_size = 1); /* 3000 frames */
    LIE(h.gso_size = 1500); /* longer than the wire takes */
    LIE(h.gso_size = 0xffff);
    LIE(h.gso_type = TCPV6);
    LIE(h.gso_type = UDP); /* not offered */
    LIE(h.gso_type = 2);
    LIE(h.gso_type = TCPV4 | ECN); /* not accepted */
    LIE(h.gso_type = ECN);
    LIE(h.gso_type = 0); /* then it is too long */
    LIE(frame[14] = 0x4f);
    frame[14] = 0x45;
    LIE(frame[46] = 0x40); /* a TCP header of 16 bytes */
    LIE(frame[46] = 0xf0; n = 34 + 59); /* of 60, of which one is missing */
    n = segment(frame, false, false, 3000, &h);
    LIE(frame[23] = 17);
    frame[23] = 6;
    LIE(frame[12] = 0x81; frame[13] = 0); /* tags to the end */
    memset(frame, 0x81, n);
    for (u32 i = 13; i < n; i += 2)
        frame[i] = 0;
    LIE(h.csum_start = (u16)(n - 20));
#undef LIE
    n = segment(frame, false, false, 3000, &h);
    start("net:pcap", F_CSUM | F_TSO4);
    send(good, frame, n); /* and without a lie it is sent */
    CHECK_EQ(vm.nframes, 3);
}

static const struct clause clauses[] = {
    {"5.1.6.2", "a checksum that is left to the card", checksum},
    {"5.1.6.2", "a checksum of 0", zero_checksum},
    {"5.1.6.2", "a large segment is cut", cut},
    {"5.1.6.4", "what comes back to a driver that takes it undone", loopback},
    {"5.1.6.2.2", "headers that lie", lies},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
