// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/spillway/spillway/config/yaml"
)

// ErrNotCanonical says that bytes are no canonical bundle: cut off, changed, or written by something else.
var ErrNotCanonical = errors.New("not the canonical form of a bundle")

// canonicalFile is the canonical form as JSON sees it.
type canonicalFile struct {
	Version  int
	Name     string
	Rules    []Rule
	Prefixes []canonicalList
	Policy   map[string]drops
	Permits  []string
	Intent   *canonicalIntent
	features []any // by kind
}

// decodeCanonical reads field by field, so that each kind of feature brings its own.
func decodeCanonical(data []byte) (*canonicalFile, error) {
	file := &canonicalFile{}
	into := map[string]any{"version": &file.Version, "name": &file.Name, "rules": &file.Rules, "prefixes": &file.Prefixes,
		"policy": &file.Policy, "permits": &file.Permits, "intent": &file.Intent}
	for _, k := range kinds {
		target := k.target()
		file.features = append(file.features, target)
		into[k.field()] = target
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, cmp.Or(err, errors.New("no object"))
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		target, known := into[fmt.Sprint(name)]
		if !known {
			return nil, fmt.Errorf("unknown field %q", name)
		}
		if err := dec.Decode(target); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return file, err
}

type canonicalList struct {
	List       string          `json:"list"`
	Rule       string          `json:"rule"`
	ThirdParty bool            `json:"third_party"`
	Entries    json.RawMessage `json:"entries"`
}

type drops struct {
	Drop      string    `json:"drop"`
	Reset     string    `json:"reset"`
	Fragments Fragments `json:"fragments"`
	Tag       string    `json:"tag"`
	Limit     string    `json:"limit"`
	Rate      Rate      `json:"rate"`
}

// policy reads what canonicalWriter.policy wrote.
func (d drops) policy() (Policy, error) {
	p := Policy{Fragments: d.Fragments, Rate: d.Rate}
	for _, t := range []struct {
		text string
		into *Threshold
	}{{cmp.Or(d.Drop, "none"), &p.Drop}, {d.Reset, &p.Reset}, {d.Tag, &p.Tag}, {d.Limit, &p.Limit}} {
		if t.text == "" {
			continue
		}
		if r := t.into.ReadScalar(t.text, yaml.KindInteger, nil); r != nil {
			return p, errors.New(r.Problem)
		}
	}
	if p.Rate.IsZero() != (p.Limit == Never) {
		return p, errors.New("a limit without a rate, or a rate without a limit")
	}
	if lo, hi := p.disorder(); lo != nil {
		return p, fmt.Errorf("%s %s and %s %s", lo.name, lo.from, hi.name, hi.from)
	}
	if p.Limit == Never {
		return p, nil
	}
	return p, p.Rate.err()
}

type canonicalIntent struct {
	NewBlocks string   `json:"new_blocks"`
	By        []string `json:"by"`
}

// ParseCanonical reads what Canonical wrote. The result is equal to the bundle that was written and has its digest,
// without what only tells about the loading. Anything that Canonical would not have written, byte for byte, is
// ErrNotCanonical.
func ParseCanonical(data []byte) (*Bundle, error) {
	file, err := decodeCanonical(data)
	if err != nil {
		return nil, fmt.Errorf("parse canonical bundle: %w: %w", ErrNotCanonical, err)
	}
	b, err := file.bundle()
	if err != nil {
		return nil, fmt.Errorf("parse canonical bundle: %w: %w", ErrNotCanonical, err)
	}
	if !bytes.Equal(Canonical(b), data) {
		return nil, fmt.Errorf("parse canonical bundle %q: %w", b.Name, ErrNotCanonical)
	}
	b.Digest = sha256.Sum256(data)
	return b, nil
}

func (file *canonicalFile) bundle() (*Bundle, error) {
	b := &Bundle{Version: file.Version, Name: file.Name, Policy: map[string]Policy{}}
	if file.Version != Version {
		return nil, fmt.Errorf("version %d", file.Version)
	}
	rules := map[string]bool{}
	for i, r := range file.Rules {
		if r.Score < -100 || r.Score > 100 || (i > 0 && r.ID <= file.Rules[i-1].ID) {
			return nil, fmt.Errorf("rule %q is out of order or range", r.ID)
		}
		if r.Verdict != RuleScores && (r.Score != 0 || r.Verdict != RuleAllow && r.Verdict != RuleTag) {
			return nil, fmt.Errorf("rule %q has the verdict %q and the score %d", r.ID, r.Verdict, r.Score)
		}
		rules[r.ID] = true
		if !r.Expires.IsZero() {
			r.Expires = r.Expires.UTC()
		}
		b.Rules = append(b.Rules, r)
	}
	for _, l := range file.Prefixes {
		entries, err := parseEntries(l.Entries)
		if err != nil {
			return nil, fmt.Errorf("list %q: %w", l.List, err)
		}
		if !rules[l.Rule] {
			return nil, fmt.Errorf("list %q: no rule %q", l.List, l.Rule)
		}
		b.Prefixes = append(b.Prefixes, PrefixList{List: l.List, Rule: l.Rule, ThirdParty: l.ThirdParty, Entries: entries})
	}
	for i, k := range kinds {
		if err := k.read(b, file.features[i], rules); err != nil {
			return nil, err
		}
	}
	return b, file.rest(b)
}

// rest reads policy and intent.
func (file *canonicalFile) rest(b *Bundle) error {
	for name, p := range file.Policy {
		policy, err := p.policy()
		if err != nil {
			return fmt.Errorf("policy %q: %w", name, err)
		}
		b.Policy[name] = policy
	}
	if !slices.IsSorted(file.Permits) {
		return errors.New("permits are out of order")
	}
	b.Permits = file.Permits
	if file.Intent == nil {
		return nil
	}
	b.Intent = &Intent{By: file.Intent.By}
	f, _ := reflect.TypeFor[Intent]().FieldByName("NewBlocks")
	lim := yaml.LimitsOf(f.Tag)
	if r := b.Intent.NewBlocks.ReadScalar(file.Intent.NewBlocks, yaml.KindNumber, &lim); r != nil {
		return fmt.Errorf("intent: %s", r.Problem)
	}
	b.declare()
	return nil
}

// parseEntries reads a JSON list of prefixes by hand: a list has up to a million rows, and reflection takes longer than
// all the rest. Whatever it lets pass, the comparison with the canonical form does not.
func parseEntries(raw json.RawMessage) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, bytes.Count(raw, []byte{','})+1)
	for len(raw) > 0 {
		start := bytes.IndexByte(raw, '"')
		if start < 0 {
			break
		}
		length := bytes.IndexByte(raw[start+1:], '"')
		if length < 0 {
			break
		}
		p, err := netip.ParsePrefix(string(raw[start+1 : start+1+length]))
		if err != nil {
			return nil, err
		}
		if n := len(out); p != p.Masked() || (n > 0 && comparePrefix(out[n-1], p) >= 0) {
			return nil, fmt.Errorf("%s is not masked or out of order", p)
		}
		out = append(out, p)
		raw = raw[start+length+2:]
	}
	return out, nil
}
