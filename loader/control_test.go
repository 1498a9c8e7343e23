// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"sync"
	"testing"

	"github.com/spillway/spillway/bpf"
)

func TestControlWordKeepsEveryField(t *testing.T) {
	for _, c := range []Control{
		{},
		{Mode: bpf.DataplaneModeMODE_ENFORCE, Stable: 3, Candidate: 1, Previous: 2, Host: 3, Canary: 1000, Epoch: 1<<32 - 1},
		{Canary: 1}, {Host: 1}, {Previous: 1}, {Epoch: 1},
	} {
		if got := unpackControl(c.pack()); got != c {
			t.Errorf("%+v came back as %+v", c, got)
		}
	}
}

// Two writers never lose each other's change: every swap is of what the other left.
func TestConcurrentChangesAreAllMade(t *testing.T) {
	d := &Dataplane{words: &words{at: &bpf.Runtime{}}}
	const each = 1000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range each {
				if _, err := d.swap(func(*Control) error { return nil }); err != nil {
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
	permille := func(v uint16) *uint16 { return &v }
	for _, c := range []struct {
		name string
		do   func(*Dataplane) (Control, error)
		was  Control
		want Control
		err  error
	}{
		{name: "publish moves stable to previous",
			do:  func(d *Dataplane) (Control, error) { return d.Publish(Change{Stable: ptr(2)}) },
			was: Control{Stable: 1}, want: Control{Stable: 2, Previous: 1, Epoch: 1}},
		{name: "publish for a new host file keeps previous",
			do:  func(d *Dataplane) (Control, error) { return d.Publish(Change{Stable: ptr(3), KeepPrevious: true}) },
			was: Control{Stable: 2, Previous: 1}, want: Control{Stable: 3, Previous: 1, Epoch: 1}},
		{name: "candidate gets its share",
			do: func(d *Dataplane) (Control, error) {
				return d.Publish(Change{Candidate: ptr(2), Canary: permille(50)})
			},
			was: Control{Stable: 1}, want: Control{Stable: 1, Candidate: 2, Canary: 50, Epoch: 1}},
		{name: "promote", do: (*Dataplane).Promote,
			was: Control{Stable: 1, Candidate: 2, Canary: 1000}, want: Control{Stable: 2, Previous: 1, Epoch: 1}},
		{name: "promote nothing", do: (*Dataplane).Promote, was: Control{Stable: 1}, want: Control{Stable: 1}, err: ErrNoCandidate},
		{name: "withdraw", do: (*Dataplane).Withdraw,
			was: Control{Stable: 1, Candidate: 2, Canary: 50}, want: Control{Stable: 1, Epoch: 1}},
		{name: "rollback ends a candidate too", do: (*Dataplane).Rollback,
			was:  Control{Stable: 2, Previous: 1, Candidate: 3, Canary: 50},
			want: Control{Stable: 1, Epoch: 1}},
		{name: "rollback without previous", do: (*Dataplane).Rollback, was: Control{Stable: 2}, want: Control{Stable: 2}, err: ErrNoPrevious},
		{name: "drop all", do: (*Dataplane).DropGenerations,
			was: Control{Stable: 2, Previous: 1, Host: 1}, want: Control{Host: 1, Epoch: 1}},
	} {
		d := &Dataplane{words: &words{at: &bpf.Runtime{Control: c.was.pack()}}}
		if _, err := c.do(d); !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		if got := d.Control(); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}
