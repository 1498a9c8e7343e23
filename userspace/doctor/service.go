// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/view"
)

// collectServices looks at the services over TCP: at the rules that send their connections elsewhere, and at what the
// kernel has counted.
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
		f.Services = append(f.Services, Service{Name: s.Name, Kind: s.Kind, Confirm: s.Confirm, MPTCP: s.MPTCP,
			Remote: !s.Local, Forwards: o.Forwards.Hitting(s.Port, addresses)})
	}
	f.collectCounters(host)
}

// collectCounters asks the dataplane that is loaded, if there is one.
func (f *Facts) collectCounters(host *config.Host) {
	d, err := loader.Adopt(host.Paths.Pins)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	err = d.Conntrack()
	f.Tracked, f.Untracked = err == nil, view.Untracked(err)
	counters, err1 := d.Counters()
	info, err2 := d.Host()
	if err1 != nil || err2 != nil || info == nil {
		return
	}
	const when = "since the maps were made"
	counted := view.Count(counters)
	f.Malformed = view.Malformed(counted.Frames, when)
	f.Unvouched = view.Unvouched(info.Services, counted.First, when, f.Untracked)
}

func checkServices(f Facts) (all []Finding) {
	all = append(all, checkForwards(f)...)
	for _, check := range []func(Facts) Finding{checkConntrack, checkMultipath} {
		if one := check(f); one.Check != "" {
			all = append(all, one)
		}
	}
	for _, p := range f.Unvouched {
		all = append(all, warn(p.Code, p.Message, p.Fix))
	}
	if f.Malformed != "" {
		all = append(all, warn("malformed", f.Malformed, view.MalformedFix))
	}
	return all
}

// checkForwards names the services of which this host sends the connections elsewhere, and who vouches for them.
func checkForwards(f Facts) (all []Finding) {
	for _, s := range f.Services {
		if len(s.Forwards) == 0 {
			continue
		}
		r := s.Forwards[0]
		says := fmt.Sprintf("service %s: %s forwards %s (%s), so no socket on it knows of these connections",
			s.Name, r.By, r.Ports(), r.Where)
		switch {
		case s.Confirm == config.ConfirmSocket:
			all = append(all,
				warn("forwarded", says, "set confirm: auto for it: then connection tracking vouches; or confirm: egress"))
		case s.Confirm == config.ConfirmEgress:
			all = append(all, ok("forwarded", says+"; the answers that leave this host vouch (confirm: egress)"))
		case f.Untracked != nil:
			all = append(all, ok("forwarded", says+"; connection tracking would vouch (confirm: auto), and cannot be asked"))
		default:
			all = append(all, ok("forwarded", says+"; connection tracking vouches (confirm: auto)"))
		}
	}
	for _, note := range f.ForwardNotes {
		all = append(all, warn("forwarded", note, "look whether they send connections to a service elsewhere"))
	}
	return all
}

// checkConntrack says whether connection tracking is asked, and who misses it when it is not.
func checkConntrack(f Facts) Finding {
	names := f.named(func(s Service) bool { return s.Confirm == config.ConfirmAuto && (s.Remote || len(s.Forwards) > 0) })
	switch {
	case f.Tracked:
		return ok("conntrack", "it is asked about connections that no socket here knows")
	case f.Untracked == nil:
		return Finding{}
	case names != "":
		return warn("conntrack",
			f.Untracked.Error()+"; the sockets of "+names+" are elsewhere, so nobody vouches for these connections",
			loader.FixOfConntrack(f.Untracked))
	case f.named(func(s Service) bool { return s.Confirm != config.ConfirmSocket }) == "":
		return Finding{}
	}
	return ok("conntrack", f.Untracked.Error()+"; no service here is known to need it (DNAT, containers, local: false)")
}

// named lists services in a sentence; "" for none.
func (f Facts) named(which func(Service) bool) string {
	var names []string
	for _, s := range f.Services {
		if which(s) {
			names = append(names, s.Name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "service " + names[0]
	}
	return "services " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
