// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/spillway/spillway/config/signature"
)

// ErrNotCanonical says that bytes are no canonical bundle: cut off, changed, or written by something else.
var ErrNotCanonical = errors.New("not the canonical form of a bundle")

// canonicalFile is the canonical form as JSON sees it.
type canonicalFile struct {
	Version  int              `json:"version"`
	Name     string           `json:"name"`
	Rules    []Rule           `json:"rules"`
	Prefixes []canonicalList  `json:"prefixes"`
	TCP      []canonicalTCP   `json:"tcp"`
	JA4      []canonicalJA4   `json:"ja4"`
	P0F      []canonicalP0F   `json:"p0f"`
	Reasons  []ReasonFeature  `json:"reasons"`
	Policy   map[string]drops `json:"policy"`
	Permits  []string         `json:"permits"`
	Intent   *canonicalIntent `json:"intent"`
}

type canonicalList struct {
	List       string          `json:"list"`
	Rule       string          `json:"rule"`
	ThirdParty bool            `json:"third_party"`
	Entries    json.RawMessage `json:"entries"`
}

type canonicalTCP struct {
	Rule   string `json:"rule"`
	MuonFP string `json:"muonfp"`
}

type canonicalJA4 struct {
	Rule   string        `json:"rule"`
	Match  signature.JA4 `json:"match"`
	Stable bool          `json:"stable"`
}

type canonicalP0F struct {
	Rule      string        `json:"rule"`
	Signature signature.P0F `json:"signature"`
}

type drops struct {
	Drop      string    `json:"drop"`
	Reset     string    `json:"reset"`
	Fragments Fragments `json:"fragments"`
}

type canonicalIntent struct {
	NewBlocks string   `json:"new_blocks"`
	By        []string `json:"by"`
}

// ParseCanonical reads what Canonical wrote. The result is equal to the bundle that was written and has its digest,
// without what only tells about the loading. Anything that Canonical would not have written, byte for byte, is
// ErrNotCanonical.
func ParseCanonical(data []byte) (*Bundle, error) {
	var file canonicalFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
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
	for _, f := range file.TCP {
		fp, err := signature.ParseMuonFP(f.MuonFP)
		if err != nil {
			return nil, fmt.Errorf("fingerprint %q: %w", f.MuonFP, err)
		}
		if !rules[f.Rule] {
			return nil, fmt.Errorf("fingerprint %q: no rule %q", f.MuonFP, f.Rule)
		}
		b.TCP = append(b.TCP, TCPFeature{Rule: f.Rule, Fingerprint: fp})
	}
	if err := file.clients(b, rules); err != nil {
		return nil, err
	}
	for _, f := range file.Reasons {
		if !rules[f.Rule] {
			return nil, fmt.Errorf("reason %q: no rule %q", f.Reason, f.Rule)
		}
		b.Reasons = append(b.Reasons, f)
	}
	return b, file.rest(b)
}

// clients reads the JA4 features and p0f signatures.
func (file *canonicalFile) clients(b *Bundle, rules map[string]bool) error {
	for _, f := range file.JA4 {
		if !rules[f.Rule] {
			return fmt.Errorf("ja4 %s: no rule %q", f.Match, f.Rule)
		}
		b.JA4 = append(b.JA4, JA4Feature(f))
	}
	for _, f := range file.P0F {
		if !rules[f.Rule] {
			return fmt.Errorf("signature %s: no rule %q", f.Signature, f.Rule)
		}
		b.P0F = append(b.P0F, P0FFeature(f))
	}
	if !slices.IsSortedFunc(b.JA4, compareJA4) || !slices.IsSortedFunc(b.P0F, compareLayout) {
		return errors.New("features are out of order")
	}
	return nil
}

// rest reads policy and intent.
func (file *canonicalFile) rest(b *Bundle) error {
	for name, p := range file.Policy {
		policy := Policy{Fragments: p.Fragments}
		r := setThreshold(&policy.Drop, p.Drop, kindInteger)
		if r == nil && p.Reset != "" {
			r = setThreshold(&policy.Reset, p.Reset, kindInteger)
		}
		if r != nil {
			return fmt.Errorf("policy %q: %s", name, r.problem)
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
	lim := limitsOf(f.Tag)
	if r := setPercent(&b.Intent.NewBlocks, file.Intent.NewBlocks, &lim); r != nil {
		return fmt.Errorf("intent: %s", r.problem)
	}
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
