// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// generated is a constant of an enum as bpf2go names it, bpf.DataplaneModeMODE_ENFORCE. Outside of bpf it has the name
// that bpf/constants.go gives it.
var generated = regexp.MustCompile(`\bbpf\.(Dataplane|Root|Conntrack)\w*[A-Z]_[A-Z]\w*`)

func TestConstantsOfCHaveNamesInGo(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files", "cmd/*.go", "loader/*.go",
		"userspace/*.go", "test/*.go").Output()
	if err != nil {
		t.Fatalf("list the files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		text, err := os.ReadFile("../" + name)
		if err != nil || name == "test/constants_test.go" {
			continue
		}
		for _, found := range generated.FindAllString(string(text), -1) {
			t.Errorf("%s: %s: use its name in bpf/constants.go, or give it one there", name, found)
		}
	}
	if !generated.MatchString("bpf.DataplaneModeMODE_ENFORCE") || generated.MatchString("bpf.DataplaneMapFlows") {
		t.Error("the pattern finds the wrong names")
	}
}
