// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/signature"
)

const (
	tcpHeader = 20
	ip4Header = 20
	ip6Header = 40
)

// FormatP0F returns what p0f v3 prints as raw_sig of a SYN,
// version:ttl+distance:olen:mss:window,scale:layout:quirks:payload; "" when p0f would say nothing of it. It may stand
// in a bundle once the ttl is made the system's.
func FormatP0F(f bpf.TCPFingerprint, facts bpf.TCPFacts) string {
	if facts.Version == 0 {
		return ""
	}
	payload := "0"
	if facts.Quirks&uint32(bpf.QuirkPayload) != 0 {
		payload = "+"
	}
	quirks := signature.Quirks(facts.Quirks) & signature.AllQuirks
	return fmt.Sprintf("%d:%s:%d:%d:%s,%d:%s:%s:%s", facts.Version, p0fTTL(int(facts.Ttl)), facts.Olen, f.Mss,
		p0fWindow(f, facts), f.Scale, signature.FormatLayout(kindsOf(f), facts.EolPad), quirks, payload)
}

func kindsOf(f bpf.TCPFingerprint) []uint8 { return f.Kinds[:min(int(f.KindCount), len(f.Kinds))] }

// p0fTTL guesses how far a packet came: from the next TTL that systems send with.
func p0fTTL(ttl int) string {
	distance := 255 - ttl
	for _, sent := range []int{32, 64, 128} {
		if ttl <= sent {
			distance = sent - ttl
			break
		}
	}
	if distance > bpf.HopsMax {
		return fmt.Sprintf("%d+?", ttl)
	}
	return fmt.Sprintf("%d+%d", ttl, distance)
}

// p0fWindow writes a window as a multiple of the first size that fits, in p0f's order (p0f process.c).
func p0fWindow(f bpf.TCPFingerprint, facts bpf.TCPFacts) string {
	mss, window := int(f.Mss), int(f.Window)
	if window == 0 || mss < bpf.MultipleMSSMin {
		return fmt.Sprint(window)
	}
	segments, packets := []int{mss}, []int{mss + ip4Header + tcpHeader, mss + headerBytes(facts)}
	if facts.Quirks&uint32(bpf.QuirkTimestamp) != 0 {
		segments = append(segments, mss-bpf.TimestampBytes)
	}
	full := bpf.EthernetMTU - ip4Header - tcpHeader
	segments = append(segments, full, full-bpf.TimestampBytes)
	if facts.Version == 6 {
		full = bpf.EthernetMTU - ip6Header - tcpHeader
		segments, packets = append(segments, full, full-bpf.TimestampBytes), append(packets, mss+ip6Header+tcpHeader)
	}
	for _, size := range segments {
		if window%size == 0 {
			return fmt.Sprintf("mss*%d", window/size)
		}
	}
	for _, size := range append(packets, bpf.EthernetMTU) {
		if window%size == 0 {
			return fmt.Sprintf("mtu*%d", window/size)
		}
	}
	return fmt.Sprint(window)
}

// headerBytes is what the headers took.
func headerBytes(facts bpf.TCPFacts) int {
	bytes := tcpHeader + int(facts.OptionsLen)
	if facts.Version == 6 {
		return bytes + ip6Header
	}
	return bytes + ip4Header + int(facts.Olen)
}
