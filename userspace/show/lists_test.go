// SPDX-License-Identifier: Apache-2.0

package show

import (
	"slices"
	"testing"

	"github.com/spillway/spillway/config"
)

func TestListsTellWhatWasDone(t *testing.T) {
	got := Lists([]config.ListCounts{{List: "own", Rows: 3, Prefixes: 3},
		{List: "drop", Rows: 1204, Prefixes: 1200, Duplicates: 3, Masked: 1},
		{List: "one", Rows: 1, Prefixes: 1, Unmapped: 1}})
	want := []string{"list drop: 1,204 rows, 1,200 prefixes: 1 row masked to its length, 3 duplicates merged",
		"list one: 1 row, 1 prefix: 1 row of IPv4 in IPv6"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
