// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// A dataplane of another build may decide. Its root is every build's: the bypass of everything, the heartbeat, and the
// links can be read, and the bypass switched. Of all the rest this build knows nothing, and says so.

// foreign opens the root of such a dataplane; cause says which it is.
func foreign(p Places, cause error) (*Session, error) {
	s := &Session{places: p, network: view.Netlink{}}
	if !errors.As(cause, &s.foreign) {
		return nil, cause
	}
	r, err := loader.OpenRoot(p.Pins)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	s.root = r
	return s, nil
}

// readable refuses what would need the maps of another build.
func (s *Session) readable(what string) error {
	if s.foreign == nil {
		return nil
	}
	return &api.Error{Code: api.CodeRefused, Message: fmt.Sprintf("%s: %v", what, s.foreign), Fix: s.foreignFix()}
}

func (s *Session) foreignFix() string {
	switch {
	case s.foreign.Relinks():
		return "start the agent: it takes over, and updates the link of each interface for that, this once: some cards (bnxt, igc) close and open, " +
			"virtio_net stops for a moment; `spillway bypass on` lets everything pass"
	case s.foreign.TakenOver():
		return "start the agent: it takes over; `spillway bypass on` lets everything pass"
	case s.foreign.Newer():
		return "use the later version that pinned it; `spillway bypass on` of this one lets everything pass"
	}
	return "`spillway bypass on` lets everything pass; `spillway detach`, then a start of the agent, begins anew"
}

// foreignStatus is what the root tells.
func (s *Session) foreignStatus() *api.Status {
	st := view.BlindStatus(s.Reading())
	st.Source = api.SourcePins
	if h := s.places.Host; h != nil {
		st.MaxMode = string(h.MaxMode)
	}
	p := api.Problem{Code: "layout", Message: s.foreign.Error() +
		": what it blocks, its mode, its bundles and its bans are not known here", Fix: s.foreignFix()}
	st.Problems = append([]api.Problem{p}, st.Problems...)
	return st
}

// decides says whose dataplane that is.
func (s *Session) decides() string {
	return fmt.Sprintf("a dataplane of layout %d decides, and this build cannot read it", s.foreign.Layout)
}
