#!/usr/bin/env bats
# The command `mmioshim`: run with its exit statuses, map, devices, help.

setup() {
    load common
}

# --- run ---

@test "run: the program's output, arguments, exit status; the transcript on standard error" {
    run --separate-stderr "$CMD" run "$POKE" w1:0x10000000=0x41 'puts: two  words' exit:42
    assert_failure 42
    assert_output 'A two  words'
    [[ $stderr == '[MEM] RAM: 512MB'*'[EXIT] 1 accesses (0 reads, 1 writes), 0 lint, 0 lost' ]]
    run --separate-stderr "$CMD" run busybox devmem 0x10000005 8
    assert_success
    assert_output 0x60
}

@test "run: finds the program in PATH, and is the same process" {
    run --separate-stderr bash -c "echo \$\$; exec $CMD run sh -c 'echo \$\$'"
    assert_success
    assert_equal "${lines[0]}" "${lines[1]}"
    # A program that dies of a signal dies so for the caller.
    run "$CMD" run -o none "$POKE" kill:15
    assert_failure 143
}

@test "run: 127 when the program is not there, 126 when it cannot be executed, one line" {
    # Directories of PATH that may not be searched would make it 126, as for execvp(3).
    PATH=/usr/bin:/bin
    run -127 --separate-stderr "$CMD" run no-such-program
    assert_equal "$output" ""
    assert_equal "${#stderr_lines[@]}" 1
    [[ $stderr == *no-such-program*'No such file'* ]]
    run -127 --separate-stderr "$CMD" run ./no/such/program
    assert_equal "${#stderr_lines[@]}" 1
    echo 'echo ran' > "$BATS_TEST_TMPDIR/plain"
    run -126 --separate-stderr "$CMD" run "$BATS_TEST_TMPDIR/plain"
    assert_equal "$output" ""
    assert_equal "${#stderr_lines[@]}" 1
    [[ $stderr == *'Permission denied'* ]]
    run -126 --separate-stderr "$CMD" run "$BATS_TEST_TMPDIR"
    assert_equal "${#stderr_lines[@]}" 1
    mkdir "$BATS_TEST_TMPDIR/empty"
    run -127 --separate-stderr env PATH="$BATS_TEST_TMPDIR/empty" "$CMD" run sh
    assert_equal "${#stderr_lines[@]}" 1
}

@test "run: 125 without a program, for unknown options, for a bad map" {
    run --separate-stderr "$CMD" run
    assert_refused 'no program'
    run --separate-stderr "$CMD" run -z true
    assert_refused "unknown option '-z'"
    run --separate-stderr "$CMD" run -m nosuch "$POKE" puts:ran
    assert_refused nosuch
}

@test "run: scripts, with an interpreter or without" {
    printf '#!/bin/sh\nbusybox devmem 0x10000007 8 $1; busybox devmem 0x10000007 8\n' > "$BATS_TEST_TMPDIR/script"
    chmod +x "$BATS_TEST_TMPDIR/script"
    run --separate-stderr "$CMD" run -o none "$BATS_TEST_TMPDIR/script" 0x5a
    assert_success
    assert_output 0x5A
    sed -i 1d "$BATS_TEST_TMPDIR/script"
    run --separate-stderr "$CMD" run -o none "$BATS_TEST_TMPDIR/script" 0x5b
    assert_success
    assert_output 0x5B
}

@test "run: a static program is recognised" {
    run "$GUESTS/a_static"
    assert_output ran
    run --separate-stderr "$CMD" run "$GUESTS/a_static"
    assert_refused 'a_static' 'static'
}

@test "run: a set-user-ID program is recognised" {
    if [ "$(id -u)" = 0 ]; then
        cp "$POKE" "$BATS_TEST_TMPDIR/setuid"
        chown 65534 "$BATS_TEST_TMPDIR/setuid"
        chmod 4755 "$BATS_TEST_TMPDIR/setuid"
        findmnt -no OPTIONS -T "$BATS_TEST_TMPDIR" | grep -qw nosuid && skip "the temporary directory is mounted nosuid"
        program=$BATS_TEST_TMPDIR/setuid
    else
        program=$(command -v passwd || command -v su || command -v mount) || skip "no set-user-ID program here"
        [ -u "$program" ] || skip "no set-user-ID program here"
    fi
    run --separate-stderr "$CMD" run "$program" puts:ran
    assert_refused "$program" 'set-user-ID'
}

