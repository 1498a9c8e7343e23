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

// BanTable are the prefixes that are banned for a time.
type BanTable struct {
	*site
	words *Words
}

// Ban is a short block outside bundles.
type Ban struct {
	Prefix  netip.Prefix
	Expires time.Time
}

// Ban blocks a prefix for ttl; it may cut established connections. A ban of the same prefix is replaced. The guards are
// the caller's. ErrCapacity when all places are taken.
func (t *BanTable) Ban(p netip.Prefix, ttl time.Duration) error {
	if err := t.putBan(p, ttl); err != nil {
		return err
	}
	return t.settleInside(p)
}

// RestoreBans puts bans, with the time that is left of each, into maps that never had one. One that is refused keeps no
// other out. The flows are told once, at the end: until then BanEpoch stays 0, so that whoever starts after a crash in
// the middle restores them again.
func (t *BanTable) RestoreBans(left map[netip.Prefix]time.Duration) error {
	var errs []error
	for p, ttl := range left {
		errs = append(errs, t.putBan(p, ttl))
	}
	return errors.Join(append(errs, t.SettleBans())...)
}

func (t *BanTable) putBan(p netip.Prefix, ttl time.Duration) error {
	if compile.HoldsIPv4(p) {
		return fmt.Errorf("ban %s: this IPv6 prefix contains all of IPv4 (::ffff:0:0/96)", p)
	}
	m := t.maps[bpf.DataplaneMapBans]
	key, end := compile.Key6(p.Masked()), uint64(In(ttl))
	t.words.noteBanned(key)
	err := m.Put(key, bpf.Ban{ExpiresNs: max(end, t.endAround(key)), OwnExpiresNs: end})
	t.words.noteBanned(key)
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("ban %s: %w: capacity %d", p, ErrCapacity, m.MaxEntries())
	}
	return kernel.Explain("ban "+p.String(), err)
}

// BanEpoch says how often bans changed since the maps were made; 0 means that no ban was ever settled in them.
func (ws *Words) BanEpoch() uint64 { return atomic.LoadUint64(&ws.at.BanEpoch) }

// Unban ends a ban; false when there was none.
func (t *BanTable) Unban(p netip.Prefix) (bool, error) {
	err := t.maps[bpf.DataplaneMapBans].Delete(compile.Key6(p.Masked()))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, kernel.Explain("unban "+p.String(), err)
	}
	return true, t.settleInside(p)
}

// endAround returns the end that counts of the bans around a prefix; 0 when there is none. The closest one has it.
func (t *BanTable) endAround(key bpf.Prefix6Key) uint64 {
	var around bpf.Ban
	if key.Prefixlen == 0 {
		return 0
	}
	key.Prefixlen--
	if err := t.maps[bpf.DataplaneMapBans].Lookup(key, &around); err != nil {
		return 0
	}
	return around.ExpiresNs
}

// settleInside gives the bans inside a prefix, whose own changed, the end that counts, and tells the flows. Inside one
// address there are none: among however many others, its ban costs the same.
func (t *BanTable) settleInside(p netip.Prefix) error {
	if p.IsSingleIP() {
		t.words.bumpBanEpoch()
		return nil
	}
	return t.settle(func(key bpf.Prefix6Key) bool { return p.Contains(compile.Prefix(key).Addr()) })
}

// SettleBans gives every ban the end that counts, and tells the flows, whatever it returns. The kernel looks at the
// longest match only, so a ban inside a banned network must not end before the network's does: its end is the latest of
// all bans around it. An agent settles at its start too: a crash may have left a ban that no known flow has seen.
func (t *BanTable) SettleBans() error { return t.settle(func(bpf.Prefix6Key) bool { return true }) }

// settle does that for the bans whose end may have changed.
func (t *BanTable) settle(touched func(bpf.Prefix6Key) bool) error {
	defer t.words.bumpBanEpoch()
	all, err := t.allBans()
	if err != nil {
		return err
	}
	t.words.setBanned(all)
	for key, ban := range all {
		if !touched(key) {
			continue
		}
		end := latestAround(key, all)
		if end == ban.ExpiresNs {
			continue
		}
		ban.ExpiresNs = end
		if err := t.maps[bpf.DataplaneMapBans].Update(key, ban, ebpf.UpdateExist); err != nil &&
			!errors.Is(err, ebpf.ErrKeyNotExist) {
			return kernel.Explain("settle the ban of "+compile.FormatPrefix(key), err)
		}
	}
	return nil
}

// latestAround returns the latest end of a ban and of all bans around it, at most 128 of them.
func latestAround(key bpf.Prefix6Key, all map[bpf.Prefix6Key]bpf.Ban) uint64 {
	var end uint64
	address := netip.AddrFrom16(compile.Unmapped(key.Addr).As16())
	for bits := int(key.Prefixlen); bits >= 0; bits-- {
		around, err := address.Prefix(bits)
		if err != nil {
			break
		}
		if ban, ok := all[bpf.Prefix6Key{Prefixlen: uint32(bits), Addr: compile.Mapped(around.Addr())}]; ok {
			end = max(end, ban.OwnExpiresNs)
		}
	}
	return end
}

// Bans lists the bans in force.
func (t *BanTable) Bans() ([]Ban, error) {
	all, err := t.allBans()
	if err != nil {
		return nil, err
	}
	now := Now()
	bans := make([]Ban, 0, len(all))
	for key, ban := range all {
		if ban.OwnExpiresNs > now.MonotonicNS {
			left := time.Duration(ban.OwnExpiresNs - now.MonotonicNS)
			bans = append(bans, Ban{compile.Prefix(key), now.Wall.Add(left)})
		}
	}
	return bans, nil
}

// SweepBans removes bans that have ended and returns how many.
func (t *BanTable) SweepBans() (int, error) {
	all, err := t.allBans()
	if err != nil {
		return 0, err
	}
	now, removed := kernel.MonotonicNS(), 0
	for key, ban := range all {
		if ban.OwnExpiresNs > now {
			continue
		}
		err := t.maps[bpf.DataplaneMapBans].Delete(key)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return removed, kernel.Explain("remove an ended ban", err)
		}
		removed++
	}
	if removed == 0 {
		return 0, nil
	}
	return removed, t.SettleBans()
}

func (t *BanTable) allBans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	all := map[bpf.Prefix6Key]bpf.Ban{}
	err := kernel.EachRow(t.maps[bpf.DataplaneMapBans], func(k bpf.Prefix6Key, b bpf.Ban) { all[k] = b })
	return all, kernel.Explain("read the bans", err)
}
