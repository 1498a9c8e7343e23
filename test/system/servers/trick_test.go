// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/spillway/spillway/test/support/clienthello"
)

// goHello is the handshake message that Go's client begins with, offering these protocols: every server of today
// answers it.
func goHello(t *testing.T, protocols ...string) []byte {
	t.Helper()
	return helloOf(t, &tls.Config{NextProtos: protocols})
}

func helloOf(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	config.ServerName, config.InsecureSkipVerify = "www.example.com", true
	a, b := net.Pipe()
	go func() { _ = tls.Client(a, config).Handshake() }()
	t.Cleanup(func() { _ = errors.Join(a.Close(), b.Close()) })
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(b, message); err != nil {
		t.Fatal(err)
	}
	return message
}

// A record of TLS: what comes before, between and around the records of a hello, see recordTricks.
func record(kind, major, minor byte, content []byte) []byte {
	return slices.Concat([]byte{kind, major, minor, byte(len(content) >> 8), byte(len(content))}, content)
}

func repeat(n int, b []byte) []byte { return bytes.Repeat(b, n) }

// withSession is the hello of a message with a session id of n bytes.
func withSession(message []byte, n int) []byte {
	const at = 4 + 2 + 32 // of its length
	body := slices.Concat(message[4:at], []byte{byte(n)}, make([]byte, n), message[at+1+int(message[at]):])
	return slices.Concat([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body)
}

// recordTricks are ways to put the same hello into records. Each server serves some of them.
func recordTricks(message []byte) map[string][]byte {
	empty, warning := record(22, 3, 1, nil), record(21, 3, 1, []byte{1, 90})
	ccs, whole := record(20, 3, 1, []byte{1}), record(22, 3, 1, message)
	halves := func(between []byte) []byte {
		return slices.Concat(record(22, 3, 1, message[:100]), between, record(22, 3, 1, message[100:]))
	}
	tricks := map[string][]byte{
		"as it is":                        whole,
		"in two records":                  halves(nil),
		"CCS before":                      slices.Concat(ccs, whole),
		"CCS between":                     halves(ccs),
		"a fatal alert before":            slices.Concat(record(21, 3, 1, []byte{2, 40}), whole),
		"an alert of one byte before":     slices.Concat(record(21, 3, 1, []byte{1}), whole),
		"two alerts in one record":        slices.Concat(record(21, 3, 1, []byte{1, 90, 1, 90}), whole),
		"application data before":         slices.Concat(record(23, 3, 1, []byte{1}), whole),
		"a heartbeat before":              slices.Concat(record(24, 3, 1, []byte{1, 0, 0}), whole),
		"a header in a record of its own": slices.Concat(record(22, 3, 1, message[:4]), record(22, 3, 1, message[4:])),
		"an empty record of alerts":       slices.Concat(record(21, 3, 1, nil), whole),
		"an empty record of CCS":          slices.Concat(record(20, 3, 1, nil), whole),
		"close_notify before":             slices.Concat(record(21, 3, 1, []byte{1, 0}), whole),
		"a HelloRequest before":           slices.Concat(record(22, 3, 1, []byte{0, 0, 0, 0}), whole),
	}
	for _, n := range []int{0, 31, 33, 64, 255} { // TLS allows 32
		tricks[fmt.Sprintf("a session id of %d", n)] = record(22, 3, 1, withSession(message, n))
	}
	for _, n := range []int{1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 40, 200} {
		tricks[fmt.Sprintf("%d empty records before", n)] = slices.Concat(repeat(n, empty), whole)
		tricks[fmt.Sprintf("%d empty records between", n)] = halves(repeat(n, empty))
		tricks[fmt.Sprintf("%d warnings before", n)] = slices.Concat(repeat(n, warning), whole)
		tricks[fmt.Sprintf("%d warnings between", n)] = halves(repeat(n, warning))
		tricks[fmt.Sprintf("%d times CCS before", n)] = slices.Concat(repeat(n, ccs), whole)
	}
	for _, v := range [][2]byte{{3, 0}, {3, 2}, {3, 3}, {3, 4}, {3, 255}, {4, 1}, {0, 0}, {2, 0}, {15, 255},
		{16, 0}, {254, 253}} {
		tricks[fmt.Sprintf("record version %02x%02x", v[0], v[1])] = record(22, v[0], v[1], message)
		tricks[fmt.Sprintf("record version %02x%02x in the second half", v[0], v[1])] =
			slices.Concat(record(22, 3, 1, message[:100]), record(22, v[0], v[1], message[100:]))
	}
	for _, n := range []int{63, 64, 65, 66, 128, 500} {
		var all []byte
		for i := range n - 1 {
			all = append(all, record(22, 3, 1, message[i:i+1])...)
		}
		tricks[fmt.Sprintf("%d records", n)] = append(all, record(22, 3, 1, message[n-1:])...)
	}
	return tricks
}

// oldTricks are ways to send a hello in the format of SSL 2.0, which have a JA4 of their own, with one cipher more for
// whom to tell apart.
func oldTricks(more ...uint16) map[string][]byte {
	sslv2 := func(change func(*clienthello.SSLv2)) []byte {
		h := clienthello.SSLv2{Version: 0x0303,
			Ciphers: append([]uint16{0x009c, 0x002f, 0x0035, 0xc02f, 0xc02b, 0x00ff}, more...), Challenge: 32}
		change(&h)
		return h.Bytes()
	}
	old, ccs := sslv2(func(*clienthello.SSLv2) {}), record(20, 3, 1, []byte{1})
	tricks := map[string][]byte{
		"SSL 2": old, "SSL 2 behind CCS": slices.Concat(ccs, old),
		"SSL 2 behind three CCS": slices.Concat(ccs, ccs, ccs, old),
		"SSL 2 behind a warning": slices.Concat(record(21, 3, 1, []byte{1, 90}), old),
		"SSL 2 behind nothing":   slices.Concat(record(22, 3, 1, nil), old),
		"SSL 2 and more":         sslv2(func(h *clienthello.SSLv2) { h.More = []byte("more") }),
		"SSL 2 and other kinds":  sslv2(func(h *clienthello.SSLv2) { h.Kinds = []uint32{0x010080, 0x0700c0} }),
		"SSL 2 with a session":   sslv2(func(h *clienthello.SSLv2) { h.Session = make([]byte, 16) }),
	}
	for _, version := range []uint16{2, 0x0300, 0x0301, 0x0302, 0x0304, 0x0403, 0xfefd} {
		tricks[fmt.Sprintf("SSL 2 that asks for %04x", version)] = sslv2(func(h *clienthello.SSLv2) { h.Version = version })
	}
	for _, n := range []int{8, 15, 16, 33} {
		tricks[fmt.Sprintf("SSL 2 with a challenge of %d", n)] = sslv2(func(h *clienthello.SSLv2) { h.Challenge = n })
	}
	return tricks
}
