/* socket: a server that waits for nobody, a client, and one connection for all processes of a machine. */
#include "backend_sample.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fds.h"

static struct backend b;
static char path[64];
static u32 *epoch;

static void setup(void)
{
    mask_signals();
    fds_own();
    alarm(60);
    epoch = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    b.epoch = epoch;
    b.first = true;
    snprintf(path, sizeof(path), "%s/socket", temporary_directory());
}

static int open_socket(const char *options)
{
    char spec[128];

    snprintf(spec, sizeof(spec), "socket:%s%s", path, options);
    return open_end(&b, spec);
}

static void serve(void)
{
    setup();
    if (open_socket(",server")) {
        printf("# %s\n", error_text);
        CHECK(!"the end opens");
        exit(1);
    }
}

static struct sockaddr_un address(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    strcpy(a.sun_path, path);
    return a;
}

static int come(void)
{
    struct sockaddr_un a = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static bool pending(void)
{
    return b.ops->poll(&b, BACKEND_IN, 0) & BACKEND_IN;
}

static void hear(int fd, const char *text)
{
    char got[64] = "";

    CHECK_EQ(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), strlen(text));
    CHECK_STR(got, text);
}

static void say_to(const char *text)
{
    for (; *text; text++)
        CHECK_EQ(b.ops->write(&b, text, 1), 1);
}

static void expect(const char *text)
{
    for (; *text; text++) {
        char c = 0;

        CHECK(pending());
        CHECK_EQ(b.ops->read(&b, &c, 1), 1);
        CHECK_EQ(c, *text);
    }
    CHECK(!pending());
}

TEST(nobody_is_there)
{
    char c;

    serve();
    CHECK(b.in > 2 && b.out == -1);
    CHECK(fcntl(b.in, F_GETFD) & FD_CLOEXEC);
    CHECK(!pending());
    CHECK(!b.ended);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, -1), BACKEND_OUT);
    CHECK_EQ(b.ops->write(&b, "lost", 4), 4);
    CHECK_EQ(b.ops->read(&b, &c, 1), (u64)-EAGAIN);
    CHECK(!b.ops->connected(&b));
    backend_close(&b);
    CHECK_EQ(access(path, F_OK), -1); /* its name is gone with it */
}

TEST(clients_come_and_go)
{
    int one, two;

    serve();
    one = come();
    two = come();
    CHECK_EQ(send(two, "two", 3, 0), 3);
    say_to("hello");
    CHECK(b.ops->connected(&b));
    hear(one, "hello");
    CHECK_EQ(send(one, "yes", 3, 0), 3);
    close(one); /* what he sent before is still there */
    expect("yestwo");
    say_to("hello, two");
    hear(two, "hello, two");
    close(two);
    CHECK(!pending());
    CHECK(!b.ops->connected(&b));
    say_to("lost");
    one = come();
    CHECK(!pending());
    say_to("again");
    hear(one, "again");
    CHECK_EQ(*epoch, 4 + 1); /* came, went and came, went, came */
}

/* shutdown(SHUT_WR), as `printf | socat` does it: he still wants to hear the answer. */
TEST(a_client_that_says_no_more)
{
    int one, two;

    serve();
    one = come();
    CHECK_EQ(send(one, "?", 1, 0), 1);
    shutdown(one, SHUT_WR);
    expect("?");
    say_to("answer");
    hear(one, "answer");
    two = come(); /* somebody who has something to say takes his place */
    CHECK_EQ(send(two, "!", 1, 0), 1);
    expect("!");
    say_to("to two");
    hear(two, "to two");
    CHECK_EQ(recv(one, &two, 1, MSG_DONTWAIT), 0);
}

TEST(a_client_that_does_not_read)
{
    char bytes[4096] = "", got[4096];
    long sent = 0, n, heard = 0;
    int one;

    serve();
    one = come();
    CHECK(!pending());
    while ((n = b.ops->write(&b, bytes, sizeof(bytes))) > 0)
        sent += n;
    CHECK_EQ(n, (u64)-EAGAIN);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 0), 0);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 20), 0);
    CHECK(sent > 0);
    while ((n = recv(one, got, sizeof(got), MSG_DONTWAIT)) > 0)
        heard += n;
    CHECK_EQ(heard, sent);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, -1), BACKEND_OUT);
    while ((n = b.ops->write(&b, bytes, sizeof(bytes))) > 0)
        ;
    close(one); /* and goes: nobody waits for him, and SIGPIPE is not raised */
    CHECK_EQ(b.ops->write(&b, bytes, sizeof(bytes)), sizeof(bytes));
    CHECK(!is_pending(SIGPIPE));
    CHECK(!pending());
    CHECK(!b.ops->connected(&b));
}

