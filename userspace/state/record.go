// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
)

const (
	// recordSchema is the schema of record.json. Schema 1 was state.json, with quarantine and bans in one file.
	recordSchema = 2
	// maxRecordBytes bounds record.json and quarantine.json, written and read. A record takes some kilobytes.
	maxRecordBytes = 4 << 20
)

// Record is what the agent knows beside the kernel: record.json, and the quarantine beside it. Times are wall time, so
// that they mean something after a reboot.
type Record struct {
	Schema        int          `json:"schema"`
	LastNumber    uint32       `json:"last_number"` // highest generation number ever given
	LastRollout   uint64       `json:"last_rollout,omitempty"`
	Applied       *Generation  `json:"applied,omitempty"`
	Previous      *Generation  `json:"previous,omitempty"` // what a rollback goes back to
	LastKnownGood *Generation  `json:"last_known_good,omitempty"`
	Past          []Generation `json:"past,omitempty"` // that were in force before, the newest last
	// when applied becomes last-known-good; zero: it is, or there is none
	BakeUntil time.Time `json:"bake_until,omitzero"`
	Confirm   *Confirm  `json:"confirm,omitempty"`
	Held      *Held     `json:"held,omitempty"`
	// what a rollout in stages has built and not ended: it is in no other place of the record
	Trial []Generation `json:"trial,omitempty"`
	// the host file says enforce, and this host observes until a reload
	ModeHeld bool `json:"mode_held,omitempty"`
	// a person went back to observe: ModeHeld until a reload, reboots included
	HeldBack bool      `json:"held_back,omitempty"`
	WentBack *WentBack `json:"went_back,omitempty"` // when somebody last went back from bundles
	// gave way when the host began to enforce: it shall come in stages
	Observed *Generation `json:"observed,omitempty"`
	// of host files: the text that counts for everybody, the change that means nothing any more, and the one that was
	// asked for last
	HostCounts  string            `json:"host_counts,omitempty"`
	HostSettled config.Digest     `json:"host_settled,omitzero"`
	HostAsked   config.Digest     `json:"host_asked,omitzero"`
	Bypass      map[string]Bypass `json:"bypass,omitempty"`      // by service name; "" is everything
	HostDigest  string            `json:"host_digest,omitempty"` // SHA-256 of the published host file
	Compiled    []Compiled        `json:"compiled,omitempty"`
	Attached    []Attached        `json:"attached,omitempty"` // nothing else is ever detached for this state
	Quarantine  []Quarantined     `json:"-"`                  // quarantine.json
	Rest        Rest              `json:"-"`
}

// Attached is a link that this state made or took over.
type Attached struct {
	Interface string `json:"interface"` // as the host file names it
	Index     int    `json:"index"`
	Link      uint32 `json:"link"` // its id: one that is made later has another
	// Times are those of the last attaches: most cards reset their rings with each.
	Times []time.Time `json:"times,omitempty"`
	Rest  Rest        `json:"-"`
}

// Generation is a set of bundles that got a number.
type Generation struct {
	// Digest names the set: with one member it is that bundle's.
	Digest  config.Digest `json:"digest"`
	Members []Member      `json:"members,omitempty"` // by name; none: nobody here knows them
	Number  uint32        `json:"number"`
	At      time.Time     `json:"at"`
	By      string        `json:"by,omitempty"`
	Rest    Rest          `json:"-"`
}

// Member is a bundle of a set.
type Member struct {
	Name   string        `json:"name,omitempty"`
	Digest config.Digest `json:"digest"`
	Policy bool          `json:"policy,omitempty"` // it has the policy; false in records that had no sets
	Rest   Rest          `json:"-"`
}

// One returns the members of a set of one bundle.
func One(name string, digest config.Digest) []Member { return []Member{{Name: name, Digest: digest}} }

