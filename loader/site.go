// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"log/slog"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/loader/root"
)

// A dataplane is seen through handles, one a noun, and whoever needs one of them takes that one. A handle uses those to
// its right, and none to its left:
//
//	Dataplane    open, take over, verify the wiring, pin again, close
//	  Links, Programs, FlowTable, BanTable, Vouches   ──►  Words
//	  Comparisons  ──►  Slots  ──►  CounterTable, Words
//	  all of them  ──►  site: the maps and where they are pinned

// site is what every handle stands on.
type site struct {
	root     *root.Root
	pins     pins.Folder
	log      *slog.Logger
	capacity config.Capacity
	maps     map[string]*ebpf.Map
	inner    map[string]*ebpf.MapSpec
}

// newDataplane returns the handles of a dataplane that is not open yet.
func newDataplane(s *site) *Dataplane {
	words := &Words{site: s}
	counters := &CounterTable{site: s}
	slots := &Slots{site: s, words: words, counters: counters}
	return &Dataplane{
		site:         s,
		Words:        words,
		Slots:        slots,
		Comparisons:  &Comparisons{site: s, words: words, slots: slots},
		CounterTable: counters,
		BanTable:     &BanTable{site: s, words: words},
		Vouches:      &Vouches{site: s, words: words},
		FlowTable:    &FlowTable{site: s, words: words},
		Links:        &Links{site: s, words: words},
		Programs:     &Programs{site: s, words: words},
	}
}
