// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"

	"github.com/spillway/spillway/userspace/lab"
)

// section is one table of program runs.
type section struct {
	title string
	rows  []row
}

// runPrograms measures everything that needs no interface, inside the edge namespace: the sockets of first payloads
// are its own.
func (to *results) runPrograms(l *lab.Lab, filter *xdpFilter, match *regexp.Regexp) error {
	return l.Edge.Do(func() (err error) {
		r, err := newRig(to.sizes)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.close()) }()
		if err := r.shakeHands(); err != nil {
			return err
		}
		groups, err := r.groups(filter)
		if err != nil {
			return err
		}
		var all []*scenario
		for i := range groups {
			groups[i].rows = slices.DeleteFunc(groups[i].rows, func(s *scenario) bool { return !wanted(s, match) })
			all = append(all, groups[i].rows...)
		}
		measured, err := r.measure(all, to.sizes.rounds, to.sizes.brief)
		if err != nil || to.sizes.serve {
			return err
		}
		to.runs = []series{measured}
		for _, g := range groups {
			rows, err := rowsOf(g.rows, measured)
			if err != nil {
				return err
			}
			to.sections = append(to.sections, section{g.title, rows})
		}
		return nil
	})
}

// strangersTitle heads the packets that no socket vouches for.
const strangersTitle = "What a stranger can send"

// group is what becomes a section.
type group struct {
	title string
	rows  []*scenario
}

func (r *rig) groups(filter *xdpFilter) ([]group, error) {
	hellos, err := r.helloRows()
	if err != nil {
		return nil, err
	}
	strangers, err := r.strangerRows()
	if err != nil {
		return nil, err
	}
	answers, err := r.answerRows()
	if err != nil {
		return nil, err
	}
	full, err := r.fullFilterRows()
	if err != nil {
		return nil, err
	}
	return []group{
		{"One hot packet", append(r.hotRows(), filterRows(filter)...)},
		{"Random packets", append(r.randomRows(), full...)},
		{"ClientHellos", hellos},
		{strangersTitle, strangers},
		{"What leaves the host", answers},
		{"What a connection can send", r.provenRows()},
		{trialTitle, r.trialRows()},
		{limitTitle, r.limitRows()},
		{"One lookup of a random source", r.lookupRows()},
	}, nil
}

// wanted keeps what others are compared with, and what match finds; nil finds all.
func wanted(s *scenario, match *regexp.Regexp) bool {
	if match == nil || s.key == hotFloor || s.key == hotLookup || s.key == helloFloor || s.key == answerFloor ||
		s.key == provenFloor || s.key == randomFloor || s.key == randomLookup {
		return true
	}
	return match.MatchString(s.key) &&
		(s.versus == "" || match.MatchString(s.versus) || s.versus == hotLookup || s.versus == randomLookup)
}

// filterRows run xdp-filter's program in the same way.
func filterRows(filter *xdpFilter) []*scenario {
	if filter == nil {
		return nil
	}
	drop, pass := filter.version+", drop by source", filter.version+", pass"
	return []*scenario{
		{key: "hot " + drop, name: drop, program: filter.program, floor: hotFloor, action: actionDrop,
			frame: synFrame(netip.AddrPortFrom(listedSources()[0], visitor.Port()), service)},
		{key: "hot " + pass, name: pass, program: filter.program, floor: hotFloor, action: actionPass,
			frame: segment(visitor, service, nil)},
	}
}

// shakeHands shows the SYNs of the real connections to the dataplane that will see their first payloads.
func (r *rig) shakeHands() error {
	for _, plane := range []string{"sockets", "paired"} {
		_, _, err := r.run(r.fedWith("handshakes", &scenario{
			name: "handshakes", program: r.planes[plane].root, frame: synFrame(visitor, loopback),
		}), r.parts["handshakes"].Count)
		if err != nil {
			return err
		}
	}
	return nil
}
