// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
)

var (
	// everything asks for every fault and every point instead of a few.
	everything = os.Getenv("SPILLWAY_FAULTS") == "all"
	// atLeast asks for every fault, and as many points of each; 0 leaves it to the test.
	atLeast int
)

var seed = uint64(time.Now().UnixNano())

func TestMain(m *testing.M) {
	inject.Main()
	if s := os.Getenv("SPILLWAY_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "SPILLWAY_SEED:", err)
			os.Exit(2)
		}
		seed = n
	}
	if s := os.Getenv("SPILLWAY_FAULTS"); s != "" && !everything {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "SPILLWAY_FAULTS=%s: want a number of points, or all\n", s)
			os.Exit(2)
		}
		atLeast = n
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // most of a test's time is waiting
		_ = flag.Set("test.parallel", "4")
	}
	fmt.Printf("fault: SPILLWAY_SEED=%d SPILLWAY_FAULTS=%s\n", seed, os.Getenv("SPILLWAY_FAULTS"))
	code := m.Run()
	world.RemoveBinary()
	os.Exit(code)
}

// dice are a test's own: which points it visits does not depend on which other tests run.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	var name uint64
	for _, b := range []byte(t.Name()) {
		name = name*131 + uint64(b)
	}
	return rand.New(rand.NewPCG(seed, name))
}

// some returns few points of 1 to n, a stride apart, or all of them.
func some(r *rand.Rand, n, few int) []int {
	if few = max(few, atLeast); everything || few >= n {
		few = n
	}
	if n == 0 {
		return nil
	}
	offset := r.IntN(n)
	var out []int
	for i := range few {
		out = append(out, (offset+i*n/few)%n+1)
	}
	return out
}
