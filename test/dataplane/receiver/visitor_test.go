// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// visitors is how many connections of visitors see something happen in the middle of their hello.
const visitors = 150

// happenings are what operators, upgrades and networks do while a visitor's hello is on its way. Each is undone before
// the visitor's data ends.
var happenings = []struct {
	name   string
	rare   bool // it takes long
	begin  func(r *rig)
	finish func(r *rig)
}{
	{"bypass", false, func(r *rig) { r.w.Dataplane.SetBypass(loader.In(time.Hour)) },
		func(r *rig) { r.w.Dataplane.SetBypass(0) }},
	{"bypass of the service", false, func(r *rig) { r.bypassService(loader.In(time.Hour)) },
		func(r *rig) { r.bypassService(0) }},
	{"no dataplane behind the root", false, func(r *rig) { r.must(r.next.Delete(uint32(0))) },
		func(r *rig) { r.must(r.w.Dataplane.RefillPrograms()) }},
	{"observe", false, func(r *rig) { r.mode(config.ModeObserve) }, func(r *rig) { r.mode(config.ModeEnforce) }},
	{"another generation", false, func(r *rig) { r.w.Publish(&r.host, r.bundle) }, nil},
	{"the table of flows is lost", false, (*rig).forgetFlows, nil},
	{"the table of hellos is lost", true, (*rig).forgetHellos, nil},
	{"another interface", false, func(r *rig) { r.l.link = 1 }, func(r *rig) { r.l.link = 0 }},
	{"the agent ends and another comes", true, (*rig).restart, nil},
}

// A visitor who sends only their own bytes, over whatever network, and past whatever happens on the way, is served all
// of them, also where a policy blocks for the strong reasons.
func TestVisitorsAreServed(t *testing.T) {
	r := newRig(t)
	r.secondLink()
	seed := uint64(3)
	unread := map[string]int{} // visitors whose hello was not read, by the reason
	for i := range uint64(visitors) {
		rnd := rand.New(rand.NewPCG(seed, i))
		s := newVisitor(rnd, i)
		what := happenings[rnd.IntN(len(happenings))]
		if what.rare && rnd.IntN(8) > 0 {
			what = happenings[0]
		}
		from := rnd.IntN(len(s.steps))
		to := from + rnd.IntN(len(s.steps)-from)
		p := r.playWith(s, r.guards[len(r.guards)-1], func(n int) {
			if n == from {
				what.begin(r)
			}
			if n == to && what.finish != nil {
				what.finish(r)
			}
		})
		if p.ja4() == "" {
			unread[r.reasonOf(p)]++
		}
		name := fmt.Sprintf("visitor %d, %s from step %d to %d", i, what.name, from, to)
		if p.blocked() {
			t.Errorf("%s: blocked, reason %q; %s\n%s", name, r.reasonOf(p), p, s)
		} else if len(p.lives) != 1 || string(p.lives[0].served) != string(s.whole()) {
			t.Errorf("%s: not all was served\n%s", name, s)
		}
	}
	t.Logf("%d visitors of seed %d; unread, by reason: %v", visitors, seed, unread)
}

// newVisitor is a harmless client over a network that loses, repeats and reorders, but not in more gaps than are
// followed.
func newVisitor(r *rand.Rand, number uint64) *schedule {
	s := &schedule{number: number,
		world: circumstances{IPv6: r.IntN(2) == 0, Stamps: r.IntN(2) == 0, SACK: true, Late: r.IntN(3) == 0,
			NoACK: r.IntN(8) == 0, Cookies: []int{1, 1, 2}[r.IntN(3)]}}
	s.stream = recordsOf(r)(hello(r.IntN(shapes), otherCipher, r.IntN(4000), r.Uint64()).Bytes())
	for {
		m := &maker{r: r, s: s, mine: s.stream, other: s.stream}
		m.cut()
		m.order()
		for range r.IntN(3) {
			m.insert("again", m.own())
		}
		if i := r.IntN(len(m.steps)); r.IntN(4) == 0 && len(m.steps[i].data) > 64 && s.world.Cookies == 1 {
			m.steps[i].pieces = true
		}
		s.steps = m.steps
		if s.gaps() <= gapsMost {
			break
		}
	}
	s.resend()
	return s
}

// whole is what the application has in the end.
func (s *schedule) whole() []byte { return slices.Concat(s.stream, request, request, request) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) bypassService(until loader.Deadline) {
	for id := uint8(1); id <= uint8(len(r.host.Services)); id++ {
		r.w.Dataplane.SetServiceBypass(id, until)
	}
}

func (r *rig) mode(m config.Mode) {
	mode := loader.ModeOf(m)
	_, err := r.w.Dataplane.Publish(loader.Change{Mode: &mode})
	r.must(err)
}

func (r *rig) forgetFlows() {
	var keys []bpf.FlowName
	var key bpf.FlowName
	var flow bpf.Flow
	rows := r.flows.Iterate()
	for rows.Next(&key, &flow) {
		keys = append(keys, key)
	}
	r.must(rows.Err())
	for _, k := range keys {
		r.must(r.flows.Delete(k))
	}
}

// forgetHellos lets every unfinished hello lose its place.
func (r *rig) forgetHellos() {
	empty := make([]byte, r.hellos.ValueSize())
	for i := range r.hellos.MaxEntries() {
		r.must(r.hellos.Put(i, empty))
	}
}

// secondLink makes another link between the outside and the edge, which the dataplane guards too.
func (r *rig) secondLink() {
	r.t.Helper()
	out, err := os.Open(r.w.Out.Path())
	r.must(err)
	defer func() { _ = out.Close() }()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "edge1"
	var edge, far netlink.Link
	r.must(r.w.Edge.Do(func() (err error) {
		err = netlink.LinkAdd(
			&netlink.Veth{LinkAttrs: attributes, PeerName: "out1", PeerNamespace: netlink.NsFd(int(out.Fd()))})
		if err != nil {
			return err
		}
		if edge, err = netlink.LinkByName("edge1"); err != nil {
			return err
		}
		return netlink.LinkSetUp(edge)
	}))
	r.must(r.w.Out.Do(func() (err error) {
		if far, err = netlink.LinkByName("out1"); err != nil {
			return err
		}
		return netlink.LinkSetUp(far)
	}))
	r.must(r.w.Edge.Do(func() error {
		_, err := r.w.Dataplane.Attach("edge1", config.AttachNative)
		return err
	}))
	r.l.ends = append(r.l.ends, endOf(far.Attrs().Index, edge.Attrs().HardwareAddr, far.Attrs().HardwareAddr))
}

// restart ends the owner of the dataplane, and lets another take it over and attach it as it would.
func (r *rig) restart() {
	r.must(r.w.Dataplane.Close())
	r.must(r.w.Edge.Do(func() error {
		d, err := loader.Open(loader.Options{Pins: r.w.Pins, Capacity: r.host.Capacity})
		if err != nil {
			return err
		}
		r.w.Dataplane = d
		for _, name := range []string{r.w.EdgeIf, "edge1"} {
			if _, err := d.Attach(name, config.AttachNative); err != nil {
				return err
			}
		}
		return nil
	}))
}
