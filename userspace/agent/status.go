// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/view"
)

// Status says how the site is served.
func (a *agent) Status(context.Context) (*api.Status, error) {
	a.lookAtHost()
	return a.status(view.WithPackets | view.WithMaps), nil
}

// lookAtHost looks after the host file on disk.
func (a *agent) lookAtHost() {
	d, done, err := a.use()
	if err != nil {
		a.host.Look(nil)
		return
	}
	defer done()
	a.host.Look(d)
}

func (a *agent) status(want view.Parts) *api.Status {
	var s *api.Status
	d, done, err := a.use()
	if err == nil {
		s, _ = view.Status(a.plane.Reading(d))
		view.Fill(d, s, want, ledger.Fix)
		done()
	} else {
		s = view.BlindStatus(a.plane.Blind())
	}
	s.Source = api.SourceAgent
	s.MaxMode = string(a.host.Host().MaxMode)
	a.ledger.NameGenerations(s.Generations)
	a.front.Tell(s)
	a.bypass.Tell(s)
	s.Problems = append(a.ledger.Problems(), s.Problems...)
	if damaged := a.store.Damaged(); len(damaged) > 0 {
		s.Problems = append(s.Problems,
			api.Problem{Code: "damaged_state",
				Message: "files are damaged (one that was moved aside has .corrupt in its name): " + strings.Join(damaged, ", "),
				Fix:     "check the disk; remove them when you have looked at them"})
	}
	s.Drift = a.plane.Rows.Drift()
	if s.Drift != nil && len(s.Drift.Entries) > 0 {
		s.Problems = append(s.Problems,
			api.Problem{Code: "drift",
				Message: fmt.Sprintf("the kernel differs from the bundle in %d places", len(s.Drift.Entries)),
				Fix:     "spillway verify; apply the bundle again", Since: s.Drift.Checked})
	}
	s.Agent = &api.Agent{Version: a.opts.Version, PID: os.Getpid(), Started: a.started.UTC(), HostFile: a.opts.HostPath,
		State: api.StateRunning}
	if err != nil || !allAttached(s.Interfaces) {
		s.Agent.State = api.StateUnprotected
	}
	return s
}

func allAttached(all []api.Interface) bool {
	for _, i := range all {
		if i.State != loader.StateAttached {
			return false
		}
	}
	return len(all) > 0
}

// healthy is the real check behind systemd's watchdog. It does not ask whether the site is protected: a restart would
// not help there.
func (a *agent) healthy() error {
	if a.serve.Listens() { // a socket that cannot be made is a problem that status tells, and no restart mends
		conn, err := net.DialTimeout("unix", a.host.Host().Listen.Socket, time.Second)
		if err != nil {
			return fmt.Errorf("the socket does not answer: %w", err)
		}
		_ = conn.Close()
	}
	d, done, err := a.use()
	if err != nil {
		return nil
	}
	defer done()
	if age := d.Heartbeat(); age < 0 || age > staleBeat {
		return fmt.Errorf("the heartbeat is %s old", age)
	}
	if c := d.Control(); c.Stable >= bpf.Slots || c.Host >= bpf.Slots {
		return fmt.Errorf("the control word names slot %d", c.Stable)
	}
	return nil
}

// oneLine is the line of `systemctl status`.
func (a *agent) oneLine() string {
	s := a.status(0)
	line := strings.TrimSuffix(s.Says, ".")
	for _, g := range s.Generations {
		if (s.State == api.StateProtected || s.State == api.StatePartly || s.State == api.StateObserving) &&
			(g.Role == loader.RoleStable && !s.CandidateDecides() || g.Role == loader.RoleCandidate && s.CandidateDecides()) {
			line += fmt.Sprintf("; generation %d (%s)", g.Number, g.Digest.Short())
		}
	}
	return line
}
