// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// HostImage is a host file compiled for the kernel: services and protected sources. A pure value.
type HostImage struct {
	host      bpf.Host
	resets    [bpf.ServicesMax]bool // services whose connections a policy may reset
	services  [bpf.ServicesMax]config.Service
	ports     map[uint32]bpf.Port // index: port, plus 65,536 for UDP
	addresses rows[bpf.ServiceAddress, uint32]
	allowlist rows[bpf.Prefix6Key, uint32]
}

// Number is the one that it was compiled under.
func (img *HostImage) Number() uint32 { return img.host.Number }

// HostInfo is the host file as the kernel holds it.
type HostInfo struct {
	Number       uint32
	AgentTimeout time.Duration // negative: never
	Services     []ServiceInfo
}

// ServiceInfo is one service as the kernel holds it.
type ServiceInfo struct {
	ID   uint8
	Name string
	Kind string
	Tag  uint32
	// Confirm says who may vouch for its connections beside sockets of this host; "" where nobody is asked (UDP).
	Confirm config.Confirm
}

// confirmOf reads who may vouch for connections of a service.
func confirmOf(s bpf.Service) config.Confirm {
	has := func(flag bpf.DataplaneServiceFlags) bool { return s.Flags&uint8(flag) != 0 }
	switch {
	case s.Kind == uint8(bpf.DataplaneServiceKindKIND_QUIC), s.Kind == uint8(bpf.DataplaneServiceKindKIND_UDP):
		return ""
	case has(bpf.DataplaneServiceFlagsSERVICE_ASKS_EGRESS):
		return config.ConfirmEgress
	case has(bpf.DataplaneServiceFlagsSERVICE_ASKS_CONNTRACK):
		return config.ConfirmAuto
	}
	return config.ConfirmSocket
}

// Service returns the service of that name.
func (h *HostInfo) Service(name string) (ServiceInfo, bool) {
	for _, s := range h.Services {
		if s.Name == name {
			return s, true
		}
	}
	return ServiceInfo{}, false
}

var kindNames = map[bpf.ServiceKind]string{
	bpf.DataplaneServiceKindKIND_TLS:  string(config.KindTLS),
	bpf.DataplaneServiceKindKIND_HTTP: string(config.KindHTTP),
	bpf.DataplaneServiceKindKIND_TCP:  string(config.KindTCP),
	bpf.DataplaneServiceKindKIND_QUIC: string(config.KindQUIC),
	bpf.DataplaneServiceKindKIND_UDP:  string(config.KindUDP),
}

func kindNumber(k config.Kind) uint8 {
	for number, name := range kindNames {
		if name == string(k) {
			return uint8(number)
		}
	}
	return 0
}

// serviceTag names a service in four bytes: a policy that was compiled for another service does not apply to this one.
func serviceTag(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() | 1 // never 0, the tag of no policy
}

// CompileHost compiles a host file. Services that current (may be nil) knows keep their ids, so that a resident
// generation and a bypass go on to mean the same service.
func CompileHost(h *config.Host, current *HostInfo, number uint32) (*HostImage, error) {
	ids, err := assignIDs(h.Services, current)
	if err != nil {
		return nil, err
	}
	img := &HostImage{ports: map[uint32]bpf.Port{}}
	img.host = bpf.Host{AgentTimeoutNs: bpf.Never, Number: number, ServiceCount: uint32(len(h.Services))}
	if img.host.AcceptedReasons, err = maskOf(h.AcceptReasons); err != nil {
		return nil, fmt.Errorf("compile accept_reasons: %w", err)
	}
	if !h.Guards.AgentTimeout.Never() {
		img.host.AgentTimeoutNs = uint64(h.Guards.AgentTimeout.Duration())
	}
	for _, s := range h.Services {
		id := ids[s.Name]
		service := bpf.Service{Tag: serviceTag(s.Name), Kind: kindNumber(s.Kind)}
		if s.MPTCP == config.MPTCPStrip {
			service.Flags |= uint8(bpf.DataplaneServiceFlagsSERVICE_STRIP_MPTCP)
		}
		copy(service.Name[:len(service.Name)-1], s.Name)
		if s.AsksConntrack() {
			service.Flags |= uint8(bpf.DataplaneServiceFlagsSERVICE_ASKS_CONNTRACK)
		}
		if s.ProxyProtocol {
			service.Flags |= uint8(bpf.DataplaneServiceFlagsSERVICE_PROXY_PROTOCOL)
		}
		if s.AsksEgress() {
			service.Flags |= uint8(bpf.DataplaneServiceFlagsSERVICE_ASKS_EGRESS)
		}
		img.host.Services[id] = service
		img.resets[id] = s.Resettable()
		img.services[id] = s
	}
	// Port 0 is any port; the first service of an address speaks for it, and a later one does not overrule it.
	for _, s := range h.Services {
		id := ids[s.Name]
		if !s.Local {
			id |= uint8(bpf.DataplaneServiceIdFlagsSERVICE_REMOTE)
		}
		for _, a := range s.Addresses {
			img.listen(a, s.Protocol(), s.Port, id)
			img.listen(a, s.Protocol(), 0, id)
		}
	}
	img.protect(h.Allowlist)
	img.addresses.sort(compareAddresses)
	img.allowlist.sort(comparePrefix6)
	return img, nil
}

