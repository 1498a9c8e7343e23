// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// behindBalancer makes the services for TLS those of a balancer that puts a PROXY header in front of each connection.
func (p *plane) behindBalancer() {
	p.t.Helper()
	h := site()
	for i := range h.Services {
		h.Services[i].ProxyProtocol = h.Services[i].Name != "plain"
	}
	p.publishHost(h)
}

// proxyV2 is a header of version 2 with n bytes behind its fixed part.
func proxyV2(command byte, n int) []byte {
	head := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, 0x11, byte(n>>8), byte(n))
	return append(head, make([]byte, n)...)
}

// proxyHeaders are right ones.
func proxyHeaders() map[string][]byte {
	return map[string][]byte{
		"v1 of IPv4":            []byte("PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n"),
		"v1 of IPv6":            []byte("PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n"),
		"v1 that says nothing":  []byte("PROXY UNKNOWN\r\n"),
		"v1 as long as it gets": []byte("PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n"),
		"v2 of IPv4":            proxyV2(0x21, 12),
		"v2 of IPv6":            proxyV2(0x21, 36),
		"v2 local":              proxyV2(0x20, 0),
		"v2 with much behind":   proxyV2(0x21, 4000),
	}
}

// A hello behind a PROXY header is read where the service says that there is one, however both are cut.
func TestHelloBehindAProxyHeader(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.behindBalancer()
		hello := one(browser(1))
		want := p.ja4Of(hello)
		port := uint16(1000)
		for name, head := range proxyHeaders() {
			n := len(head)
			stream := slices.Concat(head, hello)
			for _, cuts := range [][]int{nil, {n}, {1}, {5}, {12}, {min(15, n-1)}, {n - 1}, {n + 1}, {n - 1, n},
				{1, 2, 7, 13, n + 3, n + 900}, {n + 700}} {
				slices.Sort(cuts)
				what := fmt.Sprintf("%s of %d bytes, cut at %v", name, n, cuts)
				port++
				p.swap(bundle().bundle())
				v := r.connect(visitor, port, stream)
				p.wants(what, "XDP_PASS", v.all(cuts...))
				v.hasRead(what, len(stream))
				v.wantJA4(what, want)
				p.swap(against(want).bundle())
				b := r.connect(bot, port, stream)
				p.wants(what+", from a bot", "XDP_DROP", b.all(cuts...))
			}
			b := p.visits(bot, port, stream)
			p.wants(name+", to a service elsewhere", "XDP_DROP", b.all(n, n+700))
		}
	})
}

// What is in several records, of SSL 2.0, or behind other records is read there too.
func TestRecordsBehindAProxyHeader(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.behindBalancer()
	message := browser(2).Bytes()
	port := uint16(0)
	for _, head := range proxyHeaders() {
		for name, stream := range map[string][]byte{
			"two records": slices.Concat(record(22, 3, 1, message[:100]), record(22, 3, 1, message[100:])),
			"CCS first":   slices.Concat(record(20, 3, 1, []byte{1}), record(22, 3, 1, message)),
			"SSL 2":       sslv2(nil),
		} {
			port++
			v := p.visits(visitorIP, port, slices.Concat(head, stream))
			v.all(1000)
			v.wantJA4(name+" behind "+string(head[:8]), p.ja4Of(stream))
		}
	}
}

// What is no PROXY header, and no hello behind one, is not_hello; a hello without one is too.
func TestWrongProxyHeaders(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.behindBalancer()
	p.swap(telling())
	hello := one(browser(1))
	right := proxyHeaders()["v1 of IPv4"]
	for i, c := range []struct {
		name   string
		stream []byte
		class  string
	}{
		{"no header", hello, "not_hello"},
		{"another word", slices.Concat([]byte("PROXX TCP4 203.0.113.7 192.0.2.1 40000 443\r\n"), hello), "not_hello"},
		{"a line of 108 bytes", slices.Concat([]byte("PROXY UNKNOWN "+strings.Repeat("f", 92)+"\r\n"), hello), "not_hello"},
		{"a line without an end", []byte("PROXY TCP4 " + strings.Repeat("1", 200)), "not_hello"},
		{"half a line", []byte("PROXY TCP4 203.0.113.7"), partial},
		{"version 1 in the form of version 2", slices.Concat(proxyV2(0x11, 12), hello), "not_hello"},
		{"another command", slices.Concat(proxyV2(0x22, 12), hello), "not_hello"},
		{"a broken signature", slices.Concat(at(proxyV2(0x21, 12), 11, 'x'), hello), "not_hello"},
		{"half a signature", proxyV2(0x21, 12)[:11], partial},
		{"half an address", proxyV2(0x21, 12)[:20], partial},
		{"a header of 64 KiB", proxyV2(0x21, 65535)[:1400], "hello_too_long"},
		{"a request behind it", slices.Concat(right, []byte("GET / HTTP/1.1\r\n\r\n")), "not_hello"},
		{"two headers", slices.Concat(right, right, hello), "not_hello"},
		{"nothing behind it", right, partial},
		{"half a hello", slices.Concat(right, hello[:700]), partial},
	} {
		v := p.visits(visitorIP, uint16(1+i), c.stream)
		v.all(segmented(len(c.stream))...)
		flow, ok := v.flow()
		if got := classOf(flow); !ok || got != c.class {
			t.Errorf("%s: %s (flow: %v), want %s", c.name, got, ok, c.class)
		}
	}
	p.publishHost(site())
	v := p.visits(visitorIP, 500, slices.Concat(right, hello))
	v.all()
	if flow, _ := v.flow(); classOf(flow) != "not_hello" {
		t.Errorf("a header that the service does not say: %s", classOf(flow))
	}
}
