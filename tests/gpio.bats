# The pins of a Raspberry Pi: registers by programs that know them, wires, host ends, interrupts. And a PC's clock beside it.
setup() {
    load common
    map=$BATS_TEST_TMPDIR/pins.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/i_pins.dts"
    export MMIOSHIM_MAP=$map
    pins=$BATS_TEST_TMPDIR/pins
}

# With a host end or wires: gpio ATTACHMENT PROGRAM...
gpio() {
    logged MMIOSHIM_ATTACH="gpio@3f200000=$1" MMIOSHIM_BACKTRACE=0 "${@:2}"
}

@test "busybox devmem: a pin becomes an output and is set, its wire takes the level to another; the file has the changes" {
    gpio "pins,wire=17-18:file:$pins" sh -c '
        busybox devmem 0x3f200004 32 0x00200000
        busybox devmem 0x3f20001c 32 0x00020000
        busybox devmem 0x3f200034 32
        busybox devmem 0x3f200028 32 0x00020000
        busybox devmem 0x3f200034 32
        busybox devmem 0x3f200034 8'
    assert_success
    # Pins 0 to 8 have resistors to high.
    assert_output "$(printf '0x000601FF\n0x000001FF\n0xFF')"
    assert_equal "$(cat "$pins")" "$(printf '17=0\n17=1\n17=0')"
    assert_events <<'END'
[MMIO] trap at 0x3f200004 -> gpio@3f200000 GPFSEL[1] write4 0x200000 FSEL7=0x1 #1
[MMIO] trap at 0x3f20001c -> gpio@3f200000 GPSET0 write4 0x20000 17 #2
[MMIO] trap at 0x3f200034 -> gpio@3f200000 GPLEV0 read4 0x601ff 0|1|2|3|4|5|6|7|8|17|18 #3
[MMIO] trap at 0x3f200028 -> gpio@3f200000 GPCLR0 write4 0x20000 17 #4
[MMIO] trap at 0x3f200034 -> gpio@3f200000 GPLEV0 read4 0x1ff 0|1|2|3|4|5|6|7|8 #5
[MMIO] trap at 0x3f200034 -> gpio@3f200000 GPLEV0 read1 0xff 0|1|2|3|4|5|6|7 #6
[LINT] narrow-access #6 gpio@3f200000 GPLEV0 read1: register takes 4-byte accesses
[EXIT] 6 accesses (3 reads, 3 writes), 1 lint, 0 lost
END
}

@test "gpiozero finds a Raspberry Pi by its device tree: a LED, and a button at the other end of its wire" {
    MMIOSHIM_MAP=$(dtb pi <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	compatible = "raspberrypi,3-model-b", "brcm,bcm2837";
	model = "Raspberry Pi 3 Model B Rev 1.2";
	aliases { gpio = "/soc/gpio@7e200000"; };
	system { linux,revision = <0xa02082>; };
	soc {
		compatible = "simple-bus";
		#address-cells = <1>;
		#size-cells = <1>;
		ranges = <0x7e000000 0x3f000000 0x1000000>;
		gpio@7e200000 { compatible = "brcm,bcm2835-gpio"; reg = <0x7e200000 0xb4>; };
	};
};
END
)
    cat > "$BATS_TEST_TMPDIR/led.py" <<'END'
from gpiozero import LED, InputDevice, pi_info
led, button = LED(17), InputDevice(18)
for _ in range(3):
    led.toggle()
    print(led.value, button.value)
print(pi_info().model, pi_info().pcb_revision)
END
    logged MMIOSHIM_ATTACH="gpio@7e200000=pins,wire=17-18:file:$pins" MMIOSHIM_BACKTRACE=0 GPIOZERO_PIN_FACTORY=native \
        /usr/bin/python3 -B "$BATS_TEST_TMPDIR/led.py"
    assert_success
    assert_output "$(printf '1 1\n0 0\n1 1\n3B 1.2')"
    assert_count 2 ' GPSET0 write4 0x20000 17 #'
    assert_count 2 ' GPCLR0 write4 0x20000 17 #'
    # Python's struct.pack_into clears before it writes, so the pin is no output for a moment whenever GPFSEL changes.
    assert_equal "$(sort -u "$pins")" "$(printf '17=0\n17=1\n17=z')"
    assert_equal "$(tail -n 1 "$pins")" 17=z
}

@test "/dev/gpiomem: the registers at every offset, for mmap alone; only where there are such pins" {
    logged MMIOSHIM_BACKTRACE=0 python3 -c '
import mmap, os, stat
f = os.open("/dev/gpiomem", os.O_RDWR | os.O_SYNC)
for offset in 0, 0x200000:
    gpio = memoryview(mmap.mmap(f, 4096, offset=offset)).cast("I")
    gpio[1] = 1 << 21
    gpio[7] = 1 << 17
    print(hex(gpio[13]))
print(stat.filemode(os.fstat(f).st_mode), os.listdir("/dev").count("gpiomem"))
for move in lambda: os.read(f, 4), lambda: os.write(f, b"1234"):
    try: move()
    except OSError as e: print(e.strerror)'
    assert_success
    assert_output "$(printf '0x201ff\n0x201ff\ncrw-rw---- 1\nInvalid argument\nInvalid argument')"
    assert_count 2 '^\[MMIO\] trap at 0x3f20001c -> gpio@3f200000 GPSET0 write4 0x20000 17 #'
    run --separate-stderr shim MMIOSHIM_MAP=virt MMIOSHIM_LOG=none ls /dev/gpiomem
    assert_failure 2
}

