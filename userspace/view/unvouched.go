// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// First counts the first payloads of a service.
type First struct {
	Vouched   uint64 // connections that pass or reach a limit, confirmed
	Unvouched uint64 // first payloads that pass, and that nobody vouched for
}

// unvouchedLeast is how many it takes to say something: a stranger can forge a few any time.
const unvouchedLeast = 50

// countFirst sums counters up by service. A connection that is blocked may have been so at its SYN, for which nobody
// has to vouch: those that pass tell enough, tagged or not. A limit is charged only where somebody vouches.
func countFirst(counters []loader.Counter) map[uint8]First {
	sums := map[uint8]First{}
	for _, c := range counters {
		switch {
		case c.Service == 0:
			continue
		case c.Outcome != bpf.OutcomePass && c.Outcome != bpf.OutcomeTag && c.Outcome != bpf.OutcomeLimit &&
			c.Outcome != bpf.OutcomeWouldLimit:
			continue
		}
		f := sums[c.Service]
		f.Vouched += c.Connections
		if c.Reason == bpf.ReasonUnconfirmed && c.Outcome == bpf.OutcomePass {
			f.Unvouched += c.Packets
		}
		sums[c.Service] = f
	}
	return sums
}

func (f First) since(before First) First {
	return First{f.Vouched - min(before.Vouched, f.Vouched), f.Unvouched - min(before.Unvouched, f.Unvouched)}
}

// unvouched reports whether most of them had nobody to vouch.
func (f First) unvouched() bool { return f.Unvouched >= unvouchedLeast && f.Unvouched > f.Vouched }

// Unvouched tells of each tls service of which most first payloads had nobody to vouch what that comes to: such a
// connection is judged packet by packet, and a ClientHello in several segments is not read. untracked is why connection
// tracking is not asked.
func Unvouched(services []compile.ServiceInfo, first map[uint8]First, when string,
	untracked error) (all []api.Problem) {
	for _, s := range services {
		f := first[s.ID]
		if s.Kind != string(config.KindTLS) || !f.unvouched() {
			continue
		}
		all = append(all, api.Problem{Code: "unconfirmed", Fix: fixOfUnvouched(s, untracked),
			Message: fmt.Sprintf("service %s: %d of %d first payloads %s had nobody to vouch for their connection, "+
				"so ClientHellos in several segments are not read there, and no block is remembered", s.Name, f.Unvouched,
				f.Unvouched+f.Vouched, when)})
	}
	return all
}

// fixOfUnvouched names who else could vouch for connections of the service.
func fixOfUnvouched(s compile.ServiceInfo, untracked error) string {
	const (
		elsewhere = "if its connections end elsewhere (DNAT, a container, another host; `spillway doctor` finds the rule), "
		egress    = "set confirm: egress for " // the answers that leave this host vouch
		flood     = "; if they end here, forged packets are at work: spillway events"
	)
	switch {
	case s.Confirm == config.ConfirmEgress:
		return "confirm: egress is set for " + s.Name +
			" and sees too few of its answers: see that they leave by an interface of the host " +
			"file" + flood
	case s.Confirm == config.ConfirmSocket:
		return elsewhere + "set confirm: auto for " + s.Name +
			", and where connection tracking does not know them, confirm: egress" + flood
	case untracked != nil:
		return elsewhere + egress + s.Name + ", or have connection tracking asked: " +
			loader.FixOfConntrack(untracked) + flood
	}
	return elsewhere + egress + s.Name + ": connection tracking (confirm: auto) does not know them" + flood
}

// unvouched tells of services whose connections nobody vouches for.
func (j *judge) unvouched() {
	j.v.Problems = append(j.v.Problems, Unvouched(j.services(), j.Counted.First, j.CountedWhen, j.Untracked)...)
}

// Untracked says why connection tracking is not asked, of what the kernel answered; nil when it is asked, or nobody
// knows.
func Untracked(err error) error {
	if errors.Is(err, loader.ErrNoConntrack) {
		return err
	}
	return nil
}
