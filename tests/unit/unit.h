/*
 * A unit test is one program: TEST(name) { CHECK(...); } any number of times.
 * Each test runs in a child of its own, so a crash is one failure. Output: TAP.
 */
#ifndef MMIOSHIM_TESTS_UNIT_H
#define MMIOSHIM_TESTS_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct unit_test {
    const char *name;
    void (*run)(void);
    struct unit_test *next;
};

static struct unit_test *unit_tests, **unit_tail = &unit_tests;
static int unit_failures;

#define TEST(id) \
    static void test_##id(void); \
    __attribute__((constructor)) static void add_##id(void) \
    { \
        static struct unit_test test = {#id, test_##id, NULL}; \
        *unit_tail = &test; \
        unit_tail = &test.next; \
    } \
    static void test_##id(void)

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            unit_failures++; \
        } \
    } while (0)

#define CHECK_EQ(got, want) \
    do { \
        unsigned long long unit_got = (unsigned long long)(got), unit_want = (unsigned long long)(want); \
        if (unit_got != unit_want) { \
            printf("# %s:%d: %s is %#llx, not %#llx\n", __FILE__, __LINE__, #got, unit_got, unit_want); \
            unit_failures++; \
        } \
    } while (0)

#define CHECK_STR(got, want) \
    do { \
        const char *unit_got = (got), *unit_want = (want); \
        if (strcmp(unit_got, unit_want) != 0) { \
            printf("# %s:%d: %s is\n#   \"%s\", not\n#   \"%s\"\n", __FILE__, __LINE__, #got, unit_got, unit_want); \
            unit_failures++; \
        } \
    } while (0)

int main(void)
{
    int number = 0, failed = 0, total = 0;

    for (struct unit_test *t = unit_tests; t; t = t->next)
        total++;
    printf("1..%d\n", total);
    for (struct unit_test *t = unit_tests; t; t = t->next) {
        int status = 0;
        pid_t pid;

        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            alarm(300);
            t->run();
            fflush(stdout);
            _exit(unit_failures != 0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            status = -1;
        if (status != 0)
            failed++;
        printf("%s %d %s\n", status ? "not ok" : "ok", ++number, t->name);
        if (status && !(WIFEXITED(status) && WEXITSTATUS(status) == 1))
            printf("# died: wait status %#x\n", (unsigned)status);
    }
    return failed != 0;
}

#endif
