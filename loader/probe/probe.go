// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// Probe is a second instance of the dataplane: the same programs with maps of their own, unpinned and attached nowhere,
// that take every TCP port for a tls service and block nobody. It says what the dataplane would make of frames, and
// neither reads nor writes anything of the live one. It serves one goroutine.
type Probe struct {
	d      *loader.Dataplane
	ring   *ringbuf.Reader
	record ringbuf.Record
	seen   bpf.FlowKey  // the connection of the last event
	odd    []bpf.Reason // the reason that a rule stands for
}

// capacity is small: who asks shows one connection after the other, and lets each be forgotten.
func capacity() config.Capacity {
	c := config.LeastCapacity()
	c.Rules, c.Flows, c.Hellos, c.Shapes = 64, 1024, 8, 16384
	return c
}

const service = "lab"

// Open loads the instance. Errors: ErrPermission, ErrUnsupported.
func Open() (*Probe, error) {
	p, err := load(capacity())
	if err != nil {
		return nil, err
	}
	if err := p.publish(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

var past = time.Unix(1, 0)

// Close unloads the instance.
func (p *Probe) Close() error { return errors.Join(p.ring.Close(), p.d.Close()) }

func (p *Probe) publish() error {
	host, err := everyPort()
	if err != nil {
		return err
	}
	bundle := p.bundle()
	image, err := compile.Bundle(bundle, host, 1, loader.Now())
	if err != nil {
		return err
	}
	hostSlot, err := p.d.BuildHost(host)
	if err != nil {
		return err
	}
	slot, err := p.d.Build(image)
	if err != nil {
		return err
	}
	observe := bpf.ModeObserve
	_, err = p.d.Publish(loader.Change{Host: &hostSlot, Stable: &slot, Mode: &observe})
	return err
}

// everyPort is a host whose every TCP port is a tls service with its sockets elsewhere: here is no socket to ask.
func everyPort() (*compile.HostImage, error) {
	h := config.DefaultHost()
	h.Services = []config.Service{{Name: service, Port: 1, Addresses: []config.Address{{}}, Kind: config.KindTLS}}
	img, err := compile.HostFile(h, nil, 1)
	if err != nil {
		return nil, err
	}
	img.AnyPort()
	return img, nil
}

// bundle has no policy, and no features but the reasons: a rule for each, so that events tell them.
func (p *Probe) bundle() *config.Bundle {
	b := &config.Bundle{Version: 1, Name: service}
	for _, reason := range bpf.Reasons() {
		name := bpf.ReasonName(reason)
		b.Rules = append(b.Rules, config.Rule{ID: name, Label: name, Score: 1})
		b.Reasons = append(b.Reasons, config.ReasonFeature{Rule: name, Reason: name})
		p.odd = append(p.odd, reason)
	}
	return b
}

// Ask sends one frame through the programs and hands what they decided about it to visit. Frames of one connection are
// shown in their order, those of the next after Forget. Frames have at least 14 bytes and up to 64 KiB of IP.
func (p *Probe) Ask(frame []byte, visit func(bpf.Event)) error {
	if err := p.d.Show(frame); err != nil {
		return err
	}
	return p.read(visit)
}

// read hands out what was decided since.
func (p *Probe) read(visit func(bpf.Event)) error {
	for p.ring.AvailableBytes() > 0 {
		if err := p.ring.ReadInto(&p.record); err != nil {
			return fmt.Errorf("read the event ring: %w", err)
		}
		event, err := loader.DecodeEvent(p.record.RawSample)
		if err != nil {
			return err
		}
		p.seen = event.Key
		visit(event)
	}
	return nil
}

// Forget forgets the connection that was asked about last. The next one may then be the same again, ISN included, and
// is judged as if it were new.
func (p *Probe) Forget() error {
	err := p.d.Forget(p.seen)
	p.seen = bpf.FlowKey{}
	return err
}

// Odd returns what is odd about the packet of an event of this probe, such as hello_malformed; ok is false when nothing
// is.
func (p *Probe) Odd(e bpf.Event) (reason bpf.Reason, ok bool) {
	if e.Score == bpf.ScoreNone || int(e.Rule) >= len(p.odd) {
		return 0, false
	}
	return p.odd[e.Rule], true
}
