// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"encoding/binary"
	"net/netip"

	"github.com/spillway/spillway/config/signature"
)

// ends are those of a connection.
type ends struct{ from, to netip.AddrPort }

// opening is a SYN.
type opening struct {
	ttl     uint8
	id      uint16 // of IPv4
	df, ecn bool
	window  uint16
	options []byte
	data    []byte
}

const (
	isn = 0x12345678

	flagSYN, flagACK, flagPSH, flagECE, flagCWR = 2, 16, 8, 64, 128

	defaultMSS, defaultScale, defaultWindow = 1460, 7, 64240
)

// option writes a TCP option of this kind as systems send it.
func option(to []byte, kind uint8, mss uint16, scale uint8) []byte {
	switch kind {
	case 0, 1:
		return append(to, kind)
	case 2:
		return binary.BigEndian.AppendUint16(append(to, 2, 4), mss)
	case 3:
		return append(to, 3, 3, scale)
	case 8:
		return append(to, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0)
	}
	return append(to, kind, 2)
}

// openingOf is a SYN with this MuonFP.
func openingOf(fp signature.MuonFP) opening {
	o := opening{ttl: 64, df: true, window: fp.Window}
	mss, scale := uint16(defaultMSS), uint8(defaultScale)
	if fp.MSS != nil {
		mss = *fp.MSS
	}
	if fp.Scale != nil {
		scale = *fp.Scale
	}
	for _, kind := range fp.Kinds {
		o.options = option(o.options, kind, mss, scale)
	}
	return o
}

// openingOfP0F is a SYN that this signature fits, as far as the common quirks go; whoever shows it compares.
func openingOfP0F(s signature.P0F) opening {
	has := func(name string) bool { return s.Quirks.Has(name) }
	o := opening{ttl: s.TTL, df: has("df"), ecn: has("ecn"), window: defaultWindow}
	if has("id+") || !o.df && !has("id-") {
		o.id = 0x4242
	}
	mss, scale := uint16(defaultMSS), uint8(defaultScale)
	if s.MSS != nil && *s.MSS != 0 {
		mss = *s.MSS
	}
	if s.Scale != nil {
		scale = *s.Scale
	}
	switch n := s.Window.N; s.Window.Kind {
	case signature.WindowValue:
		o.window = n
	case signature.WindowModulo:
		o.window = max(n, 1)
	case signature.WindowMSS:
		o.window = n * mss
	case signature.WindowMTU:
		o.window = n * (mss + 40)
	}
	for _, kind := range s.Layout {
		o.options = option(o.options, kind, mss, scale)
	}
	o.options = append(o.options, make([]byte, s.EOLPad)...)
	if s.Payload == signature.PayloadSome {
		o.data = []byte("x")
	}
	return o
}

// frame writes it between these ends.
func (o opening) frame(e ends) []byte {
	flags := uint8(flagSYN)
	if o.ecn {
		flags |= flagECE | flagCWR
	}
	return o.packet(e, isn, 0, flags, o.options, o.data)
}

// first is the segment with the first bytes of data behind it.
func (o opening) first(e ends, data []byte) []byte {
	return o.packet(e, isn+1, 1, flagACK|flagPSH, nil, data)
}

func (o opening) packet(e ends, seq, ack uint32, flags uint8, options, data []byte) []byte {
	for len(options)%4 != 0 {
		options = append(options[:len(options):len(options)], 0)
	}
	tcp := binary.BigEndian.AppendUint16(nil, e.from.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, e.to.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, seq)
	tcp = binary.BigEndian.AppendUint32(tcp, ack)
	tcp = append(tcp, uint8(5+len(options)/4)<<4, flags)
	tcp = binary.BigEndian.AppendUint16(tcp, o.window)
	tcp = append(append(append(tcp, 0, 0, 0, 0), options...), data...)
	src, dst := e.from.Addr().AsSlice(), e.to.Addr().AsSlice()
	binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(src)+sum(dst)+6+uint32(len(tcp))+sum(tcp)))
	ethernet := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd}
	ip := []byte{0x60, 0, 0, 0, 0, 0, 6, o.ttl}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
	if e.from.Addr().Is4() {
		ethernet[12], ethernet[13] = 8, 0
		ip = []byte{0x45, 0, 0, 0, 0, 0, 0, 0, o.ttl, 6, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
		binary.BigEndian.PutUint16(ip[4:], o.id)
		if o.df {
			ip[6] = 0x40
		}
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip)+sum(src)+sum(dst)))
	}
	return append(append(append(append(ethernet, ip...), src...), dst...), tcp...)
}

// sum adds 16-bit words, RFC 1071.
func sum(b []byte) (n uint32) {
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		n += uint32(b[0]) << 8
	}
	return n
}

func fold(n uint32) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
