// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
)

// Every command line that cannot be understood exits with 64, before anything happens.
func TestUsageErrors(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{"statsu", "status"},
		{"rolback", "rollback"},
		{"bypas on", "bypass"},
		{"config chekc x", "check"},
		{"config nonsense", "unknown command"},
		{"status --nonsense", "spillway status --help"},
		{"status extra", `unexpected argument "extra"`},
		{"-o yaml status", "table, json"},
		{"bypass", "on or off"},
		{"bypass maybe", "on or off"},
		{"bypass on --for never", "30m"},
		{"bypass on --for -5m", "30m"},
		{"bypass on --for 0s", "30m"},
		{"bypass off --for 5m", "bypass on only"},
		{"plan", "one bundle"},
		{"plan a b", "one bundle"},
		{"ban", "one address"},
		{"unban", "one address"},
		{"init", "one interface"},
		{"doctor a b", "one interface at most"},
		{"config schema nonsense", "host or bundle"},
		{"config example", "host, bundle or pairs"},
		{"completion powershell", "bash, zsh, fish"},
		{"history --limit -1", "--limit"},
		{"run --log-format xml", "auto, json, text"},
		{"run --log-level loud", "level"},
		{"demo", "make demo"},
	} {
		t.Run(c.line, func(t *testing.T) {
			s := newShell(t)
			s.want(exitUsage, strings.Fields(c.line)...)
			s.wantErr(c.says)
			if s.stdout != "" {
				t.Errorf("stdout: %s", s.stdout)
			}
		})
	}
}

// Each command's help is a golden file; each says its exit codes where they are more than done or error.
func TestHelp(t *testing.T) {
	s := newShell(t)
	s.want(exitOK)
	golden(t, "help", s.stdout)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Name() == "help" || sub.Name() == "exit-codes" {
				continue
			}
			path := strings.Fields(sub.CommandPath())[1:]
			s.want(exitOK, append(path, "--help")...)
			golden(t, "help-"+strings.Join(path, "-"), s.stdout)
			for i, line := range strings.Split(s.stdout, "\n") {
				if n := len([]rune(line)); n > 84 {
					t.Errorf("%v --help, line %d has %d columns: %s", path, i+1, n, line)
				}
			}
			visit(sub)
		}
	}
	a := &app{env: s.env}
	visit(a.newRoot())
	s.want(exitOK, "help", "exit-codes")
	golden(t, "help-exit-codes", s.stdout)
	for _, name := range []string{"plan", "apply", "status", "verify", "doctor", "bypass", "rollback", "detach", "confirm",
		"reload", "ban", "unban", "bans", "events"} {
		s.want(exitOK, name, "--help")
		s.wantOut("Exit code")
	}
}

func TestCompletionKnowsLiveObjects(t *testing.T) {
	s := newShell(t)
	complete := func(args ...string) string {
		s.want(exitOK, append([]string{cobra.ShellCompRequestCmd}, args...)...)
		return s.stdout
	}
	// Without an agent the services are those of the host file.
	if got := complete("bypass", "on", "--service", ""); !strings.Contains(got, "web\n") ||
		!strings.Contains(got, "shop\n") {
		t.Errorf("services by the host file: %q", got)
	}
	a := startAgent(s)
	st := healthy()
	st.Services = st.Services[:1]
	st.Services[0].Name = "live"
	a.answer("GET /v1/status", st)
	a.answer("GET /v1/bans", &api.BanList{Envelope: api.NewEnvelope(), Bans: []api.Ban{{Prefix: "203.0.113.7/32"}}})
	if got := complete("bypass", "on", "--service", ""); !strings.Contains(got, "live\n") ||
		strings.Contains(got, "shop\n") {
		t.Errorf("services by the agent: %q", got)
	}
	if got := complete("unban", ""); !strings.Contains(got, "203.0.113.7/32\n") {
		t.Errorf("bans: %q", got)
	}
	if got := complete("bypass", ""); !strings.Contains(got, "on\n") || !strings.Contains(got, "off\n") {
		t.Errorf("words of bypass: %q", got)
	}
	if got := complete("ro"); !strings.Contains(got, "rollback") {
		t.Errorf("commands: %q", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		s.want(exitOK, "completion", shell)
		s.wantOut("spillway")
	}
}
