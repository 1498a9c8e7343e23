// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Canonical returns the bundle as JSON without blanks: everything that decides, and names and notes. Two bundles that
// decide the same have the same bytes, whatever the order, the comments and the files they were written in, and
// whatever the host: third-party rows that a host leaves out (LeaveOut) are in it.
func Canonical(b *Bundle) []byte {
	var buf bytes.Buffer
	writeCanonical(&buf, b)
	return buf.Bytes()
}

// digestOf hashes the canonical form without holding it in memory.
func digestOf(b *Bundle) Digest {
	h := sha256.New()
	writeCanonical(h, b)
	return Digest(h.Sum(nil))
}

// canonicalWriter writes JSON. Writers behind it (a buffer, a hash) return no errors.
type canonicalWriter struct {
	*bufio.Writer
	scratch []byte
}

func writeCanonical(to io.Writer, b *Bundle) {
	w := &canonicalWriter{Writer: bufio.NewWriterSize(to, 1<<16)}
	defer w.Flush()
	w.raw(`{"version":`, strconv.Itoa(b.Version), `,"name":`)
	w.text(b.Name)
	w.raw(`,"rules":[`)
	for i, r := range b.Rules {
		w.comma(i)
		w.rule(r)
	}
	w.raw(`],"prefixes":[`)
	for i, l := range b.Prefixes {
		w.comma(i)
		w.list(l)
	}
	w.raw(`]`)
	for _, k := range kinds {
		k.write(w, b)
	}
	w.raw(`,"policy":{`)
	for i, name := range slices.Sorted(maps.Keys(b.Policy)) {
		w.comma(i)
		w.text(name)
		w.raw(`:`)
		w.policy(b.Policy[name])
	}
	w.raw(`}`)
	for i, name := range b.Permits { // nothing when there is none: older bundles keep their digests
		if i == 0 {
			w.raw(`,"permits":[`)
		}
		w.comma(i)
		w.text(name)
	}
	w.closeList(len(b.Permits))
	w.intent(b.Intent)
	w.raw("}\n")
}

func (w *canonicalWriter) raw(parts ...string) {
	for _, p := range parts {
		w.WriteString(p)
	}
}

func (w *canonicalWriter) comma(i int) {
	if i > 0 {
		w.WriteByte(',')
	}
}

func (w *canonicalWriter) text(s string) {
	quoted, _ := json.Marshal(s) // a string always has a JSON form
	w.Write(quoted)
}

func (w *canonicalWriter) rule(r Rule) {
	w.raw(`{"id":`)
	w.text(r.ID)
	w.raw(`,"label":`)
	w.text(r.Label)
	w.raw(`,"score":`, strconv.Itoa(r.Score))
	if r.Verdict != RuleScores {
		w.raw(`,"verdict":"`, string(r.Verdict), `"`)
	}
	if !r.Expires.IsZero() {
		w.raw(`,"expires":"`, r.Expires.UTC().Format(time.RFC3339Nano), `"`)
	}
	if r.Note != "" {
		w.raw(`,"note":`)
		w.text(r.Note)
	}
	w.raw(`}`)
}

// policy writes nothing of what the first release did not know and the policy does not say.
func (w *canonicalWriter) policy(p Policy) {
	w.raw(`{"drop":"`, p.Drop.String())
	if p.Reset != Never {
		w.raw(`","reset":"`, p.Reset.String())
	}
	if p.Fragments == FragmentsDrop {
		w.raw(`","fragments":"drop`)
	}
	if p.Tag != Never {
		w.raw(`","tag":"`, p.Tag.String())
	}
	if p.Limit != Never {
		w.raw(`","limit":"`, p.Limit.String())
	}
	w.raw(`"`)
	if !p.Rate.IsZero() {
		w.raw(`,"rate":`)
		rate, _ := json.Marshal(p.Rate) // numbers and texts always have a JSON form
		w.Write(rate)
	}
	w.raw(`}`)
}

func (w *canonicalWriter) list(l PrefixList) {
	w.raw(`{"list":`)
	w.text(l.List)
	w.raw(`,"rule":`)
	w.text(l.Rule)
	w.raw(`,"third_party":`, strconv.FormatBool(l.ThirdParty), `,"entries":[`)
	for i, p := range l.Entries {
		w.comma(i)
		w.scratch = append(p.AppendTo(append(w.scratch[:0], '"')), '"')
		w.Write(w.scratch)
	}
	w.raw(`]}`)
}

func (w *canonicalWriter) closeList(n int) {
	if n > 0 {
		w.raw(`]`)
	}
}

func (w *canonicalWriter) intent(in *Intent) {
	if in == nil {
		return
	}
	w.raw(`,"intent":{"new_blocks":"`, in.NewBlocks.String(), `","by":[`)
	for i, label := range in.By {
		w.comma(i)
		w.text(label)
	}
	w.raw(`]}`)
}
