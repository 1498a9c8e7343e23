// SPDX-License-Identifier: Apache-2.0

package doctor

// Level says how bad a finding is.
type Level string

// The levels. Only faults keep Spillway from working.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Fault   Level = "fault"
)

// Finding is one fact, judged.
type Finding struct {
	// Check is the stable name of the check, for programs.
	Check string `json:"check"`
	// Interface is empty for what concerns the whole host.
	Interface string `json:"interface,omitempty"`
	Level     Level  `json:"level"`
	// Says is what was found.
	Says string `json:"says"`
	// Fix is what to do, a command where there is one; always set for faults.
	Fix string `json:"fix,omitempty"`
}

// Report holds all findings: first of the host, then by interface.
type Report struct {
	Findings []Finding
}

// Count returns how many findings have this level.
func (r Report) Count(l Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

func ok(check, says string) Finding { return Finding{Check: check, Level: OK, Says: says} }
func warn(check, says, fix string) Finding {
	return Finding{Check: check, Level: Warning, Says: says, Fix: fix}
}
func mistake(check, says, fix string) Finding {
	return Finding{Check: check, Level: Fault, Says: says, Fix: fix}
}
