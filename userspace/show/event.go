// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/spillway/spillway/userspace/api"
)

// EventHeading prints the heading of events. Their columns are fixed: rows come one by one, so nothing can align them.
func EventHeading(w io.Writer) {
	fmt.Fprintf(w, "%-12s %-10s %-15s %-22s %-12s %s\n", "TIME", "VERDICT", "REASON", "FROM", "SERVICE", "RULE")
}

// Event prints one decision on one line.
func Event(w io.Writer, e api.Event) {
	rule := e.Rule
	if e.Score != nil {
		rule = strings.TrimSpace(fmt.Sprintf("%s score %d", rule, *e.Score))
	}
	for _, c := range []struct {
		name, text string
	}{{"", e.MuonFP}, {" p0f ", e.P0F}, {" ja4 ", e.JA4}, {" stable ", stableOf(e)}} {
		if c.text != "" {
			rule += " " + c.name + c.text
		}
	}
	if names := ClientNames(e.JA4); names != "" {
		rule += " (" + names + ")"
	}
	rule = strings.TrimSpace(rule)
	from := e.Source
	if e.SourcePort != 0 {
		from = net.JoinHostPort(e.Source, strconv.Itoa(int(e.SourcePort)))
	}
	line := fmt.Sprintf("%-12s %-10s %-15s %-22s %-12s %s", e.Time.Local().Format("15:04:05.000"), e.Verdict, e.Reason,
		from, e.Service, rule)
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// stableOf returns the stable JA4 where it tells more than the JA4.
func stableOf(e api.Event) string {
	if e.StableJA4 == e.JA4 {
		return ""
	}
	return e.StableJA4
}
