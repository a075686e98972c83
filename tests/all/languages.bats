#!/usr/bin/env bats
# Interpreters, tools and terminals that a small machine lacks.

setup_file() {
    sh "$BATS_TEST_DIRNAME/../deps.sh" lua5.4 ruby nodejs sqlite3 openssl openssh-client tmux perl >&3
}

setup() {
    load ../common
    load ../plain
    cd "$BATS_TEST_TMPDIR"
}

@test "lua, ruby, node" {
    untouched lua5.4 -e 'local t = {} for i = 1, 1e5 do t[i] = tostring(i) end print(#table.concat(t))
        local p = io.popen("cat; exit 3", "w") p:write("piped\n") print(p:close()) print(pcall(error, "x")) os.exit(5)'
    [ "$status" = 5 ]
    untouched ruby -e 'q = Queue.new; ts = 10.times.map { |i| Thread.new { 1000.times { q << i } } }; ts.each(&:join); p q.size
        r, w = IO.pipe; pid = fork { r.close; w.puts "child"; exit! 4 }; w.close; p r.read, Process.wait2(pid)[1].exitstatus
        trap(:USR1) { puts "usr1" }; Process.kill(:USR1, $$); sleep 0.05; GC.start; p `echo back`
        def deep(n) = deep(n + 1); begin; deep(0); rescue SystemStackError; puts "deep"; end
        exit 6'
    [ "$status" = 6 ]
    # It is linked at 0x400000 and reaches up to 0x5688000, where virt has a window.
    dtc -q -I dts -O dtb -o map.dtb "$ROOT/tests/guests/b_scratch.dts"
    run --separate-stderr timeout 20 env LD_PRELOAD="$LIB" node -e 0
    assert_refused '^mmioshim: MMIOSHIM_MAP=virt: window clint@2000000 .* collides with .*/node'
    export MMIOSHIM_MAP=$PWD/map.dtb
    untouched node -e 'const { execFileSync } = require("child_process"), { Worker } = require("worker_threads");
        console.log(execFileSync("sh", ["-c", "echo from a child"]).toString().trim());
        const http = require("http"), s = http.createServer((q, r) => r.end(q.url)).listen(0, "127.0.0.1", () =>
            http.get({ port: s.address().port, path: "/x" }, r => r.on("data", d => console.log(String(d))).on("end", () => s.close(next))));
        function next() { const w = new Worker("require(\"worker_threads\").parentPort.postMessage([...Array(1e5).keys()].reduce((a, b) => a + b))", { eval: true });
            w.on("message", m => console.log(m)); w.on("exit", () => { let o = []; for (let i = 0; i < 1e6; i++) o[i % 1000] = { i };
            try { (function f() { f() })() } catch (e) { console.log(e.message) } process.exitCode = 7 }) }'
    [ "$status" = 7 ]
}

@test "sqlite3: a database with locks, a journal, a write-ahead log; openssl, ssh-keygen" {
    untouched sh -c 'rm -f db*; sqlite3 db "pragma journal_mode=wal; create table t(a, b); with recursive n(i) as (select 1 union all select i+1 from n where i < 20000) insert into t select i, hex(i*i) from n; create index x on t(b); select count(*), sum(a), max(b) from t; pragma integrity_check;"
        for i in 1 2 3 4; do sqlite3 -cmd ".timeout 5000" db "update t set a = a + 1;" & done; wait; sqlite3 db "select sum(a) from t; select * from none;"'
    untouched sh -c 'openssl dgst -sha256 /etc/services; openssl enc -aes-256-ctr -pbkdf2 -S 00112233 -k x -in /etc/services | md5sum; openssl prime 65537; openssl verify /etc/passwd 2>/dev/null; echo $?'
    untouched sh -c 'rm -f k k.pub; ssh-keygen -q -t ed25519 -N "" -f k && echo data | ssh-keygen -Y sign -f k -n file 2>/dev/null | head -n 1; ssh-keygen -y -f k | cut -d " " -f 1; ssh-keygen -l -f /etc/passwd'
}

@test "tmux: a server, a session, keys" {
    untouched sh -c 'TMUX= tmux -L "t$$" -f /dev/null new-session -d -x 60 -y 5 sh; for i in 1 2 3 4 5; do tmux -L "t$$" send-keys "PS1=; clear; echo in \$((6 * 7))" Enter; sleep 0.2; done; tmux -L "t$$" capture-pane -p | grep "^in"; tmux -L "t$$" kill-server; echo $?'
    assert_line 'in 42'
}
