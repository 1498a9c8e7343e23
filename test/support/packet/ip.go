// SPDX-License-Identifier: Apache-2.0

package packet

import "encoding/binary"

// Protocol numbers of IANA.
const (
	HopByHop       uint8 = 0
	ICMP           uint8 = 1
	IPIP           uint8 = 4
	ProtoTCP       uint8 = 6
	ProtoUDP       uint8 = 17
	Routing        uint8 = 43
	FragmentHeader uint8 = 44
	GRE            uint8 = 47
	ESP            uint8 = 50
	AH             uint8 = 51
	ICMPv6         uint8 = 58
	NoNext         uint8 = 59
	DestOptions    uint8 = 60
	Mobility       uint8 = 135
	HIP            uint8 = 139
	Shim6          uint8 = 140
)

// Lengths of headers without options, in bytes.
const (
	IPv4Len = 20
	IPv6Len = 40
)

const ttl = 64

// Extension is an IPv6 extension header of the common form: next header, length, content.
type Extension struct {
	Kind uint8
	// Data follows the two bytes of the form and is padded with zeros to what the length field can say. A fragment
	// header (RFC 8200, section 4.5) has its six bytes here.
	Data []byte
	// Length overrides the length field.
	Length *uint8
}

// Extensions returns n headers of one kind, of the least length that the kind has.
func Extensions(n int, kind uint8) []Extension {
	var all []Extension
	for range n {
		e := Extension{Kind: kind}
		if kind == FragmentHeader {
			e = Fragment{ID: 7}.header()
		}
		all = append(all, e)
	}
	return all
}

// header returns the fragment header of IPv6. Offset 0 without More is an atomic fragment (RFC 6946).
func (f Fragment) header() Extension {
	word := f.Offset << 3
	if f.More {
		word |= 1
	}
	data := binary.BigEndian.AppendUint16(nil, word)
	return Extension{Kind: FragmentHeader, Data: binary.BigEndian.AppendUint32(data, f.ID)}
}

func (e Extension) bytes(next uint8) []byte {
	b := append([]byte{next, 0}, e.Data...)
	unit, less := 8, 1
	if e.Kind == AH {
		unit, less = 4, 2 // RFC 4302, section 2.2: 4-byte units, less 2; at least the 12 fixed bytes
		for len(b) < 12 {
			b = append(b, 0)
		}
	}
	for len(b)%unit != 0 || len(b) < 8 {
		b = append(b, 0)
	}
	if e.Kind != FragmentHeader {
		b[1] = uint8(len(b)/unit - less)
	}
	b[1] = pick(e.Length, b[1])
	return b
}

func (f Frame) protocol() uint8 {
	var p uint8
	if f.Body != nil {
		p = f.Body.protocol()
	}
	return pick(f.Bent.Protocol, p)
}

func (f Frame) ipv4(body []byte) []byte {
	options := padded(f.Options, 4)
	b := make([]byte, IPv4Len, IPv4Len+len(options)+len(body))
	b = append(b, options...)
	words := uint8(len(b) / 4)
	b[0] = pick(f.Bent.Version, 4)<<4 | pick(f.Bent.HeaderWords, words)&15
	binary.BigEndian.PutUint16(b[2:], pick(f.Bent.Length, uint16(len(b)+len(body))))
	if f.Fragment != nil {
		binary.BigEndian.PutUint16(b[4:], uint16(f.Fragment.ID))
		word := f.Fragment.Offset
		if f.Fragment.More {
			word |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], word)
	}
	b[8], b[9] = ttl, f.protocol()
	copy(b[12:], f.Source.AsSlice())
	copy(b[16:], f.Dest.AsSlice())
	binary.BigEndian.PutUint16(b[10:], pick(f.Bent.Checksum, ^fold(sum16(0, b))))
	return append(b, body...)
}

func (f Frame) ipv6(body []byte) []byte {
	chain := f.Extensions
	if f.Fragment != nil {
		chain = append(chain[:len(chain):len(chain)], f.Fragment.header())
	}
	next := f.protocol()
	var headers []byte
	for i := len(chain) - 1; i >= 0; i-- {
		headers = append(chain[i].bytes(next), headers...)
		next = chain[i].Kind
	}
	b := make([]byte, IPv6Len, IPv6Len+len(headers)+len(body))
	b[0] = pick(f.Bent.Version, 6) << 4
	binary.BigEndian.PutUint16(b[4:], pick(f.Bent.Length, uint16(len(headers)+len(body))))
	b[6], b[7] = next, ttl
	copy(b[8:], f.Source.AsSlice())
	copy(b[24:], f.Dest.AsSlice())
	return append(append(b, headers...), body...)
}

// padded returns b with zeros up to a multiple of unit bytes.
func padded(b []byte, unit int) []byte {
	b = b[:len(b):len(b)]
	for len(b)%unit != 0 {
		b = append(b, 0)
	}
	return b
}