// fragmentFlags says which fragments the policy of a service drops. One without ports is for any TCP service of its address, so
// all of them must agree.
func (img *HostImage) fragmentFlags(b *config.Bundle, id int) uint8 {
	drops := func(s config.Service) bool {
		return s.DropsFragments() && b.PolicyFor(s.Name).Fragments == config.FragmentsDrop
	}
	s := img.services[id]
	if !drops(s) {
		return 0
	}
	flags := uint8(bpf.DataplanePolicyFlagsPOLICY_DROP_FRAGMENTS | bpf.DataplanePolicyFlagsPOLICY_DROP_TINY)
	for _, other := range img.services {
		if other.Name != "" && other.Protocol() == s.Protocol() && s.Overlaps(other) && !drops(other) {
			flags = uint8(bpf.DataplanePolicyFlagsPOLICY_DROP_FRAGMENTS)
		}
	}
	return flags
}

// protect compiles the allowlist. IPv4 lies inside the IPv6 space as ::ffff:0:0/96; a wide IPv6 prefix around that means
// IPv6 only, so a row of value 0 takes IPv4 out again.
func (img *HostImage) protect(entries []config.AllowEntry) {
	all4 := netip.MustParsePrefix("0.0.0.0/0")
	around, named := false, false
	for _, e := range entries {
		img.allowlist.add(key6(e.Prefix), 1)
		around = around || holdsIPv4(e.Prefix)
		named = named || e.Prefix.Masked() == all4
	}
	if around && !named {
		img.allowlist.add(key6(all4), 0)
	}
}

// holdsIPv4 reports whether an IPv6 prefix covers the mapped IPv4 addresses.
func holdsIPv4(p netip.Prefix) bool {
	return p.Addr().Is6() && p.Bits() < 96 && p.Contains(netip.AddrFrom16(netip.IPv4Unspecified().As16()))
}

func (img *HostImage) listen(a config.Address, protocol uint8, port uint16, id uint8) {
	index := uint32(port)
	if protocol == protocolUDP {
		index += 65536
	}
	entry := img.ports[index]
	switch {
	case a.Any():
		if entry.Any4 == 0 {
			entry.Any4 = id
		}
		if entry.Any6 == 0 {
			entry.Any6 = id
		}
	default:
		entry.Exact = 1
		key := bpf.ServiceAddress{Addr: mapped(a.IP), Port: hostToNet16(port), Protocol: protocol}
		if !img.addresses.has(key) {
			img.addresses.add(key, uint32(id))
		}
	}
	img.ports[index] = entry
}

func assignIDs(services []config.Service, current *HostInfo) (map[string]uint8, error) {
	if len(services) >= bpf.ServicesMax {
		return nil, fmt.Errorf("%d services: %w: at most %d", len(services), ErrCapacity, bpf.ServicesMax-1)
	}
	tags := map[uint32]string{}
	taken := map[uint8]bool{}
	ids := map[string]uint8{}
	if current != nil {
		for _, s := range current.Services {
			taken[s.ID] = true
		}
	}
	for _, s := range services {
		tag := serviceTag(s.Name)
		if other, ok := tags[tag]; ok {
			return nil, fmt.Errorf("services %q and %q share the tag %08x: rename one", other, s.Name, tag)
		}
		tags[tag] = s.Name
		if current != nil {
			if known, ok := current.Service(s.Name); ok {
				ids[s.Name] = known.ID
			}
		}
	}
	free := freeIDs(taken, ids)
	for _, s := range services {
		if _, ok := ids[s.Name]; ok {
			continue
		}
		ids[s.Name] = free[0]
		free = free[1:]
	}
	return ids, nil
}

// freeIDs lists ids for new services: first those that nobody had, so that a service that leaves and one that comes in
// the same reload do not meet; the ids of services that leave come last.
func freeIDs(taken map[uint8]bool, kept map[string]uint8) []uint8 {
	inUse := map[uint8]bool{}
	for _, id := range kept {
		inUse[id] = true
	}
	var fresh, left []uint8
	for id := uint8(1); id < bpf.ServicesMax; id++ {
		switch {
		case inUse[id]:
		case taken[id]:
			left = append(left, id)
		default:
			fresh = append(fresh, id)
		}
	}
	return append(fresh, left...)
}

// Host returns the published host file, nil when none is.
func (d *Dataplane) Host() (*HostInfo, error) {
	slot := d.Control().Host
	if slot == bpf.SlotEmpty {
		return nil, nil
	}
	var h bpf.Host
	if err := d.lookupInner("hosts", slot, &h); err != nil {
		return nil, err
	}
	info := &HostInfo{Number: h.Number, AgentTimeout: time.Duration(h.AgentTimeoutNs)}
	if h.AgentTimeoutNs == bpf.Never {
		info.AgentTimeout = -1
	}
	for id, s := range h.Services {
		if s.Tag == 0 {
			continue
		}
		info.Services = append(info.Services, ServiceInfo{
			ID: uint8(id), Name: serviceName(s), Kind: kindNames[bpf.ServiceKind(s.Kind)], Tag: s.Tag,
			Confirm: confirmOf(s),
		})
	}
	return info, nil
}

func serviceName(s bpf.Service) string {
	name, _, _ := bytes.Cut(s.Name[:], []byte{0})
	return string(name)
}

// key6 writes a prefix as a key of the mapped address space: IPv4 lies below ::ffff:0:0/96.
func key6(p netip.Prefix) bpf.Prefix6Key {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return bpf.Prefix6Key{Prefixlen: uint32(bits), Addr: mapped(p.Addr())}
}
