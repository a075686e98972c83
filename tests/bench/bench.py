#!/usr/bin/env python3
"""
make bench: what things cost, as ratios within one run. Everything is interleaved over ROUNDS rounds; absolute times are
those of one machine on one day. The table goes to standard output, and to bench.json in the directory OUT (build/bench).

ROUNDS=n; SAMPLES=n and SAMPLE_US=microseconds of each program's samples; BEFORE=an earlier libmmioshim.so to compare with.
"""
import os
import re
import statistics
import subprocess
import sys
import time

from run import B, LIBRARY, OUT, ROOT, Program, curve, environment, machine, run_all
from table import Row, figures, show, write_json

UART = '0x10000007'  # its scratch register: reads and writes without side effects
SCRATCH = '0x40000000'
MAP = os.path.join(B, 'bench.dtb')
LOG = os.path.join(OUT, 'log')
DISK = os.path.join(OUT, 'disk.img')
DISK_MB = 64  # more than caches hold that are not shared with others
BARE = 'bare/bare'
NOISE = 1.02  # what is equal differs by that much from run to run

FAMILIES = {  # name in families.def: what it is
    'load': 'load', 'store': 'store', 'widening': 'widening load', 'modify': 'read-modify-write',
    'operand': 'memory operand', 'locked': 'locked', 'exchange': 'compare and exchange', 'bit_test': 'bit test and set',
    'push': 'push', 'pop': 'pop', 'string': 'string, one', 'string_rep': 'string, rep, 16 of it',
    'x87_load': 'x87 load', 'x87_store': 'x87 store', 'mmx_load': 'MMX load', 'mmx_store': 'MMX store',
    'sse_load': 'SSE load', 'sse_store': 'SSE store', 'sse_operand': 'SSE operand', 'avx_load': 'AVX load',
    'avx_store': 'AVX store', 'avx_operand': 'AVX operand', 'avx512_load': 'AVX-512 load',
    'avx512_store': 'AVX-512 store', 'avx512_operand': 'AVX-512 operand', 'masked_load': 'masked load',
    'masked_store': 'masked store', 'gather': 'gather, 8 of it', 'scatter': 'scatter, 16 of it', 'port_in': 'port in',
    'port_out': 'port out'}
PATCHED = ('load', 'store', 'widening', 'modify', 'operand', 'sse_load', 'sse_store', 'avx_load', 'avx_store',
           'avx512_load', 'avx512_store', 'string', 'port_in', 'port_out')
REGISTER = ('byte_load', 'byte_store', 'byte_modify')
CALLS = {'read': 'read of a byte', 'write': 'write of a byte', 'sigprocmask': 'sigprocmask', 'dup-close': 'dup, close',
         'mmap-munmap': 'mmap, munmap', 'getppid': 'getppid', 'clock': 'clock_gettime'}
WHOLE = {  # programs that use nothing of the library: name: what it is, command
    'compile': ('a compile, gcc -O2', ['gcc', '-O2', '-D_GNU_SOURCE', '-c', '-I' + os.path.join(ROOT, 'preload'), '-o', '/dev/null',
                                       os.path.join(ROOT, 'preload', 'tree', 'path.c')]),
    'find': ('find /usr', ['find', '/usr']),
    'newer': ('find /usr -newer FILE', ['find', '/usr', '-newer', '/etc/passwd']),
    'python': ('start of python3', ['python3', '-c', 'pass'])}
FORMATS = ('ring', 'text', 'json')
MODES = ('uffd', 'mprotect', 'off')
BATCHES = (1, 16, 64)  # frames with one doorbell


def under(name, *arguments, patch='on', log='none', **own):
    """The program under the library."""
    return Program(name, arguments, LIBRARY, arguments[0] == 'fresh', log if log == LOG else None,
                   MMIOSHIM_PATCH=patch, MMIOSHIM_LOG=log, **own)


def virtio_disk(name, options=''):
    return under(name, 'disk', DISK, 'virtio', MMIOSHIM_ATTACH='virtio_mmio@10001000=blk:%s%s' % (DISK, options))


def log_programs():
    for patch in 'off', 'on':
        for form in FORMATS:
            for frames in '0', '8':
                yield under('log-%s-%s-%s' % (form, frames, patch), 'access', UART, 'byte_load', patch=patch, log=LOG,
                            MMIOSHIM_LOG_FORMAT=form, MMIOSHIM_BACKTRACE=frames)


