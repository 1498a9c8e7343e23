// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"

	"github.com/spillway/spillway/userspace/doctor"
)

// Doctor prints the findings: a mark and a word, what was found, and below a fault its fix.
func Doctor(w io.Writer, r doctor.Report, s Style) {
	marks := map[doctor.Level]string{doctor.OK: "✓ ok     ", doctor.Warning: "! warning", doctor.Fault: "✗ fault  "}
	const (
		saysColumn = 23
		fixColumn  = 15
	)
	iface := ""
	for _, f := range r.Findings {
		if f.Interface != iface {
			iface = f.Interface
			fmt.Fprintf(w, "\n%s\n", s.bold("interface "+iface))
		}
		mark := marks[f.Level]
		switch f.Level {
		case doctor.OK:
			mark = s.good(mark)
		case doctor.Warning:
			mark = s.care(mark)
		case doctor.Fault:
			mark = s.bad(mark)
		}
		name := strings.ReplaceAll(f.Check, "_", " ")
		fmt.Fprintf(w, "%s %-12s %s\n", mark, name, wrap(f.Says, saysColumn))
		if f.Level != doctor.OK && f.Fix != "" {
			fmt.Fprintf(w, "%*s %s\n", fixColumn-1, "fix:", wrap(f.Fix, fixColumn))
		}
	}
	faults, warnings := r.Count(doctor.Fault), r.Count(doctor.Warning)
	switch {
	case faults > 0:
		fmt.Fprintf(w, "\n%s, %s.\n", s.bad(Plural(faults, "fault")), Plural(warnings, "warning"))
	case warnings > 0:
		fmt.Fprintf(w, "\nNo faults, %s: Spillway can run here.\n", Plural(warnings, "warning"))
	default:
		fmt.Fprintf(w, "\n%s\n", s.good("No faults: Spillway can run here."))
	}
}
