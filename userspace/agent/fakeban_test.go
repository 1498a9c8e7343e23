// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

var (
	scraper = netip.MustParsePrefix("198.51.100.7/32")
	scanner = netip.MustParsePrefix("198.51.100.8/32")
)

func (r *rig) ban(prefix netip.Prefix, length time.Duration) {
	r.t.Helper()
	if _, err := r.agent.bans.Ban(ctx, root,
		api.BanRequest{Prefix: prefix.String(), ForSeconds: length.Seconds(), Reason: "test"}); err != nil {
		r.t.Fatal(err)
	}
}

func (m *machine) Bans() ([]loader.Ban, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail["Bans"]; err != nil {
		return nil, err
	}
	var all []loader.Ban
	for p, until := range m.bans {
		all = append(all, loader.Ban{Prefix: p, Expires: until})
	}
	return all, nil
}

func (f *fake) Ban(p netip.Prefix, ttl time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("Ban"); err != nil {
		return err
	}
	f.bans[p] = f.now().Add(ttl)
	f.banEpoch++
	return nil
}

func (f *fake) BanEpoch() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.banEpoch
}

func (f *fake) RestoreBans(left map[netip.Prefix]time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.banEpoch++ }()
	if err := f.called("Ban"); err != nil {
		return err
	}
	for p, ttl := range left {
		f.bans[p] = f.now().Add(ttl)
	}
	return nil
}

func (f *fake) SettleBans() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.banEpoch++
	return f.called("SettleBans")
}

func (f *fake) Unban(p netip.Prefix) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.bans[p]
	delete(f.bans, p)
	f.banEpoch++
	return ok, f.called("Unban")
}

func (f *fake) SweepBans() (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.bans)
	for p, until := range f.bans {
		if !until.After(f.now()) {
			delete(f.bans, p)
		}
	}
	return n - len(f.bans), nil
}
