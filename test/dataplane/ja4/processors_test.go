// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/clienthello"
)

// both runs f at once on two processors, in the room's namespace.
func (r *room) both(f func(processor int) error) {
	r.t.Helper()
	namespace, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer namespace.Close()
	var ready, done sync.WaitGroup
	errs := make([]error, 2)
	ready.Add(2)
	for i := range 2 {
		done.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with its work
			var one unix.CPUSet
			one.Set(i)
			errs[i] = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
			if err := unix.SchedSetaffinity(0, &one); errs[i] == nil {
				errs[i] = err
			}
			ready.Done()
			ready.Wait()
			if errs[i] == nil {
				errs[i] = f(i)
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// Two processors may have packets of one connection at once, a piece here and the next one there, all of them twice.
// What is read is the hello that was sent or nothing, a visitor loses no packet, whatever else a policy blocks for, and
// a bot's connection is blocked.
func TestTwoProcessorsOneConnection(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("not here: one processor")
	}
	eachFamily(t, func(t *testing.T, good, bot, _ string) {
		p := open(t)
		p.spendFreely()
		r := enter(t, p, nil)
		other := browser(2)
		other.Ciphers = other.Ciphers[:9]
		streams := map[bool][]byte{true: one(browser(1)), false: one(other)}
		d := against(p.ja4Of(streams[true]))
		for _, reason := range []string{"hello_overlap", "hello_malformed", "hello_hidden"} {
			d.rule(reason, 100).reason(reason, reason)
		}
		p.swap(d.bundle())
		for n := range 60 {
			isBot := n%2 == 0
			source := map[bool]string{true: bot, false: good}[isBot]
			c := r.connect(source, uint16(2000+n), streams[isBot])
			random := rand.New(rand.NewPCG(uint64(n), 18))
			parts := clienthello.Segments(c.stream, clienthello.Cuts(random, len(c.stream))...)
			var dropped [2]int
			r.both(func(processor int) error {
				order := rand.New(rand.NewPCG(uint64(n), uint64(processor))).Perm(len(parts))
				for range 3 {
					for _, i := range order {
						action, _, err := p.Run(c.k.Frame(parts[i]))
						if err != nil {
							return err
						}
						if action == 1 {
							dropped[processor]++
						}
					}
				}
				return nil
			})
			if got := c.ja4(); got != "" && got != p.ja4Of(c.stream) {
				t.Errorf("connection %d: read as %s, sent %s", n, got, p.ja4Of(c.stream))
			}
			if !isBot && dropped != [2]int{} {
				flow, _ := c.flow()
				t.Errorf("connection %d: %v packets of a visitor were dropped; the flow is %+v", n, dropped, flow)
			}
			if isBot {
				p.wants(fmt.Sprintf("connection %d: a bot's hello afterwards", n), "XDP_DROP", p.run(c.frame(0, 1400)))
			}
		}
	})
}
