// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/config"
)

// Policy is what the bundle in force does at a service, from which score on; 0 is never.
type Policy struct {
	Tag   int `json:"tag,omitempty"`
	Limit int `json:"limit,omitempty"`
	Drop  int `json:"drop,omitempty"`
	Reset int `json:"reset,omitempty"`
	// Rate is what the limit admits; nil where there is none.
	Rate *Rate `json:"rate,omitempty"`
}

// Rate is that of a limit, as bundles write it.
type Rate struct {
	Connections string `json:"connections"` // 30/m
	Burst       int    `json:"burst"`
	By          string `json:"by"`
	Over        string `json:"over"`
	Shared      int    `json:"shared"`
}

// PolicyOf tells a policy.
func PolicyOf(p config.Policy) *Policy {
	out := &Policy{Tag: int(p.Tag), Limit: int(p.Limit), Drop: int(p.Drop), Reset: int(p.Reset)}
	if p.Limit != config.Never {
		r := p.Rate
		out.Rate = &Rate{r.Connections.String(), int(r.Burst), string(r.By), string(r.Over), int(r.Shared)}
	}
	return out
}

// String says what it does: "limits from 50 (30/m by source), drops from 80". "" is nothing.
func (p Policy) String() string {
	var parts []string
	for _, v := range []struct {
		from int
		does string
	}{{p.Tag, "tags"}, {p.Limit, "limits"}, {p.Drop, "drops"}, {p.Reset, "resets"}} {
		if v.from == 0 {
			continue
		}
		text := fmt.Sprintf("%s from %d", v.does, v.from)
		if v.does == "limits" && p.Rate != nil {
			text += fmt.Sprintf(" (%s by %s)", p.Rate.Connections, p.Rate.By)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
