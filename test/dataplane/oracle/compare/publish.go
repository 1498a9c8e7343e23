// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/model/oracle"
)

// Publish builds w anew, makes it what counts, and completes it with what the kernel chose: slots and numbers. A
// generation is compiled for the services of its own list, which may be fewer than the world's.
func (p *Plane) Publish(w *oracle.World) error { return p.move(func() error { return p.publish(w) }) }

func (p *Plane) publish(w *oracle.World) error {
	if _, err := p.DropGenerations(); err != nil {
		return err
	}
	image, err := p.compileHost(w, w.Services)
	if err != nil {
		return err
	}
	slot, err := p.BuildHost(image)
	if err != nil {
		return err
	}
	if _, err := p.Dataplane.Publish(loader.Change{Host: &slot}); err != nil {
		return err
	}
	if err := p.learnServices(); err != nil {
		return err
	}
	for _, g := range []*oracle.Generation{w.Previous, w.Stable} { // the first is what was stable before the second
		if g == nil {
			continue
		}
		if err := p.build(g, w, loader.Change{Stable: &g.Slot}); err != nil {
			return err
		}
	}
	if g := w.Candidate; g != nil {
		canary := uint16(w.Canary)
		if err := p.build(g, w, loader.Change{Candidate: &g.Slot, Canary: &canary}); err != nil {
			return err
		}
	}
	return errors.Join(p.compare(w), p.Set(w))
}

// compare has the lanes compare the candidate with stable, and stable with previous.
func (p *Plane) compare(w *oracle.World) error {
	_, err := p.Dataplane.Publish(loader.Change{Pair: &w.Pair, Budget: &w.Budget})
	errs := []error{err, p.Stop(loader.LaneMain), p.Stop(loader.LaneFast)}
	for lane, pair := range [][2]*oracle.Generation{{w.Stable, w.Candidate}, {w.Previous, w.Stable}} {
		if pair[1] == nil {
			continue
		}
		c := loader.Comparison{Run: p.NextRun(), New: pair[1].Number}
		if pair[0] != nil {
			c.Old = pair[0].Number
		}
		errs = append(errs, p.Compare(loader.Lane(lane), c))
	}
	return errors.Join(errs...)
}

// build compiles one generation, for the services of its list by their published ids, and gives it its role.
func (p *Plane) build(g *oracle.Generation, w *oracle.World, role loader.Change) error {
	image, err := p.compileHost(w, slices.DeleteFunc(slices.Clone(w.Services), func(s config.Service) bool {
		return !slices.Contains(g.Services, s.Name)
	}))
	if err != nil {
		return err
	}
	if g.Number, err = p.NextNumber(); err != nil {
		return err
	}
	for i, r := range g.Bundle.Rules {
		g.Bundle.Rules[i].Declared = g.Bundle.Intent != nil && slices.Contains(g.Bundle.Intent.By, r.Label)
	}
	if g.Bundle.Host = (config.Digest{}); g.Current {
		g.Bundle.Host = theChange
	}
	img, err := compile.Bundle(g.Bundle, image, g.Number, loader.Now())
	if err != nil {
		return err
	}
	if g.Slot, err = p.Build(img); err != nil {
		return err
	}
	_, err = p.Dataplane.Publish(role)
	return err
}

func (p *Plane) compileHost(w *oracle.World, services []config.Service) (*compile.HostImage, error) {
	h := config.DefaultHost()
	h.Services = services
	for _, a := range w.Allowlist {
		h.Allowlist = append(h.Allowlist, config.AllowEntry{Prefix: a})
	}
	h.AcceptReasons = w.AcceptReasons
	h.Guards.AgentTimeout = config.Timeout(w.AgentTimeout)
	current, err := p.Host()
	if err != nil {
		return nil, err
	}
	return compile.HostFileSince(h, since(w), current, 1)
}

// theChange is what a generation is compiled for that is not behind.
var theChange = config.Digest{1}

func since(w *oracle.World) *compile.Since {
	if w.Before == nil {
		return nil
	}
	h := config.DefaultHost()
	h.Services, h.AcceptReasons = w.Before.Services, w.Before.AcceptReasons
	for _, a := range w.Before.Allowlist {
		h.Allowlist = append(h.Allowlist, config.AllowEntry{Prefix: a})
	}
	return &compile.Since{Host: h, Change: theChange}
}

func (p *Plane) learnServices() error {
	info, err := p.Host()
	if err != nil {
		return err
	}
	p.ids = map[string]uint8{"": 0}
	for _, s := range info.Services {
		p.ids[s.Name] = s.ID
	}
	return nil
}

// Set makes those parts of w count that need no new map: mode, words, bans. The control word, and with it the epoch,
// changes only when the mode does.
func (p *Plane) Set(w *oracle.World) error {
	if mode := loader.ModeOf(w.Mode); mode != p.Control().Mode {
		if _, err := p.Dataplane.Publish(loader.Change{Mode: &mode}); err != nil {
			return err
		}
	}
	Begin(w)
	p.SetClock(w.Clock)
	p.words.setSynKey(w.SynKey)
	p.SetBypass(deadline(w.Bypass))
	for name, id := range p.ids {
		p.SetServiceBypass(id, deadline(slices.Contains(w.BypassServices, name)))
	}
	p.SetLease(loader.In(time.Until(w.Lease)))
	p.SetTripped(0)
	if w.Tripped && w.Candidate != nil {
		p.SetTripped(w.Candidate.Number)
	}
	p.words.setSpent(0)
	if w.Spent && w.Stable != nil {
		p.words.setSpent(w.Stable.Number)
	}
	p.words.setHeartbeat(1)
	if w.Heartbeat.After(w.Now) {
		p.words.setHeartbeat(1 << 62) // no test is so slow that this agent is lost
	}
	return errors.Join(p.setBans(w.Bans), p.setVouched(w.Vouched))
}

// Begin gives a world what it has by default: this moment, and a clock at which nothing is new.
func Begin(w *oracle.World) {
	const firstClock = 1 << 40
	w.Now, w.SynPlaces = time.Now(), Capacity.Syns
	if w.Clock == 0 {
		w.Clock = firstClock
	}
}

// SetClock sets the time that the dataplane goes by.
func (p *Plane) SetClock(ns uint64) { p.words.setClock(ns) }

func deadline(on bool) loader.Deadline {
	if on {
		return loader.DeadlineForever
	}
	return 0
}

func (p *Plane) setBans(bans []oracle.Ban) error {
	for _, b := range p.banned {
		if _, err := p.Unban(b); err != nil {
			return err
		}
	}
	p.banned = []netip.Prefix{}
	for _, b := range bans {
		if err := p.Ban(b.Prefix, time.Until(b.Expires)); err != nil {
			return err
		}
		p.banned = append(p.banned, b.Prefix)
	}
	return nil
}

func (p *Plane) setVouched(vouched []oracle.Vouch) error {
	for _, a := range p.vouched {
		if _, err := p.Unvouch(a); err != nil {
			return err
		}
	}
	p.vouched = nil
	if _, err := p.SweepVouched(); err != nil {
		return err
	}
	for _, v := range vouched {
		if err := p.Vouch(v.Source, time.Until(v.Expires)); err != nil {
			return err
		}
		p.vouched = append(p.vouched, v.Source)
	}
	return nil
}
