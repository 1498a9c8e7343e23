// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// results are what the last runs showed; each test and fault has its latest.
type results struct {
	Date   string              `json:"date"`
	Kernel string              `json:"kernel"`
	Tests  map[string]string   `json:"tests"`  // package and name: pass, fail or skip
	Faults map[string][]string `json:"faults"` // row and number: the tests that went red; none when nothing found it
}

func readResults(path string) (results, error) {
	r := results{Tests: map[string]string{}, Faults: map[string][]string{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

func (r results) write(path string) error {
	r.Date, r.Kernel = time.Now().UTC().Format("2 January 2006"), kernelRelease()
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func kernelRelease() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// run runs the tests of a package, and notes what became of each.
func (r results) run(ctx context.Context, root string, t tests) error {
	test := exec.CommandContext(ctx, "go", "test", "-count=1", "-json", "-timeout=30m", "-run", t.pattern(), "./"+t.of)
	test.Dir, test.Stderr = root, os.Stderr
	out, err := test.Output()
	var red *exec.ExitError
	if err != nil && !errors.As(err, &red) {
		return err
	}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		var e struct{ Action, Test string }
		if json.Unmarshal(s.Bytes(), &e) == nil && !strings.Contains(e.Test, "/") && e.Test != "" &&
			(e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
			r.Tests[t.of+" "+e.Test] = e.Action
		}
	}
	return nil
}

// read takes what a run of `go test -v` said of the rows' tests: the package of a test is named after it.
func (r results) read(path string, rows []row) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	ran := map[string]string{}
	wanted := packages(rows)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case fields[0] == "---" && len(fields) > 2 && strings.HasPrefix(line, "---"):
			ran[fields[2]] = strings.ToLower(strings.TrimSuffix(fields[1], ":"))
		case fields[0] == "ok" || fields[0] == "FAIL":
			for _, t := range wanted {
				if !strings.HasSuffix(fields[1], "/spillway/"+t.of) {
					continue
				}
				for _, n := range t.names {
					if how, ok := ran[n]; ok {
						r.Tests[t.of+" "+n] = how
					}
				}
			}
			clear(ran)
		}
	}
	return nil
}