def programs(before):
    yield Program('bare', ['access', 'bare'])
    yield under('family', 'access', SCRATCH, *FAMILIES, patch='off', MMIOSHIM_MAP=MAP)
    yield under('patched', 'access', SCRATCH, *PATCHED, MMIOSHIM_MAP=MAP)
    for patch in 'off', 'on':
        yield under('uart-' + patch, 'access', UART, *REGISTER, patch=patch)
        yield under('fresh-' + patch, 'fresh', SCRATCH, patch=patch, MMIOSHIM_MAP=MAP)
        yield under('threads-' + patch, 'threads', '0x1000', UART, patch=patch, MMIOSHIM_MAP=MAP)
        yield under('windows-' + patch, 'threads', '0x10000', SCRATCH, patch=patch, MMIOSHIM_MAP=MAP)
        yield under('interrupt-' + patch, 'interrupt', 'clint', patch=patch)
    yield Program('interrupt-plain', ['interrupt', 'kill'])
    yield from log_programs()
    yield Program('ram-plain', ['ram'])
    yield under('ram', 'ram', SCRATCH, MMIOSHIM_MAP=MAP)
    yield Program('kvm', ['kvm'])
    yield Program('memory-plain', ['memory', 'plain', 'dirty'])
    yield Program('copy-plain', ['memory', 'plain', 'copy'])
    yield under('copy', 'memory', 'ram', 'copy')
    for mode in MODES:
        yield under('memory-' + mode, 'memory', 'ram', 'dirty', MMIOSHIM_DIRTY_MODE=mode)
    yield Program('start-plain', ['start'])
    yield Program('start-first', ['start'], BENCH_PRELOAD=LIBRARY, MMIOSHIM_LOG='none')
    yield under('start-child', 'start')
    yield Program('resident-plain', ['start', 'resident'])
    yield under('resident', 'start', 'resident')
    for name, (_, command) in WHOLE.items():
        yield Program('whole-' + name, ['start', 'whole'] + command, BENCH_PRELOAD=LIBRARY, MMIOSHIM_LOG='none', BENCH_SAMPLES='2')
    yield Program('disk-plain', ['disk', DISK, 'plain'])
    yield virtio_disk('disk')
    yield virtio_disk('disk-mmap', ',mmap')
    for end in 'loopback', 'pcap':
        yield under('packets-' + end, 'packets', end, *BATCHES, MMIOSHIM_ATTACH='virtio_mmio@10001000=net:' + end)
    yield Program('calls-plain', ['calls'])
    yield under('calls', 'calls')
    if before:
        yield Program('before-start', ['start'], BENCH_PRELOAD=before, MMIOSHIM_LOG='none')
        yield Program('before-uart', ['access', UART, *REGISTER], before, MMIOSHIM_LOG='none', MMIOSHIM_PATCH='off')


def trap_rows():
    yield Row('bare trap: a handler that only skips', BARE, kind='alone')
    yield Row('bare trap, its handler blocks all signals', 'bare/bare-blocked', BARE)
    yield Row('bare trap, vector state in use', 'bare/bare-vector', BARE)
    yield Row('bare #GP of a port', 'bare/bare-port', BARE)
    for name in 'load', 'store':
        yield Row('trapped %s, device register' % name, 'uart-off/byte_' + name, BARE, aim=('<=', 1.05))
    yield Row('trapped read-modify-write, device register', 'uart-off/byte_modify', BARE)
    for family, what in FAMILIES.items():
        yield Row('trapped ' + what, 'family/' + family, 'bare/bare-port' if 'port' in family else BARE,
                  aim=('<=', 1.05) if family in ('load', 'store') else None)


def patched_rows():
    aims = {'load': ('<=', 1 / 150), 'store': ('<=', 1 / 250)}
    for name in 'load', 'store', 'modify':
        what = FAMILIES[name] + ', device register'
        yield Row('patched ' + what, 'uart-on/byte_' + name, BARE, aim=aims.get(name))
        yield Row('patched %s: cheaper than the trap' % what, 'uart-on/byte_' + name, 'uart-off/byte_' + name, 'times')
    for family in PATCHED:
        yield Row('patched ' + FAMILIES[family], 'patched/' + family, BARE, aim=aims.get(family))
        yield Row('patched %s: cheaper than the trap' % FAMILIES[family], 'patched/' + family, 'family/' + family, 'times')


