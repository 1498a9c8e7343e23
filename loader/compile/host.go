// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

const protocolUDP = 17

// HostImage is a host file compiled for the kernel: services and protected sources. A pure value.
type HostImage struct {
	host      bpf.Host
	terms     map[string]config.Terms // of the services, by name
	ports     map[uint32]bpf.Port     // index: port, plus 65,536 for UDP
	addresses *rows[bpf.ServiceAddress, uint32]
	allowlist *rows[bpf.Prefix6Key, uint32]
	since     *Since
	taken     uint32 // the number that generations take from it, where they are compiled for its change
}

// The tables of a host file that have rows.
var (
	addresses = &form[bpf.ServiceAddress, uint32]{bpf.DataplaneMapHostAddresses, "addresses", compareAddresses,
		formatAddress, formatHead}
	allowlist = &form[bpf.Prefix6Key, uint32]{bpf.DataplaneMapHostAllowlist, "allowlist", comparePrefix6, FormatPrefix,
		formatHead}
)

func emptyHost() *HostImage {
	return &HostImage{terms: map[string]config.Terms{}, ports: map[uint32]bpf.Port{},
		addresses: &rows[bpf.ServiceAddress, uint32]{form: addresses},
		allowlist: &rows[bpf.Prefix6Key, uint32]{form: allowlist}}
}

func formatAddress(k bpf.ServiceAddress) string {
	return netip.AddrPortFrom(Unmapped(k.Addr), hostToNet16(k.Port)).String()
}

// HostMaps names the maps of a host slot. The first says whether the slot is filled.
func HostMaps() []string {
	return []string{bpf.DataplaneMapHosts, bpf.DataplaneMapHostPorts, bpf.DataplaneMapHostAddresses,
		bpf.DataplaneMapHostAllowlist}
}

// Tables returns what the maps of a host slot will hold, by their names.
func (img *HostImage) Tables(maxAllowlist int) map[string]Sized {
	ports := make([]bpf.Port, 2*65536)
	for index, port := range img.ports {
		ports[index] = port
	}
	return map[string]Sized{
		bpf.DataplaneMapHosts:         {array[bpf.Host]{"host", []bpf.Host{img.host}}, 1, false},
		bpf.DataplaneMapHostPorts:     {array[bpf.Port]{"ports", ports}, len(ports), false},
		bpf.DataplaneMapHostAddresses: {img.addresses, max(img.addresses.Len(), 1), false},
		bpf.DataplaneMapHostAllowlist: {img.allowlist, maxAllowlist, false},
	}
}

// Protected returns the rows of protected sources.
func (img *HostImage) Protected() int { return img.allowlist.Len() }

// Service returns the service of an id; its tag is 0 where there is none.
func (img *HostImage) Service(id uint8) bpf.Service { return img.host.Services[id] }

// Fresh reports whether traffic of a service is one's only with this host file.
func (img *HostImage) Fresh(id uint8) bool {
	for _, p := range img.ports {
		if p.Any4 == id|uint8(bpf.ServiceFresh) {
			return true
		}
	}
	return false
}

// Same reports whether two images put the same into the kernel.
func (img *HostImage) Same(as *HostImage) bool {
	return img.host == as.host && maps.Equal(img.ports, as.ports) &&
		slices.Equal(img.addresses.keys, as.addresses.keys) && slices.Equal(img.addresses.values, as.addresses.values) &&
		slices.Equal(img.allowlist.keys, as.allowlist.keys) && slices.Equal(img.allowlist.values, as.allowlist.values)
}

// AnyPort makes the service of port 1 that of every TCP port.
func (img *HostImage) AnyPort() {
	for port := range uint32(math.MaxUint16) {
		img.ports[port+1] = img.ports[1]
	}
}

// Number is the one that it was compiled under.
func (img *HostImage) Number() uint32 { return img.host.Number }

var kindNames = map[bpf.ServiceKind]string{
	bpf.KindTLS:  string(config.KindTLS),
	bpf.KindHTTP: string(config.KindHTTP),
	bpf.KindTCP:  string(config.KindTCP),
	bpf.KindQUIC: string(config.KindQUIC),
	bpf.KindUDP:  string(config.KindUDP),
}

func kindNumber(k config.Kind) uint8 {
	for number, name := range kindNames {
		if name == string(k) {
			return uint8(number)
		}
	}
	return 0
}

// ServiceTag names a service in four bytes: a policy that was compiled for another service does not apply to this one.
func ServiceTag(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() | 1 // never 0, the tag of no policy
}

// HostFile compiles a host file. Services that current (may be nil) knows keep their ids, so that a resident
// generation and a bypass go on to mean the same service. It counts for every generation.
func HostFile(h *config.Host, current *HostInfo, number uint32) (*HostImage, error) {
	return HostFileSince(h, nil, current, number)
}

