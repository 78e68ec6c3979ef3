// What the same crowd costs as goroutines, for comparison with `cargo bench -- crowds` and
// `cargo bench -- threads`: of each peer one goroutine blocks on a socket and publishes, and another
// on its orders. One byte comes to each; main hears of it and gives an order.
//
//	go run tests/benches/goroutines.go
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	crowds()
	fmt.Println()
	starts()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Starting a goroutine, and waiting until all are over.
func starts() {
	const goroutines = 2000
	var start, join []float64
	for run := 0; run < 9; run++ {
		var all sync.WaitGroup
		began := time.Now()
		for n := 0; n < goroutines; n++ {
			all.Add(1)
			go all.Done()
		}
		started := time.Now()
		all.Wait()
		start = append(start, float64(started.Sub(began).Nanoseconds())/goroutines/1e3)
		join = append(join, float64(time.Since(started).Nanoseconds())/goroutines/1e3)
	}
	sort.Float64s(start)
	sort.Float64s(join)
	fmt.Println("| goroutine | µs |\n| --- | --- |")
	fmt.Printf("| start | %.2f |\n| join | %.2f |\n", start[4], join[4])
}

type peer struct {
	far, near *os.File
	orders    chan byte
}

func crowds() {
	const rounds = 20
	raise()
	fmt.Println("| peers | KiB of RSS each | µs of processor a byte | context switches a byte |")
	fmt.Println("| --- | --- | --- | --- |")
	before := resident()
	for _, peers := range []int{10, 100, 1000, 2000} {
		notifications, done := make(chan int, 256), make(chan struct{}, peers)
		var all sync.WaitGroup
		crowd := make([]peer, peers)
		for n := range crowd {
			far, near := pair()
			crowd[n] = peer{far, near, make(chan byte, 64)}
			all.Add(2)
			go func(n int, near *os.File) {
				defer all.Done()
				word := make([]byte, 1)
				for {
					if read, err := near.Read(word); err != nil || read == 0 {
						return
					}
					notifications <- n
				}
			}(n, near)
			go func(orders chan byte) {
				defer all.Done()
				for range orders {
					done <- struct{}{}
				}
			}(crowd[n].orders)
		}
		round := func() {
			for n := range crowd {
				_, err := crowd[n].far.Write([]byte{1})
				check(err)
			}
			for range crowd {
				crowd[<-notifications].orders <- 0
			}
			for range crowd {
				<-done
			}
		}
		round()
		each := (resident() - before) / float64(peers)
		switched, used := usage()
		for n := 0; n < rounds; n++ {
			round()
		}
		switchedThen, usedThen := usage()
		bytes := float64(rounds * peers)
		fmt.Printf("| %d | %.1f | %.1f | %.1f |\n", peers, each,
			float64((usedThen-used).Microseconds())/bytes, float64(switchedThen-switched)/bytes)
		for n := range crowd {
			close(crowd[n].orders)
			check(crowd[n].far.Close())
		}
		all.Wait()
		for n := range crowd {
			check(crowd[n].near.Close())
		}
	}
}

// Two ends of a connection, of which Go's poller takes care.
func pair() (*os.File, *os.File) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	check(err)
	for _, end := range ends {
		check(syscall.SetNonblock(end, true))
	}
	return os.NewFile(uintptr(ends[0]), "far"), os.NewFile(uintptr(ends[1]), "near")
}

// Lets this process have as many files as it may.
func raise() {
	var limit syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = limit.Max
	check(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
}

// Context switches, and time on processors, of this process.
func usage() (int64, time.Duration) {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return used.Nvcsw + used.Nivcsw, time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Resident memory in KiB, on Linux.
func resident() float64 {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmRSS:") {
			kib, err := strconv.ParseFloat(strings.Fields(line)[1], 64)
			check(err)
			return kib
		}
	}
	panic("there is no VmRSS")
}
