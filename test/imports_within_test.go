// SPDX-License-Identifier: Apache-2.0

package test

import (
	"slices"
	"strings"
	"testing"
)

// within names, for each package of config and of loader, what it may import of its own layer: what a file says stands
// below what it means, and what the kernel shall hold below what puts it there.
var within = map[string][]string{
	"config/words":     {},
	"config/signature": {"config/words"},
	"config/yaml":      {"config/words"},
	"config/feed":      {"config/words", "config/yaml"},
	"config/catalogue": {"config/words", "config/signature", "config/yaml"},
	"config":           {"config/words", "config/signature", "config/yaml", "config/feed"},
	"loader/compile":   {},
	"loader/kernel":    {"loader/compile"},
	"loader/pins":      {"loader/kernel"},
	"loader/root":      {"loader/pins", "loader/kernel"},
	"loader/migrate":   {"loader/pins", "loader/kernel", "loader/compile"},
	"loader":           {"loader/root", "loader/migrate", "loader/pins", "loader/kernel", "loader/compile"},
	"loader/probe":     {"loader", "loader/compile"},
}

var layersWithin = []string{"config", "loader"}

// strayed says why a package must not import another of its own layer; "" when it may.
func strayed(from, to string) string {
	a, b := strings.TrimPrefix(from, module+"/"), strings.TrimPrefix(to, module+"/")
	allowed, known := within[a]
	switch {
	case a == "loader/compile" && strings.HasPrefix(to, "github.com/cilium/ebpf"):
		return a + " imports " + to + ": what is compiled knows no kernel"
	case layerOf(to) == "" || layerOf(from) != layerOf(to) || !slices.Contains(layersWithin, layerOf(from)):
		return ""
	case !known:
		return a + " imports " + b + ": say in `within` what it may import"
	case !slices.Contains(allowed, b):
		return a + " imports " + b + ": it may import " + strings.Join(allowed, ", ")
	}
	return ""
}

func TestImportsWithinLayersRunDown(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t, "/config/...", "/loader/...") {
		seen[strings.TrimPrefix(p.ImportPath, module+"/")] = true
		for _, to := range p.Imports {
			if fault := strayed(p.ImportPath, to); fault != "" {
				t.Error(fault)
			}
		}
	}
	for name := range within {
		if !seen[name] {
			t.Errorf("%s has a rule and was not looked at", name)
		}
	}
}

func TestWrongImportsWithinAreFound(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"config/words", "config/signature", false},
		{"config/signature", "config", false},
		{"config/elsewhere", "config", false},
		{"config/yaml", "config", false},
		{"config/yaml", "config/signature", false},
		{"config", "config/catalogue", false},
		{"config", "config/signature", true},
		{"loader", "config", true},
		{"loader/compile", "loader", false},
		{"loader", "loader/compile", true},
		{"loader/elsewhere", "loader", false},
		{"loader/migrate", "loader", false},
		{"loader/pins", "loader/migrate", false},
		{"loader/root", "loader/migrate", false},
		{"loader/migrate", "loader/root", false},
	} {
		if fault := strayed(module+"/"+c.from, module+"/"+c.to); (fault == "") != c.allowed {
			t.Errorf("%s imports %s: fault %q, want allowed %t", c.from, c.to, fault, c.allowed)
		}
	}
	if strayed(module+"/loader/compile", "github.com/cilium/ebpf") == "" {
		t.Error("what is compiled may ask the kernel")
	}
}
