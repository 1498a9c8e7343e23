// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/fresh"
)

// hellosAtLeast is how many hellos a run of all tests compares.
const hellosAtLeast = 50_000

// hellosFresh is how many of them are of a seed that no run had before.
const hellosFresh = 5000

// failuresShown end a run: the first says enough.
const failuresShown = 10

// TestKernelAndReferenceAgree compares what the kernel keeps of generated hellos with what the specification says of
// their bytes, however they were cut, repeated, mixed up or damaged.
func TestKernelAndReferenceAgree(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(telling())
	seed := fresh.Number(t, "SPILLWAY_SEED", uint64(time.Now().UnixNano()))
	hellos := fresh.Number(t, "SPILLWAY_HELLOS", hellosAtLeast)
	t.Logf("SPILLWAY_SEED=%d SPILLWAY_HELLOS=%d", seed, hellos)
	seen := p.agree(seed, hellos, t.Errorf)
	for _, class := range []string{whole, partial, "hello_malformed", "hello_too_long", "not_hello"} {
		if seen[class] == 0 {
			t.Errorf("no stream was %s", class)
		}
	}
	if part, ok := fresh.Begin(t); ok {
		p.agree(part.Seed, hellosFresh, func(format string, args ...any) { part.Find(fmt.Sprintf(format, args...)) })
	}
}

// agree says where they do not, and stops when that was often. It returns how many streams were of each class.
func (p *plane) agree(seed, hellos uint64, say func(format string, args ...any)) map[string]int {
	p.t.Helper()
	seen, frames, failures, begin := map[string]int{}, 0, 0, time.Now()
	both := &readers{p: p, say: say}
	for n := range hellos {
		c := newTrial(p, seed, n)
		seen[c.run()]++
		frames += len(c.sent)
		both.note(c.sent, c.open...)
		if n%100 == 99 || n == hellos-1 {
			failures += both.compare(fmt.Sprintf("seed %d, before hello %d", seed, n))
		}
		if len(c.failures) > 0 {
			say("seed %d, hello %d, %s:\n\t%s\n\tstream %x", seed, n, c.what, strings.Join(c.failures, "\n\t"), c.stream)
			if failures++; failures >= failuresShown {
				say("stopped after hello %d of %d", n, hellos)
				break
			}
		}
	}
	p.t.Logf("%d hellos in %d frames, %v: %v", hellos, frames, time.Since(begin).Round(time.Millisecond), seen)
	return seen
}
