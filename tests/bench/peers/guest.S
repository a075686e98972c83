# A guest that QEMU starts by the multiboot protocol (Multiboot Specification 0.6.96): COUNT turns of the loop, then
# the end through QEMU's isa-debug-exit. Its status is odd; it tells here that the loop came to its end.
#include "tests/bench/peers/loops.inc"
	.code32
	.text
	.globl	_start
_start:
	jmp	begin
	.p2align 2
	.long	0x1badb002, 0, -0x1badb002
begin:
	mov	ecx, COUNT
#ifdef REGISTER
	mov	ebx, REGISTER
	register_loop ebx
#else
	mov	ebx, offset table
	work_loop ebx, edx
#endif
	mov	eax, 0x15
	out	0xf4, al
2:	hlt
	jmp	2b
	.lcomm	table, 16384
	.section .note.GNU-stack, "", @progbits
