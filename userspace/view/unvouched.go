// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// First counts the first payloads of a service.
type First struct {
	Vouched   uint64 // connections that pass, confirmed
	Unvouched uint64 // first payloads that pass, and that nobody vouched for
}

// unvouchedLeast is how many it takes to say something: a stranger can forge a few any time.
const unvouchedLeast = 50

// UnvouchedFix is what to do about a service that nobody vouches for.
const UnvouchedFix = "if its connections end elsewhere (DNAT, a container, another host), `spillway doctor` says by which rule, and docs/ARCHITECTURE.md who else may vouch; else look for a flood of forged packets: spillway events"

// CountFirst sums counters up by service. A connection that is blocked may have been so at its SYN, for which nobody has to
// vouch: those that pass tell enough.
func CountFirst(counters []loader.Counter) map[uint8]First {
	sums := map[uint8]First{}
	for _, c := range counters {
		if c.Outcome != bpf.DataplaneOutcomeOUTCOME_PASS || c.Service == 0 {
			continue
		}
		f := sums[c.Service]
		f.Vouched += c.Connections
		if c.Reason == bpf.DataplaneReasonREASON_UNCONFIRMED {
			f.Unvouched += c.Packets
		}
		sums[c.Service] = f
	}
	return sums
}

// Since returns what was counted after before.
func (f First) Since(before First) First {
	return First{f.Vouched - min(before.Vouched, f.Vouched), f.Unvouched - min(before.Unvouched, f.Unvouched)}
}

// unvouched reports whether most of them had nobody to vouch.
func (f First) unvouched() bool { return f.Unvouched >= unvouchedLeast && f.Unvouched > f.Vouched }

// Unvouched says of each tls service of which most first payloads had nobody to vouch what that comes to: such a connection
// is judged packet by packet, and a ClientHello in several segments is not read.
func Unvouched(services []loader.ServiceInfo, first map[uint8]First, when string) (says []string) {
	for _, s := range services {
		f := first[s.ID]
		if s.Kind != string(config.KindTLS) || !f.unvouched() {
			continue
		}
		says = append(says, fmt.Sprintf("service %s: %d of %d first payloads %s had nobody to vouch for their connection, so ClientHellos in several segments are not read there, and no block is remembered",
			s.Name, f.Unvouched, f.Unvouched+f.Vouched, when))
	}
	return says
}

// unvouched tells of services whose connections nobody vouches for.
func (j *judge) unvouched() {
	for _, says := range Unvouched(j.services(), j.First, j.FirstWhen) {
		j.problem("unconfirmed", says, UnvouchedFix)
	}
}
