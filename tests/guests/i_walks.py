# Random paths about /dev, /proc and /sys that lead to nothing of a machine, and what system calls say of each.
import errno, os, random, sys

random.seed(sys.argv[1])
NAMES = ("dev proc sys usr null zero fd self stdin class net lo .. .. . shm pts 0 none tmp bin lib cwd root exe task mtu devices "
         "virtual subsystem kernel block status ns mnt").split() + [""]
DIRS = ["/dev", "/", "/sys/class/net", "/proc/self", "/usr", "/dev/shm", "/proc"]
FDS = [os.open(d, os.O_RDONLY | os.O_DIRECTORY) for d in DIRS]


def answer(function):
    try:
        return str(function()).replace(str(os.getpid()), "PID")
    except OSError as e:
        return errno.errorcode[e.errno]


def opened(path, fd, flags):
    new = os.open(path, os.O_PATH | flags, dir_fd=fd)
    mode = os.fstat(new).st_mode
    os.close(new)
    return mode


def about(path, fd):
    flags = random.choice([0, os.O_NOFOLLOW, os.O_DIRECTORY])
    yield lambda: os.stat(path, dir_fd=fd).st_mode
    yield lambda: os.lstat(path, dir_fd=fd).st_mode
    yield lambda: opened(path, fd, flags)
    yield lambda: os.readlink(path, dir_fd=fd)
    yield lambda: os.access(path, os.R_OK, dir_fd=fd)
    if random.random() < .2:
        yield lambda: os.fchdir(fd)
        yield lambda: os.chdir(path)
        yield os.getcwd
        yield lambda: os.stat("../..").st_mode


print(answer(lambda: os.stat("/dev/none/" + "z" * 300)), answer(lambda: os.readlink("/proc/self/" + "z" * 300)))
for i in range(1500):
    path = "/".join(random.choice(NAMES) for _ in range(random.randint(1, 7)))
    if random.random() < .4:
        path = random.choice(DIRS) + "/" + path
    which = random.randrange(len(FDS))
    print(DIRS[which], path, *(answer(f) for f in about(path, FDS[which])))
