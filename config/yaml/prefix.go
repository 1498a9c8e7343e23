// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"errors"
	"net/netip"
	"strings"
)

// ParsePrefix reads an address or a prefix. It masks host bits and says so, and turns an IPv4-mapped one into IPv4.
func ParsePrefix(s string) (p netip.Prefix, masked bool, err error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, false, errors.New("is no IP address or prefix")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), false, nil
	}
	p, err = netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false, errors.New("is no IP address or prefix")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	m := p.Masked()
	return m, m != p, nil
}
