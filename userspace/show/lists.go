// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/config"
)

// Lists says in one sentence each what was done to the rows of lists, of those to which something was.
func Lists(all []config.ListCounts) (out []string) {
	for _, l := range all {
		var done []string
		for _, s := range l.Steps() {
			what := s.Any
			if s.Count == 1 {
				what = s.One
			}
			done = append(done, Count(s.Count)+" "+what)
		}
		if len(done) > 0 {
			prefixes := "prefixes"
			if l.Prefixes == 1 {
				prefixes = "prefix"
			}
			out = append(out, fmt.Sprintf("list %s: %s, %s %s: %s", l.List, Plural(l.Rows, "row"), Count(l.Prefixes), prefixes,
				strings.Join(done, ", ")))
		}
	}
	return out
}
