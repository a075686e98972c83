/*
 * nbd: a disk that a server has, by the Network Block Device protocol over a
 * unix socket. A helper speaks it (tools/helper/nbd.c), since libnbd brings half
 * a dozen libraries with it. What is asked at the start, once a machine, is
 * how large the disk is.
 */
#include "backends/backend.h"
#include "backends/helper.h"

#include "base/mem.h"

#include "base/trapsafe.h"

#define PROGRAM "mmioshim-nbd"
#define PATIENCE 10 /* seconds until a server that says nothing is given up */

static char program[HELPER_PATH];

struct nbd {
    char socket[BACKEND_PATH], export[256];
    bool readonly;
};

static int parse(const struct backend_ops *ops, struct nbd *nbd, const char *spec, struct fmt *error)
{
    struct fmt path = FMT_INIT(nbd->socket), export = FMT_INIT(nbd->export);
    char option[288];
    struct fmt o = FMT_INIT(option);

    nbd->export[0] = 0;
    nbd->readonly = false;
    backend_next(&spec, &path);
    while (backend_next(&spec, &o)) {
        const char *name = backend_value(option, "export");

        if (name)
            fmt_str(&export, name);
        else if (strcmp(option, "readonly") == 0)
            nbd->readonly = true;
        else
            return backend_refuse(ops, option, error);
    }
    fmt_end(&export);
    if (nbd->socket[0] && !path.full && !export.full)
        return 0;
    fmt_str(error, "nbd needs the path of a unix socket");
    return -1;
}

static void arguments(const char **argv, const char *verb, const struct nbd *nbd)
{
    argv[0] = PROGRAM;
    argv[1] = verb;
    argv[2] = nbd->socket;
    argv[3] = nbd->export;
    argv[4] = nbd->readonly ? "readonly" : "readwrite";
    argv[5] = NULL;
}

static u64 decimal(const char *text)
{
    u64 n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = 10 * n + (u64)(*text - '0');
    return n;
}

/* The helper says "ok SIZE", or what is wrong. */
static int ask_size(struct backend *b, const struct nbd *nbd, struct fmt *error)
{
    char text[512];
    struct fmt answer = FMT_INIT(text);
    const char *argv[6];

    arguments(argv, "size", nbd);
    if (!helper_ask(program, argv, PATIENCE, &answer)) {
        fmt_printf(error, "cannot use %s as a disk: its server does not answer", nbd->socket);
        return -1;
    }
    b->size = strncmp(text, "ok ", 3) == 0 ? decimal(text + 3) : 0;
    if (b->size)
        return 0;
    fmt_printf(error, "cannot use %s as a disk: %s", nbd->socket, text);
    return -1;
}

static int nbd_open(struct backend *b, const char *spec, struct fmt *error)
{
    struct nbd nbd;

    if (parse(b->ops, &nbd, spec, error) < 0)
        return -1;
    if (!helper_find(PROGRAM, program)) {
        fmt_str(error, "nbd needs the program " PROGRAM " beside libmmioshim.so");
        return -1;
    }
    return b->size ? 0 : ask_size(b, &nbd, error);
}

static void nbd_close(struct backend *b)
{
    (void)b;
}

static u64 nbd_size(struct backend *b)
{
    return b->size;
}

static long nbd_serve(struct backend *b, const char *spec, int socket, int memory, int after)
{
    char text[16];
    struct fmt none = FMT_INIT(text);
    int fds[] = {socket, memory, after};
    const char *argv[6];
    struct nbd nbd;

    parse(b->ops, &nbd, spec, &none);
    arguments(argv, "serve", &nbd);
    return helper_start(program, argv, fds, after < 0 ? 2 : 3);
}

static const struct backend_disk nbd_ops = {
    .serve = nbd_serve,
    .size = nbd_size,
};

const struct backend_ops backend_nbd = {
    .name = "nbd",
    .options = ":SOCKET[,export=NAME][,readonly]",
    .doc = "a disk of an NBD server, by its unix socket",
    .open = nbd_open,
    .close = nbd_close,
    .disk = &nbd_ops,
};
