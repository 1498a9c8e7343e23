// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"net/netip"

	"github.com/spillway/spillway/config/yaml"
)

// noAddress is what is wrong with most bad rows.
const noAddress = "is no IP address or prefix"

// readPrefix fills a row with the one address or prefix of its text.
func (r *Row) readPrefix(text []byte) {
	r.Text = text
	p, steps, ok := parsePrefix(text)
	if !ok {
		r.Problem = noAddress
		return
	}
	r.Prefixes, r.Steps = append(r.Prefixes, p), steps
}

// parsePrefix is yaml.ParsePrefix, without its garbage for IPv4.
func parsePrefix(text []byte) (p netip.Prefix, steps Steps, ok bool) {
	if addr, bits, ok := parse4(text); ok {
		p = netip.PrefixFrom(addr, bits)
		m := p.Masked()
		return m, Steps{Masked: m != p}, true
	}
	if len(text) == 0 || len(text) > maxAddress {
		return p, steps, false
	}
	p, masked, err := yaml.ParsePrefix(string(text))
	return p, Steps{Masked: masked, Unmapped: err == nil && p.Addr().Is4()}, err == nil
}

// maxAddress is longer than any address with its length.
const maxAddress = 64

// parse4 reads the usual form of an IPv4 address or prefix. What it does not know netip may.
func parse4(text []byte) (addr netip.Addr, bits int, ok bool) {
	var a [4]byte
	i := 0
	for k := range a {
		if k > 0 {
			if i == len(text) || text[i] != '.' {
				return addr, 0, false
			}
			i++
		}
		n, end := digits(text, i)
		if end == i || n > 255 {
			return addr, 0, false
		}
		a[k], i = byte(n), end
	}
	if bits = 32; i < len(text) {
		n, end := digits(text, i+1)
		if text[i] != '/' || end == i+1 || end < len(text) || n > 32 {
			return addr, 0, false
		}
		bits = n
	}
	return netip.AddrFrom4(a), bits, true
}

// digits reads a number of at most three digits, without a leading zero, which means octal to some.
func digits(text []byte, i int) (n, end int) {
	for end = i; end < len(text) && end < i+3 && text[end] >= '0' && text[end] <= '9'; end++ {
		n = n*10 + int(text[end]-'0')
	}
	if end > i+1 && text[i] == '0' {
		return 0, i
	}
	return n, end
}

// parseAddr reads one address without a length.
func parseAddr(text []byte) (netip.Addr, bool) {
	if bytes.IndexByte(text, '/') >= 0 {
		return netip.Addr{}, false
	}
	p, _, ok := parsePrefix(text)
	return p.Addr(), ok
}

// isAddress reports whether a text is an address or a prefix.
func isAddress(text []byte) bool {
	text = bytes.Trim(text, `"'`)
	if len(text) < 2 || text[0] > 'f' || bytes.IndexByte(text, '.') < 0 && bytes.IndexByte(text, ':') < 0 {
		return false
	}
	_, _, ok := parsePrefix(text)
	return ok
}
