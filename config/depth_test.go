// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spillway/spillway/config/yaml"
)

// Many blocks are not deep: each returns over several levels at once.
func TestManyBlocksAreNotDeep(t *testing.T) {
	text := "version: 1\nname: many\nrules:\n  - {id: bad, label: bad, score: 10}\nfeatures:\n  prefixes:\n"
	for i := range 200 {
		text += fmt.Sprintf("    - list: list%d\n      rule: bad\n      entries:\n        - 198.51.%d.0/24\n", i, i)
	}
	b := mustBundle(t, text+"policy:\n  default:\n    drop: 80\n", nil)
	if len(b.Prefixes) != 200 {
		t.Errorf("%d lists, want 200", len(b.Prefixes))
	}
}

func TestDeepFilesAreRefused(t *testing.T) {
	indented := func(line string) string {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", i), line)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"mappings":            indented("a:"),
		"mappings, comments":  strings.ReplaceAll(indented("a:"), "\n", "\n# no\n"),
		"lists":               indented("-"),
		"lists in one line":   strings.Repeat("- ", 100) + "a\n",
		"lists in few lines":  strings.Repeat("- ", 20) + "a:\n" + strings.Repeat(" ", 50) + strings.Repeat("- ", 20) + "a\n",
		"flow":                strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n",
		"mappings in lists":   indented("- a:"),
		"flow between blocks": strings.ReplaceAll(indented("a:"), "\n", "\n# [\n"),
	} {
		_, err := ParseBundle("bundle.yaml", []byte(text), nil, nil, BundleOptions{})
		if f := mustFaults(t, err); !f.Has(yaml.CodeUnsupported) {
			t.Errorf("%s: %v, want too deeply nested", name, err)
		}
	}
}
