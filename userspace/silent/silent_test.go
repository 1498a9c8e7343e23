// SPDX-License-Identifier: Apache-2.0

package silent

import (
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/sockets"
)

// table is a kernel with some blocked flows.
type table struct {
	flows   []loader.BlockedFlow
	baked   uint32
	mode    bpf.Mode
	bypass  loader.Deadline
	changed bool // the flow is another by the time it is looked at again
	walks   int
}

func (k *table) Control() loader.Control                       { return loader.Control{Mode: k.mode} }
func (k *table) Baked() uint32                                 { return k.baked }
func (k *table) Bypass() loader.Deadline                       { return k.bypass }
func (k *table) StillBlocked(loader.BlockedFlow) (bool, error) { return !k.changed, nil }
func (k *table) BlockedFlows(_ *loader.FlowWalk, _ int, to []loader.BlockedFlow) ([]loader.BlockedFlow, bool, error) {
	k.walks++
	return append(to, k.flows...), true, nil
}

// closer is a socket.
type closer struct {
	closed *int
	err    error
}

func (c closer) Close() error {
	if c.err == nil {
		*c.closed++
	}
	return c.err
}

func flow(s string) loader.BlockedFlow {
	return loader.BlockedFlow{Server: netip.MustParseAddrPort(s), Client: netip.MustParseAddrPort(s)}
}

// A closed socket cannot heal: it is closed only where the block is for good, and only the flow's own.
func TestOnlySilentBlockedSocketsAreClosed(t *testing.T) {
	v4, v6 := flow("192.0.2.1:443"), flow("[2001:db8::1]:443")
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		table  table
		active bool  // the client still speaks: no socket is found
		err    error // of the close
		want   int
		fault  error
	}{
		"both families":      {table: table{baked: 1, mode: bpf.ModeEnforce}, want: 2},
		"a bake":             {table: table{mode: bpf.ModeEnforce}},
		"observe":            {table: table{baked: 1, mode: bpf.ModeObserve}},
		"a bypass":           {table: table{baked: 1, mode: bpf.ModeEnforce, bypass: loader.DeadlineForever}},
		"who speaks":         {table: table{baked: 1, mode: bpf.ModeEnforce}, active: true},
		"the next user":      {table: table{baked: 1, mode: bpf.ModeEnforce, changed: true}},
		"it ended by itself": {table: table{baked: 1, mode: bpf.ModeEnforce}, err: sockets.ErrNoSocket},
		"the kernel refuses": {table: table{baked: 1, mode: bpf.ModeEnforce}, err: refused, fault: refused},
	} {
		t.Run(name, func(t *testing.T) {
			k, closed := c.table, 0
			k.flows = []loader.BlockedFlow{v4, v6}
			r := &releaser{find: func(loader.BlockedFlow) (io.Closer, error) {
				if c.active {
					return nil, nil
				}
				return closer{&closed, c.err}, nil
			}}
			n, err := r.step(&k, time.Unix(1, 0))
			if n != c.want || closed != c.want || !errors.Is(err, c.fault) {
				t.Errorf("closed %d, said %d, %v; want %d, %v", closed, n, err, c.want, c.fault)
			}
		})
	}
}

// A server that loses thousands of sockets at once would spend itself on their ends.
func TestSocketsOfASecondAreBounded(t *testing.T) {
	k := &table{baked: 1, mode: bpf.ModeEnforce}
	for range 3 * closeBudget {
		k.flows = append(k.flows, flow("192.0.2.1:443"))
	}
	closed := 0
	r := &releaser{find: func(loader.BlockedFlow) (io.Closer, error) { return closer{&closed, nil}, nil }}
	for i := range 3 { // of one walk: the next one comes later
		if n, err := r.step(k, time.Unix(1, int64(i))); n != closeBudget || err != nil {
			t.Errorf("second %d: %d, %v", i, n, err)
		}
	}
	if k.walks != 1 || len(r.waiting) != 0 {
		t.Errorf("%d walks, %d flows wait", k.walks, len(r.waiting))
	}
}
