/* Locks that are biased to a lane: exclusion, revocation, death, policy; and who has which lane. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/lock.h"
#include "base/process.h"
#include "base/sys.h"
#include "unit.h"

#define REVOKING 0x80000000u

/* What processes share. */
struct shared {
    struct lock lock[2];
    volatile u64 data[2]; /* under the locks */
    volatile u32 busy[2];
    u64 biased, taken;
    u32 ready, got, go;
    struct lock_lane *lanes;
};

static struct shared *shared;

static void set_up(void)
{
    u8 *p = mmap(NULL, 4096 + lanes_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    shared = (void *)p;
    lanes_start((void *)(p + 4096), true);
}

static struct lock_self identity(void)
{
    u32 pid = (u32)getpid();

    return (struct lock_self){.tid = (u32)sys_gettid(), .pid = pid, .start = process_start(pid)};
}

/* A child of this test, in which `run` ends. */
static pid_t process(void (*run)(void))
{
    pid_t pid = fork();

    if (pid)
        return pid;
    process_after_fork();
    lanes_after_fork();
    alarm(60);
    run();
    fflush(stdout);
    _exit(unit_failures != 0);
}

static void ended_well(pid_t pid)
{
    int status = -1;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void ended_by_kill(pid_t pid)
{
    int status = -1;

    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
}

static void await(u32 *word)
{
    while (!__atomic_load_n(word, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void set(u32 *word)
{
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
}

/* As bus_leave() does. */
static void release(struct lock *lock, struct lock_self *self)
{
    if (!self->lane && lock_ripe(lock, self))
        lane_claim(self);
    lock_release_biased(lock, self);
}

static unsigned until_biased(struct lock *lock, struct lock_self *self)
{
    unsigned n = 0;

    while (n < 100000) {
        if (lock_enter(lock, self)) {
            lock_exit(self);
            return n;
        }
        lock_take(lock, self);
        release(lock, self);
        n++;
    }
    return n;
}

/* --- exclusion --- */

#define THREADS 3
#define ENTRIES 150000

static void inside(unsigned i)
{
    CHECK_EQ(shared->busy[i], 0);
    shared->busy[i] = 1;
    shared->data[i]++;
    shared->busy[i] = 0;
}

/* In bursts, now on one lock, now on the other; some take it as if nothing were biased. */
static void *hammer(void *unused)
{
    struct lock_self self = identity();
    u64 biased = 0, taken = 0;
    unsigned random = self.tid;

    (void)unused;
    for (unsigned n = 0; n < ENTRIES; random = random * 1103515245 + 12345) {
        unsigned i = random >> 16 & 1, burst = random >> 17 & 255, how = random >> 25 & 7;

        for (; burst && n < ENTRIES; burst--, n++) {
            if (how != 7 && lock_enter(&shared->lock[i], &self)) {
                inside(i);
                lock_exit(&self);
                biased++;
                continue;
            }
            lock_take(&shared->lock[i], &self);
            inside(i);
            shared->lock[i].reluctant = 0; /* nothing is learned: revocations all the time */
            release(&shared->lock[i], &self);
            taken++;
        }
        if (how & 1)
            sched_yield();
    }
    __atomic_fetch_add(&shared->biased, biased, __ATOMIC_RELAXED);
    __atomic_fetch_add(&shared->taken, taken, __ATOMIC_RELAXED);
    return NULL;
}

static void hammers(void)
{
    pthread_t thread[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&thread[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

TEST(nine_threads_of_three_processes_are_never_inside_together)
{
    pid_t pid[2];

    set_up();
    for (int i = 0; i < 2; i++)
        pid[i] = process(hammers);
    hammers();
    for (int i = 0; i < 2; i++)
        ended_well(pid[i]);
    CHECK_EQ(shared->data[0] + shared->data[1], 3 * THREADS * ENTRIES);
    CHECK_EQ(shared->biased + shared->taken, 3 * THREADS * ENTRIES);
    CHECK(shared->biased > 0);
    CHECK(shared->lock[0].revoked + shared->lock[1].revoked > 0);
    printf("# %lu biased, %lu taken, %u revoked\n", shared->biased, shared->taken,
           shared->lock[0].revoked + shared->lock[1].revoked);
}

#define COLD (64u << 20)

/* What the fence is for: one does nothing but enter, behind stores that take long, the other takes the bias away. */
static void *enter_all_the_time(void *argument)
{
    struct lock_self *self = argument;
    volatile u8 *cold = mmap(NULL, COLD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    u32 at = 0;

    set(&shared->ready);
    while (!__atomic_load_n(&shared->go, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 16; i++, at = at * 1103515245 + 12345)
            cold[(at >> 4) % COLD] = 1;
        if (!lock_enter(&shared->lock[0], self))
            continue;
        inside(0);
        lock_exit(self);
        shared->biased++;
    }
    return NULL;
}

TEST(a_store_that_is_still_on_its_way_is_waited_for)
{
    struct lock_self self, other;
    pthread_t thread;

    set_up();
    self = other = identity();
    CHECK(lane_claim(&other));
    CHECK_EQ(pthread_create(&thread, NULL, enter_all_the_time, &other), 0);
    await(&shared->ready);
    for (int i = 0; i < 100000; i++) {
        lock_take(&shared->lock[0], &self);
        inside(0);
        shared->taken++;
        shared->lock[0].bias = other.bias;
        lock_release(&shared->lock[0], &self);
        for (int n = i % 64; n; n--)
            __builtin_ia32_pause();
    }
    set(&shared->go);
    pthread_join(thread, NULL);
    CHECK_EQ(shared->data[0], shared->biased + shared->taken);
    CHECK_EQ(shared->lock[0].revoked, 99999);
}

/* --- revocation --- */

static void take_it(void)
{
    struct lock_self self = identity();

    CHECK(!lock_take(&shared->lock[0], &self));
    CHECK_EQ(shared->data[0], 1);
    set(&shared->got);
    lock_release(&shared->lock[0], &self);
}

static void *take_it_in_a_thread(void *unused)
{
    take_it();
    return unused;
}

/* We are inside, and somebody waits for us to come out. */
static void stay_inside_for_a_while(void)
{
    while (!(__atomic_load_n(&shared->lock[0].bias, __ATOMIC_ACQUIRE) & REVOKING))
        sched_yield();
    for (int i = 0; i < 50; i++) {
        poll(NULL, 0, 1);
        CHECK(!__atomic_load_n(&shared->got, __ATOMIC_ACQUIRE));
    }
    shared->data[0] = 1;
}

TEST(a_thread_waits_for_who_is_inside)
{
    pthread_t thread;
    struct lock_self self;

    set_up();
    self = identity();
    until_biased(&shared->lock[0], &self);
    CHECK(lock_enter(&shared->lock[0], &self));
    CHECK_EQ(pthread_create(&thread, NULL, take_it_in_a_thread, NULL), 0);
    stay_inside_for_a_while();
    lock_exit(&self);
    pthread_join(thread, NULL);
    CHECK(shared->got);
    CHECK(!lock_enter(&shared->lock[0], &self));
    CHECK_EQ(shared->lock[0].revoked, 1);
}

TEST(another_process_waits_for_who_is_inside)
{
    struct lock_self self;
    pid_t pid;

    set_up();
    self = identity();
    until_biased(&shared->lock[0], &self);
    CHECK(lock_enter(&shared->lock[0], &self));
    pid = process(take_it);
    stay_inside_for_a_while();
    lock_exit(&self);
    ended_well(pid);
    CHECK(shared->got);
    CHECK(!lock_enter(&shared->lock[0], &self));
}

TEST(who_is_inside_another_lock_is_not_waited_for)
{
    struct lock_self self;

    set_up();
    self = identity();
    until_biased(&shared->lock[0], &self);
    until_biased(&shared->lock[1], &self);
    shared->data[0] = 1;
    CHECK(lock_enter(&shared->lock[1], &self));
    ended_well(process(take_it));
    lock_exit(&self);
    CHECK(lock_enter(&shared->lock[1], &self));
    lock_exit(&self);
}

TEST(the_owner_of_a_bias_takes_its_lock_without_losing_it)
{
    struct lock_self self;

    set_up();
    self = identity();
    until_biased(&shared->lock[0], &self);
    CHECK(!lock_take(&shared->lock[0], &self));
    lock_release_biased(&shared->lock[0], &self);
    CHECK(lock_enter(&shared->lock[0], &self));
    lock_exit(&self);
    CHECK_EQ(shared->lock[0].revoked, 0);
}

TEST(a_number_of_no_lane_is_no_bias)
{
    struct lock_self self;

    set_up();
    self = identity();
    shared->lock[0].bias = LOCK_LANES + 1;
    CHECK(!lock_take(&shared->lock[0], &self));
    lock_release(&shared->lock[0], &self);
    CHECK_EQ(shared->lock[0].bias, 0);
}

/* --- death --- */

static void get_inside_and_wait(void)
{
    struct lock_self self = identity();

    until_biased(&shared->lock[0], &self);
    CHECK(lock_enter(&shared->lock[0], &self));
    set(&shared->ready);
    await(&shared->go);
    shared->data[0] = 1;
    lock_exit(&self);
}

static void get_biased(void)
{
    struct lock_self self = identity();

    until_biased(&shared->lock[0], &self);
    set(&shared->ready);
}

TEST(a_process_killed_inside_is_reported_and_its_lane_is_used_again)
{
    struct lock_self self;
    pid_t pid;

    set_up();
    self = identity();
    pid = process(get_inside_and_wait);
    await(&shared->ready);
    ended_by_kill(pid);
    CHECK(lane_claim(&self)); /* while nobody knows yet: not that one */
    CHECK_EQ(self.bias, 2);
    CHECK(lock_take(&shared->lock[0], &self));
    lock_release_biased(&shared->lock[0], &self);
    lane_drop(&self);
    CHECK(lane_claim(&self));
    CHECK_EQ(self.bias, 2);
    self.lane = NULL;
    CHECK(lane_claim(&self));
    CHECK_EQ(self.bias, 1);
    CHECK(!lock_take(&shared->lock[0], &self));
    lock_release(&shared->lock[0], &self);
}

TEST(the_bias_of_a_dead_process_costs_nothing)
{
    struct lock_self self;

    set_up();
    self = identity();
    ended_well(process(get_biased));
    CHECK_EQ(shared->lock[0].bias, 1);
    CHECK(!lock_take(&shared->lock[0], &self));
    lock_release(&shared->lock[0], &self);
    CHECK_EQ(shared->lock[0].bias, 0);
}

TEST(a_process_of_another_namespace_is_given_up_late_and_keeps_its_lane)
{
    struct lock_self self;
    pid_t pid;

    set_up();
    self = identity();
    pid = process(get_inside_and_wait);
    await(&shared->ready);
    ended_by_kill(pid);
    /* As if its number meant nothing here. */
    CHECK(lane_claim(&self));
    self.lane[-1].namespace++;
    CHECK(lock_take(&shared->lock[0], &self));
    lock_release(&shared->lock[0], &self);
    self.lane = NULL;
    CHECK(lane_claim(&self));
    CHECK_EQ(self.bias, 3);
}

TEST(exec_in_another_thread_is_a_death_too)
{
    struct lock_self self, other;

    set_up();
    self = other = identity();
    until_biased(&shared->lock[0], &self);
    CHECK(lock_enter(&shared->lock[0], &self));
    lanes_forget(&self);
    other.tid++;
    CHECK(lock_take(&shared->lock[0], &other));
    lock_release(&shared->lock[0], &other);
}

TEST(exec_frees_the_lanes_of_a_process)
{
    struct lock_self self, other;

    set_up();
    self = other = identity();
    CHECK(lane_claim(&self));
    lanes_forget(&self);
    CHECK(lane_claim(&other));
    CHECK_EQ(other.bias, self.bias);
}

static void *take_after_death(void *unused)
{
    struct lock_self self = identity();

    CHECK(lock_take(&shared->lock[0], &self));
    CHECK_EQ(shared->data[0], 1);
    set(&shared->got);
    lock_release(&shared->lock[0], &self);
    return unused;
}

TEST(a_revoker_that_dies_leaves_its_work_to_the_next)
{
    pid_t owner, revoker;
    pthread_t thread;

    set_up();
    owner = process(get_inside_and_wait);
    await(&shared->ready);
    revoker = process(take_it);
    while (!(__atomic_load_n(&shared->lock[0].bias, __ATOMIC_ACQUIRE) & REVOKING))
        sched_yield();
    ended_by_kill(revoker);
    CHECK_EQ(pthread_create(&thread, NULL, take_after_death, NULL), 0);
    /* More than the time after which a lock is looked at whose holder may be dead. */
    for (int i = 0; i < 200; i++) {
        poll(NULL, 0, 1);
        CHECK(!__atomic_load_n(&shared->got, __ATOMIC_ACQUIRE));
    }
    set(&shared->go);
    pthread_join(thread, NULL);
    CHECK(shared->got);
    ended_well(owner);
}

/* --- policy --- */

TEST(sixteen_takes_in_a_row_bias_a_lock)
{
    struct lock_self self;

    set_up();
    self = identity();
    CHECK_EQ(until_biased(&shared->lock[0], &self), LOCK_STREAK);
    CHECK_EQ(self.bias, 1);
    CHECK_EQ(until_biased(&shared->lock[1], &self), LOCK_STREAK);
}

/* Two threads as far as the locks can see. */
static void burst(struct lock_self *self, unsigned n)
{
    for (; n; n--) {
        if (lock_enter(&shared->lock[0], self)) {
            lock_exit(self);
        } else {
            lock_take(&shared->lock[0], self);
            release(&shared->lock[0], self);
        }
    }
}

TEST(two_that_take_turns_never_revoke)
{
    struct lock_self one, two;

    set_up();
    one = two = identity();
    two.tid++;
    for (int i = 0; i < 1000; i++) {
        burst(&one, 1);
        burst(&two, 1);
    }
    CHECK_EQ(shared->lock[0].revoked, 0);
    CHECK_EQ(shared->lock[0].bias, 0);
    CHECK(!one.lane);
}

TEST(two_that_alternate_in_bursts_soon_stop_to_revoke)
{
    struct lock_self one, two;
    unsigned n;

    set_up();
    one = two = identity();
    CHECK(lane_claim(&one));
    CHECK(lane_claim(&two));
    two.tid++;
    for (int i = 0; i < 2000; i++) {
        burst(&one, 100);
        burst(&two, 100);
    }
    /* 16, 32, 64, and then a burst is too short; more if a bias lasted because we were not run. */
    CHECK(shared->lock[0].revoked >= 3);
    CHECK(shared->lock[0].revoked <= 100);
    /* And one that stays alone gets it again. */
    n = until_biased(&shared->lock[0], &one);
    CHECK(n <= LOCK_STREAK << LOCK_RELUCTANT);
}

/* --- lanes --- */

TEST(without_a_lane_left_locks_are_taken)
{
    static struct lock_self many[LOCK_LANES];
    struct lock_self self, late;

    set_up();
    self = late = identity();
    for (unsigned i = 0; i < LOCK_LANES; i++) {
        many[i] = self;
        CHECK(lane_claim(&many[i]));
        CHECK_EQ(many[i].bias, i + 1);
    }
    CHECK(!lane_claim(&self));
    CHECK(self.laneless);
    CHECK(!lock_enter(&shared->lock[0], &self));
    burst(&self, 100);
    CHECK_EQ(shared->lock[0].bias, 0);
    lane_drop(&many[1234]);
    CHECK(lane_claim(&late));
    CHECK_EQ(late.bias, 1235);
}

static void *claim(void *most)
{
    struct lock_self self = identity();

    CHECK(lane_claim(&self));
    *(u32 *)most = self.bias > *(u32 *)most ? self.bias : *(u32 *)most;
    return NULL;
}

TEST(threads_that_ended_leave_their_lanes)
{
    u32 most = 0;

    set_up();
    for (int i = 0; i < 3000; i++) {
        pthread_t thread;

        CHECK_EQ(pthread_create(&thread, NULL, claim, &most), 0);
        pthread_join(thread, NULL);
    }
    CHECK(most <= 64);
}

static void claim_and_end(void)
{
    u32 most = 0;

    claim(&most);
    CHECK(most <= 2);
}

TEST(processes_that_ended_leave_their_lanes)
{
    set_up();
    for (int i = 0; i < 200; i++)
        ended_well(process(claim_and_end));
}

static struct lock_self inherited;

static void is_a_child(void)
{
    struct lock_self self = identity();
    u32 parent = inherited.tid;

    /* A slot of a thread of the parent, taken again. */
    inherited.tid = self.tid;
    inherited.pid = self.pid;
    inherited.start = self.start;
    lane_inherit(&inherited, parent);
    CHECK(!inherited.lane);
    CHECK(!lock_enter(&shared->lock[0], &inherited));
    CHECK(lane_claim(&inherited));
    CHECK_EQ(inherited.bias, 2);
    CHECK_EQ(until_biased(&shared->lock[1], &inherited), LOCK_STREAK);
}

TEST(a_child_of_fork_has_no_lane)
{
    set_up();
    inherited = identity();
    until_biased(&shared->lock[0], &inherited);
    ended_well(process(is_a_child));
    CHECK(lock_enter(&shared->lock[0], &inherited));
    CHECK(!lock_enter(&shared->lock[1], &inherited));
}

TEST(a_slot_takes_its_lane_to_the_next_thread)
{
    struct lock_self self;
    u32 tid;

    set_up();
    self = identity();
    until_biased(&shared->lock[0], &self);
    tid = self.tid++;
    lane_inherit(&self, tid);
    CHECK(self.lane);
    CHECK(lock_enter(&shared->lock[0], &self));
    lock_exit(&self);
    /* Not when somebody else needed it meanwhile. */
    lane_inherit(&self, tid);
    CHECK(!self.lane);
    CHECK_EQ(self.bias, 0);
}

/* --- without membarrier --- */

static void forbid_membarrier(u32 answer)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_SIZE(filter), filter};

    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST(nothing_is_biased_without_membarrier)
{
    struct lock_self self;

    forbid_membarrier(SECCOMP_RET_ERRNO | EPERM);
    set_up();
    self = identity();
    burst(&self, 100);
    CHECK(!self.lane);
    CHECK_EQ(shared->lock[0].bias, 0);
}

static void take_without_membarrier(u32 answer)
{
    struct lock_self self;
    pid_t pid;

    set_up();
    self = identity();
    pid = process(get_inside_and_wait);
    await(&shared->ready);
    if (answer == SECCOMP_RET_KILL_PROCESS)
        lanes_sandboxed();
    forbid_membarrier(answer);
    set(&shared->go);
    CHECK(!lock_take(&shared->lock[0], &self));
    CHECK_EQ(shared->data[0], 1);
    lock_release(&shared->lock[0], &self);
    ended_well(pid);
}

TEST(a_bias_is_taken_away_without_membarrier)
{
    take_without_membarrier(SECCOMP_RET_ERRNO | ENOSYS);
}

TEST(a_program_that_is_killed_for_membarrier_is_not)
{
    take_without_membarrier(SECCOMP_RET_KILL_PROCESS);
}
