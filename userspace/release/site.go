// SPDX-License-Identifier: Apache-2.0

package release

import (
	"log/slog"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// site is what all parts stand on: who remembers, and the host file in force.
type site struct {
	log    *slog.Logger
	ledger *ledger.Ledger
	file   func() *hostfile.File
	tally  *tally
}

// outcome writes down how an apply went.
func (s *site) outcome(e *state.Entry, c *api.Change, err error) {
	if err != nil {
		e.Outcome = ledger.OutcomeOf(err)
		e.Detail = append(e.Detail, ledger.DetailsOf(err)...)
	} else {
		e.Outcome = c.Outcome
	}
	s.tally.applied(e.Outcome)
	s.ledger.Audit(*e)
}

// host is the host file in force.
func (s *site) host() *config.Host { return s.file().Host }
