// SPDX-License-Identifier: Apache-2.0

package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// refused is advice that fails: the kernel takes an XDP program off by netlink only when no link holds it.
var refused = regexp.MustCompile(`ip link set.*\bxdp\w*.* off|bpftool net detach`)

// F3: nothing that is printed or documented advises what a link refuses.
func TestF3NoAdviceThatALinkRefuses(t *testing.T) {
	looked := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && strings.HasPrefix(e.Name(), ".") && e.Name() != ".." {
			return fs.SkipDir
		}
		ext := filepath.Ext(path)
		if e.IsDir() || ext != ".go" && ext != ".md" && ext != ".yml" && ext != ".golden" ||
			strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked++
		if found := refused.Find(text); found != nil {
			t.Errorf("%s advises %q", path, found)
		}
		return nil
	})
	if err != nil || looked < 300 {
		t.Errorf("looked at %d files: %v", looked, err)
	}
}
