// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/forward"
)

// forwarded is the service of a listener, with what sends its connections past that listener.
func (src Source) forwarded(l Listener) config.ServiceFact {
	fact := config.ServiceFact{Service: l.service(), Note: l.note()}
	if l.UDP {
		return fact
	}
	for _, r := range src.Forwards.Hitting(l.Port, l.Addresses) {
		if r.By != "docker-proxy" { // the note names it already
			fact.Note = says(r)
		}
	}
	return fact
}

func says(r forward.Rule) string {
	return fmt.Sprintf("%s forwards %s (%s): no socket on this port knows of these connections", r.By, r.Ports(), r.Where)
}

// addForwarded adds ports that nobody listens on and that are forwarded, each by itself: what stands behind a range, or
// on another host's address, a person has to say.
func (h *Host) addForwarded(f *forward.Found, ssh map[uint16]bool, room int) {
	if f == nil {
		return
	}
	h.Notes = f.Notes
	for _, r := range f.Rules {
		l := Listener{Port: r.From}
		if r.From != r.To || ssh[r.From] || r.Address.IsValid() && !slices.Contains(f.Own, r.Address) || h.has(r.From) ||
			len(h.Services) >= room {
			continue
		}
		s := l.service()
		s.Local = false
		h.Services = append(h.Services, config.ServiceFact{Service: s, Note: says(r)})
	}
}

func (h *Host) has(port uint16) bool {
	return slices.ContainsFunc(h.Services, func(s config.ServiceFact) bool {
		return s.Port == port && s.Protocol() == 6
	}) ||
		slices.ContainsFunc(h.LeftOut, func(l Listener) bool { return l.Port == port && !l.UDP })
}
