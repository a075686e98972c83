/*
 * iopl(2) and ioperm(2): a machine with I/O ports grants them, and the real
 * ports stay out of reach. Without ports they are the kernel's business.
 */
#include "bus/ports.h"

#include "interpose/interpose.h"

enum call_answer call_iopl(struct call *call)
{
    return interpose_machine->desc->ioports ? call_done(call, ports_iopl((unsigned)call->a[0])) : CALL_PASS;
}

enum call_answer call_ioperm(struct call *call)
{
    if (!interpose_machine->desc->ioports)
        return CALL_PASS;
    return call_done(call, ports_ioperm(call->a[0], call->a[1], (int)call->a[2] != 0));
}