foreign() { # CLASS MACHINE
    python3 - "$1" "$2" "$BATS_TEST_TMPDIR/foreign" <<'END'
import os, struct, sys
header = b'\x7fELF' + bytes([int(sys.argv[1]), 1, 1]) + bytes(9)
header += struct.pack('<HHIQQQIHHHHHH', 2, int(sys.argv[2]), 1, 0x400000, 64, 0, 0, 64, 56, 0, 64, 0, 0)
open(sys.argv[3], 'wb').write(header + bytes(64))
os.chmod(sys.argv[3], 0o755)
END
}

@test "run: programs for another CPU, and 32-bit ones, are recognised" {
    foreign 2 183
    run --separate-stderr "$CMD" run "$BATS_TEST_TMPDIR/foreign"
    assert_refused 'foreign' 'AArch64' 'x86-64'
    foreign 2 243
    run --separate-stderr "$CMD" run "$BATS_TEST_TMPDIR/foreign"
    assert_refused 'RISC-V'
    foreign 1 3
    run --separate-stderr "$CMD" run "$BATS_TEST_TMPDIR/foreign"
    assert_refused '32-bit'
}

@test "run: a damaged program file is refused by the kernel, not run as a script" {
    head -c 100 "$POKE" > "$BATS_TEST_TMPDIR/damaged"
    chmod +x "$BATS_TEST_TMPDIR/damaged"
    run -126 --separate-stderr "$CMD" run "$BATS_TEST_TMPDIR/damaged"
    assert_equal "$output" ""
    assert_equal "${#stderr_lines[@]}" 1
}

@test "run -v says when nothing touched the machine" {
    run --separate-stderr "$CMD" run -v "$POKE" puts:ran
    assert_success
    assert_output ran
    assert_equal "$(grep -c 'nothing touched the machine' <<< "$stderr")" 1
    run --separate-stderr "$CMD" run -v "$POKE" w1:0x10000007=1
    assert_equal "$(grep -c 'nothing touched the machine' <<< "$stderr")" 0
    run --separate-stderr "$CMD" run "$POKE" puts:ran
    assert_equal "$stderr" ""
}

@test "run: other entries of LD_PRELOAD stay, ours is not doubled" {
    echo 'int unused_by_all;' > "$BATS_TEST_TMPDIR/other.c"
    cc -shared -fPIC -o "$BATS_TEST_TMPDIR/libother.so" "$BATS_TEST_TMPDIR/other.c"
    run --separate-stderr env LD_PRELOAD="$BATS_TEST_TMPDIR/libother.so" "$CMD" run -o none env
    assert_success
    assert_equal "$(sed -n 's/^LD_PRELOAD=//p' <<< "$output" | tr ': ' '\n\n' | sort)" \
        "$(printf '%s\n%s\n' "$LIB" "$BATS_TEST_TMPDIR/libother.so" | sort)"
    run --separate-stderr "$CMD" run -o none "$CMD" run -o none env
    assert_success
    assert_line "LD_PRELOAD=$LIB"
}

@test "run works from another directory, and through a symbolic link" {
    ln -s "$CMD" "$BATS_TEST_TMPDIR/link"
    cd /
    run --separate-stderr "$BATS_TEST_TMPDIR/link" run -o none busybox devmem 0x10000005 8
    assert_success
    assert_output 0x60
}

# --- map ---

@test "map: default, MMIOSHIM_MAP, an argument, JSON" {
    run --separate-stderr "$CMD" map
    assert_success
    assert_equal "${#lines[@]}" 14
    assert_equal "${lines[0]}" '[MEM] RAM: 512MB 0x80000000-0x9fffffff memory@80000000'
    assert_equal "${lines[5]}" '[MEM] MMIO: UART 0x10000000-0x10000fff uart@10000000 ns16550a'
    run --separate-stderr env MMIOSHIM_MAP=virt-low "$CMD" map
    assert_equal "${lines[0]}" '[MEM] RAM: 512MB 0x20000000-0x3fffffff memory@20000000'
    run --separate-stderr env MMIOSHIM_MAP=virt-low "$CMD" map virt
    assert_equal "${lines[0]}" '[MEM] RAM: 512MB 0x80000000-0x9fffffff memory@80000000'
    run --separate-stderr "$CMD" map --json
    assert_success
    python3 - "$output" <<'END'
import json, sys
lines = [json.loads(l) for l in sys.argv[1].splitlines()]
assert len(lines) == 14
assert all(list(l) == ['type', 'kind', 'base', 'size', 'device', 'compatible'] for l in lines)
assert [l['kind'] for l in lines] == ['ram'] + 13 * ['mmio']
END
}

