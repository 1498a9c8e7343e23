// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hellosAtLeast is how many hellos a run of all tests compares.
const hellosAtLeast = 50_000

// failuresShown end a run: the first says enough.
const failuresShown = 10

// number returns an environment variable's value.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestKernelAndReferenceAgree compares what the kernel keeps of generated hellos with what the specification says of
// their bytes, however they were cut, repeated, mixed up or damaged.
func TestKernelAndReferenceAgree(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(telling())
	seed := number(t, "SPILLWAY_SEED", uint64(time.Now().UnixNano()))
	hellos := number(t, "SPILLWAY_HELLOS", hellosAtLeast)
	t.Logf("SPILLWAY_SEED=%d SPILLWAY_HELLOS=%d", seed, hellos)
	seen, frames, failures, begin := map[string]int{}, 0, 0, time.Now()
	both := &readers{p: p}
	for n := range hellos {
		c := newTrial(p, seed, n)
		seen[c.run()]++
		frames += len(c.sent)
		both.note(c.sent, c.open...)
		if n%100 == 99 || n == hellos-1 {
			failures += both.compare(fmt.Sprintf("seed %d, before hello %d", seed, n))
		}
		if len(c.failures) > 0 {
			t.Errorf("seed %d, hello %d, %s:\n\t%s\n\tstream %x", seed, n, c.what, strings.Join(c.failures, "\n\t"), c.stream)
			if failures++; failures >= failuresShown {
				t.Fatalf("stopped after hello %d of %d", n, hellos)
			}
		}
	}
	t.Logf("%d hellos in %d frames, %v: %v", hellos, frames, time.Since(begin).Round(time.Millisecond), seen)
	for _, class := range []string{whole, partial, "hello_malformed", "hello_too_long", "not_hello"} {
		if seen[class] == 0 {
			t.Errorf("no stream was %s", class)
		}
	}
}
