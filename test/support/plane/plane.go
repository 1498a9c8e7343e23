// SPDX-License-Identifier: Apache-2.0

// Package plane is a dataplane of a test's own: pins that nobody else has, so that a test can look into every map.
package plane

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// Plane is a dataplane with its pins. It is not safe for several goroutines.
type Plane struct {
	*loader.Dataplane
	Pins  string
	Image *compile.HostImage // of the host file that MakeHost compiled last

	maps  map[string]*ebpf.Map
	zeros map[string]zeros // what Renew writes, by map
	run   uint16           // of the last comparison

	stopped *ebpf.Collection // of StopClock
}

// Open loads a dataplane into new pins; name says whose they are, o.Pins is chosen here. Close takes everything away.
func Open(name string, o loader.Options) (*Plane, error) {
	if err := MountBPFFS(); err != nil {
		return nil, err
	}
	o.Pins = NewPins(name)
	d, err := loader.Open(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load a dataplane: %w", err), loader.DetachPins(o.Pins))
	}
	return &Plane{Dataplane: d, Pins: o.Pins, maps: map[string]*ebpf.Map{}, zeros: map[string]zeros{}}, nil
}

// Close closes the dataplane and its maps, and removes the pins.
func (p *Plane) Close() error {
	var errs []error
	for _, m := range p.maps {
		errs = append(errs, m.Close())
	}
	if p.stopped != nil {
		p.stopped.Close()
	}
	return errors.Join(append(errs, p.Dataplane.Close(), loader.DetachPins(p.Pins))...)
}

// Map returns a map of the dataplane by its name in bpf/maps.h; the plane closes it.
func (p *Plane) Map(name string) (*ebpf.Map, error) {
	if m, ok := p.maps[name]; ok {
		return m, nil
	}
	m, err := OpenMap(p.Pins, name)
	if err == nil {
		p.maps[name] = m
	}
	return m, err
}

// MakeHost compiles a host file, beside the one in force, and builds it into a slot that nothing names yet.
func (p *Plane) MakeHost(h *config.Host) (slot uint8, err error) { return p.MakeHostSince(h, nil) }

// MakeHostSince is MakeHost of a host file whose change counts only for bundles that are compiled for it.
func (p *Plane) MakeHostSince(h *config.Host, since *compile.Since) (slot uint8, err error) {
	current, err := p.Host()
	if err != nil {
		return 0, err
	}
	number, err := p.NextNumber()
	if err != nil {
		return 0, err
	}
	if p.Image, err = compile.HostFileSince(h, since, current, number); err != nil {
		return 0, err
	}
	return p.BuildHost(p.Image)
}

// MakeBundle compiles a bundle for the host file of MakeHost, and builds it into a slot that nothing names yet.
func (p *Plane) MakeBundle(b *config.Bundle) (slot uint8, err error) {
	number, err := p.NextNumber()
	if err != nil {
		return 0, err
	}
	img, err := compile.Bundle(b, p.Image, number, loader.Now())
	if err != nil {
		return 0, err
	}
	return p.Build(img)
}

// Swap makes b the stable generation.
func (p *Plane) Swap(b *config.Bundle) error {
	slot, err := p.MakeBundle(b)
	if err != nil {
		return err
	}
	return p.change(loader.Change{Stable: &slot})
}

// Try makes b the candidate for a share of sources, in permille, under a lease of an hour.
func (p *Plane) Try(b *config.Bundle, share uint16) error {
	slot, err := p.MakeBundle(b)
	if err != nil {
		return err
	}
	p.SetLease(loader.In(time.Hour))
	return p.change(loader.Change{Candidate: &slot, Canary: &share})
}

// SetMode changes what becomes of a verdict.
func (p *Plane) SetMode(m config.Mode) error {
	mode := loader.ModeOf(m)
	return p.change(loader.Change{Mode: &mode})
}

func (p *Plane) change(c loader.Change) error {
	_, err := p.Publish(c)
	return err
}

// WebHost is a host file with a web server of its own, TLS and plain, that blocks.
func WebHost() *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: 443, Kind: config.KindTLS, Local: true},
		{Name: "plain", Addresses: []config.Address{{}}, Port: 80, Kind: config.KindHTTP, Local: true},
	}
	return h
}

// Enforce puts host and bundle into force in the host file's mode, with an agent that lives.
func Enforce(d *loader.Dataplane, h *config.Host, b *config.Bundle) error {
	p := Plane{Dataplane: d}
	host, err := p.MakeHost(h)
	if err != nil {
		return err
	}
	stable, err := p.MakeBundle(b)
	if err != nil {
		return err
	}
	mode := loader.ModeOf(h.MaxMode)
	err = p.change(loader.Change{Host: &host, Stable: &stable, Mode: &mode})
	d.Beat()
	return err
}

// Shared returns the names of the maps that all programs of a dataplane share; the others belong to one load.
func Shared(maps map[string]*ebpf.MapSpec) (names []string) {
	for name := range maps {
		if name[0] != '.' && name != bpf.DataplaneMapPrograms && name != bpf.DataplaneMapConntracks {
			names = append(names, name)
		}
	}
	return names
}
