// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Every file says its licence at its top, or REUSE.toml says it.
func TestEveryFileHasALicence(t *testing.T) {
	data, err := os.ReadFile("../REUSE.toml")
	if err != nil {
		t.Fatal(err)
	}
	var annotated []string
	for _, list := range regexp.MustCompile(`(?s)path = \[(.*?)\]`).FindAllSubmatch(data, -1) {
		for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllSubmatch(list[1], -1) {
			annotated = append(annotated, string(m[1]))
		}
	}
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(out))
	if len(files) < 100 || len(annotated) < 5 {
		t.Fatalf("%d files, %d annotations", len(files), len(annotated))
	}
	used := map[string]bool{}
	for _, name := range files {
		content, err := os.ReadFile("../" + name)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content[:min(len(content), 200)], []byte("SPDX-License-Identifier")) ||
			strings.HasPrefix(name, "LICENSE") {
			continue
		}
		found := false
		for _, pattern := range annotated {
			if covers(pattern, name) {
				found, used[pattern] = true, true
			}
		}
		if !found {
			t.Errorf("%s has no SPDX line, and REUSE.toml does not name it", name)
		}
	}
	for _, pattern := range annotated {
		if !used[pattern] {
			t.Errorf("REUSE.toml names %s, which no file needs", pattern)
		}
	}
}

// covers says whether a pattern of REUSE.toml fits: * is anything but a slash, ** anything.
func covers(pattern, name string) bool {
	expression := regexp.QuoteMeta(path.Clean(pattern))
	expression = strings.ReplaceAll(expression, `\*\*`, `.*`)
	expression = strings.ReplaceAll(expression, `\*`, `[^/]*`)
	return regexp.MustCompile("^" + expression + "$").MatchString(name)
}
