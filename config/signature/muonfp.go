// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxKinds is the number of option kinds that a fingerprint can hold. The TCP header has 40 bytes for options; a
// stack that fills them with more than 24 one-byte options does not exist, and the dataplane gives such a SYN no
// fingerprint.
const MaxKinds = 24

// MuonFP is the content of a SYN's MuonFP string, window:kinds:mss:scale. MSS and Scale are nil when the SYN has no
// such option. The end-of-options mark is kind 0 and ends the list.
type MuonFP struct {
	Window uint16
	Kinds  []uint8
	MSS    *uint16
	Scale  *uint8
}

// ParseMuonFP reads a MuonFP string: four decimal fields joined by colons, the kinds joined by dashes, the last three
// possibly empty. Its errors say what would be valid.
func ParseMuonFP(s string) (MuonFP, error) {
	var fp MuonFP
	parts := strings.Split(s, ":")
	if len(parts) != 4 {
		return fp, fmt.Errorf("a MuonFP has four fields, window:kinds:mss:scale; this has %d", len(parts))
	}
	window, err := decimal(parts[0], 65535)
	if err != nil {
		return fp, fmt.Errorf("window %w", err)
	}
	fp.Window = uint16(window)
	if fp.Kinds, err = parseKinds(parts[1]); err != nil {
		return fp, err
	}
	if parts[2] != "" {
		v, err := decimal(parts[2], 65535)
		if err != nil {
			return fp, fmt.Errorf("mss %w", err)
		}
		mss := uint16(v)
		fp.MSS = &mss
	}
	if parts[3] != "" {
		v, err := decimal(parts[3], 255)
		if err != nil {
			return fp, fmt.Errorf("scale %w", err)
		}
		scale := uint8(v)
		fp.Scale = &scale
	}
	return fp, fp.check()
}

// check refuses content that no SYN can have, because such a feature would never match.
func (fp MuonFP) check() error {
	hasMSS, hasScale := false, false
	for i, k := range fp.Kinds {
		if k == 0 && i != len(fp.Kinds)-1 {
			return fmt.Errorf("kind 0 ends the options; nothing can follow it")
		}
		hasMSS = hasMSS || k == 2
		hasScale = hasScale || k == 3
	}
	if hasMSS != (fp.MSS != nil) {
		return fmt.Errorf("option kind 2 and the mss field go together")
	}
	if hasScale != (fp.Scale != nil) {
		return fmt.Errorf("option kind 3 and the scale field go together")
	}
	return nil
}

func parseKinds(s string) ([]uint8, error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, "-")
	if len(parts) > MaxKinds {
		return nil, fmt.Errorf("%d option kinds; at most %d", len(parts), MaxKinds)
	}
	kinds := make([]uint8, 0, len(parts))
	for _, p := range parts {
		v, err := decimal(p, 255)
		if err != nil {
			return nil, fmt.Errorf("option kind %w", err)
		}
		kinds = append(kinds, uint8(v))
	}
	return kinds, nil
}

// decimal reads a number without sign, blanks or leading zeros, so that one fingerprint has one string.
func decimal(s string, limit uint64) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(v, 10) != s {
		return 0, fmt.Errorf("%q is no decimal number", s)
	}
	if v > limit {
		return 0, fmt.Errorf("%s is over %d", s, limit)
	}
	return v, nil
}

// String returns the MuonFP string. ParseMuonFP(fp.String()) equals fp.
func (fp MuonFP) String() string {
	b := make([]byte, 0, 40)
	b = strconv.AppendUint(b, uint64(fp.Window), 10)
	b = append(b, ':')
	for i, k := range fp.Kinds {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(k), 10)
	}
	b = append(b, ':')
	if fp.MSS != nil {
		b = strconv.AppendUint(b, uint64(*fp.MSS), 10)
	}
	b = append(b, ':')
	if fp.Scale != nil {
		b = strconv.AppendUint(b, uint64(*fp.Scale), 10)
	}
	return string(b)
}