def is_patched(samples, patched, trapped):
    """Does a site cost less than half of its trap?"""
    values = samples.get(patched), samples.get(trapped)
    return all(values) and statistics.median(values[0]) < statistics.median(values[1]) / 2


def ram_rows(samples):
    for name in 'load', 'store', 'modify', 'sse_load', 'sse_store':
        done = is_patched(samples, 'patched/' + name, 'family/' + name)
        yield Row('RAM through a patched site, %s: more than untouched' % FAMILIES[name], 'ram/used-' + name,
                  'ram/untouched-' + name, 'difference', aim=('<=', 3) if done else None,
                  note='' if done else 'the site is not patched')
    for name in 'load', 'store':
        yield Row('RAM elsewhere, %s' % name, 'ram/untouched-' + name, 'ram-plain/untouched-' + name, aim=('<=', NOISE))
    yield Row('other code', 'ram/elsewhere', 'ram-plain/elsewhere', aim=('<=', NOISE))
    yield Row('copies, RAM of the machine / any shared memory', 'copy/copy', 'copy-plain/copy', unit='ns/KiB',
              aim=('<=', NOISE))


def kvm_rows():
    yield Row('KVM MMIO exit', 'kvm/exit', BARE)
    for name in 'load', 'store':
        yield Row('patched %s: cheaper than a KVM exit' % name, 'uart-on/byte_' + name, 'kvm/exit', 'times',
                  aim=('>=', 400))


def log_rows():
    for patch, what in ('off', 'trapped'), ('on', 'patched'):
        yield Row('%s load, no log' % what, 'uart-%s/byte_load' % patch, BARE)
        for form in FORMATS:
            for frames in '0', '8':
                aim = ('<=', 1 / 40) if (form, frames, patch) == ('ring', '8', 'on') else None
                yield Row('%s load, %s, %s frames' % (what, form, frames),
                          'log-%s-%s-%s/byte_load' % (form, frames, patch), BARE, aim=aim)


def thread_rows():
    for device, prefix in ('serial ports', 'threads'), ('windows', 'windows'):
        for patch, what in ('on', 'patched'), ('off', 'trapped'):
            one = '%s-%s/one' % (prefix, patch)
            yield Row('%s, %s, one thread' % (device, what), one, BARE)
            for count in 'two', 'four':
                for where in 'same', 'different':
                    aim = ('>=', 1.8) if (count, where, patch) == ('two', 'different', 'on') else None
                    yield Row('%s, %s, %s threads, %s: throughput' % (device, what, count, where),
                              '%s-%s/%s-%s' % (prefix, patch, count, where), one, 'times', aim=aim)


def interrupt_rows():
    for patch, what in ('off', 'trapped'), ('on', 'patched'):
        yield Row('interrupt by a signal, %s store' % what, 'interrupt-%s/latency' % patch, BARE, aim=('<=', 3))
    yield Row('a signal that a thread sends itself', 'interrupt-plain/latency', BARE)


def dirty_rows():
    for thing, what in ('dense', 'all pages'), ('sparse', 'pages far apart'):
        for mode in MODES:
            yield Row('first write to a page, %s, %s' % (what, mode), 'memory-%s/%s' % (mode, thing), BARE)
        yield Row('first write to a page, %s, without us' % what, 'memory-plain/' + thing, BARE)
    for thing, what in ('dense', '4096 pages'), ('sparse', '2048 pages far apart'):
        for mode in MODES:
            yield Row('find and clear %s, %s' % (what, mode), 'memory-%s/scan-%s' % (mode, thing), kind='alone',
                      unit='us')


