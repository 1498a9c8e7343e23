// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNoSYN is returned for a frame that holds no SYN in reach.
var ErrNoSYN = errors.New("no SYN")

// MuonFP returns the MuonFP string, window:kinds:mss:scale, of the SYN in a frame (the format of sundruid/muonfp: the
// end-of-options mark is kind 0 and ends the list; an absent MSS or scale is empty). ErrNoSYN when the frame is
// something else; another error when its options contradict themselves.
func MuonFP(frame []byte) (string, error) {
	tcp, err := segment(frame)
	if err != nil {
		return "", err
	}
	if len(tcp) < TCPLen || tcp[13]&(SYN|ACK) != SYN {
		return "", ErrNoSYN
	}
	end := int(tcp[12]>>4) * 4
	if end < TCPLen || end > len(tcp) {
		return "", fmt.Errorf("data offset of %d bytes in a segment of %d", end, len(tcp))
	}
	window := binary.BigEndian.Uint16(tcp[14:])
	kinds, mss, scale, err := readOptions(tcp[TCPLen:end])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%s:%s:%s", window, strings.Join(kinds, "-"), mss, scale), nil
}

func readOptions(b []byte) (kinds []string, mss, scale string, err error) {
	for len(b) > 0 {
		kind := b[0]
		kinds = append(kinds, strconv.Itoa(int(kind)))
		if kind == KindEOL {
			return kinds, mss, scale, nil
		}
		if kind == KindNOP {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return nil, "", "", fmt.Errorf("option kind %d: its length does not fit", kind)
		}
		data := b[2:b[1]]
		if kind == KindMSS && len(data) == 2 {
			mss = strconv.Itoa(int(binary.BigEndian.Uint16(data)))
		}
		if kind == KindScale && len(data) == 1 {
			scale = strconv.Itoa(int(data[0]))
		}
		b = b[b[1]:]
	}
	return kinds, mss, scale, nil
}

// segment returns the TCP segment in a frame, as long as the IP header says.
func segment(frame []byte) ([]byte, error) {
	if len(frame) < EthernetLen {
		return nil, ErrNoSYN
	}
	kind, rest := binary.BigEndian.Uint16(frame[12:]), frame[EthernetLen:]
	for (kind == EtherVLAN || kind == EtherQinQ) && len(rest) >= 4 {
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch {
	case kind == EtherIPv4 && len(rest) >= IPv4Len:
		return segmentOfIPv4(rest)
	case kind == EtherIPv6 && len(rest) >= IPv6Len:
		return segmentOfIPv6(rest)
	}
	return nil, ErrNoSYN
}

func segmentOfIPv4(ip []byte) ([]byte, error) {
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	later := binary.BigEndian.Uint16(ip[6:])&0x1fff != 0
	if ip[9] != ProtoTCP || later || header < IPv4Len || total < header || total > len(ip) {
		return nil, ErrNoSYN
	}
	return ip[header:total], nil
}

func segmentOfIPv6(ip []byte) ([]byte, error) {
	next, rest := ip[6], ip[IPv6Len:]
	if n := int(binary.BigEndian.Uint16(ip[4:])); n < len(rest) {
		rest = rest[:n]
	}
	for next != ProtoTCP {
		if len(rest) < 8 {
			return nil, ErrNoSYN
		}
		size := 0
		switch next {
		case HopByHop, Routing, DestOptions, Mobility, HIP, Shim6:
			size = (int(rest[1]) + 1) * 8
		case AH:
			size = (int(rest[1]) + 2) * 4
		case FragmentHeader:
			size = 8
			if binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0 {
				return nil, ErrNoSYN
			}
		}
		if size == 0 || size > len(rest) {
			return nil, ErrNoSYN
		}
		next, rest = rest[0], rest[size:]
	}
	return rest, nil
}
