/*
 * A disk that answers later, with several requests at once: RAM alone tells that they are done, no register is touched
 * behind the notification.
 *
 *   g_virtio_later ROUNDS [COMM...]   reads and writes; in each round kills the process of its machine of that name in the middle
 *   g_virtio_later polls              how often a register could be read while a request was under way
 *   g_virtio_later reset              resets the disk with requests under way, and goes on
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 8, ENTRIES = 32, BYTES = 3 * SECTOR };

struct big {
    struct descriptor desc[ENTRIES];
    struct { uint16_t flags, idx, ring[ENTRIES], event; } avail;
    struct { uint16_t flags, idx; struct { uint32_t id, len; } ring[ENTRIES]; uint16_t event; } used __attribute__((aligned(4)));
    struct request request[DEPTH] __attribute__((aligned(8)));
    uint8_t status[DEPTH];
};

static volatile struct big *const big = (volatile struct big *)(RAM + 0x300000);
static uint8_t *const data = (uint8_t *)(RAM + 0x310000);
static volatile sig_atomic_t children;

static void child_ended(int sig)
{
    (void)sig;
    children++;
}

static void moment(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void put(unsigned i, const volatile void *address, uint32_t len, uint16_t flags)
{
    big->desc[i] = (struct descriptor){(uintptr_t)address, len, flags, (uint16_t)(i + 1)};
}

static int set_up(struct disk *d)
{
    if (find(d) || negotiate(d))
        return -1;
    memset((void *)(uintptr_t)big, 0, sizeof(*big));
    reg_write(d, QUEUE_SEL, 0);
    reg_write(d, QUEUE_NUM, ENTRIES);
    reg_write64(d, QUEUE_DESC, big->desc);
    reg_write64(d, QUEUE_DRIVER, &big->avail);
    reg_write64(d, QUEUE_DEVICE, &big->used);
    reg_write(d, QUEUE_READY, 1);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return 0;
}

/* Request i: its own sectors, DEPTH times BYTES from the start on. */
static void request(unsigned i, uint32_t type)
{
    big->request[i] = (struct request){type, 0, i * (BYTES / SECTOR)};
    big->status[i] = 0xff;
    put(3 * i, &big->request[i], sizeof(struct request), DESC_NEXT);
    put(3 * i + 1, data + i * BYTES, BYTES, type == REQUEST_IN ? DESC_NEXT | DESC_WRITE : DESC_NEXT);
    put(3 * i + 2, &big->status[i], 1, DESC_WRITE);
    big->avail.ring[(uint16_t)(big->avail.idx + i) % ENTRIES] = (uint16_t)(3 * i);
}

static void submit_all(struct disk *d, uint32_t type)
{
    for (unsigned i = 0; i < DEPTH; i++)
        request(i, type);
    barrier();
    big->avail.idx = (uint16_t)(big->avail.idx + DEPTH);
    barrier();
    reg_write(d, QUEUE_NOTIFY, 0);
}

/* Each ends once, in order, with its length. */
static int wait_all(uint16_t before, uint32_t length)
{
    for (int i = 0; i < 30000 && (uint16_t)(big->used.idx - before) < DEPTH; i++)
        moment(1);
    if ((uint16_t)(big->used.idx - before) != DEPTH)
        return fprintf(stderr, "%u of %u requests ended\n", (unsigned)(uint16_t)(big->used.idx - before), (unsigned)DEPTH);
    for (unsigned i = 0; i < DEPTH; i++) {
        unsigned entry = (uint16_t)(before + i) % ENTRIES;

        if (big->used.ring[entry].id != 3 * i || big->used.ring[entry].len != length || big->status[i] != 0)
            return fprintf(stderr, "request %u: id %u, length %u, status %u\n", i, (unsigned)big->used.ring[entry].id,
                           (unsigned)big->used.ring[entry].len, big->status[i]);
    }
    return 0;
}

/* --- processes of the machine: their environment is that of this one --- */

static int contents(const char *pid, const char *name, char *buf, size_t size)
{
    char path[64];
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
    fd = open(path, O_RDONLY);
    n = fd < 0 ? -1 : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    buf[n < 0 ? 0 : n] = 0;
    return (int)n;
}

/* A helper has no environment, but the socket's path among its arguments. */
static int ours(const char *pid, const char *mark)
{
    char buf[65536];
    int n = contents(pid, "environ", buf, sizeof(buf));

    if (n > 0 && memmem(buf, (size_t)n, mark, strlen(mark)))
        return 1;
    n = contents(pid, "cmdline", buf, sizeof(buf));
    return n > 0 && memmem(buf, (size_t)n, mark, strlen(mark));
}

