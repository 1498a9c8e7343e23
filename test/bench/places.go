// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/config"
)

// placesRow says how many denied ClientHellos in two segments were lost because others had their places.
type placesRow struct {
	between int  // hellos that begin between the two segments
	endless bool // they never end; else each ends as the denied one does, after as many others
	lost    float64
}

// placesTable are the rows, and how many places of a kind there are.
type placesTable struct {
	rows []placesRow
	of   int
}

const (
	// placeTrials are the denied hellos of a row; one begins with every placeGap-th of the others.
	placeTrials = 100
	placeGap    = 50
)

// betweenHellos are how many hellos of others begin between the segments of one, by row.
var betweenHellos = []int{250, 500, 700, 1000, 2000, 5000}

// placesRig is a dataplane of default capacity where what SYN and payload say is believed, so that no sockets are
// needed: the half for what is not proven is as large as that for the rest.
type placesRig struct {
	*plane
	places int
	next   int // the next client
}

func measurePlaces(all []int) (t placesTable, err error) {
	p, err := newPlane("hellos", planeOptions{bundle: denying(func(*config.Bundle) {})})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	r := &placesRig{plane: p, places: config.DefaultHost().Capacity.Hellos / 2}
	for _, endless := range []bool{true, false} {
		for _, n := range all {
			if err := clearHellos(p); err != nil {
				return t, err
			}
			lost, err := r.lose(n, endless)
			if err != nil {
				return t, err
			}
			t.rows = append(t.rows, placesRow{n, endless, lost})
		}
	}
	t.of = r.places
	return t, nil
}

// lose returns the share of denied hellos that passed.
func (r *placesRig) lose(between int, endless bool) (float64, error) {
	var others []netip.AddrPort
	var bots []netip.AddrPort
	lost := 0
	for n := range between + placeTrials*placeGap {
		if n%placeGap == 0 && len(bots) < placeTrials {
			bots = append(bots, r.client())
			if _, err := r.begin(bots[len(bots)-1], deniedLarge); err != nil {
				return 0, err
			}
		}
		others = append(others, r.client())
		if _, err := r.begin(others[n], large); err != nil {
			return 0, err
		}
		if at := n - between; !endless && at >= 0 {
			if _, err := r.end(others[at], large); err != nil {
				return 0, err
			}
		}
		if at := n - between; at >= 0 && at%placeGap == 0 {
			action, err := r.end(bots[at/placeGap], deniedLarge)
			if err != nil {
				return 0, err
			}
			if action != actionDrop {
				lost++
			}
		}
	}
	return float64(lost) / placeTrials, nil
}

func (r *placesRig) client() netip.AddrPort {
	r.next++
	return netip.AddrPortFrom(address(0xc6120000+uint32(r.next>>14)), uint16(1024+r.next&0x3fff))
}

// begin sends a SYN and the first segment of a hello, end the second.
func (r *placesRig) begin(src netip.AddrPort, stream []byte) (uint32, error) {
	if _, err := r.send(earlier(src)); err != nil {
		return 0, err
	}
	return r.send(payloadFrame(src, elsewhere, stream, 0, 1400))
}

func (r *placesRig) end(src netip.AddrPort, stream []byte) (uint32, error) {
	return r.send(payloadFrame(src, elsewhere, stream, 1400, len(stream)))
}

func (r *placesRig) send(frame []byte) (uint32, error) {
	action, err := r.root.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		return 0, fmt.Errorf("send part of a hello: %w", err)
	}
	return action, nil
}

func (r *results) writePlaces(b *strings.Builder) {
	if len(r.places.rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Places for ClientHellos that are not whole\n\n%s places of 24 KiB by default (`capacity.hellos: %d`, half of them for what no socket vouches for; %d MB in all,\n"+
		"`spillway doctor` shows it). A denied client sends its hello in two segments, and so many hellos of others begin in between. *Endless*: they\n"+
		"never end, as an attacker's. *Chrome*: each of them ends after as many others, as at 1,000 visitors a second whose second segment\n"+
		"comes a second later, or at 20,000 where it comes after 50 ms. Of %d denied ones each; a lost place harms no visitor.\n",
		number(r.places.of), 2*r.places.of, 2*r.places.of*24/1024, placeTrials)
	var rows [][]string
	for _, row := range r.places.rows {
		kind := map[bool]string{true: "endless", false: "Chrome"}[row.endless]
		rows = append(rows, []string{kind, number(row.between), fmt.Sprintf("%.0f %%", 100*row.lost)})
	}
	grid(b, []string{"others", "between the two segments", "denied hellos lost"}, rows)
}
