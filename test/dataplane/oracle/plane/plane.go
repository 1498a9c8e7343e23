// SPDX-License-Identifier: Apache-2.0

// Package plane holds a dataplane that the model can be compared with: pins of its own so that every map can be read,
// counters that are checked after each frame, and worlds of the model published to it.
package plane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

const bpffs = "/sys/fs/bpf"

// Capacity is small where a test wants collisions (SYNs), and ample elsewhere.
var Capacity = config.Capacity{
	Prefixes4: 512, Prefixes6: 512, TCPFingerprints: 64, Rules: 64,
	Flows: 65536, Syns: 256, Bans: 64, Allowlist: 64, Services: 16,
}

// Plane is a dataplane of a test's own. It is not safe for several goroutines.
type Plane struct {
	*loader.Dataplane
	pins  string
	maps  map[string]*ebpf.Map
	words words

	ids     map[string]uint8 // services
	banned  []netip.Prefix
	rows    map[loader.Counter]counts // what every counter must be
	moved   []string                  // counters that were not, at earlier looks
	vouched []netip.Addr
}

var planes atomic.Uint32

// Missing says why programs cannot be run here; "" when they can.
func Missing() string {
	if os.Geteuid() != 0 {
		return "program runs need root: CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN"
	}
	return ""
}

// Open loads a dataplane with pins of its own.
func Open() (*Plane, error) {
	if err := errors.Join(mountBPF(), stayOnOneCPU()); err != nil {
		return nil, err
	}
	p := &Plane{
		pins: filepath.Join(bpffs, fmt.Sprintf("spillway-oracle-%d-%d", os.Getpid(), planes.Add(1))),
		maps: map[string]*ebpf.Map{},
		rows: map[loader.Counter]counts{},
	}
	d, err := loader.Open(loader.Options{Pins: p.pins, Capacity: Capacity, Lab: true})
	if err != nil {
		return nil, errors.Join(err, loader.DetachPins(p.pins))
	}
	p.Dataplane = d
	for _, name := range []string{bpf.DataplaneMapCounters, bpf.DataplaneMapFlows,
		bpf.DataplaneMapSyns, bpf.DataplaneMapRecentBlocks, bpf.DataplaneMapWords, bpf.DataplaneMapUnread,
		bpf.DataplaneMapRoot} {
		path := filepath.Join(p.pins, fmt.Sprintf("v%d", bpf.ABIVersion), "maps", name)
		if name == bpf.DataplaneMapRoot {
			path = filepath.Join(p.pins, "root/words")
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open map %s: %w", name, err), p.Close())
		}
		p.maps[name] = m
	}
	if err := p.words.open(p.maps[bpf.DataplaneMapRoot], p.maps[bpf.DataplaneMapWords]); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func mountBPF() error {
	var st unix.Statfs_t
	if err := unix.Statfs(bpffs, &st); err == nil && st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", bpffs, err)
	}
	return nil
}

// stayOnOneCPU keeps the process where it is: which blocks are recent is known to each processor for itself.
func stayOnOneCPU() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("stay on one processor: %w", err)
	}
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return fmt.Errorf("stay on one processor: %w", err)
	}
	for cpu, nth := 0, os.Getpid()%allowed.Count(); one.Count() == 0; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		if nth == 0 {
			one.Set(cpu)
		}
		nth--
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("stay on one processor: %w", err)
		}
		if err := unix.SchedSetaffinity(id, &one); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stay on one processor: %w", err)
		}
	}
	return nil
}

// Close takes everything away.
func (p *Plane) Close() error {
	errs := []error{p.words.close()}
	for _, m := range p.maps {
		errs = append(errs, m.Close())
	}
	errs = append(errs, p.Dataplane.Close(), loader.DetachPins(p.pins))
	return errors.Join(errs...)
}

// Reset forgets SYNs, connections, bans and generations.
func (p *Plane) Reset() error {
	if _, err := p.DropGenerations(); err != nil {
		return err
	}
	if err := empty[bpf.FlowKey, bpf.Flow](p.maps[bpf.DataplaneMapFlows]); err != nil {
		return fmt.Errorf("forget connections: %w", err)
	}
	if err := errors.Join(p.setBans(nil), p.setVouched(nil), p.forgetBlocks()); err != nil {
		return err
	}
	syns := p.maps[bpf.DataplaneMapSyns]
	for i := range syns.MaxEntries() {
		if err := syns.Put(i, bpf.SynRecord{}); err != nil {
			return fmt.Errorf("forget SYNs: %w", err)
		}
	}
	unread, err := p.Unread()
	for place := range unread {
		err = errors.Join(err, p.maps[bpf.DataplaneMapUnread].Put(place, uint32(0)))
	}
	return err
}

// Unread returns how many packets that passed unread each place has counted, those that have counted none left out.
func (p *Plane) Unread() (map[uint32]uint32, error) {
	rows, err := read[uint32, uint32](p.maps[bpf.DataplaneMapUnread])
	if err != nil {
		return nil, fmt.Errorf("read what passed unread: %w", err)
	}
	counted := map[uint32]uint32{}
	for _, r := range rows {
		if r.value != 0 {
			counted[r.key] = r.value
		}
	}
	return counted, nil
}

func (p *Plane) forgetBlocks() error {
	m := p.maps[bpf.DataplaneMapRecentBlocks]
	if err := m.Put(uint32(0), make([]bpf.BlockNames, ebpf.MustPossibleCPU())); err != nil {
		return fmt.Errorf("forget blocked connections: %w", err)
	}
	return nil
}

func empty[K, V any](m *ebpf.Map) error {
	rows, err := read[K, V](m)
	for _, r := range rows {
		err = errors.Join(err, m.Delete(r.key))
	}
	return err
}

type row[K, V any] struct {
	key   K
	value V
}

func read[K, V any](m *ebpf.Map) ([]row[K, V], error) {
	var all []row[K, V]
	var r row[K, V]
	it := m.Iterate()
	for it.Next(&r.key, &r.value) {
		all = append(all, r)
	}
	return all, it.Err()
}
