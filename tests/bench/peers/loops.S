# The loops as data for an emulator, and to be called: uint32_t peer_work(void *table, uint32_t count).
#include "tests/bench/peers/loops.inc"
	.text
	.globl	peer_work
peer_work:
	push	rbx
	mov	rbx, rdi
	mov	ecx, esi
	work_loop rbx, rdx
	pop	rbx
	ret
	.section .rodata
	.globl	peer_work_code, peer_work_end, peer_register_code, peer_register_end
peer_work_code:
	work_loop rbx, rdx
peer_work_end:
peer_register_code:
	register_loop rbx
peer_register_end:
	.section .note.GNU-stack, "", @progbits