// Name returns the names of the members, for people.
func (g Generation) Name() string {
	var names []string
	for _, m := range g.Members {
		if m.Name != "" && m.Name != config.HostMember {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}

// Bundles returns the digests of the bundles that the set is compiled from.
func (g Generation) Bundles() []config.Digest {
	if len(g.Members) == 0 {
		return []config.Digest{g.Digest}
	}
	var out []config.Digest
	for _, m := range g.Members {
		if m.Name != config.HostMember {
			out = append(out, m.Digest)
		}
	}
	return out
}

// Confirm is a candidate that goes back at the deadline.
type Confirm struct {
	Generation
	Deadline time.Time `json:"deadline"`
	Rollout  string    `json:"rollout,omitempty"` // its id
}

// Held is a candidate whose lease ended although nobody meant it: the agent was stopped, starved or away. That says
// nothing against the bundle. It waits for a person, and needs no reason to come again.
type Held struct {
	Generation
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// WentBack is who went back, and when: nothing that was under way then may come into force by itself.
type WentBack struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	UID    uint32    `json:"uid,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Bypass is who let everything, or one service, pass, and until when.
type Bypass struct {
	Until  time.Time `json:"until,omitzero"` // zero: until it is ended by hand
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Rest   Rest      `json:"-"`
}

// Compiled is the moment at which a generation was compiled. Expiries became kernel time then; whoever verifies the
// generation later needs the same two clocks to get the same numbers, and the services of then.
type Compiled struct {
	Number      uint32           `json:"number"`
	Wall        time.Time        `json:"wall"`
	MonotonicNS uint64           `json:"monotonic_ns"`
	Services    map[string]uint8 `json:"services,omitempty"` // ids by name; nil in records of before: those of today
	// Terms are those of the services; none in records of before, which knew less of them: those of today.
	Terms      []Terms `json:"terms,omitempty"`
	Allowlist  int     `json:"allowlist,omitempty"`  // rows of the host file's
	Undeclared bool    `json:"undeclared,omitempty"` // it was compiled as declaring nothing
	Host       uint32  `json:"host,omitempty"`       // its number; 0: the generation is behind its change
	Salt       uint64  `json:"salt,omitempty"`       // of the canary; 0: from the author's digest
	// Digest is that of what was compiled: the author's where nothing was left out. LeftOutRows third-party rows were left
	// out, for what LeftOut names: the protected and own prefixes of then that such rows lay in.
	Digest      config.Digest  `json:"digest,omitzero"`
	LeftOutRows int            `json:"left_out_rows,omitempty"`
	LeftOut     []netip.Prefix `json:"left_out,omitempty"`
	// Sums of the tables that were built, by map; they tell later whether the kernel still holds them.
	Sums map[string]string `json:"sums,omitempty"`
	Rest Rest              `json:"-"`
}

// Known finds what the record knows of a set by its digest: its members and their names.
func (r *Record) Known(d config.Digest) (Generation, bool) {
	for _, g := range r.generations() {
		if g.Digest == d {
			return g, true
		}
	}
	return Generation{}, false
}

// generations returns every set that the record names, what counts most first.
func (r *Record) generations() []Generation {
	var out []Generation
	for _, g := range []*Generation{r.Applied, r.LastKnownGood, r.Previous} {
		if g != nil {
			out = append(out, *g)
		}
	}
	if r.Confirm != nil {
		out = append(out, r.Confirm.Generation)
	}
	if r.Held != nil {
		out = append(out, r.Held.Generation)
	}
	if r.Observed != nil {
		out = append(out, *r.Observed)
	}
	past := slices.Clone(r.Past)
	slices.Reverse(past)
	return append(append(out, past...), r.Trial...)
}

// References returns the digests whose bundles must stay on disk.
func (r *Record) References() []config.Digest {
	var out []config.Digest
	for _, g := range r.generations() {
		out = append(out, g.Digest)
		for _, m := range g.Members {
			out = append(out, m.Digest)
		}
	}
	if r.Held != nil {
		out = append(out, r.Held.Digest)
		out = append(out, r.Held.Bundles()...)
	}
	return out
}

func encodeRecord(r *Record) ([]byte, error) {
	data, err := seal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the record: %w", err)
	}
	return data, nil
}

func decodeRecord(data []byte) (*Record, error) {
	content, err := unseal(data, recordSchema, recordSchema) // schema 1 was another file
	if err != nil {
		return nil, err
	}
	r := &Record{}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return r, nil
}

// Clone returns a record that shares nothing with r.
func (r *Record) Clone() *Record {
	c := *r
	c.Applied, c.Previous, c.LastKnownGood = cloneGeneration(r.Applied), cloneGeneration(r.Previous),
		cloneGeneration(r.LastKnownGood)
	c.Confirm = clonePointer(r.Confirm)
	if c.Confirm != nil {
		c.Confirm.Members = slices.Clone(r.Confirm.Members)
	}
	c.WentBack, c.Observed = clonePointer(r.WentBack), cloneGeneration(r.Observed)
	c.Held = clonePointer(r.Held)
	if c.Held != nil {
		c.Held.Members = slices.Clone(r.Held.Members)
	}
	c.Past, c.Quarantine, c.Compiled = slices.Clone(r.Past), slices.Clone(r.Quarantine), slices.Clone(r.Compiled)
	c.Trial = slices.Clone(r.Trial)
	for _, list := range [][]Generation{c.Past, c.Trial} {
		for i := range list {
			list[i].Members = slices.Clone(list[i].Members)
		}
	}
	c.Bypass = maps.Clone(r.Bypass)
	c.Attached = slices.Clone(r.Attached)
	for i := range c.Attached {
		c.Attached[i].Times = slices.Clone(c.Attached[i].Times)
	}
	for i := range c.Compiled {
		c.Compiled[i].Services, c.Compiled[i].Terms = maps.Clone(c.Compiled[i].Services), slices.Clone(c.Compiled[i].Terms)
		for j, t := range c.Compiled[i].Terms {
			c.Compiled[i].Terms[j].Beside = slices.Clone(t.Beside)
		}
		c.Compiled[i].Sums = maps.Clone(c.Compiled[i].Sums)
		c.Compiled[i].LeftOut = slices.Clone(c.Compiled[i].LeftOut)
	}
	return &c
}

func cloneGeneration(g *Generation) *Generation {
	if g = clonePointer(g); g != nil {
		g.Members = slices.Clone(g.Members)
	}
	return g
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
