// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// Ban is a short block outside bundles.
type Ban struct {
	Prefix  netip.Prefix
	Expires time.Time
}

// Ban blocks a prefix for ttl; it may cut established connections. A ban of the same prefix is replaced. The guards are
// the caller's. ErrCapacity when all places are taken.
func (d *Dataplane) Ban(p netip.Prefix, ttl time.Duration) error {
	if holdsIPv4(p) {
		return fmt.Errorf("ban %s: this IPv6 prefix contains all of IPv4 (::ffff:0:0/96)", p)
	}
	m := d.maps[bpf.DataplaneMapBans]
	end := uint64(In(ttl))
	err := m.Put(key6(p.Masked()), bpf.Ban{ExpiresNs: end, OwnExpiresNs: end})
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("ban %s: %w: capacity %d", p, ErrCapacity, m.MaxEntries())
	}
	if err != nil {
		return explain("ban "+p.String(), err)
	}
	return d.settleBans()
}

// Unban ends a ban; false when there was none.
func (d *Dataplane) Unban(p netip.Prefix) (bool, error) {
	err := d.maps[bpf.DataplaneMapBans].Delete(key6(p.Masked()))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, explain("unban "+p.String(), err)
	}
	return true, d.settleBans()
}

// settleBans gives every ban the end that counts, and tells the flows. The kernel looks at the longest match only, so a
// ban inside a banned network must not end before the network's does: its end is the latest of all bans around it.
func (d *Dataplane) settleBans() error {
	all, err := d.allBans()
	if err != nil {
		return err
	}
	for key, ban := range all {
		end := latestAround(key, all)
		if end == ban.ExpiresNs {
			continue
		}
		ban.ExpiresNs = end
		if err := d.maps[bpf.DataplaneMapBans].Update(key, ban, ebpf.UpdateExist); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return explain("settle the ban of "+formatPrefix6(key), err)
		}
	}
	d.bumpBanEpoch()
	return nil
}

// latestAround returns the latest end of a ban and of all bans around it, at most 128 of them.
func latestAround(key bpf.Prefix6Key, all map[bpf.Prefix6Key]bpf.Ban) uint64 {
	var end uint64
	address := netip.AddrFrom16(unmapped(key.Addr).As16())
	for bits := int(key.Prefixlen); bits >= 0; bits-- {
		around, err := address.Prefix(bits)
		if err != nil {
			break
		}
		if ban, ok := all[bpf.Prefix6Key{Prefixlen: uint32(bits), Addr: mapped(around.Addr())}]; ok {
			end = max(end, ban.OwnExpiresNs)
		}
	}
	return end
}

// Bans lists the bans in force.
func (d *Dataplane) Bans() ([]Ban, error) {
	all, err := d.allBans()
	if err != nil {
		return nil, err
	}
	now := Now()
	bans := make([]Ban, 0, len(all))
	for key, ban := range all {
		if ban.OwnExpiresNs > now.MonotonicNS {
			left := time.Duration(ban.OwnExpiresNs - now.MonotonicNS)
			bans = append(bans, Ban{prefixOf(key), now.Wall.Add(left)})
		}
	}
	return bans, nil
}

// SweepBans removes bans that have ended and returns how many.
func (d *Dataplane) SweepBans() (int, error) {
	all, err := d.allBans()
	if err != nil {
		return 0, err
	}
	now, removed := monotonicNS(), 0
	for key, ban := range all {
		if ban.OwnExpiresNs > now {
			continue
		}
		err := d.maps[bpf.DataplaneMapBans].Delete(key)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return removed, explain("remove an ended ban", err)
		}
		removed++
	}
	if removed == 0 {
		return 0, nil
	}
	return removed, d.settleBans()
}

func (d *Dataplane) allBans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	all := map[bpf.Prefix6Key]bpf.Ban{}
	err := eachRow(d.maps[bpf.DataplaneMapBans], func(k bpf.Prefix6Key, b bpf.Ban) { all[k] = b })
	return all, explain("read the bans", err)
}
