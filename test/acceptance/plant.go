// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errNotFound: the tests passed without the guard.
var errNotFound = errors.New("nothing found it")

// fits says why a fault cannot be planted any more; nil when its piece stands in the file once.
func (f fault) fits(root string) error {
	text, err := os.ReadFile(filepath.Join(root, f.file))
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), f.old); n != 1 {
		return fmt.Errorf("%s: %q stands %d times in %s, and should once: mend the table", f.what, f.old, n, f.file)
	}
	return nil
}

// plant runs the fault's tests with the guard switched off, and returns those that failed. The tree stays as it is: the
// compiler is shown another file in the place of one (go build -overlay).
func (f fault) plant(ctx context.Context, root string) ([]string, error) {
	if err := f.fits(root); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "acceptance")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shown, err := f.shown(ctx, root, dir)
	if err != nil {
		return nil, fmt.Errorf("plant %q: %w", f.what, err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": shown})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return nil, err
	}
	test := exec.CommandContext(ctx, "go", "test", "-count=1", "-vet=off", "-overlay", overlay, "-run", f.finds, "./"+f.of)
	test.Dir = root
	out, err := test.CombinedOutput()
	found := failed(string(out))
	switch {
	case err == nil:
		return nil, fmt.Errorf("%s: %w:\n%s", f.what, errNotFound, out)
	case len(found) == 0:
		return nil, fmt.Errorf("%s: it could not be planted:\n%s", f.what, out)
	}
	return found, nil
}

// shown returns which files the compiler must be shown, by the path that they stand for.
func (f fault) shown(ctx context.Context, root, dir string) (map[string]string, error) {
	here := filepath.Join(root, f.file)
	text, err := os.ReadFile(here)
	if err != nil {
		return nil, err
	}
	faulty := []byte(strings.Replace(string(text), f.old, f.new, 1))
	if f.isC() {
		return f.compiled(ctx, root, dir, faulty)
	}
	to := filepath.Join(dir, "faulty.go")
	return map[string]string{here: to}, os.WriteFile(to, faulty, 0o600)
}

// compiled makes the object of a copy of bpf/ with the faulty file, by the command that gen.go has for it.
func (f fault) compiled(ctx context.Context, root, dir string, faulty []byte) (map[string]string, error) {
	copied := filepath.Join(dir, "bpf")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(root, "bpf"))); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(copied, filepath.Base(f.file)), faulty, 0o600); err != nil {
		return nil, err
	}
	gen, err := os.ReadFile(filepath.Join(root, "bpf/gen.go"))
	if err != nil {
		return nil, err
	}
	source, object := "xdp.c", "dataplane_bpfel.o"
	if f.file == "bpf/root.c" {
		source, object = "root.c", "root_bpfel.o"
	}
	command, ok := "", false
	for line := range strings.Lines(string(gen)) {
		line, ok = strings.CutPrefix(strings.TrimSpace(line), "//go:generate ")
		if ok && strings.HasSuffix(line, " "+source) {
			command = strings.TrimSuffix(line, source) + filepath.Join(copied, source)
		}
	}
	if command == "" {
		return nil, errors.New("gen.go has no command that makes " + source)
	}
	made := filepath.Join(dir, "made")
	if err := os.Mkdir(made, 0o700); err != nil {
		return nil, err
	}
	make := exec.CommandContext(ctx, "sh", "-c", strings.Replace(command, "bpf2go ", "bpf2go -output-dir "+made+" ", 1))
	make.Dir, make.Env = root, append(os.Environ(), "GOPACKAGE=bpf")
	if out, err := make.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w:\n%s", err, out)
	}
	return map[string]string{filepath.Join(root, "bpf", object): filepath.Join(made, object)}, nil
}

// failed names the tests that failed.
func failed(out string) (names []string) {
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			names = append(names, name)
		}
	}
	return names
}
