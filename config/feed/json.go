// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// UsualFields are the JSON fields that hold addresses in the lists of large publishers.
func UsualFields() []string {
	return []string{"cidr", "ip_prefix", "ipv6_prefix", "ipv4Prefix", "ipv6Prefix", "addressPrefixes"}
}

// maxDepth bounds the values within values.
const maxDepth = 64

// maxNames bounds the fields that are remembered for a proposal, maxKeys the keys that come again.
const (
	maxNames = 8
	maxKeys  = 256
)

// jsonWalk looks for addresses in documents that follow each other: one, or one a line. A document that is an array of
// texts is a list of addresses; of other documents those texts count that stand in one of the fields, at any depth, by
// themselves or in an array.
type jsonWalk struct {
	in     *jsonText
	o      Options
	fields map[string]bool
	names  map[string]string // keys that came before
	sum    *Summary
	row    Row
	each   func(*Row) error
}

func readJSON(s *source, o Options, each func(*Row) error) error {
	if o.Fields == nil {
		o.Fields = UsualFields()
	}
	w := &jsonWalk{in: newJSONText(s.r), o: o, fields: map[string]bool{}, names: map[string]string{}, sum: &s.sum,
		each: each}
	for _, f := range o.Fields {
		w.fields[f] = true
	}
	for {
		err := w.in.space()
		if err == nil {
			err = w.value(0, "", true)
		}
		s.sum.Lines = s.sum.Rows
		switch {
		case errors.Is(err, errDocuments):
			return w.nothingFound()
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return w.in.misfit("the JSON ends in the middle of a value", "the whole file: it was cut off")
		case err != nil:
			return err
		}
	}
}

// nothingFound refuses documents without a row, and names the fields where addresses stand.
func (w *jsonWalk) nothingFound() error {
	if w.sum.Rows > 0 || len(w.sum.Names) == 0 {
		return nil
	}
	return &Misfit{At: yaml.Position{Line: 1, Column: 1},
		Problem: "no address stands in a field " + words.List(w.o.Fields, "or"),
		Valid:   fmt.Sprintf("fields: [%s], or those of them that you want", strings.Join(w.sum.Names, ", "))}
}

// value reads one value; wanted says that texts in it are rows, name in which field it stands.
func (w *jsonWalk) value(depth int, name string, wanted bool) error {
	if depth > maxDepth {
		return w.in.misfit(fmt.Sprintf("more than %d values in each other", maxDepth), "a list of addresses")
	}
	at := w.in.at
	c, err := w.in.peek()
	switch {
	case err != nil:
		if depth == 0 && errors.Is(err, io.EOF) {
			return errDocuments
		}
		return err
	case c == '{':
		return w.object(depth)
	case c == '[':
		return w.array(depth, name, wanted)
	case c == '"':
		text, err := w.in.text()
		if err != nil {
			return err
		}
		return w.found(text, at, name, wanted)
	}
	word, err := w.in.word()
	if err != nil {
		return err
	}
	if w.o.CountFrom != "" && name == w.o.CountFrom {
		w.sum.countFrom(word, "")
	}
	if !wanted {
		return nil
	}
	w.row = Row{Text: word, At: at, Problem: "is no text, and so no address"}
	return w.tell()
}

// found makes a row of a text that is wanted, and remembers the field of one that could be.
func (w *jsonWalk) found(text []byte, at yaml.Position, name string, wanted bool) error {
	if !wanted {
		if len(w.sum.Names) < maxNames && name != "" && !slices.Contains(w.sum.Names, name) && isAddress(text) {
			w.sum.Names = append(w.sum.Names, name)
		}
		return nil
	}
	w.row = Row{At: at, Prefixes: w.row.Prefixes[:0]}
	w.row.readPrefix(text)
	return w.tell()
}

func (w *jsonWalk) tell() error {
	if w.o.MaxLines > 0 && w.sum.Rows >= w.o.MaxLines {
		return ErrTooManyLines
	}
	return w.each(&w.row)
}

func (w *jsonWalk) array(depth int, name string, wanted bool) error {
	return w.in.members(']', func() error { return w.value(depth+1, name, wanted) })
}

func (w *jsonWalk) object(depth int) error {
	return w.in.members('}', func() error {
		key, err := w.in.text()
		if err != nil {
			return err
		}
		name := w.name(key)
		if err := w.in.expect(':'); err != nil {
			return err
		}
		if err := w.in.space(); err != nil {
			return err
		}
		return w.value(depth+1, name, w.fields[name])
	})
}

// name makes a string of a key, without garbage for those that come again.
func (w *jsonWalk) name(key []byte) string {
	if name, known := w.names[string(key)]; known {
		return name
	}
	if len(w.names) == maxKeys {
		clear(w.names)
	}
	name := string(key)
	w.names[name] = name
	return name
}
