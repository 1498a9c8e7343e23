// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"sync"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/spillway/spillway/bpf"
)

func TestControlWordKeepsEveryField(t *testing.T) {
	for _, c := range []Control{
		{},
		{Mode: bpf.ModeEnforce, Stable: 7, Candidate: 1, Previous: 2, Host: 7, Shadow: true, Pair: true, Budget: true,
			Canary: 1000, Epoch: 1<<32 - 1},
		{Canary: 1000}, {Host: 7}, {Previous: 7}, {Candidate: 7}, {Stable: 7}, {Epoch: 1}, {Shadow: true},
		{Pair: true}, {Budget: true},
	} {
		if got := unpackControl(c.pack()); got != c {
			t.Errorf("%+v came back as %+v", c, got)
		}
	}
}

// The places of the fields are those that the kernel reads.
func TestControlWordIsTheKernels(t *testing.T) {
	spec, err := bpf.LoadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	var shifts *btf.Enum
	if err := spec.Types.TypeByName("control_shift", &shifts); err != nil {
		t.Fatal(err)
	}
	ours := map[string]Control{
		"CONTROL_MODE": {Mode: 1}, "CONTROL_STABLE": {Stable: 1}, "CONTROL_CANDIDATE": {Candidate: 1},
		"CONTROL_PREVIOUS": {Previous: 1},
		"CONTROL_HOST":     {Host: 1}, "CONTROL_SHADOW": {Shadow: true}, "CONTROL_PAIR": {Pair: true},
		"CONTROL_BUDGET": {Budget: true},
		"CONTROL_CANARY": {Canary: 1}, "CONTROL_EPOCH": {Epoch: 1},
	}
	for _, v := range shifts.Values {
		if got := ours[v.Name].pack(); got != 1<<v.Value {
			t.Errorf("%s is bit %d in C, %#x in Go", v.Name, v.Value, got)
		}
	}
	if len(shifts.Values) != len(ours) {
		t.Errorf("%d fields in C, %d here", len(shifts.Values), len(ours))
	}
}

// Two writers never lose each other's change: every swap is of what the other left.
func TestConcurrentChangesAreAllMade(t *testing.T) {
	d := &Words{words: &words{at: &bpf.Runtime{}}} // nothing else of a dataplane is needed
	const each = 1000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range each {
				if _, err := d.DropGenerations(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := d.Control().Epoch; got != 4*each {
		t.Errorf("epoch %d after %d changes", got, 4*each)
	}
}

func TestRolesMoveTogether(t *testing.T) {
	ptr := func(v uint8) *uint8 { return &v }
	yes := func(v bool) *bool { return &v }
	permille := func(v uint16) *uint16 { return &v }
	publish := func(change Change) func(Control) (Control, error) {
		return func(c Control) (Control, error) { return c.Publish(change) }
	}
	for _, c := range []struct {
		name string
		do   func(Control) (Control, error)
		was  Control
		want Control
		err  error
	}{
		{name: "publish moves stable to previous", do: publish(Change{Stable: ptr(2)}),
			was: Control{Stable: 1}, want: Control{Stable: 2, Previous: 1, Epoch: 1}},
		{name: "publish for a new host file keeps previous", do: publish(Change{Stable: ptr(3), KeepPrevious: true}),
			was: Control{Stable: 2, Previous: 1}, want: Control{Stable: 3, Previous: 1, Epoch: 1}},
		{name: "what is built again stays under its budget",
			do:   publish(Change{Stable: ptr(3), KeepPrevious: true, Rebuilt: Rebuilt{Was: 5, Now: 6}}),
			was:  Control{Stable: 2, Previous: 1, Pair: true, Budget: true},
			want: Control{Stable: 3, Previous: 1, Pair: true, Budget: true, Epoch: 1}},
		{name: "candidate gets its share", do: publish(Change{Candidate: ptr(2), Canary: permille(50)}),
			was: Control{Stable: 1}, want: Control{Stable: 1, Candidate: 2, Canary: 50, Epoch: 1}},
		{name: "publish the candidate ends its rollout", do: publish(Change{Stable: ptr(2)}),
			was:  Control{Stable: 1, Candidate: 2, Canary: 50, Shadow: true, Budget: true},
			want: Control{Stable: 2, Previous: 1, Epoch: 1}},
		{name: "the last slot", do: publish(Change{Stable: ptr(7)}),
			was: Control{Stable: 1}, want: Control{Stable: 7, Previous: 1, Epoch: 1}},
		{name: "promote into a bake, in one", do: publish(Change{Stable: ptr(2), Pair: yes(true), Budget: yes(true)}),
			was:  Control{Stable: 1, Candidate: 2, Canary: 1000, Pair: true},
			want: Control{Stable: 2, Previous: 1, Pair: true, Budget: true, Epoch: 1}},
		{name: "the bake is over", do: publish(Change{Pair: yes(false), Budget: yes(false)}),
			was:  Control{Stable: 2, Previous: 1, Pair: true, Budget: true},
			want: Control{Stable: 2, Previous: 1, Epoch: 1}},
		{name: "promote", do: Control.Promote,
			was: Control{Stable: 1, Candidate: 2, Canary: 1000, Pair: true}, want: Control{Stable: 2, Previous: 1, Epoch: 1}},
		{name: "promote nothing", do: Control.Promote, was: Control{Stable: 1}, want: Control{Stable: 1},
			err: ErrNoCandidate},
		{name: "withdraw", do: Control.Withdraw,
			was: Control{Stable: 1, Candidate: 2, Canary: 50, Shadow: true}, want: Control{Stable: 1, Epoch: 1}},
		{name: "rollback ends a candidate too", do: Control.Rollback,
			was:  Control{Stable: 2, Previous: 1, Candidate: 3, Canary: 50, Budget: true},
			want: Control{Stable: 1, Epoch: 1}},
		{name: "rollback without previous", do: Control.Rollback, was: Control{Stable: 2},
			want: Control{Stable: 2}, err: ErrNoPrevious},
		{name: "drop all", do: Control.DropGenerations,
			was: Control{Stable: 2, Previous: 1, Host: 1}, want: Control{Host: 1, Epoch: 1}},
	} {
		got, err := c.do(c.was)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		if got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestControlRefusesASlotThatIsNot(t *testing.T) {
	slot, other := uint8(bpf.Slots), uint8(2)
	for _, change := range []Change{{Stable: &slot}, {Host: &slot}, {Candidate: &other}} {
		was := Control{Stable: 2, Previous: 1}
		if got, err := was.Publish(change); err == nil || got != was {
			t.Errorf("%+v made %+v, %v", change, got, err)
		}
	}
}
