// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

const bpffs = "/sys/fs/bpf"

// plane is a dataplane in one state, with pins of its own so that its maps can be filled from outside. Cases that need
// different states have different planes: nothing changes between rounds.
type plane struct {
	*loader.Dataplane
	name  string
	pins  string
	root  *ebpf.Program
	flows *ebpf.Map
}

// planeOptions says how a plane differs from one with a host file of three services and an empty bundle.
type planeOptions struct {
	flows    int // capacity; 0: the default
	host     func(*config.Host)
	bundle   func(*config.Bundle)
	tracking bool // connection tracking is asked
}

// service is the destination of everything that is not said to go elsewhere.
var service = netip.MustParseAddrPort("192.0.2.1:443")

func benchHost(flows int) *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Capacity.Prefixes4 = 1_000_000
	if flows > 0 {
		h.Capacity.Flows = flows
	}
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: 443, Kind: config.KindTLS, Local: true},
		{Name: "plain", Addresses: []config.Address{{}}, Port: 80, Kind: config.KindHTTP, Local: true},
		{Name: "far", Addresses: []config.Address{{}}, Port: elsewhere.Port(), Kind: config.KindTLS, Local: false},
	}
	return h
}

func benchBundle(edit func(*config.Bundle)) *config.Bundle {
	b := &config.Bundle{
		Version: 1, Name: "bench",
		Rules:  []config.Rule{{ID: "bad", Label: "bad", Score: 100}},
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}},
		Digest: config.Digest{1},
	}
	if edit != nil {
		edit(b)
	}
	return b
}

// deny adds prefixes to the bundle.
func deny(prefixes []netip.Prefix) func(*config.Bundle) {
	return func(b *config.Bundle) {
		b.Prefixes = []config.PrefixList{{List: "own", Rule: "bad", Entries: prefixes}}
	}
}

func newPlane(name string, o planeOptions) (_ *plane, err error) {
	if err := mountBPFFS(); err != nil {
		return nil, err
	}
	p := &plane{name: name, pins: filepath.Join(bpffs, fmt.Sprintf("spillway-bench-%d-%s", os.Getpid(), name))}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make dataplane %s: %w", name, err), p.close())
		}
	}()
	host := benchHost(o.flows)
	if o.host != nil {
		o.host(host)
	}
	if p.Dataplane, err = loader.Open(loader.Options{Pins: p.pins, Capacity: host.Capacity, Lab: name == "hellos"}); err != nil {
		return nil, err
	}
	base := filepath.Join(p.pins, fmt.Sprintf("v%d", bpf.ABIVersion))
	if p.root, err = ebpf.LoadPinnedProgram(filepath.Join(p.pins, "root/program"), nil); err != nil {
		return nil, fmt.Errorf("open the root program: %w", err)
	}
	if p.flows, err = ebpf.LoadPinnedMap(filepath.Join(base, "maps", bpf.DataplaneMapFlows), nil); err != nil {
		return nil, fmt.Errorf("open the flows: %w", err)
	}
	if o.tracking {
		if err := p.Conntrack(); err != nil {
			return nil, err
		}
	}
	return p, publish(p.Dataplane, host, benchBundle(o.bundle))
}

// publish puts host and bundle into force and lets the agent look alive.
func publish(d *loader.Dataplane, h *config.Host, b *config.Bundle) error {
	hostImage, err := loader.CompileHost(h, nil, 1)
	if err != nil {
		return err
	}
	img, err := loader.CompileBundle(b, hostImage, 1, loader.Now())
	if err != nil {
		return err
	}
	hostSlot, err := d.BuildHost(hostImage)
	if err != nil {
		return err
	}
	slot, err := d.Build(img)
	if err != nil {
		return err
	}
	mode := loader.ModeOf(h.MaxMode)
	_, err = d.Publish(loader.Change{Host: &hostSlot, Stable: &slot, Mode: &mode})
	d.Beat()
	return err
}

func (p *plane) close() error {
	var errs []error
	if p.root != nil {
		errs = append(errs, p.root.Close())
	}
	if p.flows != nil {
		errs = append(errs, p.flows.Close())
	}
	if p.Dataplane != nil {
		errs = append(errs, p.Dataplane.Close())
	}
	return errors.Join(append(errs, loader.DetachPins(p.pins))...)
}

func mountBPFFS() error {
	var st unix.Statfs_t
	if err := unix.Statfs(bpffs, &st); err == nil && st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount a BPF file system on %s: %w", bpffs, err)
	}
	return nil
}
