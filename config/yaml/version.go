// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// Versioned refuses a file of another version than the one that is read with that one fault: all others would only
// mislead.
func (d *Decoder) Versioned(n ast.Node, version int) bool {
	m, ok := n.(ast.MapNode)
	if !ok {
		return true
	}
	for it := m.MapRange(); it.Next(); {
		if it.Key().GetToken().Value != "version" {
			continue
		}
		text, kind, _ := scalarText(it.Value())
		if v, err := strconv.Atoi(text); kind == KindInteger && err == nil && v != version {
			d.Fault(CodeVersion, Place(it.Value()), "version", text, "this release does not read version "+text,
				strconv.Itoa(version))
			return false
		}
		return true
	}
	return true
}
