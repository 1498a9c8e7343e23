// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/words"
)

const (
	ttlValid = "the TTL with which the system sends, 32, 64, 128 or 255"
	// multipleMax is p0f's own bound of mss*n and mtu*n.
	multipleMax = 1000
)

// ParseP0F reads a p0f v3 signature. Its errors say what would be valid.
func ParseP0F(text string) (P0F, error) {
	var s P0F
	parts := strings.Split(text, ":")
	if len(parts) != 8 {
		return s, fmt.Errorf("a p0f signature has eight fields joined by colons; this has %d", len(parts))
	}
	for i, read := range []func(string) error{s.readVersion, s.readTTL, s.readIPOptions, s.readMSS, s.readWindow,
		s.readLayout, s.readQuirks, s.readPayload} {
		if err := read(parts[i]); err != nil {
			return s, err
		}
	}
	return s, s.check()
}

func (s *P0F) readVersion(text string) error {
	switch text {
	case "4", "6":
		s.Version = text[0] - '0'
	case "*":
	default:
		return fmt.Errorf("the IP version is %q, not 4, 6 or *", words.Shorten(text))
	}
	return nil
}

func (s *P0F) readTTL(text string) error {
	digits, random := strings.CutSuffix(text, "-")
	seen, hops, far := strings.Cut(digits, "+")
	if hops == "?" {
		return errors.New("nobody knows how far this SYN had come (+?): write " + ttlValid)
	}
	ttl, err := decimal(seen, 255)
	if err != nil {
		return fmt.Errorf("ttl %w", err)
	}
	if far {
		distance, err := decimal(hops, 255)
		if err != nil {
			return fmt.Errorf("distance of the ttl %w", err)
		}
		ttl += distance
	}
	if ttl == 0 || ttl > 255 || (far && random) {
		return fmt.Errorf("ttl %q is none: write %s, 54+10 for 64, or 64- for any up to 64", words.Shorten(text), ttlValid)
	}
	s.TTL, s.RandomTTL = uint8(ttl), random
	return nil
}

func (s *P0F) readIPOptions(text string) error {
	v, err := decimal(text, 40)
	if err == nil && v%4 != 0 {
		err = fmt.Errorf("%s is no multiple of 4", text)
	}
	if err != nil {
		return fmt.Errorf("length of the IP options %w", err)
	}
	s.IPOptions = uint8(v)
	return nil
}

func (s *P0F) readMSS(text string) error {
	if text == "*" {
		return nil
	}
	v, err := decimal(text, 65535)
	if err != nil {
		return fmt.Errorf("mss %w", err)
	}
	mss := uint16(v)
	s.MSS = &mss
	return nil
}

func (s *P0F) readWindow(text string) error {
	window, scale, ok := strings.Cut(text, ",")
	if !ok {
		return fmt.Errorf("%q is no window with a scale, such as mss*20,7", words.Shorten(text))
	}
	if scale != "*" {
		v, err := decimal(scale, 255)
		if err != nil {
			return fmt.Errorf("scale %w", err)
		}
		n := uint8(v)
		s.Scale = &n
	}
	if window == "*" {
		return nil
	}
	s.Window.Kind = WindowValue
	for _, kind := range []WindowKind{WindowModulo, WindowMSS, WindowMTU} {
		if rest, ok := strings.CutPrefix(window, windowPrefixes[kind]); ok {
			s.Window.Kind, window = kind, rest
			break
		}
	}
	limit := uint64(65535)
	if s.Window.Kind == WindowMSS || s.Window.Kind == WindowMTU {
		limit = multipleMax
	}
	v, err := decimal(window, limit)
	if err == nil && (v == 0 && s.Window.Kind != WindowValue || v == 1 && s.Window.Kind == WindowModulo) {
		err = fmt.Errorf("%s is no number of which the window is a multiple", window)
	}
	if err != nil {
		return fmt.Errorf("window %w", err)
	}
	s.Window.N = uint16(v)
	return nil
}

func (s *P0F) readLayout(text string) error {
	if text == "" {
		return nil
	}
	names := strings.Split(text, ",")
	if len(names) > MaxKinds {
		return fmt.Errorf("%d TCP options; at most %d", len(names), MaxKinds)
	}
	for i, name := range names {
		kind, err := s.readOption(name)
		if err != nil {
			return err
		}
		if kind == kindEOL && i != len(names)-1 {
			return errors.New("eol ends the TCP options; nothing can follow it")
		}
		s.Layout = append(s.Layout, kind)
	}
	return nil
}

