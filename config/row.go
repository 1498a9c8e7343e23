// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"net/netip"

	"github.com/spillway/spillway/config/yaml"
)

// row is one prefix of a list, and where it stands. Lists have up to millions of them.
type row struct {
	prefix netip.Prefix
	line   int32
	column int32
	block  int32 // index of the block in the bundle
	inFile bool  // in the block's list file
}

// compareRows orders by prefix, and equal ones as they were read.
func compareRows(a, b row) int {
	if c := comparePrefix(a.prefix, b.prefix); c != 0 {
		return c
	}
	return a.compareOrder(b)
}

func (r row) compareOrder(b row) int {
	if r.inFile != b.inFile && r.block == b.block {
		if b.inFile {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(r.block, b.block), cmp.Compare(r.line, b.line), cmp.Compare(r.column, b.column))
}

func (r row) at() yaml.Position { return yaml.Position{Line: int(r.line), Column: int(r.column)} }
