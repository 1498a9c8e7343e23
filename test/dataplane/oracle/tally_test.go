// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/model/oracle"
)

// tally counts what frames came to: a fuzz run that never reaches a reason proves nothing about it.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
}

func newTally() *tally { return &tally{seen: map[string]int{}} }

func (a *tally) add(r oracle.Result) {
	name := "uncounted"
	if !r.Uncounted {
		name = bpf.ReasonName(r.Reason) + "/" + bpf.OutcomeName(r.Outcome)
	}
	a.mu.Lock()
	a.seen[name]++
	a.mu.Unlock()
}

func (a *tally) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for name, n := range a.seen {
		all = append(all, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// unreachable reasons, and why.
var unreachable = map[string]string{
	"internal":      "a map is missing, which the loader never leaves so",
	"tcp_signature": elsewhere, "ja4": elsewhere, "not_hello": elsewhere,
	"pair":           "it takes a ClientHello; test/dataplane/progrun has some",
	"mptcp_stripped": "no service of these worlds strips; test/dataplane/progrun has some that do",
	"hello_partial":  elsewhere, "hello_order": elsewhere, "hello_overlap": elsewhere,
	"hello_too_long": elsewhere, "hello_malformed": elsewhere, "hello_busy": elsewhere,
	"hello_hidden": elsewhere, "hello_unseen": elsewhere, "hello_urgent": elsewhere, "not_taken": elsewhere,
}

// elsewhere: no service of these worlds reads TLS. What the dataplane makes of a ClientHello and of p0f signatures is
// compared with test/model/reference, in test/dataplane/ja4 and test/dataplane/fingerprints.
const elsewhere = "compared with test/model/reference"

func (a *tally) check(t *testing.T) {
	t.Helper()
	for _, reason := range bpf.Reasons() {
		name := bpf.ReasonName(reason)
		reached := false
		for seen := range a.seen {
			reached = reached || strings.HasPrefix(seen, name+"/")
		}
		if _, ok := unreachable[name]; !reached && !ok {
			t.Errorf("no frame came to %s", name)
		}
	}
	for _, name := range []string{"known_flow/pass", "ban/drop", "prefix/drop", "tcp_fingerprint/drop",
		"prefix/would_drop", "prefix/tag", "tcp_fingerprint/tag", "prefix/limit", "uncounted"} {
		if a.seen[name] == 0 {
			t.Errorf("no frame came to %s", name)
		}
	}
}