// HostFileSince compiles a host file whose change since another one (nil: none) counts for the generations alone that
// are compiled for it.
func HostFileSince(h *config.Host, since *Since, current *HostInfo, number uint32) (*HostImage, error) {
	ids, err := assignIDs(h.Services, current)
	if err != nil {
		return nil, err
	}
	img := emptyHost()
	img.since, img.taken = since, number
	img.host = bpf.Host{AgentTimeoutNs: bpf.Never, Number: number, ServiceCount: uint32(len(h.Services))}
	if img.host.AcceptedReasons, err = maskOf(h.AcceptReasons); err != nil {
		return nil, fmt.Errorf("compile accept_reasons: %w", err)
	}
	if img.host.AcceptedBefore, err = since.accepted(img.host.AcceptedReasons); err != nil {
		return nil, fmt.Errorf("compile accept_reasons: %w", err)
	}
	if !h.Guards.AgentTimeout.Never() {
		img.host.AgentTimeoutNs = uint64(h.Guards.AgentTimeout.Duration())
	}
	for _, s := range h.Services {
		id := ids[s.Name]
		service := bpf.Service{Tag: ServiceTag(s.Name), Kind: kindNumber(s.Kind)}
		if s.MPTCP == config.MPTCPStrip {
			service.Flags |= uint8(bpf.ServiceStripMPTCP)
		}
		service.Most, service.MostBefore = uint8(s.MaxVerdict.Rank()), since.most(s)
		copy(service.Name[:len(service.Name)-1], s.Name)
		if s.AsksConntrack() {
			service.Flags |= uint8(bpf.ServiceAsksConntrack)
		}
		if s.ProxyProtocol {
			service.Flags |= uint8(bpf.ServiceProxyProtocol)
		}
		if s.AsksEgress() {
			service.Flags |= uint8(bpf.ServiceAsksEgress)
		}
		img.host.Services[id] = service
		img.terms[s.Name] = s.Terms(h.Services)
	}
	// Port 0 is any port; the first service of an address speaks for it, and a later one does not overrule it.
	for _, s := range h.Services {
		id := ids[s.Name]
		if !s.Local {
			id |= uint8(bpf.ServiceRemote)
		}
		for _, a := range s.Addresses {
			img.listen(a, s.Protocol(), s.Port, id|since.fresh(s, a))
			img.listen(a, s.Protocol(), 0, id|since.fresh(s, a))
		}
	}
	for _, s := range h.Services { // behind all that the file names
		any := img.ports[portIndex(s.Protocol(), s.Port)].Any4
		for _, a := range since.kept(s) {
			if id := any &^ uint8(bpf.ServiceFresh); id&uint8(bpf.ServiceID) == ids[s.Name] {
				img.listen(a, s.Protocol(), s.Port, id)
			}
		}
	}
	if since.hasInterface(h) {
		for index, port := range img.ports {
			port.ByInterface = 1
			img.ports[index] = port
		}
	}
	img.protect(since.protected(h))
	img.addresses.sort()
	img.allowlist.sort()
	return img, nil
}

// protect compiles the protected sources, each with its class. IPv4 lies inside the IPv6 space as ::ffff:0:0/96; a wide
// IPv6 prefix around that means IPv6 only, so a row of value 0 takes IPv4 out again.
func (img *HostImage) protect(entries []protection) {
	all4 := netip.MustParsePrefix("0.0.0.0/0")
	around, named := false, false
	for _, e := range entries {
		img.allowlist.add(Key6(e.prefix), e.value)
		around = around || HoldsIPv4(e.prefix)
		named = named || e.prefix.Masked() == all4
	}
	if around && !named {
		img.allowlist.add(Key6(all4), 0)
	}
	for i, key := range img.allowlist.keys {
		if img.allowlist.values[i] != 0 {
			NoteFirstBytes(&img.host.Listed, key)
		}
	}
}

// NoteFirstBytes sets the bits of the bytes that IPv4 addresses of a row begin with, or says that there is one of IPv6.
func NoteFirstBytes(bits *[bpf.FirstBytes]uint64, row bpf.Prefix6Key) {
	if row.Prefixlen < 96 || !Unmapped(row.Addr).Is4() {
		bits[bpf.FirstBytes-1] = 1
		return
	}
	first := int(Unmapped(row.Addr).As4()[0])
	for b := first; b < first+1<<(8-min(row.Prefixlen-96, 8)) && b < 256; b++ {
		bits[b/64] |= 1 << (b % 64)
	}
}

// HoldsIPv4 reports whether an IPv6 prefix covers the mapped IPv4 addresses.
func HoldsIPv4(p netip.Prefix) bool {
	return p.Addr().Is6() && p.Bits() < 96 && p.Contains(netip.AddrFrom16(netip.IPv4Unspecified().As16()))
}

func portIndex(protocol uint8, port uint16) uint32 {
	if protocol == protocolUDP {
		return uint32(port) + 65536
	}
	return uint32(port)
}

func (img *HostImage) listen(a config.Address, protocol uint8, port uint16, id uint8) {
	index := portIndex(protocol, port)
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
		key := bpf.ServiceAddress{Addr: Mapped(a.IP), Port: hostToNet16(port), Protocol: protocol}
		if !img.addresses.has(key) {
			img.addresses.add(key, uint32(id))
		}
	}
	img.ports[index] = entry
}

// ServiceName returns the name of a service.
func ServiceName(s bpf.Service) string {
	name, _, _ := bytes.Cut(s.Name[:], []byte{0})
	return string(name)
}
