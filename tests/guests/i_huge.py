# Huge pages as programs use them: `python3 i_huge.py PART`, each prints what it finds.
import ctypes, errno, fcntl, mmap, os, random, signal, socket, struct, sys

M = 2 << 20
HUGETLB = 0x40000
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def attempt(what, *arguments):
    try:
        return what(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]


def raw(addr, length, prot=3, flags=0x22 | HUGETLB, fd=-1, offset=0):
    got = libc.mmap(addr, length, prot, flags, fd, offset)
    return errno.errorcode[ctypes.get_errno()] if got == 2**64 - 1 else got


def unmap(addr, length):
    return errno.errorcode[ctypes.get_errno()] if libc.munmap(addr, length) else 0


def free():
    return int(open('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages').read())


def create(name, pages=1):
    fd = os.open('/dev/hugepages/' + name, os.O_RDWR | os.O_CREAT, 0o640)
    os.ftruncate(fd, pages * M)
    return fd


NOWHERE = 1 << 51  # where devices reach nothing


def frames(addr, pages=1, pid='self'):
    with open('/proc/%s/pagemap' % pid, 'rb') as f:
        f.seek(addr // 4096 * 8)
        return [(w >> 63, hex((w & (1 << 55) - 1) << 12)) for w in struct.unpack('%dQ' % pages, f.read(8 * pages))]


def address(m):
    return ctypes.addressof(ctypes.c_char.from_buffer(m))


def files():
    os.umask(0o022)
    fd = create('a', 2)
    st = os.fstat(fd)
    print(oct(st.st_mode), st.st_size // M, st.st_blksize == M, st.st_blocks, st.st_nlink, st.st_dev == os.stat('/dev/hugepages').st_dev)
    print(st.st_dev != os.stat('/dev').st_dev, os.path.ismount('/dev/hugepages'), os.listdir('/dev/hugepages'))
    m = mmap.mmap(fd, 2 * M)
    m[:5], m[-5:] = b'first', b'final'
    print(os.fstat(fd).st_blocks, os.pread(fd, 5, 0), os.pread(fd, 9, 2 * M - 5), os.pread(fd, 5, 2 * M), attempt(os.write, fd, b'x'))
    print(os.lseek(fd, 0, os.SEEK_END) == 2 * M, attempt(os.ftruncate, fd, 4096), attempt(os.ftruncate, fd, M), attempt(os.truncate, '/dev/hugepages/a', 4 * M))
    print(os.stat('/dev/hugepages/a').st_size // M, os.lseek(fd, 0, os.SEEK_END) // M, attempt(os.open, '/dev/hugepages/a', os.O_CREAT | os.O_EXCL))
    os.mkdir('/dev/hugepages/dir', 0o700)
    d = os.open('/dev/hugepages/dir', os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(d, fcntl.LOCK_SH)
    inner = os.open('b', os.O_CREAT | os.O_RDWR, dir_fd=d)
    print(sorted(os.listdir('/dev/hugepages')), os.listdir(d), os.readlink('/proc/self/fd/%d' % inner), attempt(os.rmdir, '/dev/hugepages/dir'))
    print(attempt(os.unlink, '/dev/hugepages/dir'), attempt(os.rmdir, '/dev/hugepages/a'), attempt(os.rmdir, '/dev/hugepages'), attempt(os.open, '/dev/hugepages/no', 0))
    os.unlink('b', dir_fd=d)
    os.rmdir('/dev/hugepages/dir')
    os.unlink('/dev/hugepages/a')
    print(os.listdir('/dev/hugepages'), os.fstat(fd).st_nlink, m[:5], attempt(os.ftruncate, fd, 6 * M), os.fstat(fd).st_size // M)
    print(attempt(os.rename, '/etc/hostname', '/dev/hugepages/h'), attempt(os.symlink, 'x', '/dev/hugepages/s'), attempt(os.open, '/dev/hugepages/' + 'n' * 64, os.O_CREAT))


def locks():
    fd = create('a')
    fcntl.flock(fd, fcntl.LOCK_SH)
    if not os.fork():
        other = os.open('/dev/hugepages/a', os.O_RDONLY)
        print(attempt(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB), attempt(fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB), flush=True)
        os.execlp('flock', 'flock', '-n', '-E', '7', '-x', '/dev/hugepages/a', 'true')
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    os.close(fd)
    print(os.waitstatus_to_exitcode(os.system('flock -n -x /dev/hugepages/a true')), os.path.exists('/dev/hugepages/a'))


def sharing():
    m = mmap.mmap(create('a', 2), 2 * M)
    m[:3] = b'one'
    if not os.fork():
        n = mmap.mmap(os.open('/dev/hugepages/a', os.O_RDWR), 2 * M)
        m[M:M + 3], n[:3] = b'two', n[:3].upper()
        os._exit(0)
    os.wait()
    print(m[:3], m[M:M + 3])
    os.system("""python3 -c "import mmap, os
m = mmap.mmap(os.open('/dev/hugepages/a', os.O_RDWR), 0)
print(len(m), m[:3])
m[:3] = b'sys'" """)
    print(m[:3])
    a, b = socket.socketpair()
    fd = os.memfd_create('passed', os.MFD_HUGETLB | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, M)
    p = mmap.mmap(fd, M)
    p[:6] = b'passed'
    if not os.fork():
        got = socket.recv_fds(b, 1, 1)[1][0]
        q = mmap.mmap(got, M)
        print(os.readlink('/proc/self/fd/%d' % got), q[:6], frames(address(q)) == frames(address(p)), flush=True)
        os._exit(0)
    socket.send_fds(a, [b'x'], [fd])
    os.wait()
    fcntl.fcntl(fd, 1033, 2)  # F_ADD_SEALS, F_SEAL_SHRINK
    print(attempt(os.ftruncate, fd, 0), attempt(os.memfd_create, 'x', os.MFD_HUGETLB | os.MFD_HUGE_1GB), os.fstatvfs(fd).f_bsize == M)


def private():
    m = mmap.mmap(-1, M, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | HUGETLB)
    m[:6] = b'parent'
    if not os.fork():
        m[:5] = b'child'
        print(m[:6], int(frames(address(m))[0][1], 16) == NOWHERE | address(m), flush=True)
        os._exit(0)
    os.wait()
    print(m[:6], frames(address(m))[0][0], frames(address(m))[0][1] != '0x0')
    shared = mmap.mmap(-1, M, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | HUGETLB)
    if not os.fork():
        shared[:5] = b'child'
        os._exit(0)
    os.wait()
    print(shared[:5])
    fd = create('p')
    f = mmap.mmap(fd, M)
    f[:4] = b'file'
    c = mmap.mmap(fd, M, flags=mmap.MAP_PRIVATE)
    c[:2] = b'co'
    print(f[:4], c[:4], frames(address(f)) != frames(address(c)))


def lifetime():
    before = free()
    fd = create('a', 3)
    print(before - free())
    m = mmap.mmap(fd, 3 * M)
    m[:4] = b'kept'
    os.unlink('/dev/hugepages/a')
    os.close(fd)
    print(before - free())
    m.close()
    print(before - free())
    child = os.fork()
    if not child:
        hold = mmap.mmap(create('k', 2), 2 * M)
        anonymous = mmap.mmap(-1, M, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | HUGETLB)
        os.unlink('/dev/hugepages/k')
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    print(before - free())
    r, w = os.pipe()
    anonymous = mmap.mmap(-1, 2 * M, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | HUGETLB)
    anonymous[:4] = b'mine'
    child = os.fork()
    if not child:
        os.close(w)
        os.read(r, 1)
        os._exit(anonymous[:4] != b'mine')
    anonymous.close()
    print(before - free())
    os.close(w)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), before - free())
    # What is cut off a file while it is mapped is nobody else's until it is not mapped any more.
    fd = create('cut', 2)
    m = mmap.mmap(fd, 2 * M)
    m[M:M + 3] = b'cut'
    os.ftruncate(fd, M)
    other = mmap.mmap(create('other', 2), 2 * M)
    other[:M] = b'o' * M
    other[M:] = b'o' * M
    print(m[M:M + 3], before - free())
    m.close()
    print(before - free(), os.fstat(fd).st_blocks)
    print(libc.fallocate(fd, 0, 0, 2 * M), before - free(), libc.fallocate(fd, 3, M, M), before - free(), os.fstat(fd).st_size // M)
    # What lies before the cut stays.
    fd = create('four', 4)
    m = mmap.mmap(fd, 4 * M)
    for page in range(4):
        m[page * M:page * M + 5] = b'page%d' % page
    m.close()
    os.ftruncate(fd, 3 * M)
    os.ftruncate(fd, 2 * M)
    print([os.pread(fd, 5, page * M) for page in range(4)], os.fstat(fd).st_blocks * 512 // M)


def limits():
    n = free()
    print(n, raw(None, (n + 1) * M), free())
    got = raw(None, n * M)
    print(got % M, free(), raw(None, M), attempt(lambda: mmap.mmap(create('full'), M)))
    fd = create('e')
    print(errno.errorcode[ctypes.get_errno()] if libc.fallocate(fd, 0, 0, M) else 0)
    open('/proc/sys/vm/nr_overcommit_hugepages', 'w').write('1')
    more = raw(None, M)
    print(more % M, open('/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages').read().strip(), raw(None, M))
    print(unmap(more, M), unmap(got, n * M), free())
    a = raw(None, 2 * M)
    print(unmap(a, 4096), unmap(a + 4096, M), unmap(a + M, M), free(), unmap(a, M))
    print(raw(None, 0), raw(4096, M, flags=0x32 | HUGETLB), raw(None, M, flags=0x22 | HUGETLB | 30 << 26), raw(None, M, flags=0x20 | HUGETLB))
    print(raw(None, M, flags=1, fd=fd, offset=4096), raw(None, M, flags=1, fd=os.open('/dev/hugepages/e', os.O_RDONLY)),
          raw(None, M, flags=1, fd=os.open('/dev/hugepages/e', os.O_WRONLY)), raw(None, 1, flags=1, fd=fd) % M)
    hint = 0x7e0000000000
    print(raw(hint, M) == hint, raw(hint, M, flags=0x22 | 0x100000 | HUGETLB), raw(hint, M, flags=0x32 | HUGETLB) == hint)
    empty = os.open('/dev/hugepages/grown', os.O_CREAT | os.O_RDWR)
    g = raw(None, 3 * M, flags=1, fd=empty)
    print(os.fstat(empty).st_size // M, unmap(g, 3 * M))
    if not os.fork():  # beyond the end of the file
        os.ftruncate(empty, M)
        r = raw(None, 2 * M, prot=1, flags=1, fd=empty)
        ctypes.string_at(r, 1)
        ctypes.string_at(r + M, 1)
    print(signal.Signals(os.wait()[1] & 127).name)


def pagemap():
    m = mmap.mmap(create('a', 2), 2 * M)
    a = address(m)
    f = frames(a, 512)
    print([x[0] for x in f] == [1] * 512, [int(x[1], 16) - int(f[0][1], 16) for x in f] == [4096 * i for i in range(512)])
    print(int(f[0][1], 16) % M, frames(0x80005000, 2), frames(0x10000000), frames(0x30000000))
    ordinary = mmap.mmap(-1, 4096)
    ordinary[0] = 1
    libc.mlock(ctypes.c_void_p(address(ordinary)), 4096)
    print(frames(address(ordinary)) == [(1, hex(NOWHERE | address(ordinary)))])
    dev = os.open('/dev/mem', os.O_RDWR)
    alias = mmap.mmap(dev, 8192, offset=0x80123000)
    copy = mmap.mmap(dev, 8192, flags=mmap.MAP_PRIVATE, offset=0x80123000)
    before = frames(address(copy), 2)
    copy[0] = 1
    after = frames(address(copy), 2)
    print(frames(address(alias), 2), before, after[0] == (1, hex(NOWHERE | address(copy))), after[1])
    fd = os.open('/proc/self/pagemap', os.O_RDONLY)
    print(attempt(os.pread, fd, 8, 4), attempt(os.pread, fd, 7, 8), os.pread(fd, 8, 1 << 40), len(os.pread(fd, 8 * 3000, a // 512)), os.stat('/proc/self/pagemap').st_size)
    if not os.fork():
        print(frames(a, 1, os.getppid()) == f[:1], int(frames(address(ordinary), 1, os.getppid())[0][1], 16) > NOWHERE, frames(a) == f[:1], flush=True)
        os._exit(0)
    os.wait()


def numa():
    a, b = mmap.mmap(create('a', 2), 2 * M), mmap.mmap(create('b'), M)
    os.unlink('/dev/hugepages/b')
    c = mmap.mmap(-1, M, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | HUGETLB)
    lines = [l.split(' ', 1) for l in open('/proc/self/numa_maps') if ' huge ' in l] if os.path.exists('/proc/self/numa_maps') else []
    for m, what in (a, 'file=/dev/hugepages/a huge dirty=2 N0=2'), (b, 'file=/dev/hugepages/b\\040(deleted) huge dirty=1 N0=1'), (c, 'file=/anon_hugepage\\040(deleted) huge dirty=1 N0=1'):
        print(not lines or [int(l[0], 16) for l in lines if l[1] == 'default %s kernelpagesize_kB=2048\n' % what] == [address(m)])


class Held:
    def __init__(self, tag, pages, name=None):
        self.tag, self.pages, self.name = tag.encode(), pages, name and '/dev/hugepages/' + name
        if name:
            fd = create(name, pages)
            try:
                self.memory = mmap.mmap(fd, pages * M)
            except OSError:
                self.unlink()
                raise
            finally:
                os.close(fd)
        else:
            self.memory = mmap.mmap(-1, pages * M, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | HUGETLB)
        for p in range(pages):
            assert self.memory[p * M:p * M + 200] == bytes(200), 'not zero'
            self.memory[p * M + 100:p * M + 100 + len(tag)] = self.tag

    def unlink(self):
        if self.name:
            os.unlink(self.name)
        self.name = None

    def end(self):
        for p in range(self.pages):
            got = self.memory[p * M + 100:p * M + 100 + len(self.tag)]
            assert got == self.tag, (self.tag, got)
        self.unlink()
        self.memory.close()


def worker(seed):
    r, held = random.Random(seed), []
    for i in range(60):
        tag, kind = '%d.%d' % (seed, i), r.randrange(4)
        try:
            if kind == 0 or not held:
                held.append(Held(tag, r.randrange(1, 4)))
            elif kind == 1:
                held.append(Held(tag, 1, tag))
                if r.randrange(2):
                    held[-1].unlink()
            else:
                held.pop(r.randrange(len(held))).end()
        except OSError as e:
            assert e.errno == errno.ENOMEM, e
            if held:
                held.pop(0).end()
    for h in held:
        h.unlink()
    if seed % 3 == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def many():
    open('/proc/sys/vm/nr_hugepages', 'w').write('24')
    children = []
    for seed in range(1, 7):
        children.append(os.fork())
        if not children[-1]:
            worker(seed)
            os._exit(0)
    print([os.waitpid(child, 0)[1] for child in children], free(), len(os.listdir('/dev/hugepages')))


globals()[sys.argv[1]]()
