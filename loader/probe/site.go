// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"errors"
	"math"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// Site is a second instance that has a host file and a generation, and enforces it: it says whom that would block.
type Site struct{ *Probe }

// protectedMost is more than a host file may protect. Its map takes room for what is in it.
const protectedMost = 1 << 17

// OpenSite loads the instance, and shows it a frame: what a process can only find out while it may load programs is
// found out then. Errors: ErrPermission, ErrUnsupported.
func OpenSite() (*Site, error) {
	c := capacity()
	c.Allowlist = protectedMost
	p, err := load(c)
	if err != nil {
		return nil, err
	}
	s := &Site{p}
	if _, err := s.Try(make([]byte, 64), func(bpf.Event) {}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Publish lets a generation decide, in the mode enforce.
func (s *Site) Publish(host *compile.HostImage, t *loader.Tables) error {
	hostSlot, err := s.d.BuildHost(host)
	if err != nil {
		return err
	}
	slot, err := s.d.Put(t)
	if err != nil {
		return err
	}
	enforce := bpf.ModeEnforce
	_, err = s.d.Publish(loader.Change{Host: &hostSlot, Stable: &slot, Mode: &enforce})
	return err
}

// Try sends one frame through the programs, hands what they decided about it to visit, and says whether they let it
// pass. As long as this process lives, the agent does.
func (s *Site) Try(frame []byte, visit func(bpf.Event)) (passes bool, err error) {
	s.d.Beat()
	action, _, err := s.d.Run(frame)
	if err != nil {
		return false, err
	}
	return action == xdpPass, s.read(visit)
}

const xdpPass = 2 // linux/bpf.h

// Teach makes every ClientHello that was shown one with this JA4; nil: none was shown.
func (s *Site) Teach(ja4 *bpf.TLSFingerprint) error { return s.d.Teach(ja4) }

// ForgetFlow forgets a connection: the next one may be the same again.
func (s *Site) ForgetFlow(key bpf.FlowKey) error { return s.d.Forget(key) }

// load loads an instance with nothing in its slots.
func load(c config.Capacity) (*Probe, error) {
	d, err := loader.OpenAside(c, func(s *bpf.Settings) {
		s.EventsPerSecond, s.EventSampleMask = math.MaxUint32, 0 // every decision is told
		s.ShapesPerSecond, s.ShapesPerPrefix, s.UnprovenPerSecond = math.MaxUint32, math.MaxUint32, math.MaxUint32
	})
	if err != nil {
		return nil, err
	}
	p := &Probe{d: d}
	if p.ring, err = d.OpenEvents(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	p.ring.SetDeadline(past) // whatever there is to read is there when a frame has been through
	return p, nil
}
