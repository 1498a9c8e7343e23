// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"fmt"
	"strings"
)

// The codes of faults and warnings, for programs.
const (
	CodeBlank        = "blank"         // an empty value
	CodeCapacity     = "capacity"      // more rows than the host has room for
	CodeDuplicate    = "duplicate"     // the same key twice
	CodeExpired      = "expired"       // a rule that no longer applies (warning)
	CodeFile         = "file"          // a file that cannot be read, or lies outside
	CodeFloor        = "floor"         // a prefix wider than the guards allow
	CodeFormat       = "format"        // a list file that is written in another way
	CodeIncomplete   = "incomplete"    // a list file that is not whole
	CodeMasked       = "masked"        // a prefix with host bits set (warning)
	CodeMissing      = "missing"       // a required field that is not there
	CodeNull         = "null"          // null, ~ or a key without a value
	CodeProtected    = "protected"     // a protected or own address
	CodeRange        = "range"         // a value outside of its limits
	CodeReference    = "reference"     // a name that nothing has
	CodeReserved     = "reserved"      // an address or name that cannot be used
	CodeSyntax       = "syntax"        // text that is not what it should be
	CodeTime         = "time"          // a time or duration that cannot be read
	CodeType         = "type"          // a value of another type
	CodeUnknownField = "unknown_field" // a field that does not exist
	CodeUnsupported  = "unsupported"   // a feature of YAML or of a later release
	CodeUnused       = "unused"        // something that has no effect (warning)
	CodeVersion      = "version"       // a format of another version
)

// Fault is one reason why a file is refused, or one warning.
type Fault struct {
	Code    string `json:"code"`
	File    string `json:"file"`
	Line    int    `json:"line"`              // from 1; 0 when the fault is the file's
	Column  int    `json:"column"`            // from 1, in characters; 0 when the fault is the file's
	Path    string `json:"path,omitempty"`    // services[0].port
	Value   string `json:"value,omitempty"`   // as written, shortened
	Problem string `json:"problem"`           // what is wrong
	Valid   string `json:"valid,omitempty"`   // what would be right
	Excerpt string `json:"excerpt,omitempty"` // the line with its number, and a caret below the column

	Cause error `json:"-"`
}

// String returns the fault as one line, without the excerpt.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	fmt.Fprintf(&b, ": %s", f.Problem)
	if f.Value != "" {
		fmt.Fprintf(&b, " (value %s)", f.Value)
	}
	if f.Valid != "" {
		fmt.Fprintf(&b, "; valid: %s", f.Valid)
	}
	return b.String()
}
