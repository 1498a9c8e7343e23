// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"encoding/binary"

	"github.com/spillway/spillway/bpf"
)

// synFacts is what a SYN says of the system that sent it.
type synFacts struct {
	ok          bool // the options can be read
	fingerprint bpf.TCPFingerprint
	facts       bpf.TCPFacts
}

// Kinds of TCP options (IANA).
const (
	optionEOL           = 0
	optionNOP           = 1
	optionMSS           = 2
	optionScale         = 3
	optionSACKPermitted = 4
	optionSACK          = 5
	optionTimes         = 8
)

// scaleMax is the largest window scale, RFC 7323 section 2.3.
const scaleMax = 14

// readSYN reads what the dataplane would read; it stands in where no kernel can be asked. The quirks are those of p0f
// v3 (docs/README section 5).
func readSYN(s *segment) synFacts {
	f := synFacts{}
	f.fingerprint.Window = binary.BigEndian.Uint16(s.tcp[14:])
	f.ok = f.readOptions(s.tcp[20:])
	f.facts.OptionsLen = uint8(len(s.tcp) - 20)
	if s.plain && s.flags&(flagFIN|flagRST) == 0 { // else p0f would say nothing of it
		f.facts.Version, f.facts.Ttl = s.ip[0]>>4, s.hopLimit
		f.facts.Quirks |= f.readIP(s.ip)
	}
	f.facts.Quirks |= readFlags(s) | quirkIf(len(s.payload) > 0, bpf.QuirkPayload)
	return f
}

// quirkIf returns a quirk where its condition holds.
func quirkIf[Q ~uint32](is bool, quirk Q) uint32 {
	if is {
		return uint32(quirk)
	}
	return 0
}

func (f *synFacts) readIP(ip []byte) uint32 {
	if f.facts.Version == 6 {
		word := binary.BigEndian.Uint32(ip)
		return quirkIf(word>>20&3 != 0, bpf.QuirkECN) | quirkIf(word&0xfffff != 0, bpf.QuirkFlow)
	}
	f.facts.Olen = ip[0]&15*4 - 20
	id, fragment := binary.BigEndian.Uint16(ip[4:]), binary.BigEndian.Uint16(ip[6:])
	df := fragment&0x4000 != 0
	return quirkIf(df, bpf.QuirkDF) | quirkIf(df && id != 0, bpf.QuirkID) |
		quirkIf(!df && id == 0, bpf.QuirkZeroID) | quirkIf(ip[1]&3 != 0, bpf.QuirkECN) |
		quirkIf(fragment&0x8000 != 0, bpf.QuirkReserved)
}

func readFlags(s *segment) uint32 {
	const (
		ns   = 1 // of the byte before the flags
		psh  = 8
		urg  = 32
		eces = 64 | 128 // ECE, CWR
	)
	urgent := binary.BigEndian.Uint16(s.tcp[18:])
	return quirkIf(s.flags&eces != 0 || s.tcp[12]&ns != 0, bpf.QuirkECN) |
		quirkIf(s.seq == 0, bpf.QuirkZeroSeq) |
		quirkIf(s.tcp[8]&1 != 0, bpf.QuirkACK) | // one bit of the number: p0f has & where && was meant
		quirkIf(urgent != 0 && s.flags&urg == 0, bpf.QuirkURGPointer) |
		quirkIf(s.flags&urg != 0, bpf.QuirkURG) | quirkIf(s.flags&psh != 0, bpf.QuirkPush)
}

// readOptions reads the options up to EOL; ok is false when they contradict themselves or are too many.
func (f *synFacts) readOptions(b []byte) (ok bool) {
	fp := &f.fingerprint
	for len(b) > 0 {
		if int(fp.KindCount) == len(fp.Kinds) {
			return f.badOptions()
		}
		kind := b[0]
		fp.Kinds[fp.KindCount] = kind
		fp.KindCount++
		if kind == optionEOL {
			f.facts.EolPad = uint8(len(b) - 1)
			for _, pad := range b[1:max(len(b)-1, 1)] { // p0f overlooks the last byte
				f.facts.Quirks |= quirkIf(pad != 0, bpf.QuirkAfterEOL)
			}
			return true
		}
		if kind == optionNOP {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return f.badOptions()
		}
		f.readOption(kind, b[2:b[1]])
		b = b[b[1]:]
	}
	return true
}

func (f *synFacts) badOptions() (ok bool) {
	f.facts.Quirks |= uint32(bpf.QuirkBadOptions)
	return false
}

// readOption takes the value of an option. Of two of a kind the last counts, as far as p0f does not name both as odd.
func (f *synFacts) readOption(kind byte, data []byte) {
	fp := &f.fingerprint
	switch {
	case kind == optionMSS && len(data) == 2:
		fp.Mss = binary.BigEndian.Uint16(data)
		fp.Present |= uint8(bpf.TCPHasMSS)
	case kind == optionScale && len(data) == 1:
		fp.Scale = data[0]
		fp.Present |= uint8(bpf.TCPHasScale)
		f.facts.Quirks |= quirkIf(data[0] > scaleMax, bpf.QuirkScale)
	case kind == optionTimes && len(data) == 8:
		own, peer := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		f.facts.Quirks &^= uint32(bpf.QuirkTimestamp)
		f.facts.Quirks |= quirkIf(own == 0, bpf.QuirkZeroTS) | quirkIf(own != 0, bpf.QuirkTimestamp) |
			quirkIf(peer != 0, bpf.QuirkPeerTS)
	case kind == optionMSS, kind == optionScale, kind == optionTimes, kind == optionSACKPermitted && len(data) > 0,
		kind == optionSACK && (len(data) < 8 || len(data) > 32):
		f.facts.Quirks |= uint32(bpf.QuirkBadOptions)
	}
}
