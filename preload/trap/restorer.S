# The return trampoline of signal handlers. Unwinders recognise signal frames
# by these very bytes (mov $15,%rax; syscall), and look the address up less
# one: hence the nop, which belongs to no function.
        .text
        .p2align 4
        nop
        .globl  signals_restorer
        .hidden signals_restorer
        .type   signals_restorer, @function
signals_restorer:
        .byte   0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00
        .byte   0x0f, 0x05
        .size   signals_restorer, . - signals_restorer

        .section .note.GNU-stack, "", @progbits
