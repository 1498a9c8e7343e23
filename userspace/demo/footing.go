// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// footing is what protects at one moment: all that no refusal, death or restart may change.
type footing struct {
	Number  uint32        // of the stable generation; 0: none
	Digest  config.Digest // of its bundle
	Control api.Control   // slots and epoch of the control word
	Mode    string
	Link    uint32 // id of the link that holds the interface
	Program uint32
}

// footing asks the command for it, and the agent or the pinned maps for their part.
func (e *edge) footing(ctx context.Context) (footing, *api.Status, error) {
	s, err := e.status(ctx)
	if err != nil {
		return footing{}, nil, err
	}
	return footingOf(s), s, nil
}

func footingOf(s *api.Status) footing {
	f := footing{Mode: s.Mode}
	if s.Control != nil {
		f.Control = *s.Control
	}
	for _, g := range s.Generations {
		if g.Role == "stable" {
			f.Number, f.Digest = g.Number, g.Digest
		}
	}
	for _, i := range s.Interfaces {
		f.Link, f.Program = i.LinkID, i.ProgramID
	}
	return f
}

// difference names what differs, "" when nothing does.
func (f footing) difference(g footing) string {
	switch {
	case f.Number != g.Number:
		return fmt.Sprintf("generation %d became %d", f.Number, g.Number)
	case f.Digest != g.Digest:
		return fmt.Sprintf("bundle %s became %s", f.Digest.Short(), g.Digest.Short())
	case f.Control != g.Control:
		return fmt.Sprintf("control word %+v became %+v", f.Control, g.Control)
	case f.Mode != g.Mode:
		return fmt.Sprintf("mode %s became %s", f.Mode, g.Mode)
	case f.Link != g.Link:
		return fmt.Sprintf("link %d became %d", f.Link, g.Link)
	}
	return ""
}
