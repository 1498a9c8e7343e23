// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// Counted is what the kernel's counters say of whether it could do its work.
type Counted struct {
	First  map[uint8]First // first payloads of each service, by its id
	Frames Frames
}

// Frames counts all frames, and those of which the headers could not be read, and that passed for it.
type Frames struct{ All, Malformed uint64 }

// Count sums counters up.
func Count(counters []loader.Counter) Counted {
	sums := Counted{First: countFirst(counters)}
	for _, c := range counters {
		sums.Frames.All += c.Packets
		if c.Reason == bpf.ReasonMalformed && c.Outcome == bpf.OutcomePass {
			sums.Frames.Malformed += c.Packets
		}
	}
	return sums
}

// Since returns what was counted after before.
func (c Counted) Since(before Counted) Counted {
	grown := Counted{First: map[uint8]First{}}
	for id, n := range c.First {
		grown.First[id] = n.since(before.First[id])
	}
	grown.Frames.All = c.Frames.All - min(before.Frames.All, c.Frames.All)
	grown.Frames.Malformed = c.Frames.Malformed - min(before.Frames.Malformed, c.Frames.Malformed)
	return grown
}

// A trickle of malformed frames is on every wire. Beyond it are at least so many, and more than one in a thousand.
const (
	malformedLeast = 100
	malformedShare = 1000
)

// Malformed says that more than a trickle of the frames could not be read; "" when it is none. A stranger's garbage
// comes one frame beside another; where the driver hands over frames that are not read here, nearly all are such.
func Malformed(f Frames, when string) string {
	if f.Malformed < malformedLeast || f.Malformed*malformedShare <= f.All {
		return ""
	}
	return fmt.Sprintf("%d of %d packets %s had headers that cannot be read, and passed for it (malformed)",
		f.Malformed, f.All, when)
}

// MalformedFix says what to do about malformed frames.
const MalformedFix = "look at them with tcpdump: a stranger's garbage is dropped by the stack behind; where visitors' packets are among " +
	"them, set attach: generic, and report the name of the driver (ethtool -i INTERFACE)"

// malformed tells of frames that could not be read.
func (j *judge) malformed() {
	if says := Malformed(j.Counted.Frames, j.CountedWhen); says != "" {
		j.problem("malformed", says, MalformedFix)
	}
}
