#!/usr/bin/env python3
"""
make bench-peers: what a register costs elsewhere, and what all other code costs there: Unicorn with a callback, QEMU
without KVM with its I/O APIC. And what a block of a virtio disk costs in a guest of QEMU. As ratios within one run; the knobs are those of bench.py, the file is peers.json.
"""
import os
import sys

from bench import BARE, DISK, REGISTER, UART, begin, finish, make_disk, under, virtio_disk
from run import LIBRARY, Program
from table import Row

QEMU = 'qemu-system-x86_64'
TURNS = {'register': 5000000, 'work': 50000000}  # MORE_REGISTER and MORE_WORK of the Makefile


def programs():
    yield Program('bare', ['access', 'bare'])
    yield under('uart-on', 'access', UART, *REGISTER)
    yield Program('native', ['peers/native'])
    yield Program('ours', ['peers/native'], LIBRARY, MMIOSHIM_LOG='none')
    yield Program('unicorn', ['peers/unicorn'])
    for loop, turns in TURNS.items():
        yield Program('qemu-' + loop, ['peers/qemu', QEMU, 'peers/%s-few' % loop, 'peers/%s-many' % loop, turns, loop])
    yield Program('disk-plain', ['disk', DISK, 'plain'])
    yield virtio_disk('disk')
    for accelerator in 'kvm', 'tcg':
        yield Program('disk-' + accelerator, ['peers/disk', QEMU, accelerator, 'peers/disk-guest', DISK])


def register_rows():
    ours = 'uart-on/byte_load'
    yield Row('patched load, device register', ours, BARE)
    yield Row('Unicorn, register by a callback', 'unicorn/register', BARE)
    yield Row('patched load: cheaper than Unicorn', ours, 'unicorn/register', 'times')
    yield Row('QEMU TCG, device register', 'qemu-register/register', BARE)
    yield Row('patched load: cheaper than QEMU TCG', ours, 'qemu-register/register', 'times')


def code_rows():
    yield Row('under the library', 'ours/work', 'native/work')
    yield Row('under Unicorn', 'unicorn/work', 'native/work')
    yield Row('under QEMU TCG', 'qemu-work/work', 'native/work')


def disk_rows():
    for way, call in ('read', 'pread'), ('write', 'pwrite'):
        for depth in 1, 32:
            for name, what in ('disk', 'under the library'), ('disk-kvm', 'QEMU KVM'), ('disk-tcg', 'QEMU TCG'):
                yield Row('%s, %d under way, %s: throughput to %s' % (way, depth, what, call),
                          '%s/%s-%d' % (name, way, depth), 'disk-plain/' + way, 'times')


def main():
    make_disk()
    try:
        run = begin(list(programs()), 5)
    finally:
        os.unlink(DISK)
    return finish(run, [('A register: ratios to the bare trap', list(register_rows())),
                        ('All other code: a loop of arithmetic and memory, ratios to the processor', list(code_rows())),
                        ('A virtio disk: blocks of 4 KiB at random places, from the page cache', list(disk_rows()))],
                  'peers.json')


if __name__ == '__main__':
    sys.exit(main())