TEST(a_client_of_a_server)
{
    struct sockaddr_un a;
    int listener, fd;

    setup();
    a = address();
    CHECK_EQ(open_socket(""), (u64)-1);
    CHECK(strstr(error_text, "cannot connect to"));
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    CHECK_EQ(open_socket(""), (u64)-1); /* nobody listens */
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(open_socket(""), 0);
    fd = accept(listener, NULL, NULL);
    say_to("hello");
    hear(fd, "hello");
    CHECK_EQ(send(fd, "good", 4, 0), 4);
    close(fd);
    expect("good");
    CHECK(b.ended);
    CHECK(!b.ops->connected(&b));
    say_to("lost");
    backend_close(&b);
    CHECK_EQ(access(path, F_OK), 0); /* it is not ours */
}

TEST(names_that_are_taken)
{
    struct backend other = {.epoch = (u32[]){0}, .first = true};
    char spec[128];
    int fd;

    serve();
    snprintf(spec, sizeof(spec), "socket:%s,server", path);
    CHECK_EQ(open_end(&other, spec), (u64)-1);
    CHECK(strstr(error_text, "cannot listen at"));
    CHECK(!pending()); /* who asked is gone */
    close(fds_get(b.socket.listener)); /* as if killed: the name stays */
    close(fds_get(b.socket.box));
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_EQ(open_end(&other, spec), 0);
    fd = come();
    CHECK_EQ(other.ops->write(&other, "x", 1), 1);
    hear(fd, "x");
    backend_close(&other);
    fd = open(path, O_CREAT | O_WRONLY, 0600); /* a file is left alone */
    CHECK_EQ(open_end(&other, spec), (u64)-1);
    CHECK_EQ(access(path, F_OK), 0);
    close(fd);
}

TEST(specifications)
{
    static const char *const wrong[] = {"socket", "socket:", "socket:,server", "socket:/x,serve", "socket:/x,server,"};
    char text[256] = "socket:/";

    setup();
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK_EQ(open_end(&b, wrong[i]), (u64)-1);
    memset(text + 8, 'x', 107);
    CHECK_EQ(open_end(&b, text), (u64)-1);
    CHECK(strstr(error_text, "longer than 107 bytes"));
}

/* --- other processes --- */

/* Runs in a child that has what it inherits; its failures are ours. */
static void in_child(void (*run)(void))
{
    int status;

    if (fork() == 0) {
        fds_own();
        unit_failures = 0;
        run();
        fflush(stdout);
        _exit(unit_failures);
    }
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, 0);
}

static int client, second;

static void child_talks(void)
{
    say_to("child");
    hear(client, "child");
    CHECK_EQ(send(client, "abc", 3, 0), 3);
    CHECK(pending());
}

static void child_sees_him_go(void)
{
    close(client);
    CHECK(!pending());
    CHECK(!b.ops->connected(&b));
}

static void child_welcomes(void)
{
    say_to("2");
    hear(second, "2");
}

TEST(one_connection_for_all_processes)
{
    serve();
    client = come();
    say_to("parent");
    hear(client, "parent");
    in_child(child_talks);
    expect("abc");
    close(second = dup(client));
    shutdown(client, SHUT_RDWR);
    in_child(child_sees_him_go);
    CHECK(!b.ops->connected(&b));
    CHECK(b.out == -1);
    second = come();
    in_child(child_welcomes);
    say_to("parent again"); /* on a connection that only the child has accepted */
    hear(second, "parent again");
    in_child(child_welcomes);
}

/* Accepted by a process that is gone: the connection stays in the box. */
TEST(whoever_accepted_may_die)
{
    char got[32] = "";
    int fd;

    serve();
    fd = come();
    if (fork() == 0) {
        fds_own();
        say_to("x");
        kill(getpid(), SIGKILL);
    }
    wait(NULL);
    say_to("y");
    CHECK_EQ(recv(fd, got, sizeof(got), MSG_DONTWAIT), 2);
    CHECK_STR(got, "xy");
}

/* What exec does: nothing is left but the box. */
TEST(a_box_is_all_that_is_needed)
{
    struct backend other = {.epoch = NULL};
    int box, fd;

    serve();
    fd = come();
    say_to("1");
    box = dup(fds_get(b.socket.box));
    CHECK(b.ops->identity(NULL, box) == b.ops->identity(&b, -1));
    CHECK(b.ops->identity(NULL, fd) != b.ops->identity(&b, -1));
    other.epoch = epoch;
    CHECK_EQ(backend_socket.adopt(&other, box, &error), 0);
    other.ops = &backend_socket;
    CHECK_EQ(other.ops->write(&other, "2", 1), 1);
    hear(fd, "12");
    close(fd);
    CHECK(!(other.ops->poll(&other, BACKEND_IN, 0)));
    CHECK(!pending());
    CHECK(!b.ops->connected(&b));
    fd = come();
    CHECK_EQ(other.ops->write(&other, "3", 1), 1);
    say_to("4");
    hear(fd, "34");
}
