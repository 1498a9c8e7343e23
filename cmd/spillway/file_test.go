// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
)

func TestConfigCheck(t *testing.T) {
	s := newShell(t)
	s.want(exitOK, "config", "check", s.hostFile)
	s.wantOut("DIR/host.yaml: a sound host file: 1 interface, 2 services, observe")

	bundle := s.write("bundle.yaml", soundBundle)
	s.want(exitOK, "config", "check", bundle)
	s.wantOut("a sound bundle\n  edge ")
	s.wantOut("checked against DIR/host.yaml")
	s.want(exitOK, "config", "check", s.dir) // a folder with a bundle.yaml
	s.wantOut("a sound bundle")

	// Recognised by its content, whatever its name and its faults.
	odd := s.write("odd.yaml", strings.Replace(soundBundle, "score: 100", "score: 1000", 1))
	_, refused := config.LoadBundle(odd, nil, config.BundleOptions{})
	s.want(exitError, "config", "check", odd)
	if want := strings.ReplaceAll(refused.Error(), s.dir, "DIR"); !strings.HasPrefix(s.stderr, want) {
		t.Errorf("stderr is\n%swant\n%s", s.stderr, want)
	}
	s.wantErr("a bundle, 1 fault")
	s.want(exitError, "config", "check", odd, "-o", "json")
	var reply checked
	if err := json.Unmarshal([]byte(s.stdout), &reply); err != nil || reply.OK || reply.Kind != kindBundle ||
		reply.Faults.Total != 1 {
		t.Errorf("check in JSON: %v\n%s", err, s.stdout)
	}
	host := s.write("bundle-host.yaml", "version: 1\ninterfaces: []\nservices: []\nmax_mode: attack\n")
	s.want(exitError, "config", "check", host)
	s.wantErr("a host file, ")

	s.want(exitError, "config", "check", filepath.Join(s.dir, "none.yaml"))
	s.wantErr("no such file")

	// What was done to the rows of a list is told.
	s.write("feed.txt", "198.51.100.1/24\n::ffff:203.0.113.9\n")
	listed := s.write("listed.yaml", "version: 1\nname: listed\nrules: [{id: a, label: a, score: 9}]\nfeatures:\n"+
		"  prefixes: [{list: feed, rule: a, third_party: true, file: feed.txt}]\n")
	s.want(exitOK, "config", "check", listed)
	s.wantOut("list feed: 2 rows, 2 prefixes: 1 row masked to its length, 1 row of IPv4 in IPv6")
	s.want(exitOK, "config", "check", listed, "-o", "json")
	s.wantOut(`"masked": 1`)

	// A policy for a service that the host file does not have.
	s.write("bundle.yaml", soundBundle+"  services: {nowhere: {drop: 80}}\n")
	s.want(exitError, "config", "check", bundle)
	s.wantErr("nowhere")
}

func TestExamplesAreSound(t *testing.T) {
	s := newShell(t)
	delete(s.vars, configEnv) // a host without a host file
	to := filepath.Join(s.dir, "example")
	s.want(exitOK, "config", "example", "bundle", "--dir", to)
	s.want(exitOK, "config", "check", to)
	s.want(exitError, "config", "example", "bundle", "--dir", to)
	s.wantErr("exists already")
	s.want(exitOK, "config", "example", "pairs")
	s.want(exitOK, "config", "check", s.write("pairs.yaml", s.out.String()))
	s.want(exitOK, "config", "example", "host")
	s.want(exitOK, "config", "check", s.write("h.yaml", s.out.String()))
	for _, kind := range []string{"host", "bundle"} {
		s.want(exitOK, "config", "schema", kind)
		if !json.Valid([]byte(s.stdout)) {
			t.Errorf("schema of %s is no JSON", kind)
		}
	}
}

// anInterface is one of this machine that is not loopback; lo where there is no other.
func anInterface(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			return i.Name
		}
	}
	return "lo"
}

func TestInit(t *testing.T) {
	s := newShell(t)
	iface := anInterface(t)
	path := filepath.Join(s.dir, "etc", "spillway.yaml")
	s.vars["SSH_CONNECTION"] = "198.51.100.7 54321 192.0.2.10 22"
	s.want(exitOK, "init", iface, "--output", path)
	s.wantOut("observe")
	host, err := config.LoadHost(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(host.Allowlist) != 1 || host.Allowlist[0].Prefix.String() != "198.51.100.7/32" {
		t.Errorf("allowlist is %v, want the SSH peer", host.Allowlist)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	delete(s.vars, "SSH_CONNECTION")
	s.want(exitError, "init", iface, "--output", path)
	s.wantErr("--force")
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("a refused init changed the file")
	}
	s.want(exitOK, "init", iface, "--output", path, "--force")
	s.wantErr("add the addresses you administer from")
	if after, _ := os.ReadFile(path); string(after) == string(before) {
		t.Error("--force left the file as it was")
	}
	s.want(exitOK, "init", iface, "--output", "-")
	if _, err := config.ParseHost("stdout", s.out.Bytes()); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "etc", ".spillway-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
	s.want(exitError, "init", "no-such-device0")
	s.wantErr("there is no interface")
}

func TestDoctor(t *testing.T) {
	s := newShell(t)
	s.want(exitDegraded, "doctor", "no-such-device0")
	s.wantOut("✗ fault")
	s.wantOut("there is no such interface")
	s.want(exitDegraded, "doctor", "no-such-device0", "-o", "json")
	var reply struct {
		SchemaVersion int
		OK            bool
		Faults        int
	}
	if err := json.Unmarshal([]byte(s.stdout), &reply); err != nil || reply.OK || reply.Faults == 0 ||
		reply.SchemaVersion != 1 {
		t.Errorf("doctor in JSON: %v\n%s", err, s.stdout)
	}
}
