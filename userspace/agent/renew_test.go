// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
)

// A process that cannot open the kernel part any more asks for a new one: at once, then with more and more patience,
// and it answers meanwhile. Any other failure is tried again in the same process.
func TestF16RenewalIsPaced(t *testing.T) {
	for _, c := range []struct {
		renewed int
		after   time.Duration
	}{{0, 0}, {1, time.Second}, {2, 2 * time.Second}, {5, 16 * time.Second}, {7, time.Minute}, {1000, time.Minute}} {
		if got := renewAfter(c.renewed); got != c.after {
			t.Errorf("after %d renewals the next comes after %s, want %s", c.renewed, got, c.after)
		}
	}
	r := newRig(t)
	r.stop()
	for _, c := range []struct {
		err     error
		renewed int
		wait    time.Duration
		want    bool
	}{
		{loader.ErrStale, 0, 0, true},
		{loader.ErrStale, 3, 3 * time.Second, false},
		{loader.ErrStale, 3, 4 * time.Second, true},
		{loader.ErrPermission, 0, time.Hour, false},
	} {
		r.openErr = c.err
		r.startWithoutAdoption()
		r.agent.opts.Renewed = c.renewed
		r.tryOpen()
		r.clock = r.clock.Add(c.wait)
		if got := r.renewDue(); got != c.want {
			t.Errorf("%v, %d renewals, after %s: due %t, want %t", c.err, c.renewed, c.wait, got, c.want)
		}
		r.stop()
	}
}

// A renewal ends Run in good order: the socket is free for the process that follows.
func TestF16RunAsksForANewProcess(t *testing.T) {
	dir := t.TempDir()
	h, path := writeHost(t, dir, hostYAML, noPins(t), "")
	for range 2 {
		o := Options{Host: h, HostPath: path, Renewed: 1, machineParts: machineParts{owner: newMachine(time.Now).own,
			open: func(loader.Options) (dataplane, error) { return nil, loader.ErrStale }}}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := Run(ctx, o); !errors.Is(err, ErrRenew) {
			t.Errorf("Run ended with %v, want %v", err, ErrRenew)
		}
		cancel()
	}
}
