// SPDX-License-Identifier: Apache-2.0

package yaml

import "github.com/goccy/go-yaml/ast"

// What a type may be for the reader, beside what its shape and tags say. The reader knows no type of those who use it:
// it finds these methods.

// NodeReader reads its node by itself.
type NodeReader interface {
	ReadNode(d *Decoder, n ast.Node, path string)
}

// Shorthand is a mapping for which one value may stand.
type Shorthand interface {
	// Short points to the field that the value is read into.
	Short() any
}

// Defaulter is a mapping with defaults of its own: they are set where the file has it.
type Defaulter interface{ SetDefaults() }

// Scalar is one YAML scalar with a meaning of its own. (A text with a form of its own is a words.Text.)
type Scalar interface {
	// ReadScalar takes the text, which YAML took for a value of the kind, or says why not.
	ReadScalar(text, kind string, lim *Limits) *Refusal
	// Describe says what would be right.
	Describe(lim *Limits) string
}
