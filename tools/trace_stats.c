#include "tool.h"
#include "trace.h"
int trace_stats(int argc, char **argv)
{
    (void)argc; (void)argv;
    return 1;
}
int trace_report(int argc, char **argv)
{
    (void)argc; (void)argv;
    return 1;
}
