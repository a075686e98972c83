// Goroutines, HTTP on localhost, child processes, signals, collection under load, recovered nil dereferences, a flood
// of preemption signals, and a window: one run prints the same as any other. An argument "quiet": none of what needs
// a signal.
package main

/*
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
static int twice(int x) { return 2 * x; }
static void *physical(long at)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}
*/
import "C"

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type node struct {
	left, right *node
	value       [4]int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{tree(depth - 1), tree(depth - 1), [4]int{depth}}
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

func nilDereference(p *node) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	return fmt.Sprint(p.value[1])
}

func web() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	}))
	var total int64
	var wait sync.WaitGroup
	for i := 0; i < 20; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			reply, err := http.Get(fmt.Sprintf("http://%s/%02d", listener.Addr(), i))
			if err != nil {
				panic(err)
			}
			body, _ := io.ReadAll(reply.Body)
			reply.Body.Close()
			atomic.AddInt64(&total, int64(len(body)))
		}(i)
	}
	wait.Wait()
	fmt.Println("http", total)
}

func children() {
	out, err := exec.Command("sh", "-c", "cat; exit 3").CombinedOutput()
	fmt.Printf("%q %v\n", out, err)
	command := exec.Command("tr", "a-z", "A-Z")
	command.Stdin = strings.NewReader("through a pipe")
	out, err = command.Output()
	fmt.Printf("%q %v\n", out, err)
	err = exec.Command("/nonexistent").Run()
	fmt.Println(err)
}

func signals() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1, syscall.SIGTERM)
	for i := 0; i < 100; i++ {
		syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
		if s := <-got; s != syscall.SIGUSR1 {
			fmt.Println("got", s)
		}
	}
	fmt.Println("100 signals")
}

// The runtime's own way to stop a goroutine, from outside and much more often.
func flood(stop *int32, done *sync.WaitGroup) {
	defer done.Done()
	for atomic.LoadInt32(stop) == 0 {
		syscall.Kill(syscall.Getpid(), syscall.SIGURG)
		runtime.Gosched()
	}
}

const page = 0x1000

// WINDOW: memory (the default), an address, or "devmem": C's open and mmap of /dev/mem at the address in the second word.
func window() []byte {
	var at uint64
	how := os.Getenv("WINDOW")
	if n, _ := fmt.Sscanf(how, "devmem %v", &at); n == 1 {
		return unsafe.Slice((*byte)(C.physical(C.long(at))), page)
	}
	if n, _ := fmt.Sscanf(how, "%v", &at); n == 1 {
		return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(at))), page)
	}
	return make([]byte, page)
}

// Each goroutine has words of its own in the window: 1000 loads and 1000 stores of each of three widths.
func accesses(m []byte) {
	var wait sync.WaitGroup
	var wrong int64
	for i := 0; i < 8; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			base := unsafe.Pointer(&m[64*i])
			a, b, c := (*uint8)(base), (*uint32)(unsafe.Add(base, 8)), (*uint64)(unsafe.Add(base, 16))
			for n := 0; n < 1000; n++ {
				*a = uint8(n)
				*b = uint32(n) * 0x10001
				*c = uint64(n) * 0x100010001
				if *a != uint8(n) || *b != uint32(n)*0x10001 || *c != uint64(n)*0x100010001 {
					atomic.AddInt64(&wrong, 1)
				}
			}
		}(i)
	}
	wait.Wait()
	fmt.Println("wrong", wrong)
}

func main() {
	fmt.Println("cgo", C.twice(21))
	var stop int32
	var flooded, wait sync.WaitGroup
	quiet := len(os.Args) > 1
	if !quiet {
		flooded.Add(1)
		go flood(&stop, &flooded)
	}
	accesses(window())
	var nodes int64
	for i := 0; i < 8; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for n := 0; n < 10; n++ {
				atomic.AddInt64(&nodes, int64(tree(12).count()))
				runtime.GC()
			}
		}()
	}
	wait.Wait()
	fmt.Println("nodes", nodes)
	web()
	if quiet {
		os.Exit(4)
	}
	for i := 0; i < 1000; i++ {
		if text := nilDereference(nil); !strings.Contains(text, "nil pointer dereference") {
			fmt.Println(text)
		}
	}
	fmt.Println(nilDereference(nil))
	children()
	signals()
	time.Sleep(10 * time.Millisecond)
	atomic.StoreInt32(&stop, 1)
	flooded.Wait()
	os.Exit(5)
}
