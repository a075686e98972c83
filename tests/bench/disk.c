/*
 * disk FILE plain|virtio: nanoseconds of a read or a write of a 4 KiB block at a random place of a file in the page cache.
 * plain: by pread and pwrite, and by memcpy from and to a mapping. virtio: by a virtio disk, with 1 and 32 requests under
 * way. Blocks go through 32 buffers in turn.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "measure.h"

#define SLOT ((uintptr_t)0x10001000)
#define RAM  ((void *)0x80000000)

static struct plain {
    int file;
    uint32_t blocks, random;
    uint8_t *map;
    uint8_t *data; /* DISK_DEPTH blocks */
} plain;

static void check(int ok)
{
    if (!ok)
        abort();
}

static uint8_t *buffer(long i)
{
    return plain.data + i % DISK_DEPTH * DISK_BLOCK;
}

static off_t place(void)
{
    return (off_t)disk_random(&plain.random, plain.blocks) * DISK_BLOCK;
}

static void reads(long n, void *at)
{
    (void)at;
    for (long i = 0; i < n; i++)
        check(pread(plain.file, buffer(i), DISK_BLOCK, place()) == DISK_BLOCK);
}

static void writes(long n, void *at)
{
    (void)at;
    for (long i = 0; i < n; i++)
        check(pwrite(plain.file, buffer(i), DISK_BLOCK, place()) == DISK_BLOCK);
}

static void copies_from(long n, void *at)
{
    (void)at;
    for (long i = 0; i < n; i++)
        memcpy(buffer(i), plain.map + place(), DISK_BLOCK);
}

static void copies_to(long n, void *at)
{
    (void)at;
    for (long i = 0; i < n; i++)
        memcpy(plain.map + place(), buffer(i), DISK_BLOCK);
}

static int without(const char *path)
{
    struct stat st;

    plain.file = open(path, O_RDWR);
    check(plain.file >= 0 && fstat(plain.file, &st) == 0);
    plain.blocks = (uint32_t)(st.st_size / DISK_BLOCK);
    plain.random = 1;
    plain.map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, plain.file, 0);
    plain.data = mmap(NULL, DISK_DEPTH * DISK_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(plain.map != MAP_FAILED && plain.data != MAP_FAILED);
    memset(plain.data, 0x5a, DISK_DEPTH * DISK_BLOCK);
    for (off_t at = 0; at < st.st_size; at += DISK_BLOCK) /* a page that becomes dirty costs several times as much */
        check(pwrite(plain.file, plain.data, DISK_BLOCK, at) == DISK_BLOCK);
    measure(&(struct job){"read", reads, NULL, NULL, 0});
    measure(&(struct job){"write", writes, NULL, NULL, 0});
    for (off_t at = 0; at < st.st_size; at += DISK_BLOCK) /* and a fault is no copy */
        *(volatile uint8_t *)(plain.map + at) = 0x5a;
    measure(&(struct job){"copy-from", copies_from, NULL, NULL, 0});
    measure(&(struct job){"copy-to", copies_to, NULL, NULL, 0});
    return 0;
}

struct way {
    struct disk *disk;
    uint32_t type;
    unsigned depth;
};

static void requests(long n, void *at)
{
    const struct way *way = at;

    check(disk_run(way->disk, way->type, way->depth, (uint32_t)n));
}

static int with(void)
{
    static const unsigned depths[] = {1, DISK_DEPTH};
    struct disk d;

    if (!disk_start(&d, SLOT, memset(RAM, 0, sizeof(struct disk_memory)))) {
        fprintf(stderr, "no virtio disk\n");
        return 1;
    }
    check(disk_run(&d, DISK_OUT, DISK_DEPTH, 8 * d.blocks)); /* as in without(): hardly any page is met for the first time */
    for (uint32_t type = DISK_IN; type <= DISK_OUT; type++)
        for (unsigned i = 0; i < 2; i++) {
            struct way way = {&d, type, depths[i]};
            char name[32];

            snprintf(name, sizeof(name), "%s-%u", type == DISK_IN ? "read" : "write", depths[i]);
            measure(&(struct job){name, requests, NULL, &way, 1l << 30});
        }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    pin_last();
    return strcmp(argv[2], "plain") == 0 ? without(argv[1]) : with();
}
