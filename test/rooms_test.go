// SPDX-License-Identifier: Apache-2.0

package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a struct of a room may have: more is a house without walls.
const (
	fieldsMost = 15
	locksMost  = 3
)

// tooLarge counts the fields and locks of a struct.
func tooLarge(s *ast.StructType) (fields, locks int, large bool) {
	for _, f := range s.Fields.List {
		n := max(len(f.Names), 1)
		fields += n
		if sel, ok := f.Type.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Mutex" || sel.Sel.Name == "RWMutex") {
			locks += n
		}
	}
	return fields, locks, fields > fieldsMost || locks > locksMost
}

// structsOf calls found for each struct of a folder's files that are no tests.
func structsOf(t *testing.T, dir string, found func(name string, s *ast.StructType)) {
	t.Helper()
	files, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") }) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					found(spec.Name.Name, s)
				}
			}
			return true
		})
	}
}

// The files of the state folder are left out: a record has what its file has.
func TestStructsOfRoomsAreSmall(t *testing.T) {
	for _, room := range slices.Concat(rooms[1:]...) {
		seen := 0
		structsOf(t, filepath.Join("../userspace", room), func(name string, s *ast.StructType) {
			seen++
			if fields, locks, large := tooLarge(s); large {
				t.Errorf("userspace/%s: %s has %d fields and %d locks; at most %d and %d: give a noun of it its own struct", room, name, fields, locks, fieldsMost, locksMost)
			}
		})
		if seen == 0 {
			t.Errorf("no struct of %s was looked at", room)
		}
	}
}

// The rule itself must be able to fail.
func TestLargeStructsAreFound(t *testing.T) {
	for text, large := range map[string]bool{
		"struct { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o int }":    false,
		"struct { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p int }": true,
		"struct { a, b, c sync.Mutex }":                                 false,
		"struct { a, b, c sync.Mutex; d sync.RWMutex }":                 true,
	} {
		e, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, got := tooLarge(e.(*ast.StructType)); got != large {
			t.Errorf("%s: too large %t, want %t", text, got, large)
		}
	}
}
