/* How a specification of a host end is read, and what is said of a wrong one. */
#include "backend_sample.h"

static struct backend b;

TEST(every_kind_is_known)
{
    unsigned kinds = 0;

    for (const struct backend_ops *const *kind = backend_kinds; *kind; kind++, kinds++) {
        bool stream = (*kind)->read && (*kind)->write && (*kind)->poll;

        CHECK((*kind)->open && (*kind)->close);
        CHECK_EQ(stream + !!(*kind)->disk + !!(*kind)->packets, 1);
        CHECK((*kind)->doc && (*kind)->options);
        CHECK(backend_kind((*kind)->name, strlen((*kind)->name)) == *kind);
    }
    CHECK_EQ(kinds, 13);
    CHECK(backend_kind("ptyx", 4) == NULL);
    CHECK(backend_kind("pt", 2) == NULL);
    CHECK(backend_kind("", 0) == NULL);
}

static void refused(const char *spec, const char *said)
{
    CHECK_EQ(open_end(&b, spec), -1);
    CHECK(b.ops == NULL);
    CHECK_EQ(b.in, -1);
    CHECK_EQ(b.out, -1);
    if (!strstr(error_text, said)) {
        printf("# %s: \"%s\" does not say \"%s\"\n", spec, error_text, said);
        CHECK(!"the message");
    }
}

TEST(wrong_ones_are_refused)
{
    char longest[6000];

    refused("serial", "unknown kind of host end \"serial\"; allowed: stdio, pty[,link=PATH], file:PATH");
    refused("", "unknown kind");
    refused(":", "unknown kind");
    refused("stdio:x", "allowed: stdio");
    refused("stdio,x", "\",x\"");
    refused("null,x", "allowed: null");
    refused("pty:x", "pty does not take \"x\"");
    refused("pty,lnk=x", "pty does not take \"lnk=x\"; allowed: pty[,link=PATH]");
    refused("pty,link=", "link=");
    refused("file", "file needs a path");
    refused("file:", "file needs a path");
    refused("file,append", "file needs a path");
    refused("file:/tmp/x,apend", "file does not take \"apend\"");
    refused("file:/tmp/x,in=", "file needs a path");
    refused("file:/nonexistent/x", "cannot open /nonexistent/x for output: ENOENT");
    refused("file:/tmp", "cannot open /tmp for output: EISDIR");
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "file:", 5);
    longest[sizeof(longest) - 1] = 0;
    refused(longest, "longer than 4095");
    memcpy(longest, "pty,link=", 9);
    longest[9 + 256] = 0;
    refused(longest, "longer than 255");
}

TEST(failure_leaves_nothing_open)
{
    char spec[128];
    int before = dup(0), after;

    close(before);
    snprintf(spec, sizeof(spec), "file:/dev/null,in=/nonexistent");
    refused(spec, "cannot open /nonexistent for input");
    after = dup(0);
    CHECK_EQ(after, before);
}

TEST(null)
{
    char byte = 'x';
    double start;

    CHECK_EQ(open_end(&b, "null"), 0);
    CHECK_EQ(b.ops->write(&b, "abc", 3), 3);
    CHECK_EQ(b.ops->read(&b, &byte, 1), -EAGAIN);
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN | BACKEND_OUT, 0), BACKEND_OUT);
    start = seconds();
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 50), 0);
    CHECK(seconds() - start > 0.04);
    backend_close(&b);
    backend_close(&b);
}
