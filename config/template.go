// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// HostFacts is what `spillway init` found out about a host.
type HostFacts struct {
	// Interfaces to attach to; at least one.
	Interfaces []Interface
	// Services by the listening sockets; at least one.
	Services []ServiceFact
	// Allowlist rows: the peer of the SSH session, the gateway.
	Allowlist []AllowEntry
}

// ServiceFact is a service and how it was found.
type ServiceFact struct {
	Service
	// Note becomes a comment, such as "nginx listens here".
	Note string
}

// HostTemplate returns the commented host file for a host, in observe mode. When the facts are valid (names, ports, at
// least one interface and one service), ParseHost reads it without a fault.
func HostTemplate(facts HostFacts) []byte {
	d := DefaultHost()
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Spillway's host file: what this host protects, and how far any bundle may go.")
	p("# Check it with `spillway config check FILE`; `spillway reload` makes a running agent read it.")
	p("version: %d", Version)
	p("\n# observe counts what would be blocked; enforce blocks it. Stay in observe until the counts look right.")
	p("max_mode: %s", d.MaxMode)
	p("\n# Interfaces that face the visitors. attach: generic is slower, and for drivers without XDP.")
	p("interfaces:")
	for _, i := range facts.Interfaces {
		p("  - name: %s", quote(i.Name))
		if i.Attach != "" && i.Attach != AttachNative {
			p("    attach: %s", i.Attach)
		}
	}
	p("\n# What Spillway inspects; all other traffic passes untouched. kind: tls, http, tcp, quic or udp.")
	p("# local: false when a service's sockets are on another host.")
	p("services:")
	for _, s := range facts.Services {
		templateService(p, s)
	}
	p("\n# Sources that no bundle and no ban can block. Add monitoring, offices, health checks.")
	templateAllowlist(p, facts.Allowlist)
	templateDefaults(p, d)
	return b.Bytes()
}

func templateService(p func(string, ...any), s ServiceFact) {
	comment := ""
	if s.Note != "" {
		comment = "   # " + oneLine(s.Note)
	}
	p("  - name: %s%s", quote(s.Name), comment)
	if len(s.Addresses) > 0 {
		var texts []string
		for _, a := range s.Addresses {
			texts = append(texts, quote(a.String()))
		}
		p("    addresses: [%s]", strings.Join(texts, ", "))
	}
	p("    port: %d", s.Port)
	p("    kind: %s", s.Kind)
	if !s.Local {
		p("    local: false")
	}
	if s.Confirm != "" && s.Confirm != ConfirmAuto {
		p("    confirm: %s", s.Confirm)
	}
}

func templateAllowlist(p func(string, ...any), rows []AllowEntry) {
	if len(rows) == 0 {
		p("allowlist: []")
		return
	}
	p("allowlist:")
	for _, a := range rows {
		prefix := a.Prefix.String()
		if a.Prefix.IsSingleIP() {
			prefix = a.Prefix.Addr().String()
		}
		p("  - prefix: %s", quote(prefix))
		if note := oneLine(a.Note); note != "" {
			p("    note: %s", quote(note))
		}
	}
}

// templateDefaults shows the defaults that a person most often asks for, as comments.
func templateDefaults(p func(string, ...any), d *Host) {
	p("\n# Everything below has its default; remove the # to change a line.")
	p("#capacity:                # rows in the kernel; `spillway doctor` shows the memory")
	p("#  prefixes_v4: %d", d.Capacity.Prefixes4)
	p("#  prefixes_v6: %d", d.Capacity.Prefixes6)
	p("#  flows: %d", d.Capacity.Flows)
	p("#guards:                  # limits that no bundle can loosen")
	p("#  bake: %s                # how long a generation serves before it is last-known-good",
		shortDuration(d.Guards.Bake))
	p("#  agent_timeout: %s       # agent gone for longer: everything passes; or never", d.Guards.AgentTimeout)
	p("#  max_ban_ttl: %s", shortDuration(d.Guards.MaxBanTTL))
	p("#  min_prefix_v4: %d         # the widest prefix that a bundle may name", d.Guards.MinPrefixV4)
	p("#  min_prefix_v6: %d", d.Guards.MinPrefixV6)
	p("#  max_change: %s           # growth or shrinkage of a list that waits for a person", d.Guards.MaxChange)
	p("#  rollout: %s           # a change is tried first, and taken back by itself; direct: in force at once",
		d.Guards.Rollout)
	p("#  evidence: %s          # small on a site of few visitors: a rollout is done sooner, and sees less",
		d.Guards.Evidence)
	p("#listen:")
	p("#  socket: %s   # for everything: root and the members of group", d.Listen.Socket)
	p("#  group: %s", d.Listen.Group)
	p("#  read: {socket: %s, group: %s}   # looks only", d.Listen.Read.Socket, d.Listen.Read.Group)
	p("#  metrics: %s   # \"\" turns it off", d.Listen.Metrics)
	p("#paths:")
	p("#  state: %s", d.Paths.State)
	p("#  pins: %s", d.Paths.Pins)
	p("#privacy:")
	p("#  addresses: %s           # or truncated", d.Privacy.Addresses)
}

// quote returns a text that YAML reads back as the same text: bare when it is plain, else in JSON's quotes, which YAML
// shares.
func quote(s string) string {
	plain := func(r rune) bool {
		return !(r >= 'a' && r <= 'z') && !(r >= '0' && r <= '9') && !strings.ContainsRune("-_./", r)
	}
	if s != "" && s[0] >= 'a' && s[0] <= 'z' && strings.IndexFunc(s, plain) < 0 {
		switch s {
		case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		default:
			return s
		}
	}
	quoted, _ := json.Marshal(s) // a string always has a JSON form
	return string(quoted)
}

// oneLine makes a note fit for a comment or a field.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > 200 {
		s = string(runes[:200])
	}
	return strings.TrimSpace(s)
}
