#!/usr/bin/env bats
# Programs as compilers instrument and mark them: sanitizers, profilers, OpenMP, Fortran, executable stacks.

setup_file() {
    sh "$BATS_TEST_DIRNAME/../deps.sh" gcc clang gfortran libclang-rt-14-dev binutils >&3
}

setup() {
    load ../common
    load ../plain
    cd "$BATS_TEST_TMPDIR"
    export MMIOSHIM_BACKTRACE=0 TSAN_OPTIONS=symbolize=0 MSAN_OPTIONS=symbolize=0
    cat > built.c <<'END2'
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int shared;
static volatile uint8_t *reg = (void *)0x10000007;
static void *work(void *window)
{
    for (int i = 0; i < 1000 && window; i++)
        *reg = (uint8_t)i;
    return &shared;
}
static void *race(void *unused)
{
    shared++;
    return unused;
}
int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    pthread_t t[4];
    char *leak = malloc(100);
    int *late = malloc(40), x = 0x7fffffff;

    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, strchr(how, 'r') ? race : work, strchr(how, 'w') ? t : NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    strcpy(leak, "x");
    if (strchr(how, 'o'))
        leak[100] = 1;
    if (strchr(how, 'u') && late[3])
        puts("unset");
    if (strchr(how, 'i'))
        printf("%d\n", x + argc);
    if (strchr(how, 'z'))
        *(volatile int *)NULL = 1;
    if (strchr(how, 'l'))
        leak = NULL;
    free(leak);
    free(late);
    puts("end");
    return 3;
}
END2
}

# reports PROGRAM WORDS ACTION: it ends the same, and complains of the same
reports() {
    plain "$1" "$3"
    local code=$status
    [[ -z $2 || $stderr == *$2* ]] || fail "not without us: $2: $stderr"
    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    run --separate-stderr timeout 30 env LD_PRELOAD="${FIRST:+$FIRST }$LIB" MMIOSHIM_LOG="$log" "$1" "$3"
    assert_equal "$status" "$code"
    assert_equal "$output" "$plain_output"
    [[ -z $2 || $stderr == *$2* ]] || fail "not with us: $2: $stderr"
}

# windowed PROGRAM WORDS ACTION CODE: with 4000 stores to a window in its threads
windowed() {
    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    run --separate-stderr timeout 30 env LD_PRELOAD="${FIRST:+$FIRST }$LIB" MMIOSHIM_LOG="$log" "$1" "w$3"
    assert_equal "$status" "$4"
    [[ -z $2 || $stderr == *$2* ]] || fail "not there: $2: $stderr"
    assert_count 4000 '^\[MMIO\] .* write1 '
    assert_count 0 '^\[MMIO\] .* read'
}

@test "address sanitizer, with its leak tracer, on virt-low: gcc's behind its own library, clang's as it is" {
    export MMIOSHIM_MAP=virt-low
    for cc in gcc clang; do
        $cc -g -fsanitize=address -o asan built.c -lpthread
        FIRST=
        [ $cc = clang ] || FIRST=$(gcc -print-file-name=libasan.so)
        reports ./asan '' x
        [ "$status" = 3 ]
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            reports ./asan 'LeakSanitizer: detected memory leaks' l
        done
        reports ./asan heap-buffer-overflow o
        reports ./asan 'SEGV on unknown address 0x000000000000' z
        windowed ./asan 'LeakSanitizer: detected memory leaks' l 1
        windowed ./asan heap-buffer-overflow o 1
        windowed ./asan '' x 3
    done
}

@test "thread, memory and undefined behaviour sanitizers, on both built-in maps" {
    gcc -g -fsanitize=thread -o tsan-gcc built.c
    clang -g -fsanitize=thread -o tsan-clang built.c
    clang -g -fsanitize=memory -o msan built.c
    gcc -g -fsanitize=undefined -o ubsan built.c
    for map in virt virt-low; do
        export MMIOSHIM_MAP=$map
        for tsan in ./tsan-gcc ./tsan-clang; do
            reports $tsan 'ThreadSanitizer: data race' r
            [ "$status" = 66 ]
            windowed $tsan 'ThreadSanitizer: data race' x 66
        done
        reports ./msan 'MemorySanitizer: use-of-uninitialized-value' u
        windowed ./msan 'MemorySanitizer: use-of-uninitialized-value' u 1
        reports ./ubsan 'signed integer overflow' i
        windowed ./ubsan 'signed integer overflow' i 3
    done
}

@test "gprof, gcov, an executable stack, -fcf-protection, non-PIE" {
    gcc -pg -o prof built.c
    reports ./prof '' x
    [ -s gmon.out ]
    windowed ./prof '' x 3
    gcc --coverage -o cov built.c
    untouched ./cov x
    windowed ./cov '' x 3
    gcov -n cov-built.gcda | grep -q 'Lines executed:[5-9]'
    gcc -z execstack -o stack built.c
    reports ./stack '' x
    windowed ./stack '' x 3
    gcc -fcf-protection=full -no-pie -o cet built.c
    reports ./cet '' x
    windowed ./cet '' x 3
}

@test "OpenMP and Fortran" {
    printf '#include <stdint.h>\n#include <stdio.h>\nint main(int c, char **v) { long s = 0; volatile uint8_t *w = (void *)0x10000007; (void)v;\n#pragma omp parallel for reduction(+:s) num_threads(8) schedule(dynamic, 100)\nfor (int i = 0; i < 100000; i++) { s += i; if (c > 1 && i %% 25 == 0) *w = i; }\nprintf("%%ld\\n", s); return 3; }\n' > omp.c
    gcc -O2 -fopenmp -o omp omp.c
    untouched ./omp
    windowed ./omp '' x 3
    cat > f.f90 <<'END2'
program f
  implicit none
  real(8) :: a(200,200), b(200,200)
  integer :: i, j, ios
  forall (i=1:200, j=1:200) a(i,j) = i + j
  b = matmul(a, transpose(a))
  print '(F20.2)', sum(b)
  open(10, file='f.out', form='unformatted', access='stream')
  write(10) b
  close(10)
  call execute_command_line('md5sum f.out')
  open(11, file='/nonexistent', status='old', iostat=ios)
  print *, ios
  stop 3
end program
END2
    gfortran -fopenmp -o f f.f90
    untouched ./f
    [ "$status" = 3 ]
}
