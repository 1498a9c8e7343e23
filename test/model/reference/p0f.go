// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"fmt"
	"strings"
)

// P0f returns the signature of a SYN that p0f v3 prints as raw_sig,
// ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass. The packet begins with its IP header. ErrNotSYN when p0f would
// say nothing.
//
// What p0f 3.09b prints on a little-endian machine counts, where its documentation says something else: ack+ stands
// for one bit of the acknowledgement number, and opt+ overlooks the last byte of the options.
func P0f(ip []byte) (string, error) {
	s, err := parseSYN(ip)
	if err != nil {
		return "", err
	}
	class := "0"
	if s.payload {
		class = "+"
	}
	return fmt.Sprintf("%d:%d+%s:%d:%d:%s,%d:%s:%s:%s", s.version, s.ttl, s.distance(), s.ipOptions, s.options.mss,
		s.windowName(), s.options.scale, strings.Join(s.options.layout, ","), s.quirks, class), nil
}

// distance returns the hops since the nearest customary first TTL, and ? when they are too many to believe.
func (s syn) distance() string {
	const maxDistance = 35
	for _, first := range []int{32, 64, 128, 255} {
		if s.ttl <= first {
			if first-s.ttl > maxDistance {
				return "?"
			}
			return fmt.Sprint(first - s.ttl)
		}
	}
	panic("a TTL over 255")
}

// windowName writes the window as a multiple of the segment or packet size when it is one. The order of the trials is
// p0f's: it decides when several fit.
func (s syn) windowName() string {
	const leastMSS, timestampBytes, ethernet = 100, 12, 1500
	const headers4, headers6 = 40, 60
	mss := s.options.mss
	type trial struct {
		name string
		size int
	}
	trials := []trial{{"mss", mss}}
	if s.options.timestamp != 0 {
		trials = append(trials, trial{"mss", mss - timestampBytes})
	}
	trials = append(trials, trial{"mss", ethernet - headers4}, trial{"mss", ethernet - headers4 - timestampBytes})
	if s.version == 6 {
		trials = append(trials, trial{"mss", ethernet - headers6}, trial{"mss", ethernet - headers6 - timestampBytes})
	}
	trials = append(trials, trial{"mtu", mss + headers4}, trial{"mtu", mss + s.headers})
	if s.version == 6 {
		trials = append(trials, trial{"mtu", mss + headers6})
	}
	trials = append(trials, trial{"mtu", ethernet})
	if s.window != 0 && mss >= leastMSS {
		for _, t := range trials {
			if s.window%t.size == 0 {
				return fmt.Sprintf("%s*%d", t.name, s.window/t.size)
			}
		}
	}
	return fmt.Sprint(s.window)
}

func (all quirks) String() string {
	var names []string
	for i, name := range quirkNames {
		if all&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
