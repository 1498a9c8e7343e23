// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"strings"
	"time"
)

// Ways says to a person where a rollback can go, and what each way does.
func Ways(stored []Known) string {
	const shown = 5
	lines := []string{"say where to go back to:"}
	for _, k := range stored[:min(len(stored), shown)] {
		name := k.Name
		if name == "" {
			name = k.Digest.Short()
		}
		lines = append(lines,
			fmt.Sprintf("  spillway rollback --to %-8d %s, applied %s", k.Number, Visible(name),
				k.Since.UTC().Format(time.RFC3339)))
	}
	if more := len(stored) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("  … and %d more, which `spillway status -o json` lists", more))
	}
	return strings.Join(append(lines,
		"  spillway rollback --to observe  judge everything, block nothing, bans neither",
		"  spillway rollback --to empty    no bundle: only bans block, where the host enforces",
		"  spillway bypass on              everything passes, bans too"), "\n")
}