def start_rows(before):
    yield Row('start of an empty program, the first of a machine', 'start-first/start', 'start-plain/start', unit='us')
    yield Row('start of an empty program, a descendant', 'start-child/start', 'start-plain/start', unit='us')
    yield Row('start, what the library adds to it', 'start-first/start', 'start-plain/start', 'difference', unit='us', aim=('<=', 5000))
    if before:
        yield Row('start, now / before', 'start-first/start', 'before-start/start', unit='us', aim=('<=', NOISE))
        for name in 'load', 'store':
            yield Row('trapped %s, now / before' % name, 'uart-off/byte_' + name, 'before-uart/byte_' + name,
                      aim=('<=', NOISE))
    yield Row('resident memory of an idle program', 'resident/resident', 'resident-plain/resident', unit='kB')


def whole_rows(samples):
    """Whole programs, and the same without the start of each of their processes' first: what the library costs them as they run."""
    start = [figures(key, samples) for key in ('start-first/start', 'start-plain/start')]
    for name, (what, _) in WHOLE.items():
        under = 'whole-%s/under' % name
        yield Row(what, under, 'whole-%s/plain' % name, unit='us')
        if all(start) and under in samples:
            samples['whole-%s/rest' % name] = [v - start[0][0] + start[1][0] for v in samples[under]]
        yield Row(what + ', without one start', 'whole-%s/rest' % name, 'whole-%s/plain' % name, unit='us', aim=('<=', 1.02))


def break_even(trapped, patched):
    """The least number of accesses from which on a site has cost no more than trapping all the time; None: never."""
    ahead, least = 0, None
    for number, (with_patch, without) in enumerate(zip(patched, trapped), 1):
        ahead += without - with_patch
        least = None if ahead < 0 else least or number
    return least


def patch_figures(samples):
    """Adds what follows from both curves to the samples; returns why there is nothing to add."""
    trapped, patched = curve(samples, 'fresh-off/accesses'), curve(samples, 'fresh-on/accesses')
    if not trapped or not patched:
        return ''
    if patched[-1] > trapped[-1] / 2:
        return 'not patched within %d accesses' % len(patched)
    samples['fresh-on/patch'] = [sum(max(0, p - t) for p, t in zip(patched, trapped))]
    samples['fresh-on/dearest'] = [max(patched)]
    samples['fresh-on/number'] = [patched.index(max(patched)) + 1]
    least = break_even(trapped, patched)
    if least is None:
        return 'more than %d accesses' % len(patched)
    samples['fresh-on/break-even'] = [least]
    return ''


def patch_rows(samples):
    why = patch_figures(samples)
    yield Row('cost of a patch: what a site costs more than traps', 'fresh-on/patch', BARE, note=why)
    yield Row('the access that patches', 'fresh-on/dearest', BARE, note=why)
    yield Row('the access that patches: its number at the site', 'fresh-on/number', kind='alone', unit='', note=why)
    yield Row('break-even: accesses at a site', 'fresh-on/break-even', kind='alone', unit='', aim=('<=', 20), note=why)


def call_rows():
    for name, what in CALLS.items():
        yield Row(what, 'calls/' + name, 'calls-plain/' + name)


def disk_rows():
    aims = {('read', 32): ('>=', 0.75), ('write', 32): ('>=', 0.95)}
    for way, call in ('read', 'pread'), ('write', 'pwrite'):
        yield Row(call, 'disk-plain/' + way, kind='alone')
        for depth in 1, 32:
            yield Row('virtio-blk %s, %d under way: throughput to %s' % (way, depth, call), 'disk/%s-%d' % (way, depth),
                      'disk-plain/' + way, 'times', aim=aims.get((way, depth)))
    for way, copy in ('read', 'copy-from'), ('write', 'copy-to'):
        yield Row('memcpy %s a mapping' % copy[5:], 'disk-plain/' + copy, kind='alone')
        for depth in 1, 32:
            yield Row('virtio-blk %s, mmap, %d under way: throughput to memcpy' % (way, depth),
                      'disk-mmap/%s-%d' % (way, depth), 'disk-plain/' + copy, 'times',
                      aim=('>=', 0.75) if depth == 32 else None)


def packet_rows():
    for end, what in ('loopback', 'sent and received again'), ('pcap', 'sent to nobody'):
        for batch in BATCHES:
            aim = ('<=', 500) if (end, batch) == ('loopback', 64) else None  # 2 million a second
            yield Row('64-byte frames %s, %d a doorbell' % (what, batch), 'packets-%s/%s-%d' % (end, end, batch),
                      kind='alone', aim=aim)


