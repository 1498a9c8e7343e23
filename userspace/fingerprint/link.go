// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"encoding/binary"

	"github.com/gopacket/gopacket/layers"
)

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
)

const ethernetLen = 14

// Numbers of link types for raw IP that some systems write instead of 101 (tcpdump.org/linktypes.html).
const (
	linkRawBSD     layers.LinkType = 12
	linkRawOpenBSD layers.LinkType = 14
)

// toEthernet returns a packet as an Ethernet frame, which is what the dataplane reads; addresses that a link type lacks
// are zero. It is nil for a packet that ends inside its link header; known is false for a link type that is not read.
func toEthernet(link layers.LinkType, data []byte) (frame []byte, known bool) {
	switch link {
	case layers.LinkTypeEthernet:
		if len(data) < ethernetLen {
			return nil, true
		}
		return data, true
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6, linkRawBSD, linkRawOpenBSD:
		return framed(data, 0), true
	// four bytes of address family, which every system numbers in its own way
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return framed(data, 4), true
	case layers.LinkTypeLinuxSLL: // the protocol stands at its end
		if len(data) < 16 {
			return nil, true
		}
		return withType(binary.BigEndian.Uint16(data[14:]), data[16:]), true
	case layers.LinkTypeLinuxSLL2: // the protocol stands at its beginning
		if len(data) < 20 {
			return nil, true
		}
		return withType(binary.BigEndian.Uint16(data), data[20:]), true
	}
	return nil, false
}

// framed makes a frame of the IP packet that begins at an offset.
func framed(data []byte, at int) []byte {
	if len(data) <= at {
		return nil
	}
	kind := uint16(etherIPv4)
	if data[at]>>4 == 6 {
		kind = etherIPv6
	}
	return withType(kind, data[at:])
}

func withType(kind uint16, body []byte) []byte {
	b := make([]byte, ethernetLen, ethernetLen+len(body))
	binary.BigEndian.PutUint16(b[12:], kind)
	return append(b, body...)
}
