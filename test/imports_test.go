// SPDX-License-Identifier: Apache-2.0

// Package test holds what crosses packages.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/spillway/spillway"

// Layers from the bottom; a package may import its own layer and those named beside it.
var layers = map[string][]string{
	"config":    {},
	"bpf":       {},
	"loader":    {"bpf", "config"},
	"userspace": {"loader", "bpf", "config"},
	"cmd":       {"userspace", "loader", "bpf", "config"},
	"test":      {"cmd", "userspace", "loader", "bpf", "config"},
}

// restricted packages may be imported by these folders only. Everything that attaches is in one place, so that one
// review answers who can touch an interface.
var restricted = map[string][]string{
	"github.com/cilium/ebpf/link": {"loader"},
}

// goPackage is what `go list -json` tells of a package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// packages asks `go list` about packages of ours.
func packages(t *testing.T, below ...string) (all []goPackage) {
	t.Helper()
	args := []string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports"}
	for _, b := range below {
		args = append(args, module+b)
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("read the list of packages: %v", err)
		}
		all = append(all, p)
	}
}

// layerOf returns the first folder of a package of ours, or "".
func layerOf(path string) string {
	rest, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

// faultOf says why a package must not import another; "" when it may.
func faultOf(from, to string) string {
	if allowed, ok := restricted[to]; ok && !slices.Contains(allowed, layerOf(from)) {
		return from + " imports " + to + ": only " + strings.Join(allowed, ", ") + " may"
	}
	a, b := layerOf(from), layerOf(to)
	if a == "" || b == "" {
		return ""
	}
	below, known := layers[a]
	switch {
	case !known:
		return from + " is in no known layer"
	case a == "config" && b != a || a == "bpf":
		return from + " imports " + to + ": " + a + " imports none of ours"
	case a != b && !slices.Contains(below, b):
		return from + " imports " + to + ": imports run cmd, userspace, loader, then bpf and config"
	}
	return ""
}

func TestA17ImportsRunOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t, "/...") {
		seen[layerOf(p.ImportPath)] = true
		for _, to := range p.Imports {
			if fault := faultOf(p.ImportPath, to); fault != "" {
				t.Error(fault)
			}
		}
		// Tests stand in the layer of their package. They may attach: somebody must play the foreign program.
		for _, to := range append(p.TestImports, p.XTestImports...) {
			if to == p.ImportPath || restricted[to] != nil {
				continue
			}
			if fault := faultOf(p.ImportPath, to); fault != "" {
				t.Errorf("in a test, %s", fault)
			}
		}
	}
	for _, layer := range []string{"bpf", "cmd", "config", "loader", "userspace"} {
		if !seen[layer] {
			t.Errorf("no package of layer %s was looked at", layer)
		}
	}
}

// The rule itself must be able to fail.
func TestWrongImportsAreFound(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{module + "/config", module + "/bpf", false},
		{module + "/bpf", module + "/config", false},
		{module + "/config/signature", module + "/bpf", false},
		{module + "/config", module + "/config/signature", true},
		{module + "/loader", module + "/userspace/agent", false},
		{module + "/userspace/agent", module + "/cmd/spillway", false},
		{module + "/userspace/agent", "github.com/cilium/ebpf/link", false},
		{module + "/cmd/spillway", "github.com/cilium/ebpf/link", false},
		{module + "/elsewhere", module + "/config", false},
		{module + "/loader", "github.com/cilium/ebpf/link", true},
		{module + "/userspace/agent", module + "/userspace/state", true},
		{module + "/cmd/spillway", module + "/config", true},
		{module + "/config", "strings", true},
	} {
		if fault := faultOf(c.from, c.to); (fault == "") != c.allowed {
			t.Errorf("%s imports %s: fault %q, want allowed %t", c.from, c.to, fault, c.allowed)
		}
	}
}
