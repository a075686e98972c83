#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "parts.h"
#include "text.h"

#pragma weak functions
#pragma weak function_count

struct set own_set;

static void find_own_set(void)
{
    const char *name = getenv("STRESS_LIBRARY");

    if (name)
        own_set = set_of(dlopen(name, RTLD_NOW));
    else if (&function_count)
        own_set = (struct set){functions, function_count};
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"single", single},   {"exact", exact},   {"repeatable", repeatable}, {"devices", devices},
        {"threads", threads}, {"cancel", cancel}, {"forks", forks},           {"states", states},
        {"profile", profile}, {"reload", reload}, {"mapped", mapped},         {"rewritten", rewritten},
        {"jit", jit},         {"faults", faults}, {"crash", crash},           {"stepped", stepped},
    };

    alarm(300); /* a safety net, for whoever is left behind as well */
    find_own_set();
    text_learn();
    return run_main(table, sizeof(table) / sizeof(*table), argc, argv);
}
