// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/userspace/api"
)

// Live is a connection as it came: the agent's decision about it, with who is known to look like this.
type Live struct {
	api.Event
	Clients []Known `json:"clients,omitempty"`
	Stacks  []Known `json:"stacks,omitempty"`
}

// passed is the verdict of what was let through.
const passed = "pass"

// NewLive returns the connection of an event; ok is false when the event is not about one: a SYN that passed, whose
// connection is yet to come, or a packet by itself.
func NewLive(e api.Event, c *catalogue.Catalogue) (l Live, ok bool) {
	if e.Stage != "payload" && (e.Stage != "syn" || e.Verdict == passed) {
		return Live{}, false
	}
	return Live{e, Clients(c, e.JA4, e.StableJA4), Stacks(c, e.MuonFP, e.P0F)}, true
}

const liveRow = "%-8s %-22s %-10s %-10s %s"

// LiveHeading is the heading of Text. The columns are fixed: rows come one by one, so nothing can align them.
func LiveHeading() string {
	return fmt.Sprintf(liveRow, "TIME", "FROM", "SERVICE", "VERDICT", "FINGERPRINT AND WHO IS KNOWN TO HAVE IT")
}

// Text returns the connection on one line: its JA4, or where it has none its MuonFP, then names.
func (l Live) Text() string {
	from := l.Source
	if l.SourcePort != 0 {
		from = net.JoinHostPort(l.Source, strconv.Itoa(int(l.SourcePort)))
	}
	what := l.JA4
	if what == "" {
		what = "no JA4 (" + l.Reason + ")"
		if l.MuonFP != "" {
			what += "  MuonFP " + l.MuonFP
		}
	}
	for _, names := range []string{briefly(l.Clients), briefly(l.Stacks)} {
		if names != "" {
			what += "  " + names
		}
	}
	return strings.TrimRight(fmt.Sprintf(liveRow, l.Time.Local().Format("15:04:05"), from, l.Service, l.Verdict, what),
		" ")
}