@test "a file drives pins: each change in its order, what is no line is none" {
    printf '17=1\n4=0\nnonsense\n54=1\n17=0\n18=1\n' > "$BATS_TEST_TMPDIR/in"
    gpio "pins:file:$pins,in=$BATS_TEST_TMPDIR/in" python3 -c '
import mmap, os
gpio = memoryview(mmap.mmap(os.open("/dev/mem", os.O_RDWR), 4096, offset=0x3f200000)).cast("I")
gpio[0x4c // 4] = 1 << 17  # rising edges
print(hex(gpio[0x34 // 4]), hex(gpio[0x40 // 4]))
gpio[0x40 // 4] = 1 << 17
print(hex(gpio[0x40 // 4]))'
    assert_success
    # 4 is low, 18 high; 17 was high for a moment.
    assert_output "$(printf '0x401ef 0x20000\n0x0')"
    assert_equal "$(cat "$pins")" ''
}

@test "a pin that changes while the program sleeps: interrupts, seen by its handler" {
    mkfifo "$BATS_TEST_TMPDIR/in"
    exec 7<> "$BATS_TEST_TMPDIR/in" # so that it does not end
    MMIOSHIM_ATTACH="gpio@3f200000=pins:file:$pins,in=$BATS_TEST_TMPDIR/in" MMIOSHIM_LOG=$BATS_TEST_TMPDIR/log \
        MMIOSHIM_BACKTRACE=0 shim timeout -s KILL 50 "$GUESTS/i_pins" > "$BATS_TEST_TMPDIR/out" 3>&- 7>&- &
    shown() {
        for _ in $(seq 1000); do
            grep -q "$1" "$BATS_TEST_TMPDIR/out" && return
            sleep 0.02
        done
        fail "no $1: $(cat "$BATS_TEST_TMPDIR/out")"
    }
    shown ready
    printf '18=1\n17=1\n' > "$BATS_TEST_TMPDIR/in"
    shown '17 rose, runs 1$'
    printf '17=0\n18=0\n' > "$BATS_TEST_TMPDIR/in"
    shown '18 fell, runs 2$'
    wait
    exec 7>&-
    log=$BATS_TEST_TMPDIR/log
    assert_equal "$(events | grep -v ' GPLEV0 ' | tail -n 11)" "$(cat <<'END'
[MMIO] trap at 0x3f20004c -> gpio@3f200000 GPREN0 write4 0x20000 17 #1
[MMIO] trap at 0x3f200058 -> gpio@3f200000 GPFEN0 write4 0x40000 18 #2
[IRQ] gpio@3f200000 11 raised
[MMIO] trap at 0x3f200040 -> gpio@3f200000 GPEDS0 read4 0x20000 17 #3
[MMIO] trap at 0x3f200040 -> gpio@3f200000 GPEDS0 write4 0x20000 17 #5
[IRQ] gpio@3f200000 11 lowered
[IRQ] gpio@3f200000 11 raised
[MMIO] trap at 0x3f200040 -> gpio@3f200000 GPEDS0 read4 0x40000 18 #6
[MMIO] trap at 0x3f200040 -> gpio@3f200000 GPEDS0 write4 0x40000 18 #8
[IRQ] gpio@3f200000 11 lowered
[EXIT] 8 accesses (4 reads, 4 writes), 0 lint, 0 lost
END
)"
}

@test "a PC's clock interrupts 64 times a second, in real and in virtual time" {
    for clock in real virtual; do
        logged MMIOSHIM_CLOCK=$clock MMIOSHIM_BACKTRACE=0 timeout -s KILL 60 "$GUESTS/i_pins" clock 4
        assert_success
        assert_output '4 ticks'
        assert_count 4 ' rtc@70 C read1 0x[cd]0 '
        assert_count 4 '^\[IRQ\] rtc@70 9 raised$'
        assert_count 4 '^\[IRQ\] rtc@70 9 lowered$'
        assert_count 0 '^\[LINT\]'
    done
    logged MMIOSHIM_CLOCK=virtual MMIOSHIM_BACKTRACE=0 "$GUESTS/i_pins" clock 2
    assert_events <<'END'
[PORT] trap at 0x70 -> rtc@70 INDEX write1 0xa CELL=0xa #1
[PORT] trap at 0x71 -> rtc@70 A write1 0x2a RS=0xa|DV=0x2 #2
[PORT] trap at 0x70 -> rtc@70 INDEX write1 0xb CELL=0xb #3
[PORT] trap at 0x71 -> rtc@70 B write1 0x42 24H|PIE #4
[IRQ] rtc@70 9 raised
[PORT] trap at 0x70 -> rtc@70 INDEX write1 0xc CELL=0xc #5
[PORT] trap at 0x71 -> rtc@70 C read1 0xc0 PF|IRQF #6
[IRQ] rtc@70 9 lowered
[IRQ] rtc@70 9 raised
[PORT] trap at 0x70 -> rtc@70 INDEX write1 0xc CELL=0xc #7
[PORT] trap at 0x71 -> rtc@70 C read1 0xc0 PF|IRQF #8
[IRQ] rtc@70 9 lowered
[PORT] trap at 0x70 -> rtc@70 INDEX write1 0xb CELL=0xb #9
[PORT] trap at 0x71 -> rtc@70 B write1 0x2 24H #10
[EXIT] 10 accesses (2 reads, 8 writes), 0 lint, 0 lost
END
}

@test "wires and host ends that cannot be: one line" {
    for case in 'pins,wire=17-54=a wire is two pins, 0 to 53' 'pins,wire=1-2,wire=2-3=that no other wire has' 'blk:x=not understood' \
        'pins:disk:x=its host ends are stdio, pty, file, socket and null' 'pins:file:/nonexistent/x=cannot open /nonexistent/x for output'; do
        gpio "${case%=*}" true
        assert_refused "MMIOSHIM_ATTACH=gpio@3f200000=" "${case##*=}"
    done
}