def groups(samples, before):
    return [('Traps: ratios to the bare trap', list(trap_rows())),
            ('Patched sites: ratios to the bare trap', list(patched_rows())),
            ('Ordinary memory and other code, with / without', list(ram_rows(samples))),
            ('Hypervisor', list(kvm_rows())),
            ('Logs: ratios to the bare trap', list(log_rows())),
            ('Threads: elapsed time for one access of all', list(thread_rows())),
            ('Interrupts: from the store to the handler, ratios to the bare trap', list(interrupt_rows())),
            ('Disks: blocks of 4 KiB at random places of a file in the page cache', list(disk_rows())),
            ('Dirty pages', list(dirty_rows())),
            ('Start and memory, with / without', list(start_rows(before))),
            ('Programs that use nothing of the library, with / without', list(whole_rows(samples))),
            ('A patch', list(patch_rows(samples))),
            ('Sites of real files', list(coverage_rows())),
            ('virtio_net: time for one frame', list(packet_rows())),
            ('System calls, with / without', list(call_rows()))]


def real_files():
    """A C library, a program and, as a rule, one at a fixed address: what this machine has of them."""
    with open('/proc/self/maps') as maps:
        libraries = {line.split()[-1] for line in maps if '/libc.so' in line}
    compiler = subprocess.run(['gcc', '-print-prog-name=cc1'], capture_output=True, text=True).stdout.strip()
    return [f for f in sorted(libraries) + ['/bin/bash', compiler] if os.path.isfile(f)]


def coverage(samples, reasons):
    """Adds what tests/bench/coverage.c finds: the part of sites that can be patched, all of them together."""
    program = os.path.join(B, 'coverage')
    if not os.path.exists(program):
        reasons['coverage'] = 'nothing finds them yet'
        return
    done = subprocess.run([program] + real_files(), env=environment({}), capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        reasons['coverage'] = (done.stderr.strip().splitlines() or ['exit status %d' % done.returncode])[-1]
    for line in done.stdout.splitlines():
        found = re.match(r'(\S.*), all +(\d+) +([\d.]+) ', line)
        if found and int(found[2]):
            samples['coverage/' + found[1]] = [float(found[3])]


def coverage_rows():
    for kind, least in ('library', 99), ('PIE program', 99), ('non-PIE program', 95):
        yield Row('pointer moves that can be patched, ' + kind, 'coverage/' + kind, kind='alone', unit='%',
                  aim=('>=', least))


def make_disk():
    """All of it in the page cache, page by page: a small write into a large folio costs as much as a large one."""
    os.makedirs(OUT, exist_ok=True)
    with open(DISK, 'wb', buffering=0) as disk:
        for _ in range(DISK_MB * 256):
            disk.write(os.urandom(4096))
        os.fsync(disk.fileno())


def begin(all_programs, usual_rounds):
    """Runs everything; the rounds, when that began, samples, and why some are missing."""
    for ours, knob in ('BENCH_SAMPLES', 'SAMPLES'), ('BENCH_US', 'SAMPLE_US'):
        if knob in os.environ:
            os.environ[ours] = os.environ[knob]
    rounds, start = int(os.environ.get('ROUNDS', usual_rounds)), time.monotonic()
    os.makedirs(OUT, exist_ok=True)
    return (rounds, start) + run_all(all_programs, rounds)


def finish(run, all_groups, name):
    """Shows the table and writes the file; the exit status."""
    rounds, start, samples, reasons = run
    here = machine()
    print('%(cpu)s, %(cpus)d CPUs, Linux %(kernel)s, %(compiler)s' % here)
    rows = show(all_groups, samples, reasons)
    write_json(os.path.join(OUT, name), {'machine': here, 'rounds': rounds, 'rows': rows})
    print('\n%d rounds, %.0f s; %s' % (rounds, time.monotonic() - start, os.path.relpath(os.path.join(OUT, name))))
    return 0 if any(row['median'] is not None for row in rows) else 1


def main():
    before = os.environ.get('BEFORE')
    make_disk()
    try:
        run = begin(list(programs(os.path.abspath(before) if before else None)), 20)
    finally:
        os.unlink(DISK)
    coverage(run[2], run[3])
    return finish(run, groups(run[2], before), 'bench.json')


if __name__ == '__main__':
    sys.exit(main())
