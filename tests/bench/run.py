"""
Starts measuring programs in turn, over and over, and keeps their samples. A program is named by what it measures and
under which conditions; "NAME/THING" are the samples of one THING that it printed.
"""
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
B = os.path.join(ROOT, 'build', 'bench')
OUT = os.path.abspath(os.environ.get('OUT') or B)
LIBRARY = os.path.join(ROOT, 'libmmioshim.so')


def environment(own, library=None):
    """The environment without anything of the library, then what a program is given."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith('MMIOSHIM_') and k != 'LD_PRELOAD'}
    if library:
        clean['LD_PRELOAD'] = library
    return {**clean, **own}


class Program:
    """One way to start one program. `library` is preloaded; `own` are variables; `leaves` is a file to be removed."""

    def __init__(self, name, arguments, library=None, whole=False, leaves=None, **own):
        self.name = name
        self.arguments = [os.path.join(B, arguments[0])] + [str(a) for a in arguments[1:]]
        self.environment = environment(own, library)
        self.whole = whole  # a line is a curve: one sample a run, a list
        self.leaves = leaves

    def run(self, samples, reasons):
        """Adds to both: values by name, or why there are none."""
        try:
            self.start(samples, reasons)
        finally:
            if self.leaves and os.path.exists(self.leaves):
                os.unlink(self.leaves)  # else its pages are written to the disk while others measure

    def start(self, samples, reasons):
        try:
            done = subprocess.run(self.arguments, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, errors='replace', timeout=120, cwd=B)
        except (OSError, subprocess.TimeoutExpired) as error:
            reasons[self.name] = str(error).splitlines()[0]
            return
        for line in done.stdout.splitlines():
            thing, *values = line.split()
            key = self.name + '/' + thing
            if values[:1] == ['!']:
                reasons[key] = ' '.join(values[1:])
            else:
                values = [float(v) for v in values]
                samples.setdefault(key, []).extend([values] if self.whole else values)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            how = 'exit status %d' % done.returncode if done.returncode > 0 else 'signal %d' % -done.returncode
            reasons[self.name] = said[-1] if said else how


def run_all(programs, rounds):
    """Every program once a round; each round begins with another one."""
    samples, reasons = {}, {}
    for number in range(rounds):
        first = number * len(programs) // rounds
        for program in programs[first:] + programs[:first]:
            program.run(samples, reasons)
        if sys.stderr.isatty():
            print('\rround %d of %d' % (number + 1, rounds), end='', file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print('\r\033[K', end='', file=sys.stderr, flush=True)
    return samples, reasons


def curve(samples, key):
    """For lines that are curves: the median at each point."""
    return [statistics.median(point) for point in zip(*samples[key])] if key in samples else None


def cpu_model():
    with open('/proc/cpuinfo') as info:
        for line in info:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return 'unknown'


def machine():
    compiler = subprocess.run([os.environ.get('CC', 'cc'), '--version'], capture_output=True, text=True).stdout
    return {'cpu': cpu_model(), 'cpus': len(os.sched_getaffinity(0)), 'kernel': platform.release(),
            'compiler': compiler.splitlines()[0] if compiler else 'unknown',
            'date': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}
