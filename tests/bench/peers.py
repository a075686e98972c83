#!/usr/bin/env python3
"""
make bench-peers: what a register costs elsewhere, and what all other code costs there: Unicorn with a callback, QEMU
without KVM with its I/O APIC. As ratios within one run; the knobs are those of bench.py, the file is peers.json.
"""
import sys

from bench import BARE, REGISTER, UART, begin, finish, under
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


def main():
    run = begin(list(programs()), 5)
    return finish(run, [('A register: ratios to the bare trap', list(register_rows())),
                        ('All other code: a loop of arithmetic and memory, ratios to the processor', list(code_rows()))],
                  'peers.json')


if __name__ == '__main__':
    sys.exit(main())