/* How many there are; sig 0: only that. */
static int kill_all(const char *comm, int sig)
{
    const char *mark = getenv("MARK");
    DIR *proc = opendir("/proc");
    char name[64];
    int killed = 0;

    for (struct dirent *e; proc && mark && (e = readdir(proc));) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || contents(e->d_name, "comm", name, sizeof(name)) <= 0)
            continue;
        name[strcspn(name, "\n")] = 0;
        if (strcmp(name, comm) != 0 || !ours(e->d_name, mark) || kill(atoi(e->d_name), sig) < 0)
            continue;
        killed++;
        for (int i = 0; sig && ours(e->d_name, mark) && i < 5000; i++)
            moment(1); /* until it has died: a signal may take its time */
    }
    closedir(proc);
    return killed;
}

/* Two are never killed before one of them can have noticed the end of the other. */
static int kill_one(const char *comm)
{
    bool both = kill_all("mmioshim-guard", 0) == 1 && kill_all("mmioshim-worker", 0) == 1;

    return both ? kill_all(comm, SIGKILL) : 0;
}

static unsigned kills;

/* On a busy machine the requests may all be over before: then there is nobody to kill, and another round will have one. */
static void kill_sure(const char *comm, uint16_t over)
{
    for (int i = 0; i < 5000; i++) {
        if (kill_one(comm)) {
            kills++;
            return;
        }
        if (*(volatile uint16_t *)&big->used.idx == over)
            return;
        moment(1);
    }
    fprintf(stderr, "no %s to kill\n", comm);
}

/* --- what is done --- */

static int round_of(struct disk *d, unsigned n, int argc, char **argv)
{
    uint16_t before = big->used.idx;

    for (unsigned i = 0; i < DEPTH * BYTES; i++)
        data[i] = (uint8_t)(n * 31 + i + i / 251);
    submit_all(d, REQUEST_OUT);
    for (int i = 0; i < argc; i++) {
        moment(3 + n % 4 * 5);
        kill_sure(argv[i], (uint16_t)(before + DEPTH));
    }
    if (wait_all(before, 1))
        return -1;
    memset(data, 0, DEPTH * BYTES);
    before = big->used.idx;
    submit_all(d, REQUEST_IN);
    for (int i = 0; i < argc; i++) {
        moment(3 + n % 3 * 6);
        kill_one(argv[i]);
    }
    if (wait_all(before, BYTES + 1))
        return -1;
    for (unsigned i = 0; i < DEPTH * BYTES; i++)
        if (data[i] != (uint8_t)(n * 31 + i + i / 251))
            return fprintf(stderr, "round %u: byte %u is not what was written\n", n, i);
    return 0;
}

static int rounds(struct disk *d, unsigned n, int argc, char **argv)
{
    signal(SIGCHLD, child_ended);
    for (unsigned i = 0; i <= n; i++)
        if (round_of(d, i, i ? argc : 0, argv))
            return 2;
    if (children || waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD)
        return fprintf(stderr, "a child that is none of ours\n");
    if (argc && !kills)
        return fprintf(stderr, "nobody was killed\n");
    printf("%u rounds\n", n);
    return 0;
}

static int polls(struct disk *d)
{
    uint16_t before = big->used.idx;
    unsigned n = 0;

    submit_all(d, REQUEST_IN);
    for (; big->used.idx == before; n++)
        reg_read(d, STATUS);
    if (wait_all(before, BYTES + 1))
        return 2;
    printf("%s\n", n >= 100 ? "many" : "few");
    return 0;
}

/* What was under way does not touch RAM any more, and what is asked for behind it is answered. */
static int reset(struct disk *d)
{
    submit_all(d, REQUEST_IN);
    moment(5);
    reg_write(d, STATUS, 0);
    memset(data, 0x55, DEPTH * BYTES);
    memset((void *)(uintptr_t)big, 0, sizeof(*big));
    if (set_up(d))
        return 1;
    moment(100);
    for (unsigned i = 0; i < DEPTH * BYTES; i++)
        if (data[i] != 0x55 || big->used.idx)
            return fprintf(stderr, "byte %u was changed behind the reset\n", i);
    return rounds(d, 1, 0, NULL);
}

int main(int argc, char **argv)
{
    struct disk d = {0};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || set_up(&d))
        return 1;
    if (strcmp(argv[1], "polls") == 0)
        return polls(&d);
    if (strcmp(argv[1], "reset") == 0)
        return reset(&d);
    return rounds(&d, (unsigned)atoi(argv[1]), argc - 2, argv + 2);
}
