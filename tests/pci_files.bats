#!/usr/bin/env bats
# What programs find of the PCI bus below /sys and /proc: Debian's own tools, and drivers by mmap, read and write.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
}

# attached ATTACHMENT COMMAND...
attached() {
    local attach=pci:${1//;/;pci:}

    shift
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_ATTACH="$attach" timeout 60 "$@"
}

BOTH="00:04.0=testdev,bar0=4K,bar2=1M:64:prefetch,bar4=256:io,msix=4;05:00.0=testdev,bar0=64K"

@test "lspci: what is there, as a tree, with regions and capabilities" {
    attached "$BOTH" lspci -n
    assert_success
    assert_output - <<'END'
00:00.0 0600: 1b36:0008
00:01.0 0604: 1b36:000c
00:04.0 ff00: 1b36:0005
05:00.0 ff00: 1b36:0005
END
    attached "$BOTH" lspci -t
    assert_output "$(printf -- '-[0000:00]-+-00.0\n           +-01.0-[05]----00.0\n           \\-04.0')"
    attached "$BOTH" lspci -vv -s 00:04.0
    for line in 'Interrupt: pin A routed to IRQ 32' 'Region 0: Memory at 40100000 (32-bit, non-prefetchable) [size=4K]' \
        'Region 2: Memory at 400000000 (64-bit, prefetchable) [size=1M]' 'Region 4: I/O ports at 1000 [size=256]' \
        'Capabilities: [48] MSI-X: Enable- Count=4 Masked-' 'Vector table: BAR=1 offset=00000000'; do
        assert_equal "$(grep -cF "$line" <<< "$output")" 1
    done
    attached "$BOTH" lspci -vv -s 00:01.0
    assert_equal "$(grep -cF 'Memory behind bridge: 40000000-400fffff [size=1M] [32-bit]' <<< "$output")" 1
    attached "$BOTH" lspci -A linux-proc -n
    assert_equal "${#lines[@]}" 4
}

@test "lspci of a machine without PCI shows nothing, whatever the host has" {
    run --separate-stderr shim MMIOSHIM_LOG=none lspci
    refute_output --regexp '.'
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c 'ls /sys/bus/pci/devices /sys/devices | grep -c "^pci\|^0000:"'
    assert_output 0
}

@test "setpci reads and writes registers, sizes a BAR, and every process of the machine sees it" {
    attached "$BOTH" sh -c '
        setpci -s 00:04.0 VENDOR_ID COMMAND 40.l
        setpci -s 00:04.0 COMMAND=7 BASE_ADDRESS_0=ffffffff
        setpci -s 00:04.0 COMMAND BASE_ADDRESS_0 CAP_MSIX+2.w
        setpci -s 00:04.0 BASE_ADDRESS_0=40200000
        head -n 1 /sys/bus/pci/devices/0000:00:04.0/resource
        od -An -tx1 -N 8 /proc/bus/pci/00/04.0
        setpci -s 5:0.0 INTERRUPT_PIN'
    assert_success
    assert_output - <<'END'
1b36
0003
00034801
0007
fffff000
0003
0x0000000040200000 0x0000000040200fff 0x0000000000040200
 36 1b 05 00 07 00 10 00
01
END
}

@test "attributes in their formats, links that lead there" {
    attached "$BOTH" sh -c '
        cd /sys/bus/pci/devices/0000:05:00.0 && /bin/pwd
        for f in vendor device subsystem_vendor class revision irq enable numa_node modalias driver_override uevent; do echo "$f $(cat $f)"; done
        readlink /sys/bus/pci/devices/0000:05:00.0 subsystem; realpath subsystem; stat -c "%n %a %s" config resource0 resource vendor
        echo 0 > enable; cat enable; setpci -s 5:0.0 COMMAND; echo 1 > enable; cat enable; setpci -s 5:0.0 COMMAND
        wc -c < config; ls /proc/bus/pci; ls -d /sys/devices/pci*; (echo x > vendor) 2>&1 | sed "s/.*: //"'
    assert_success
    assert_output - <<'END'
/sys/devices/pci0000:00/0000:00:01.0/0000:05:00.0
vendor 0x1b36
device 0x0005
subsystem_vendor 0x0000
class 0xff0000
revision 0x00
irq 33
enable 1
numa_node -1
modalias pci:v00001B36d00000005sv00000000sd00000000bcFFsc00i00
driver_override (null)
uevent PCI_CLASS=FF0000
PCI_ID=1B36:0005
PCI_SUBSYS_ID=0000:0000
PCI_SLOT_NAME=0000:05:00.0
MODALIAS=pci:v00001B36d00000005sv00000000sd00000000bcFFsc00i00
../../../devices/pci0000:00/0000:00:01.0/0000:05:00.0
../../../../bus/pci
/sys/bus/pci
config 644 256
resource0 600 65536
resource 444 4096
vendor 444 4096
0
0000
1
0002
256
00
05
devices
/sys/devices/pci0000:00
Permission denied
END
}

@test "BARs: memory by mmap alone, at offsets, not beyond; I/O by read and write of 1, 2 and 4 bytes" {
    cat > all.py <<'END'
import ctypes, errno, mmap, os, struct
base = "/sys/bus/pci/devices/0000:00:04.0/"
def error(number, function, *arguments, **more):
    try: function(*arguments, **more)
    except OSError as e: assert e.errno == number, e
    else: assert False
f = os.open(base + "resource2", os.O_RDWR)
assert os.fstat(f).st_size == 1 << 20
m = memoryview(mmap.mmap(f, 1 << 20)).cast("I")
n = memoryview(mmap.mmap(f, 4096, offset=0xff000)).cast("I")
m[(0xff000 + 8) // 4] = 0x12345678
assert n[2] == 0x12345678
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
assert libc.mmap(None, ctypes.c_size_t(8192), 3, 1, f, ctypes.c_long(0xff000)) == ctypes.c_void_p(-1).value and ctypes.get_errno() == errno.EINVAL
error(errno.EIO, os.read, f, 4)
error(errno.EIO, os.write, f, b"abcd")
w = os.open(base + "resource2_wc", os.O_RDWR)
assert memoryview(mmap.mmap(w, 1 << 20)).cast("I")[(0xff000 + 8) // 4] == 0x12345678
io = os.open(base + "resource4", os.O_RDWR)
error(errno.ENODEV, mmap.mmap, io, 256)
assert os.pwrite(io, struct.pack("<I", 0xaabbccdd), 8) == 4
assert os.pread(io, 1, 9) == b"\xcc" and os.pread(io, 2, 10) == b"\xbb\xaa"
error(errno.EINVAL, os.pread, io, 3, 8)
error(errno.EINVAL, os.pread, io, 4, 254)
error(errno.EINVAL, os.pread, io, 1, 256)
c = os.open(base + "config", os.O_RDWR)
os.pwrite(c, b"\x00\x00", 4)
assert m[2] == 0xffffffff and os.pread(io, 4, 8) == b"\xff\xff\xff\xff"
assert len(os.pread(c, 4096, 0)) == 256 and os.pread(c, 4, 254) == os.pread(c, 2, 254) and os.pread(c, 1, 256) == b""
error(errno.ENOENT, os.open, base + "resource3", os.O_RDWR)
print("done")
END
    attached "$BOTH" python3 all.py
    assert_equal "$stderr" ""
    assert_output done
    assert_ended
    assert_count 2 '^\[MMIO\] .* pci:00:04.0:bar2 \+0xff008 read4 0x12345678 '
    assert_count 1 '^\[PORT\] trap at 0x1008 -> pci:00:04.0:bar4 \+0x8 write4 0xaabbccdd '
    assert_count 1 '^\[PORT\] trap at 0x1009 -> pci:00:04.0:bar4 \+0x9 read1 0xcc '
    assert_count 1 '^\[PORT\] trap at 0x100a -> pci:00:04.0:bar4 \+0xa read2 0xaabb '
}

@test "uio_pci_generic: new_id, bind, unbind, driver_override; an interrupt masks itself until config says so" {
    cat > all.py <<'END'
import errno, mmap, os, select, struct
dev = "/sys/bus/pci/devices/0000:00:04.0/"
drv = "/sys/bus/pci/drivers/uio_pci_generic/"
def write(path, text):
    with open(path, "w") as f: f.write(text)
def error(number, function, *arguments):
    try: function(*arguments)
    except OSError as e: assert e.errno == number, e
    else: assert False
assert not os.path.exists(dev + "driver")
error(errno.ENODEV, write, drv + "bind", "0000:00:04.0")
write(drv + "new_id", "1b36 0005")
error(errno.EEXIST, write, drv + "new_id", "1b36 0005\n")
assert os.path.basename(os.path.realpath(dev + "driver")) == "uio_pci_generic"
assert sorted(n for n in os.listdir(drv) if n[0] == "0") == ["0000:00:04.0", "0000:05:00.0"]
write("/sys/bus/pci/devices/0000:05:00.0/driver/unbind", "0000:05:00.0")
assert os.listdir("/sys/class/uio") == [os.listdir(dev + "uio")[0]]
node = os.listdir(dev + "uio")[0]
assert open("/sys/class/uio/%s/name" % node).read() == "uio_pci_generic\n"
uio = os.open("/dev/" + node, os.O_RDWR)
error(errno.ENOSYS, os.write, uio, struct.pack("i", 1))
regs = memoryview(mmap.mmap(os.open(dev + "resource0", os.O_RDWR), 4096)).cast("I")
config = os.open(dev + "config", os.O_RDWR)
p = select.poll()
p.register(uio, select.POLLIN)
for n in 1, 2, 3:
    assert p.poll(0) == []
    regs[1] = 1
    assert p.poll(20000) == [(uio, select.POLLIN)]
    assert os.read(uio, 4) == struct.pack("i", n)
    assert os.pread(config, 1, 5)[0] & 4
    regs[1] = 0
    regs[1] = 1
    assert p.poll(0) == []
    regs[1] = 0
    os.pwrite(config, bytes([os.pread(config, 1, 5)[0] & ~4]), 5)
    assert not os.pread(config, 1, 5)[0] & 4
assert open("/sys/class/uio/%s/event" % node).read() == "3\n"
write(drv + "unbind", "0000:00:04.0")
assert os.listdir("/sys/class/uio") == [] and not os.path.exists("/dev/" + node)
error(errno.EIO, os.read, uio, 4)
write(dev + "driver_override", "vfio-pci\n")
error(errno.ENODEV, write, drv + "bind", "0000:00:04.0")
write(dev + "driver_override", "\n")
write("/sys/bus/pci/drivers_probe", "0000:00:04.0")
assert os.path.exists(dev + "driver")
print("done")
END
    attached "00:04.0=testdev,bar0=regs;05:00.0=testdev,bar0=4K" python3 all.py
    assert_equal "$stderr" ""
    assert_output done
    assert_count 6 '^\[IRQ\] pci:00:04.0 32 raised$'
}

@test "virtual functions come and go by sriov_numvfs" {
    attached "00:06.0=testdev,bar0=4K,vfs=3,vfbar0=8K" sh -c '
        cd /sys/bus/pci/devices/0000:00:06.0; cat sriov_totalvfs sriov_numvfs
        echo 2 > sriov_numvfs; cat sriov_numvfs; ls -d ../0000:00:06.*; readlink virtfn0 virtfn1 virtfn0/physfn; ls | grep -c virtfn
        head -n 1 virtfn1/resource; (echo 3 > sriov_numvfs) 2>&1 | sed "s/.*: //"; (echo 4 > sriov_numvfs) 2>&1 | sed "s/.*: //"
        lspci | wc -l; echo 0 > sriov_numvfs; cat sriov_numvfs; lspci | wc -l; ls | grep -c virtfn'
    assert_output - <<'END'
3
0
2
../0000:00:06.0
../0000:00:06.1
../0000:00:06.2
../0000:00:06.1
../0000:00:06.2
../0000:00:06.0
2
0x0000000040004000 0x0000000040005fff 0x0000000000040200
I/O error
I/O error
4
0
2
0
END
}
