// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rate is what a limit admits: Burst connections at once, and Connections from then on. Each key has a rate of its own,
// which others use up only where they are counted together with it (By).
type Rate struct {
	// Connections that pass in a time, such as 30/m: a number, and s, m or h.
	Connections Frequency `yaml:"connections" json:"connections" jsonschema:"required"`
	// Burst is how many pass at once after a pause; as many as the number of connections when it is not written.
	Burst uint32 `yaml:"burst" json:"burst" jsonschema:"minimum=1,maximum=100000"`
	// By says what is counted together: source (an address; of IPv6 its /64), prefix (/24, /48), or source+fingerprint
	// (of the ClientHello, or without one of the SYN).
	By LimitKey `yaml:"by" json:"by" jsonschema:"enum=source,enum=prefix,enum=source+fingerprint,default=source"`
	// Over is what becomes of a connection beyond: drop (it waits until there is room, as its client tries again) or
	// reset.
	Over Over `yaml:"over" json:"over" jsonschema:"enum=drop,enum=reset,default=drop"`
	// Shared is how many times as much an address has that many people share: in its confirmed ClientHellos of the last
	// day are many kinds of clients of the catalogue. 1 makes no difference. Not for prefixes, which are many people
	// anyway.
	Shared uint8 `yaml:"shared" json:"shared" jsonschema:"minimum=1,maximum=64,default=8"`
}

// IsZero reports whether there is none.
func (r Rate) IsZero() bool { return r == Rate{} }

// String says what it admits, and what becomes of the rest, for people.
func (r Rate) String() string {
	if r.IsZero() {
		return "none"
	}
	text := fmt.Sprintf("%s by %s, %d at once, over it %s", r.Connections, r.By, r.Burst, r.Over)
	if r.Shared > 1 && r.By != LimitByPrefix {
		text += fmt.Sprintf("; %d times as much for shared addresses", r.Shared)
	}
	return text
}

// SetDefaults gives a rate what a file need not say. The burst follows from the connections (filled).
func (r *Rate) SetDefaults() { r.By, r.Over, r.Shared = LimitBySource, OverDrop, 8 }

// filled returns the rate with the burst that a file need not say.
func (r Rate) filled() Rate {
	if r.Burst == 0 {
		r.Burst = min(r.Connections.Count, maxBurst)
	}
	return r
}

// Ahead is how long the burst takes by the rate.
func (r Rate) Ahead() time.Duration { return time.Duration(r.Burst) * r.Connections.Interval() }

// err says why no bundle can have the rate.
func (r Rate) err() error {
	f := r.Connections
	switch {
	case f.Count == 0 || f.String() == "none" || f.Interval() < minInterval:
		return errors.New("a rate that no limit has")
	case r.Burst == 0 || r.Burst > maxBurst || r.Ahead() > maxAhead:
		return fmt.Errorf("a burst of %d", r.Burst)
	case !slices.Contains([]LimitKey{LimitBySource, LimitByPrefix, LimitByFingerprint}, r.By):
		return fmt.Errorf("a limit by %q", r.By)
	case r.Over != OverDrop && r.Over != OverReset:
		return fmt.Errorf("over a limit %q", r.Over)
	case r.Shared == 0 || r.Shared > maxShared:
		return fmt.Errorf("shared %d times", r.Shared)
	}
	return nil
}

// noStricterThan reports whether the rate admits what another admits, and is no harder on what is beyond.
func (r Rate) noStricterThan(other Rate) bool {
	return r.By == other.By && (r.Over == OverDrop || r.Over == other.Over) && r.Burst >= other.Burst &&
		r.Connections.Interval() <= other.Connections.Interval() && r.Shared >= other.Shared
}

// LimitKey is what a limit counts together.
type LimitKey string

// The keys. A fingerprint alone is none: a browser's is that of millions of visitors.
const (
	LimitBySource      LimitKey = "source"
	LimitByPrefix      LimitKey = "prefix"
	LimitByFingerprint LimitKey = "source+fingerprint"
)

// Over is what becomes of connections over a limit.
type Over string

// OverDrop and OverReset are the two ways.
const (
	OverDrop  Over = "drop"
	OverReset Over = "reset"
)

// Frequency is a number of connections in a second, a minute or an hour.
type Frequency struct {
	Count uint32
	Per   time.Duration
}

// Written in a file a second, a minute and an hour are one letter.
var periods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

const (
	// minInterval bounds what a limit counts: 1000 connections in a second.
	minInterval = time.Millisecond
	// maxAhead is how far in time a key may be ahead of its rate: its burst times the interval. The dataplane counts no
	// further.
	maxAhead = 24 * time.Hour
	// maxBurst is the largest burst, as its tag says.
	maxBurst = 100_000
	// maxShared is the largest multiple of an address that many people share, as its tag says.
	maxShared = 64
)

// String returns what files say, 30/m.
func (f Frequency) String() string {
	for unit, per := range periods {
		if per == f.Per {
			return fmt.Sprintf("%d/%s", f.Count, unit)
		}
	}
	return "none"
}

// Interval is the time from one connection to the next.
func (f Frequency) Interval() time.Duration {
	if f.Count == 0 {
		return 0
	}
	return f.Per / time.Duration(f.Count)
}
