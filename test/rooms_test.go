// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a type of a room may have: more is a house without walls.
const (
	fieldsMost  = 15
	locksMost   = 3
	methodsMost = 40
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
				t.Errorf("userspace/%s: %s has %d fields and %d locks; at most %d and %d: give a noun of it its own struct", room,
					name, fields, locks, fieldsMost, locksMost)
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

// crowded names the types of a package that are no interfaces and have too many methods, those that they get from what
// they embed included.
func crowded(pkg *types.Package) (seen int, many map[string]int) {
	many = map[string]int{}
	for _, name := range pkg.Scope().Names() {
		of, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok || of.IsAlias() || types.IsInterface(of.Type()) {
			continue
		}
		seen++
		if n := types.NewMethodSet(types.NewPointer(of.Type())).Len(); n > methodsMost {
			many[name] = n
		}
	}
	return seen, many
}

// exported finds what the packages of the rooms, and those that they import, were compiled to.
func exported(t *testing.T) func(path string) (io.ReadCloser, error) {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}",
		module+"/userspace/...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

func TestTypesOfRoomsHaveFewMethods(t *testing.T) {
	set := token.NewFileSet()
	of := importer.ForCompiler(set, "gc", exported(t))
	for _, room := range slices.Concat(rooms...) {
		found, err := filepath.Glob(filepath.Join("../userspace", room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var files []*ast.File
		for _, name := range slices.DeleteFunc(found, func(f string) bool { return strings.HasSuffix(f, "_test.go") }) {
			f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		pkg, err := (&types.Config{Importer: of}).Check(module+"/userspace/"+room, set, files, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen, many := crowded(pkg)
		if seen == 0 {
			t.Errorf("no type of %s was looked at", room)
		}
		for name, n := range many {
			t.Errorf("userspace/%s: %s has %d methods; at most %d: give a noun of it its own type", room, name, n, methodsMost)
		}
	}
}

// The rule itself must be able to fail: over a type of its own, and over what another one gives it.
func TestCrowdedTypesAreFound(t *testing.T) {
	var text strings.Builder
	text.WriteString("package p\ntype one struct{}\ntype two struct{ one }\nfunc (two) last() {}\n")
	for i := range methodsMost {
		fmt.Fprintf(&text, "func (*one) m%d() {}\n", i)
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "p.go", text.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := (&types.Config{}).Check("p", set, []*ast.File{f}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if seen, many := crowded(pkg); seen != 2 || len(many) != 1 || many["two"] != methodsMost+1 {
		t.Errorf("%d types, too many methods have %v", seen, many)
	}
}
