// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"errors"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	support "github.com/spillway/spillway/test/support/plane"
)

// plane is a dataplane of the test's own, with pins of its own so that the test can look into every map.
type plane struct {
	*support.Plane
	t       *testing.T
	names   map[uint8]string  // services by id
	seen    rows              // counters as of the last packet
	decided map[string]uint64 // connections and lone packets that the last packet counted
	sent    uint64            // packets that should be in them

	keys   []uint32 // of the counters that were looked at last, with what each processor counted
	values []bpf.Counts
}

// capacity is small: a test that fills a map shall not take long, nor one that borrows a plane, whose arrays are zeroed
// first.
var capacity = config.Capacity{
	Prefixes4: 1024, Prefixes6: 1024, TCPFingerprints: 256, Rules: 64,
	Flows: 4096, Syns: 4096, Hellos: 64, Shapes: 4096, Bans: 64, Allowlist: 64, Services: 16,
}

func open(t *testing.T) *plane {
	t.Helper()
	return openSized(t, capacity)
}

func openSized(t *testing.T, c config.Capacity) *plane {
	t.Helper()
	support.Need(t)
	own, err := support.Open("progrun", loader.Options{Capacity: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return watch(t, own)
}

// idle are dataplanes that a test gave back. Loading one takes most of a second, and in an emulated kernel ten.
var idle = make(chan *support.Plane, 4)

// borrow returns a dataplane that tests had before, renewed; open is for tests that look at a new one, or at its
// events.
func borrow(t *testing.T) *plane {
	t.Helper()
	support.Need(t)
	var own *support.Plane
	select {
	case own = <-idle:
		if err := own.Renew(); err != nil {
			t.Fatal(errors.Join(err, own.Close()))
		}
	default:
		var err error
		if own, err = support.Open("progrun", loader.Options{Capacity: capacity}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if !t.Failed() {
			select {
			case idle <- own:
				return
			default:
			}
		}
		if err := own.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return watch(t, own)
}

// closeIdle takes away what nobody borrows any more.
func closeIdle() (err error) {
	for {
		select {
		case own := <-idle:
			err = errors.Join(err, own.Close())
		default:
			return err
		}
	}
}

// watch counts what a test sends, and compares at its end.
func watch(t *testing.T, own *support.Plane) *plane {
	p := &plane{Plane: own, t: t, names: map[uint8]string{0: "none"}, seen: rows{}}
	t.Cleanup(p.checkTotal)
	return p
}

// publish makes host and bundle count at once, in the host's mode, with an agent that lives.
func (p *plane) publish(h *config.Host, b *config.Bundle) {
	p.t.Helper()
	p.publishHost(h)
	slot := p.build(b)
	mode := loader.ModeOf(h.MaxMode)
	p.change(loader.Change{Stable: &slot, Mode: &mode})
	p.Beat()
}

func (p *plane) publishHost(h *config.Host) {
	p.t.Helper()
	p.putHost(p.makeHost(h, nil))
}

// makeHost builds a host file, and putHost makes it count.
func (p *plane) makeHost(h *config.Host, since *compile.Since) uint8 {
	p.t.Helper()
	before := p.total()
	slot, err := p.MakeHostSince(h, since)
	p.must(err)
	p.sent -= before - p.total() // of an id that another service takes over
	p.catchUp()
	return slot
}

func (p *plane) putHost(slot uint8) {
	p.t.Helper()
	p.change(loader.Change{Host: &slot})
	info, err := p.Host()
	p.must(err)
	p.names = map[uint8]string{0: "none"}
	for _, s := range info.Services {
		p.names[s.ID] = s.Name
	}
}

// renew brings back an empty stable generation, enforced, and forgets what was remembered of connections; with a host
// file that a case changed, also the site.
func (p *plane) renew(f family, host bool) {
	p.t.Helper()
	_, err := p.Withdraw()
	if !errors.Is(err, loader.ErrNoCandidate) {
		p.must(err)
	}
	p.SetTripped(0)
	if host {
		p.publishHost(f.site())
	}
	p.swap(nothing())
	p.mode(config.ModeEnforce)
	p.must(support.Empty[bpf.FlowName, bpf.Flow](p.pinned(bpf.DataplaneMapFlows)))
	p.must(support.Fill(p.pinned(bpf.DataplaneMapSyns), bpf.SynRecord{}))
}

// swap makes b the stable generation.
func (p *plane) swap(b *config.Bundle) {
	p.t.Helper()
	slot := p.build(b)
	p.change(loader.Change{Stable: &slot})
}

// try makes b the candidate for a share of sources, in permille, under a lease of an hour.
func (p *plane) try(b *config.Bundle, share uint16) {
	p.t.Helper()
	slot := p.build(b)
	p.SetLease(loader.In(time.Hour))
	p.change(loader.Change{Candidate: &slot, Canary: &share})
}

func (p *plane) mode(m config.Mode) {
	p.t.Helper()
	p.must(p.SetMode(m))
}

func (p *plane) build(b *config.Bundle) uint8 {
	p.t.Helper()
	slot, err := p.MakeBundle(b)
	p.must(err)
	p.catchUp() // what the slot held was counted for the generations that left
	return slot
}

func (p *plane) change(c loader.Change) {
	p.t.Helper()
	_, err := p.Publish(c)
	p.must(err)
}

func (p *plane) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}