@test "map: source, and what cannot be read" {
    run --separate-stderr "$CMD" map "$MAPS/ranges.dts"
    assert_success
    assert_equal "$stderr" ""
    run --separate-stderr "$CMD" map "$MAPS/overlap.dts"
    assert_refused overlap
    run --separate-stderr "$CMD" map nosuch
    assert_refused 'nosuch' 'allowed:' 'virt'
    run --separate-stderr "$CMD" map virt virt
    assert_refused 'more than one MAP'
    run --separate-stderr "$CMD" map --nosuch
    assert_failure 125
    assert_equal "$output" ""
}

# --- devices ---

@test "devices: the models of this version, their compatible strings, the host ends" {
    run --separate-stderr "$CMD" devices
    assert_success
    assert_equal "$stderr" ""
    for word in ns16550a mmioshim,scratch sifive,test0 google,goldfish-rtc virtio,mmio unimplemented testdev bridge stdio file pty socket null; do
        [[ $output == *"$word"* ]] || fail "$word is not listed"
    done
}

@test "devices NAME: properties, registers, fields; by model and by compatible string" {
    run --separate-stderr "$CMD" devices ns16550a
    assert_success
    for word in RBR THR DLL IER DLM IIR FCR LCR MCR LSR MSR SCR reg-shift reg-io-width 'THRE 5' 'default stdio'; do
        [[ $output == *"$word"* ]] || fail "$word is not there"
    done
    run --separate-stderr "$CMD" devices virtio,mmio
    assert_success
    [[ $output == *MagicValue* ]]
    run --separate-stderr "$CMD" devices testdev
    assert_success
    [[ $output == *mmioshim,pci-testdev*barN=SIZE*msix=N* ]]
    run --separate-stderr "$CMD" devices teapot
    assert_failure 1
    assert_equal "${#stderr_lines[@]}" 1
    [[ $stderr == *teapot*known:*ns16550a* ]]
}

@test "devices --json: every line parses, with the registers" {
    run --separate-stderr "$CMD" devices --json
    assert_success
    python3 - "$output" <<'END'
import json, sys
lines = [json.loads(l) for l in sys.argv[1].splitlines()]
models = {l['name']: l for l in lines if l['type'] == 'model'}
assert {'stdio', 'file', 'pty', 'socket', 'null'} <= {l['name'] for l in lines if l['type'] == 'backend'}
assert {'testdev', 'bridge', 'virtio'} <= {l['name'] for l in lines if l['type'] == 'pci-model'}
uart = [m for m in models.values() if 'ns16550a' in m['compatible']][0]
lsr = [r for r in uart['registers'] if r['name'] == 'LSR'][0]
assert (lsr['offset'], lsr['width'], lsr['access']) == (5, 1, 'ro')
assert {'name': 'THRE', 'lsb': 5, 'width': 1} in lsr['fields']
END
}

# --- decode ---

@test "decode: an instruction's bytes, in one word or several; what is no instruction" {
    run --separate-stderr "$CMD" decode 8b 07
    assert_success
    [[ $output == *'mov eax'* ]]
    first=$output
    run --separate-stderr "$CMD" decode 8b07
    assert_success
    assert_equal "$output" "$first"
    run --separate-stderr "$CMD" decode zz
    assert_failure
    assert_equal "$output" ""
    assert_equal "${#stderr_lines[@]}" 1
}

# --- help ---

@test "--help and --version everywhere, on standard output" {
    run --separate-stderr "$CMD" --version
    assert_success
    assert_output --regexp '^mmioshim [0-9]+\.[0-9]+\.[0-9]+$'
    run --separate-stderr "$CMD" --help
    assert_success
    assert_equal "$stderr" ""
    help=$output
    for command in run map dirty devices decode machine trace; do
        [[ $help == *"  $command "* ]] || fail "$command is not in the help"
        run --separate-stderr "$CMD" $command --help
        assert_success
        assert_equal "$command $stderr" "$command "
        [[ $output == "Usage: mmioshim $command"* ]] || fail "$command --help: $output"
        plain=$output
        run --separate-stderr "$CMD" help $command
        assert_success
        assert_equal "$output" "$plain"
    done
}

@test "no command, an unknown command, an unknown option: 125, the known ones are named" {
    run --separate-stderr "$CMD"
    assert_failure 125
    assert_equal "$output" ""
    [[ $stderr == Usage:* ]]
    run --separate-stderr "$CMD" teapot
    assert_refused "unknown command 'teapot'" 'run, map, dirty, devices, decode, machine, trace'
    run --separate-stderr "$CMD" --teapot
    assert_refused "'--teapot'" '--help' '--version'
}

@test "output that cannot be written is no success" {
    for command in map devices --help --version; do
        run bash -c "$CMD $command > /dev/full 2> $BATS_TEST_TMPDIR/error"
        [ "$status" != 0 ] || fail "$command"
        assert_equal "$(wc -l < "$BATS_TEST_TMPDIR/error")" 1
    done
}