func (s *P0F) readOption(name string) (uint8, error) {
	if pad, ok := strings.CutPrefix(name, "eol+"); ok {
		v, err := decimal(pad, tcpOptionBytes-1)
		if err != nil {
			return 0, fmt.Errorf("bytes after eol %w", err)
		}
		s.EOLPad = uint8(v)
		return kindEOL, nil
	}
	if number, ok := strings.CutPrefix(name, "?"); ok {
		v, err := decimal(number, 255)
		if err != nil {
			return 0, fmt.Errorf("option kind %w", err)
		}
		if known, ok := layoutNames[uint8(v)]; ok {
			return 0, fmt.Errorf("option kind %d is written %s", v, known)
		}
		return uint8(v), nil
	}
	for kind, known := range layoutNames {
		if name == known && kind != kindEOL {
			return kind, nil
		}
	}
	return 0, fmt.Errorf("%q is no TCP option: eol+n, nop, mss, ws, sok, sack, ts or ?n", words.Shorten(name))
}

func (s *P0F) readQuirks(text string) error {
	if text == "" {
		return nil
	}
	for name := range strings.SplitSeq(text, ",") {
		switch {
		case !slices.Contains(quirkNames, name):
			return fmt.Errorf("%q is no quirk: %s", words.Shorten(name), words.List(quirkNames, "or"))
		case s.Quirks.has(name):
			return fmt.Errorf("the quirk %s is here twice", name)
		}
		s.Quirks |= quirk(name)
	}
	return nil
}

func (s *P0F) readPayload(text string) error {
	if text != "0" && text != "+" && text != "*" {
		return fmt.Errorf("the payload class is %q, not 0, + or *", words.Shorten(text))
	}
	s.Payload = Payload(text[0])
	return nil
}

// check refuses what no SYN can have, because such a feature would never match.
func (s P0F) check() error {
	has := func(kind uint8) bool { return slices.Contains(s.Layout, kind) }
	relative := s.Window.Kind == WindowMSS || s.Window.Kind == WindowMTU
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{s.Version != 4 && s.IPOptions > 0, "IP options are IPv4's: the version must be 4"},
		{s.Version == 4 && s.Quirks&QuirksOf(6) != 0, "the quirk flow is IPv6's"},
		{s.Version == 6 && s.Quirks&QuirksOf(4) != 0, "the quirks df, id+, id- and 0+ are IPv4's"},
		{s.Quirks.has("id+") && !s.Quirks.has("df"), "id+ needs df: an IP ID although nothing may be fragmented"},
		{s.Quirks.has("id-") && s.Quirks.has("df"), "id- and df exclude each other"},
		{s.Quirks.has("uptr+") && s.Quirks.has("urgf+"), "uptr+ and urgf+ exclude each other"},
		{s.Quirks.has("ack-"), "ack- needs the ACK flag, and a SYN has none"},
		{(s.Quirks.has("ts1-") || s.Quirks.has("ts2+")) && !has(kindTS), "ts1- and ts2+ need ts in the layout"},
		{s.Quirks.has("exws") && !has(kindWS), "exws needs ws in the layout"},
		{s.Quirks.has("exws") && s.Scale != nil && *s.Scale <= 14, "exws needs a scale above 14"},
		{!s.Quirks.has("exws") && s.Scale != nil && *s.Scale > 14, "a scale above 14 needs exws"},
		{!s.Quirks.has("bad") && LayoutBytes(s.Layout, s.EOLPad) > tcpOptionBytes,
			fmt.Sprintf("these TCP options take %d bytes; a header has %d for them", LayoutBytes(s.Layout, s.EOLPad),
				tcpOptionBytes)},
		{s.Quirks.has("opt+") && s.EOLPad == 0, "opt+ needs bytes after eol"},
		{s.MSS != nil && *s.MSS > 0 && !has(kindMSS), "an mss needs mss in the layout"},
		{s.Scale != nil && *s.Scale > 0 && !has(kindWS), "a scale needs ws in the layout"},
		{relative && (!has(kindMSS) || s.MSS != nil && *s.MSS < 100),
			"mss*n and mtu*n need mss in the layout, and one of at least 100"},
	} {
		if c.wrong {
			return errors.New(c.text)
		}
	}
	return nil
}
