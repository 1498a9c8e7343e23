// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/probe"
	"github.com/spillway/spillway/userspace/rollout"
)

// second is a second instance of the dataplane, attached nowhere, that golden clients are shown to; nil: there are
// none.
type second struct{ *probe.Site }

func openSecond() (*second, error) {
	s, err := probe.OpenSite()
	if err != nil {
		return nil, fmt.Errorf("load a second instance for golden clients: %w", err)
	}
	return &second{s}, nil
}

func (s *second) close() {
	if s != nil {
		_ = s.Close()
	}
}

// show shows every golden client to what was built. The first that would be blocked is the result.
func (s *second) show(to *Result, h *config.Host, current *compile.HostInfo, t *loader.Tables, b *config.Bundle) error {
	if s == nil || len(h.Golden) == 0 {
		return nil
	}
	host, err := compile.HostFile(elsewhere(h), current, 1)
	if err != nil {
		return err
	}
	if err := s.Publish(host, t); err != nil {
		return fmt.Errorf("publish in the second instance: %w", err)
	}
	for _, client := range h.Golden {
		v := &visit{second: s, client: client, bundle: b, tables: t, host: h}
		if err := v.run(); err != nil {
			return fmt.Errorf("show golden client %s: %w", client.Name, err)
		}
		for _, w := range v.warnings {
			to.Warnings = append(to.Warnings, fmt.Sprintf("golden client %s: %s", client.Name, w))
		}
		if v.blocked != "" {
			to.Outcome, to.Golden, to.Detail = rollout.TasteGolden, client.Name, v.blocked
			return nil
		}
	}
	return nil
}

// elsewhere is the host with its sockets elsewhere: here is none to ask, and what a SYN said is believed.
func elsewhere(h *config.Host) *config.Host {
	out := *h
	out.Services = slices.Clone(h.Services)
	for i := range out.Services {
		out.Services[i].Local = false
		if out.Services[i].Protocol() == protocolTCP {
			out.Services[i].Confirm = config.ConfirmSocket
		}
	}
	return &out
}

const protocolTCP = 6

// visit is one golden client that comes to a service.
type visit struct {
	*second
	client config.GoldenClient
	bundle *config.Bundle
	tables *loader.Tables
	host   *config.Host

	warnings []string
	blocked  string // a sentence
	told     bpf.Event
}

func (v *visit) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

// ask shows a frame, and notes what blocked it.
func (v *visit) ask(what string, frame []byte) (passes bool, err error) {
	v.told = bpf.Event{Score: bpf.ScoreNone}
	passes, err = v.Try(frame, func(e bpf.Event) { v.told = e })
	if err == nil && v.isLimited() {
		v.limited(what)
	} else if err == nil && !passes {
		v.blocked = fmt.Sprintf("Its %s to service %s is blocked by %s.", what, v.client.Service, v.rule())
	}
	return passes, err
}

// isLimited reports whether what was shown last reached a limit. Beyond it, it waits: whether that happens is for how
// often it comes to say, and it comes often here.
func (v *visit) isLimited() bool {
	from := v.policy().Limit
	outcome := bpf.Outcome(v.told.Outcome)
	return outcome == bpf.OutcomeLimit || outcome == bpf.OutcomeTag && from != config.Never &&
		bpf.Reason(v.told.Reason) != bpf.ReasonWeak && v.told.Score != bpf.ScoreNone && v.told.Score >= uint8(from)
}

// policy is that of the client's service, under the host's cap.
func (v *visit) policy() config.Policy {
	p := v.bundle.PolicyFor(v.client.Service)
	for _, s := range v.host.Services {
		if s.Name == v.client.Service {
			return p.At(s)
		}
	}
	return p
}

// limited warns of a limit, once.
func (v *visit) limited(what string) {
	w := fmt.Sprintf("its %s to service %s is limited by %s: %s", what, v.client.Service, v.rule(),
		v.policy().Rate)
	if !slices.Contains(v.warnings, w) {
		v.warnings = append(v.warnings, w)
	}
}

func (v *visit) rule() string {
	if v.told.Score == bpf.ScoreNone || int(v.told.Rule) >= len(v.bundle.Rules) {
		return bpf.ReasonName(bpf.Reason(v.told.Reason))
	}
	r := v.bundle.Rules[v.told.Rule]
	return fmt.Sprintf("rule `%s`, label %s (%s)", r.ID, r.Label, bpf.ReasonName(bpf.Reason(v.told.Reason)))
}

// addressAlone: nothing is known of it but where it comes from.
func (v *visit) addressAlone() bool { return v.client.Address.IsValid() && !v.client.HasLooks() }

// between returns the ends of its connection; ok is false where there are none. Who has looks comes from where nothing
// is known of: at its own address it is protected, and its looks would never be judged.
func (v *visit) between() (e ends, ok bool) {
	i := slices.IndexFunc(v.host.Services, func(s config.Service) bool { return s.Name == v.client.Service })
	if i < 0 || v.host.Services[i].Protocol() != protocolTCP {
		v.warn("it is not shown: only TCP services can be visited by packet")
		return e, false
	}
	service := v.host.Services[i]
	for _, a := range service.Addresses {
		to, source := a.IP, netip.Addr{}
		switch {
		case v.addressAlone():
			source = v.client.Address.Addr()
		case a.Any() || a.IP.Is4():
			source = v.unnamed()
		default:
			source = netip.MustParseAddr("2001:db8:ffff::9")
			if named, err := v.tables.Names(source); err != nil || named {
				source = netip.Addr{}
			}
		}
		if a.Any() {
			to = netip.MustParseAddr("192.0.2.1")
			if source.Is6() {
				to = netip.MustParseAddr("2001:db8::1")
			}
		}
		if source.IsValid() && source.Is4() == to.Is4() {
			return ends{netip.AddrPortFrom(source, 40000), netip.AddrPortFrom(to, service.Port)}, true
		}
	}
	v.warn("it is not shown: no address reaches the service, or the bundle names all that were tried")
	return e, false
}

// unnamed is an IPv4 address that no prefix of the bundle, and nothing of the host file, has in it.
func (v *visit) unnamed() netip.Addr {
	for i := range uint32(4096) {
		k := i * 2_654_435_761
		a := netip.AddrFrom4([4]byte{11 + byte(k>>24)%89, byte(k >> 16), byte(k >> 8), 9})
		named, err := v.tables.Names(a)
		if err == nil && !named && !slices.ContainsFunc(v.host.Sources(),
			func(s config.ProtectedSource) bool { return s.Prefix.Contains(a) }) {
			return a
		}
	}
	return netip.Addr{}
}
