// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
)

// own is the lock of the machine's pins.
func (m *machine) own(folder string) (plane.Ownership, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != 0 {
		return nil, &pins.OwnedError{Folder: folder, PID: m.owner}
	}
	m.owner = fakePID
	return &owning{m}, nil
}

const fakePID = 4711

type owning struct{ m *machine }

func (o *owning) Holds() bool {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	return o.m.owner == fakePID
}

func (o *owning) Close() error {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if o.m.owner == fakePID {
		o.m.owner = 0
	}
	return nil
}

// A second agent with a socket and a state of its own, and the same pins, ends at once and names the first.
func TestF4SecondAgentOnOnePinFolder(t *testing.T) {
	r := newRig(t)
	attached := r.machine.did("Attach")
	h, _ := writeHost(t, t.TempDir(), hostYAML, noPins(t), "")
	o := Options{Host: h, Log: slog.New(slog.DiscardHandler)}
	o.owner = r.machine.own
	o.open = func(loader.Options) (dataplane, error) { return &fake{r.machine, h}, nil }
	err := Run(context.Background(), o)
	if !errors.Is(err, pins.ErrOwned) || !strings.Contains(err.Error(), "4711") || r.machine.did("Attach") != attached {
		t.Errorf("got %v, and %d attaches", err, r.machine.did("Attach")-attached)
	}
}

// An agent that lost the pins to another one, because somebody moved the folder aside, touches nothing any more.
func TestF4PinsThatBecameAnothers(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.machine.owner = 1
	delete(r.machine.links, "eth0")
	attached := r.machine.did("Attach")
	r.tick(true)
	if s, err := r.Status(ctx); err != nil || !hasProblem(s, ledger.ProblemOwner) || r.machine.did("Attach") != attached {
		t.Errorf("%v, %v, %d attaches", s.Problems, err, r.machine.did("Attach")-attached)
	}
	r.machine.owner = 0
	r.tick(true)
	if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemOwner) || !s.Protected {
		t.Errorf("%v", s.Problems)
	}
}
