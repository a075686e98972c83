/*
 * Nanoseconds from a guest's load of a device register through KVM to this process and back: a virtual machine of one
 * page, in real mode, that does nothing else. "exit ! reason" where there is no KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"

#define PAGE   4096
#define CODE   0x1000
#define DEVICE 0xd0000 /* no memory of the guest there: an exit */

/* The loop of the guest; ds leads to the device. */
extern const uint8_t guest_code[], guest_end[];
__asm__(".pushsection .rodata\n"
        ".globl guest_code, guest_end\n"
        ".code16\n"
        "guest_code:\n"
        "1:	movb 7, %al\n"
        "	jmp 1b\n"
        "guest_end:\n"
        ".code64\n"
        ".popsection\n");

static int cpu;
static struct kvm_run *shared;

static void give_up(const char *what)
{
    char text[160];

    snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
    report_nothing("exit", text);
    exit(0);
}

static void make_memory(int vm)
{
    uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = CODE, .memory_size = PAGE, .userspace_addr = (uintptr_t)page};

    if (page == MAP_FAILED)
        give_up("memory of the guest");
    memcpy(page, guest_code, (size_t)(guest_end - guest_code));
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        give_up("KVM_SET_USER_MEMORY_REGION");
}

static void make_guest(void)
{
    struct kvm_regs registers = {.rip = CODE, .rflags = 2};
    struct kvm_sregs segments;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, size;

    if (kvm < 0)
        give_up("/dev/kvm");
    if ((vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0)
        give_up("KVM_CREATE_VM");
    make_memory(vm);
    cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (cpu < 0 || size < 0 || ioctl(cpu, KVM_GET_SREGS, &segments) < 0)
        give_up("KVM_CREATE_VCPU");
    shared = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (shared == MAP_FAILED)
        give_up("the shared page of KVM");
    segments.cs.base = 0;
    segments.cs.selector = 0;
    segments.ds.base = DEVICE;
    segments.ds.selector = DEVICE >> 4;
    if (ioctl(cpu, KVM_SET_SREGS, &segments) < 0 || ioctl(cpu, KVM_SET_REGS, &registers) < 0)
        give_up("registers of the guest");
}

static int one_exit(void)
{
    if (ioctl(cpu, KVM_RUN, 0) < 0)
        return 0;
    if (shared->exit_reason != KVM_EXIT_MMIO || shared->mmio.phys_addr != DEVICE + 7 || shared->mmio.is_write)
        return 0;
    shared->mmio.data[0] = 0x5a;
    return 1;
}

static void exits(long n, void *at)
{
    (void)at;
    for (long i = 0; i < n; i++)
        if (!one_exit())
            abort();
}

int main(void)
{
    pin_last();
    make_guest();
    if (!one_exit())
        give_up("the guest does not run");
    measure(&(struct job){"exit", exits, NULL, NULL, 0});
    return 0;
}
