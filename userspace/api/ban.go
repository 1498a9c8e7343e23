// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/netip"
	"strings"
)

// addressBan6 is what one IPv6 address stands for: a visitor has a /64 (RFC 4291 section 2.5.4).
const addressBan6 = 64

// BanPrefix reads what a ban is of: an address or a prefix. One IPv6 address stands for its /64.
func BanPrefix(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, aerr := netip.ParseAddr(text)
		if aerr != nil || addr.Zone() != "" {
			return p, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%q is no address and no prefix", text),
				Fix: "use for example 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64"}
		}
		addr = addr.Unmap()
		bits := addr.BitLen()
		if addr.Is6() {
			bits = addressBan6
		}
		p = netip.PrefixFrom(addr, bits)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s holds all of IPv4", p),
				Fix: "write IPv4 prefixes as IPv4"}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	if a := p.Addr(); a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return p, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s is no address of a visitor", p),
			Fix: "look at `spillway events` for the source"}
	}
	return p, nil
}
