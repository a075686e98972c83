/*
 * A disk whose rings are polled: what the driver makes available is served without a notification.
 *
 *   g_virtio_poll never N    never writes to QueueNotify, N requests, an idle moment, N more
 *   g_virtio_poll asked N    notifies where the device wants it: "N requests, fewer notifications", and then whether the
 *                            device wants it again and its worker sleeps; with a third argument from when it wants none on
 *   g_virtio_poll cut FILE   never notifies; the file of the disk is cut between requests: their statuses
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main
#include <dirent.h>
#include <time.h>
#include <unistd.h>

enum { NO_NOTIFY = 1 };

static unsigned notified;

static void moment(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* As submit(), but that no register is read. */
static int request(struct disk *d, uint64_t sector, int never)
{
    ram->request.type = REQUEST_IN;
    ram->request.sector = sector;
    ram->status = 0xff;
    describe(0, &ram->request, sizeof(ram->request), DESC_NEXT);
    describe(1, ram->data, SECTOR, DESC_NEXT | DESC_WRITE);
    describe(2, &ram->status, 1, DESC_WRITE);
    ram->avail.ring[ram->avail.idx % QUEUE_SIZE] = 0;
    barrier();
    ram->avail.idx++;
    barrier();
    if (!never && !(ram->used.flags & NO_NOTIFY)) {
        notified++;
        reg_write(d, QUEUE_NOTIFY, 0);
    }
    for (long i = 0; ram->used.idx == d->last_used; i++) {
        if (i > 20000)
            moment(1);
        if (i > 50000)
            return fprintf(stderr, "request %u: not served\n", (unsigned)d->last_used);
    }
    barrier();
    d->last_used++;
    return ram->status;
}

static int requests(struct disk *d, unsigned n, int never)
{
    char want[32];

    for (unsigned i = 0; i < n; i++) {
        unsigned sector = i % (unsigned)d->capacity;

        snprintf(want, sizeof(want), "sector %08u ", sector);
        if (request(d, sector, never) || memcmp((void *)(uintptr_t)ram->data, want, 16) != 0)
            return fprintf(stderr, "sector %u: not what it holds\n", sector);
    }
    return 0;
}

/* How often the worker of this machine went to sleep; -1: there is none. */
static long sleeps(void)
{
    const char *mark = getenv("MARK");
    DIR *proc = opendir("/proc");
    char path[300], text[65536];
    long n = -1;

    for (struct dirent *e; proc && mark && (e = readdir(proc));) {
        FILE *f;
        size_t got;

        snprintf(path, sizeof(path), "/proc/%s/environ", e->d_name);
        f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        got = f ? fread(text, 1, sizeof(text), f) : 0;
        if (f)
            fclose(f);
        snprintf(path, sizeof(path), "/proc/%s/status", e->d_name);
        f = got && memmem(text, got, mark, strlen(mark)) ? fopen(path, "r") : NULL;
        got = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
        if (f)
            fclose(f);
        text[got] = 0;
        if (strstr(text, "Name:\tmmioshim-worker") && strstr(text, "\nvoluntary_ctxt_switches:\t"))
            n = atol(strstr(text, "\nvoluntary_ctxt_switches:\t") + 26);
    }
    closedir(proc);
    return n;
}

static int asked(struct disk *d, unsigned n, int begins)
{
    long before = -1;

    for (int i = 0; begins && !(ram->used.flags & NO_NOTIFY) && i < 20000; i++, moment(1))
        if (requests(d, 1, 0))
            return 2;
    notified = 0;
    if (requests(d, n, 0))
        return 2;
    printf("%u requests, %s notifications\n", n, notified < n ? "fewer" : "as many");
    for (int i = 0; (ram->used.flags & NO_NOTIFY) && i < 20000; i++)
        moment(1);
    for (int i = 0; i < 100; i++) { /* it may take its time until it does */
        before = sleeps();
        moment(200);
        if (sleeps() == before)
            break;
    }
    printf("%s, the worker %s\n", ram->used.flags & NO_NOTIFY ? "hushed" : "notifications wanted",
           before < 0 ? "is not there" : sleeps() == before ? "sleeps" : "looks");
    return requests(d, 10, 0) ? 2 : 0;
}

/* The file behind the disk is cut to its first page: who copies from a mapping of it, never notified, finds nothing there. */
static int cut(struct disk *d, const char *file)
{
    int before = request(d, 32, 1), there, gone;

    if (truncate(file, 4096) != 0)
        return 3;
    gone = request(d, 32, 1);
    there = request(d, 0, 1);
    printf("%d %d %d\n", before, gone, there);
    return 0;
}

int main(int argc, char **argv)
{
    struct disk d = {0};
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 10;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || bring_up(&d))
        return 1;
    if (strcmp(argv[1], "asked") == 0)
        return asked(&d, n, argc > 3);
    if (strcmp(argv[1], "cut") == 0)
        return argc > 2 ? cut(&d, argv[2]) : 1;
    if (requests(&d, n, 1))
        return 2;
    moment(300);
    if (requests(&d, n, 1))
        return 2;
    printf("%u requests\n", 2 * n);
    return 0;
}
