// SPDX-License-Identifier: Apache-2.0

package words

import (
	"encoding"
	"errors"
)

// ErrLater says that a text has a form which a later release reads.
var ErrLater = errors.New("arrives with a later release")

// Text is a value as the reader of a file meets it: one YAML scalar with a form of its own.
type Text interface {
	encoding.TextUnmarshaler
	Former
}

// Former is what has a form. A new kind of text needs no other word to the reader of files, or to the schema.
type Former interface{ Form() Form }

// Form says how a text is written.
type Form struct {
	Name string // for "is no MuonFP"
	// Example is what a person may copy, told of a text that cannot be read; Field is told where there is none at all.
	Example, Field string
	// Pattern is the schema's: what it refuses the parser refuses, too.
	Pattern string
}
