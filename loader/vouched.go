// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// Vouches are the sources that somebody vouched for.
type Vouches struct {
	*site
	words *Words
}

// Vouch is a source that no bundle blocks for a while. A ban holds all the same.
type Vouch struct {
	Source  netip.Prefix // an IPv4 address, or the /64 of an IPv6 address
	Expires time.Time
}

// Vouch spares the source for ttl from every block of a bundle: an IPv4 address, or the /64 of an IPv6 address. A vouch
// of the same source is replaced. ErrCapacity when all places are taken by vouches in force.
func (v *Vouches) Vouch(a netip.Addr, ttl time.Duration) error {
	m, key, end := v.maps[bpf.DataplaneMapVouched], vouchedKey(a), uint64(In(ttl))
	err := m.Put(key, end)
	if errors.Is(err, unix.E2BIG) {
		if _, err := v.SweepVouched(); err != nil {
			return err
		}
		err = m.Put(key, end)
	}
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("vouch for %s: %w: capacity %d", a, ErrCapacity, m.MaxEntries())
	}
	if err != nil {
		return kernel.Explain("vouch for "+a.String(), err)
	}
	if until := &v.words.at.VouchedUntilNs; atomic.LoadUint64(until) < end {
		atomic.StoreUint64(until, end)
	}
	return nil
}

// Unvouch ends a vouch; false when there was none.
func (v *Vouches) Unvouch(a netip.Addr) (bool, error) {
	err := v.maps[bpf.DataplaneMapVouched].Delete(vouchedKey(a))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return err == nil, kernel.Explain("unvouch "+a.String(), err)
}

// Vouched lists the vouches in force.
func (v *Vouches) Vouched() ([]Vouch, error) {
	now := Now()
	var all []Vouch
	err := kernel.EachRow(v.maps[bpf.DataplaneMapVouched], func(k bpf.VouchedKey, end uint64) {
		if end > now.MonotonicNS {
			all = append(all, Vouch{sourceOf(k), now.Wall.Add(time.Duration(end - now.MonotonicNS))})
		}
	})
	return all, kernel.Explain("read the vouched sources", err)
}

// SweepVouched removes vouches that have ended and returns how many. The dataplane looks for a source only until the
// last vouch ends; a sweep says again when that is.
func (v *Vouches) SweepVouched() (int, error) {
	m, now, last := v.maps[bpf.DataplaneMapVouched], kernel.MonotonicNS(), uint64(0)
	var ended []bpf.VouchedKey
	err := kernel.EachRow(m, func(k bpf.VouchedKey, end uint64) {
		if end <= now {
			ended = append(ended, k)
		}
		last = max(last, end)
	})
	if err != nil {
		return 0, kernel.Explain("read the vouched sources", err)
	}
	if last <= now {
		last = 0
	}
	atomic.StoreUint64(&v.words.at.VouchedUntilNs, last)
	for i, k := range ended {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return i, kernel.Explain("remove an ended vouch", err)
		}
	}
	return len(ended), nil
}

// VerifyVouched finds rows that no packet will meet: keys of another shape than those that Vouch writes, and vouches
// that end after packets have stopped to look. A sweep mends the latter.
func (v *Vouches) VerifyVouched() ([]compile.Drift, error) {
	now, until := kernel.MonotonicNS(), atomic.LoadUint64(&v.words.at.VouchedUntilNs)
	var drifts []compile.Drift
	err := kernel.EachRow(v.maps[bpf.DataplaneMapVouched], func(k bpf.VouchedKey, end uint64) {
		where := fmt.Sprintf("vouched %s", compile.Unmapped(k.Addr))
		switch {
		case len(drifts) >= compile.DriftMax:
		case vouchedKey(compile.Unmapped(k.Addr)) != k:
			drifts = append(drifts, drifted(where, sourceOf(vouchedKey(compile.Unmapped(k.Addr))).String(), "one address of it"))
		case end > now && end > until:
			drifts = append(drifts, drifted(where, fmt.Sprintf("looked for until %d", end), fmt.Sprintf("%d", until)))
		}
	})
	return drifts, kernel.Explain("verify the vouched sources", err)
}

func vouchedKey(a netip.Addr) bpf.VouchedKey {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return bpf.VouchedKey{Addr: compile.Mapped(a)}
}

func sourceOf(k bpf.VouchedKey) netip.Prefix {
	a := compile.Unmapped(k.Addr)
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	return netip.PrefixFrom(a, 64)
}
