// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/view"
)

// collectServices finds the services whose connections no socket of theirs knows, by the rules that send them elsewhere and
// by what the kernel has counted.
func (f *Facts) collectServices(host *config.Host, o Options) {
	if o.Forwards != nil {
		f.ForwardNotes = o.Forwards.Notes
	}
	for _, s := range host.Services {
		if s.Protocol() != 6 {
			continue
		}
		var addresses []netip.Addr
		for _, a := range s.Addresses {
			if a.Any() {
				addresses = nil
				break
			}
			addresses = append(addresses, a.IP)
		}
		if hits := o.Forwards.Hitting(s.Port, addresses); len(hits) > 0 {
			f.Services = append(f.Services, Service{Name: s.Name, Confirm: s.Confirm, Forwards: hits})
		}
	}
	d, err := loader.Adopt(host.Paths.Pins)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	counters, err1 := d.Counters()
	info, err2 := d.Host()
	if err1 != nil || err2 != nil || info == nil {
		return
	}
	f.Unvouched = view.Unvouched(info.Services, view.CountFirst(counters), "since the maps were made")
}

func checkServices(f Facts) (all []Finding) {
	for _, s := range f.Services {
		r := s.Forwards[0]
		says := fmt.Sprintf("service %s: %s forwards %s (%s), so no socket on it knows of these connections", s.Name, r.By, r.Ports(), r.Where)
		switch s.Confirm {
		case config.ConfirmSocket:
			all = append(all, warn("forwarded", says, "set confirm: auto for it: then connection tracking vouches; or confirm: egress"))
		case config.ConfirmEgress:
			all = append(all, ok("forwarded", says+"; the answers that leave this host vouch (confirm: egress)"))
		default:
			all = append(all, ok("forwarded", says+"; connection tracking vouches (confirm: auto)"))
		}
	}
	for _, note := range f.ForwardNotes {
		all = append(all, warn("forwarded", note, "look whether they send connections to a service elsewhere"))
	}
	for _, says := range f.Unvouched {
		all = append(all, warn("unconfirmed", says, view.UnvouchedFix))
	}
	return all
}
