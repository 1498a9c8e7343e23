// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// peer sends TCP segments to another.
type peer struct{ from, to netip.AddrPort }

// linuxOptions are those of a SYN of Linux: MSS 1460, SACK permitted, timestamps, NOP, scale 7.
var linuxOptions = []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7}

const (
	synFlag = 2
	ackFlag = 16
)

// packet returns an IP packet with a segment.
func (p peer) packet(flags byte, seq uint32, options, data []byte) []byte {
	tcp := make([]byte, 20, 20+len(options)+len(data))
	binary.BigEndian.PutUint16(tcp, p.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], p.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = byte(5+len(options)/4)<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	tcp = append(append(tcp, options...), data...)
	var ip []byte
	if p.from.Addr().Is4() {
		ip = []byte{0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
	} else {
		ip = []byte{0x60, 0, 0, 0, 0, 0, 6, 64}
		binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
	}
	ip = append(append(ip, p.from.Addr().AsSlice()...), p.to.Addr().AsSlice()...)
	return append(ip, tcp...)
}

// chromeHello is a ClientHello with the lists of Chrome 119 to 131, in one record.
func chromeHello() []byte {
	list := func(values ...uint16) (b []byte) {
		for _, v := range values {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	counted := func(width int, b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b)))[4-width:], b...)
	}
	known := map[uint16][]byte{
		0x0000: counted(2, append([]byte{0}, counted(2, []byte("www.example.com"))...)),
		0x000a: counted(2, list(0x0a0a, 0x001d, 0x0017)),
		0x000b: counted(1, []byte{0}),
		0x000d: counted(2, list(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)),
		0x0010: counted(2, append(counted(1, []byte("h2")), counted(1, []byte("http/1.1"))...)),
		0x002b: counted(1, list(0x3a3a, 0x0304, 0x0303)),
		0x0033: make([]byte, 1200), // as long as a post-quantum key share, so that it takes two segments
	}
	var extensions []byte
	for _, kind := range []uint16{0x4a4a, 0x0000, 0x0005, 0x000a, 0x000b, 0x000d, 0x0010, 0x0012, 0x0017, 0x001b,
		0x0023, 0x002b, 0x002d,
		0x0033, 0x4469, 0xfe0d, 0xff01, 0x8a8a} {
		extensions = append(append(extensions, list(kind)...), counted(2, known[kind])...)
	}
	ciphers := list(0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
		0x009d, 0x002f, 0x0035)
	body := append([]byte{3, 3}, make([]byte, 32+1)...)
	body = append(append(append(body, counted(2, ciphers)...), 1, 0), counted(2, extensions)...)
	message := append([]byte{1}, counted(3, body)...)
	return append([]byte{22, 3, 1}, counted(2, message)...)
}

func mustPeer(from, to string) peer {
	return peer{netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)}
}

// firstCapture has a visitor, a scanner, STARTTLS over IPv6, a web server's answer and a connection from its middle on.
func firstCapture() [][]byte {
	visitor, scanner := mustPeer("198.51.100.7:40112", "192.0.2.1:443"), mustPeer("203.0.113.9:60000", "192.0.2.1:443")
	mail, old := mustPeer("[2001:db8::7]:40113", "[2001:db8::1]:25"), mustPeer("198.51.100.8:40114", "192.0.2.1:80")
	hello := chromeHello()
	start := []byte("STARTTLS\r\n")
	return [][]byte{
		visitor.packet(synFlag, 1000, linuxOptions, nil),
		scanner.packet(synFlag, 5, []byte{2, 4, 5, 180}, nil),
		peer{visitor.to, visitor.from}.packet(synFlag|ackFlag, 1, linuxOptions, nil),
		visitor.packet(ackFlag, 1001, nil, hello[:1000]),
		mail.packet(synFlag, 70, linuxOptions, nil),
		mail.packet(ackFlag, 71, nil, start),
		visitor.packet(ackFlag, 2001, nil, hello[1000:]),
		old.packet(ackFlag, 9, nil, []byte("GET / HTTP/1.1\r\n")),
		mail.packet(ackFlag, 71+uint32(len(start)), nil, hello),
		peer{visitor.to, visitor.from}.packet(ackFlag, 2, nil, []byte{22, 3, 3, 0, 1, 2}),
	}
}

// writePcap writes IP packets as a classic capture of Ethernet frames.
func writePcap(t *testing.T, packets [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		frame := append(make([]byte, 12), 8, 0)
		if p[0]>>4 == 6 {
			frame = append(make([]byte, 12), 0x86, 0xdd)
		}
		frame = append(frame, p...)
		info := gopacket.CaptureInfo{Timestamp: now.Add(time.Duration(i) * time.Millisecond),
			CaptureLength: len(frame), Length: len(frame)}
		if err := w.WritePacket(info, frame); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// writeNG writes IP packets as a pcapng capture without link headers.
func writeNG(t *testing.T, packets [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeRaw)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		info := gopacket.CaptureInfo{Timestamp: now.Add(time.Duration(i) * time.Millisecond),
			CaptureLength: len(p), Length: len(p)}
		if err := w.WritePacket(info, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
