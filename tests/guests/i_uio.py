"""A UIO driver as they are written: attributes, maps, interrupts by epoll and read. Says what differs from the manual."""
import errno, mmap, os, select, struct, sys, time

def error(number, function, *arguments, **more):
    try:
        function(*arguments, **more)
    except OSError as e:
        assert e.errno == number, e
    else:
        assert False, "no error"

def attribute(name):
    return open("/sys/class/uio/uio0/" + name).read()

fd = os.open("/dev/uio0", os.O_RDWR)
st = os.fstat(fd)
assert (st.st_mode & 0o170000, st.st_rdev) == (0o020000, os.stat("/dev/uio0").st_rdev)
assert attribute("dev") == "%d:%d\n" % (os.major(st.st_rdev), os.minor(st.st_rdev))
assert os.readlink("/proc/self/fd/%d" % fd) == "/dev/uio0"
regs = memoryview(mmap.mmap(fd, 4096)).cast("I")

def alarm(delay):
    low = regs[0]
    t = (low | regs[1] << 32) + delay
    regs[3] = t >> 32
    regs[2] = t & 0xffffffff

regs[4] = 1 # IRQ_ENABLED
alarm(20000000)
events = select.epoll()
events.register(fd, select.EPOLLIN)
assert events.poll(20) == [(fd, select.EPOLLIN)]
error(errno.EINVAL, os.read, fd, 8)
assert os.read(fd, 4) == struct.pack("i", 1)
assert attribute("event") == "1\n"
assert events.poll(0) == []
os.set_blocking(fd, False)
error(errno.EAGAIN, os.read, fd, 4)
os.set_blocking(fd, True)

# Level: still high when it is enabled again, so there is an event at once; then the device is quiet.
os.write(fd, struct.pack("i", 1))
assert os.read(fd, 4) == struct.pack("i", 2)
regs[7] = 1 # CLEAR_INTERRUPT
os.write(fd, struct.pack("i", 1))
assert events.poll(0) == []
error(errno.EINVAL, os.write, fd, b"\1")

# A child that waits in read; a second open counts from where it began.
other = os.open("/dev/uio0", os.O_RDWR | os.O_NONBLOCK)
error(errno.EAGAIN, os.read, other, 4)
child = os.fork()
if not child:
    os._exit(os.read(fd, 4) != struct.pack("i", 3))
alarm(20000000)
assert os.waitpid(child, 0)[1] == 0
assert os.read(other, 4) == struct.pack("i", 3)
regs[7] = 1

# Regions, one of them not at the beginning of a page; lengths; no interrupt.
fpga = os.open("/dev/uio1", os.O_RDWR)
error(errno.EIO, os.read, fpga, 4)
error(errno.EIO, os.write, fpga, struct.pack("i", 1))
error(errno.EINVAL, mmap.mmap, fpga, 8192)
error(errno.EINVAL, mmap.mmap, fpga, 4096, offset=2 * 4096)
ctl = mmap.mmap(fpga, 4096)
memoryview(ctl).cast("I")[0x104 // 4] = 0x11223344
buf = mmap.mmap(fpga, 0x3000, offset=4096)
memoryview(buf).cast("Q")[0x2ff8 // 8] = 0x5566
print("done")
