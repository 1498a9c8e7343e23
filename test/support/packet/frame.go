// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"net/netip"
)

// EtherTypes (IEEE 802 numbers, IANA).
const (
	EtherIPv4  uint16 = 0x0800
	EtherARP   uint16 = 0x0806
	EtherVLAN  uint16 = 0x8100 // 802.1Q
	EtherIPv6  uint16 = 0x86dd
	EtherMPLS  uint16 = 0x8847
	EtherPPPoE uint16 = 0x8864
	EtherQinQ  uint16 = 0x88a8 // 802.1ad
	EtherLLDP  uint16 = 0x88cc
)

// EthernetLen is the length of the header before the first tag, in bytes.
const EthernetLen = 14

// Tag is a VLAN tag.
type Tag struct {
	Type uint16 // 0: 802.1Q
	ID   uint16
}

// Tags returns n tags of one type with different ids.
func Tags(n int, etherType uint16) []Tag {
	var tags []Tag
	for i := range n {
		tags = append(tags, Tag{Type: etherType, ID: uint16(100 + i)})
	}
	return tags
}

// Frame describes one Ethernet frame. Without a Source it has no IP header, only Body.
type Frame struct {
	Tags []Tag
	// EtherType replaces the one after the last tag; nil: by the family of Source.
	EtherType *uint16

	// Source and Dest, of one family, say whether this is IPv4 or IPv6.
	Source, Dest netip.Addr
	// Options of IPv4, padded with zeros to 4 bytes. IPv6 has none.
	Options []byte
	// Extensions of IPv6, in order. IPv4 has none.
	Extensions []Extension
	// Fragment makes it one: flags and offset of IPv4, a last extension header of IPv6. nil: whole.
	Fragment *Fragment
	// Bent holds header fields of IP that shall be wrong.
	Bent Bent

	// Body is what follows the IP header: TCP, UDP or Raw.
	Body Body
	// Padding is the number of bytes after the end of the IP packet, as in frames below Ethernet's least length. They
	// are not zero, so that whoever reads them as payload is found out.
	Padding int
}

// Bent overrides header fields of IP. nil: the right value.
type Bent struct {
	Version     *uint8
	HeaderWords *uint8  // IPv4's IHL
	Length      *uint16 // IPv4's total length, IPv6's payload length
	Protocol    *uint8  // what the last header says that follows
	Checksum    *uint16 // IPv4
}

// Fragment is what makes a packet a fragment.
type Fragment struct {
	Offset uint16 // in units of 8 bytes
	More   bool
	ID     uint32
}

// Body is the content of an IP packet.
type Body interface {
	protocol() uint8
	bytes(src, dst netip.Addr) []byte
}

// Raw is a body of any protocol, such as the rest of a fragmented one.
type Raw struct {
	Protocol uint8
	Data     []byte
}

func (r Raw) protocol() uint8              { return r.Protocol }
func (r Raw) bytes(_, _ netip.Addr) []byte { return r.Data }

// pick returns the override, or what is right when there is none.
func pick[T any](override *T, right T) T {
	if override != nil {
		return *override
	}
	return right
}

// Bytes returns the frame from the destination's hardware address on.
func (f Frame) Bytes() []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2} // locally administered
	for _, tag := range f.Tags {
		kind := tag.Type
		if kind == 0 {
			kind = EtherVLAN
		}
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, tag.ID)
	}
	b = binary.BigEndian.AppendUint16(b, pick(f.EtherType, f.family()))
	b = append(b, f.packet()...)
	for range f.Padding {
		b = append(b, 0xee)
	}
	return b
}

func (f Frame) family() uint16 {
	if f.Source.Is4() {
		return EtherIPv4
	}
	return EtherIPv6
}

func (f Frame) packet() []byte {
	var body []byte
	if f.Body != nil {
		body = f.Body.bytes(f.Source, f.Dest)
	}
	switch {
	case !f.Source.IsValid():
		return body
	case f.Source.Is4():
		return f.ipv4(body)
	}
	return f.ipv6(body)
}

// L3 returns where the IP header of the frame begins, in bytes.
func (f Frame) L3() int { return EthernetLen + 4*len(f.Tags) }
