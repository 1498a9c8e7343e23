// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

func TestReload(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	publishes := r.machine.did("Publish")
	next := strings.ReplaceAll(hostYAML, "enforce", "observe")
	next = strings.ReplaceAll(next, "[{name: eth0}]", "[{name: eth1}]")
	next = strings.ReplaceAll(next, "  - {name: dns, port: 53, kind: udp}\n", "  - {name: api, port: 8443, kind: tls}\n")
	r.writeHost(next)
	h, err := config.LoadHost(r.hostPath())
	if err != nil {
		t.Fatal(err)
	}
	r.fake.next = h
	c, err := r.Reload(ctx, root, api.ReloadRequest{Reason: "new mode"})
	if err != nil {
		t.Fatal(err)
	}
	r.wantLine("reload done")
	if r.machine.did("Publish") != publishes+1 || r.machine.control.Mode != bpf.ModeObserve {
		t.Errorf("%d publishes, mode %v", r.machine.did("Publish")-publishes, r.machine.control.Mode)
	}
	r.wantRoles("two", "", "one")
	if len(r.machine.links) != 1 || r.machine.links["eth1"] == "" || len(c.Details) < 2 {
		t.Errorf("links %v, details %v", r.machine.links, c.Details)
	}
	s, _ := r.Status(ctx)
	if s.State != api.StateObserving || s.Protected || !s.Interfaces[0].Decides || s.Services[1].Name != "api" ||
		s.MaxMode != "observe" {
		t.Errorf("%+v", s)
	}
	r.pass(10 * time.Minute)
	if r.knownGood() != "" || r.state().BakeUntil.IsZero() { // the host observes now: the bake waits
		t.Error("a reload ends the bake, or lets it end where nothing is enforced")
	}
}

// A reload that fails anywhere changes nothing.
func TestReloadIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	control := r.machine.control
	two := strings.ReplaceAll(hostYAML, "[{name: eth0}]", "[{name: eth0}, {name: eth1}, {name: eth2}]")
	two = strings.ReplaceAll(two, "enforce", "observe")
	for _, row := range []struct {
		name, yaml, call, code string
		err                    error
	}{
		{"faults", "version: 1\nports: 3\n", "", api.CodeRefused, nil},
		{"capacity", strings.ReplaceAll(hostYAML, "prefixes_v4: 1000", "prefixes_v4: 2000"), "", api.CodeRefused, nil},
		{"attach mode", strings.ReplaceAll(hostYAML, "{name: eth0}", "{name: eth0, attach: generic}"), "",
			api.CodeRefused, nil},
		{"second interface", two, "Attach eth2", api.CodeRefused, loader.ErrForeignProgram},
		{"host", two, "BuildHost", "", errors.New("no memory")},
		{"bundle", two, "Build", "", unix.ENOMEM},
		{"bundle for a new service", strings.ReplaceAll(two, "name: dns", "name: api"), "Build",
			api.CodeRefused, loader.ErrCapacity},
		{"publish", two, "Publish", "", errors.New("conflict")},
	} {
		r.writeHost(row.yaml)
		r.machine.fail = map[string]error{row.call: row.err}
		_, err := r.Reload(ctx, root, api.ReloadRequest{})
		if err == nil {
			t.Fatalf("%s: no error", row.name)
		}
		if row.code != "" {
			wantCode(t, err, row.code)
		}
		r.machine.fail = map[string]error{}
		if r.machine.control != control || len(r.machine.links) != 1 || r.agent.host.Host() != r.host {
			t.Errorf("%s: control %+v, links %v, another host file %v", row.name, r.machine.control, r.machine.links,
				r.agent.host.Host() != r.host)
		}
	}
	r.writeHost(two)
	r.machine.fail["Attach eth2"] = loader.ErrNoDevice
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Errorf("an interface that comes later: %v", err)
	}
}
