// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/spillway/spillway/loader/compile"
)

// Rows are how many rows a generation has of each kind of feature, by the name that status gives them: prefixes4, tcp…
type Rows map[string]int

// generation is Generation without its methods.
type generation Generation

// MarshalJSON writes the rows behind the fields, in the order of the kinds.
func (g Generation) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(generation(g)); err != nil {
		return nil, err
	}
	out.Truncate(bytes.LastIndexByte(out.Bytes(), '}'))
	for _, m := range compile.Counted() {
		fmt.Fprintf(&out, ",%q:%d", m.Told, g.Rows[m.Told])
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// UnmarshalJSON is the way back. A number that is not there is zero.
func (g *Generation) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*generation)(g)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	g.Rows = Rows{}
	for _, m := range compile.Counted() {
		var n int
		if text, ok := all[m.Told]; ok {
			if err := json.Unmarshal(text, &n); err != nil {
				return fmt.Errorf("%s: %w", m.Told, err)
			}
		}
		g.Rows[m.Told] = n
	}
	return nil
}
