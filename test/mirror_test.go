// SPDX-License-Identifier: Apache-2.0

package test

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Two lists of one number differ one day. Go has each constant of the C from the generated file, by the names in
// bpf/constants.go; what has no enum stands in bpf/names.go, where a test compares it with the headers.

// Where Go may have the name and the value of a constant in C.
var mirrorsWithReason = []struct{ folder, names, reason string }{
	{"bpf/", "", "names.go is compared with the headers by bpf/constants_test.go"},
	{"test/model/", "", "the models are written of the specifications, by nobody who looked at the C"},
	{"config/known.go", "^Class", "config imports none of ours; that the values are equal is held here"},
	{"config/signature/", "^(Window|maxHops)", "config imports none of ours; that the values are equal is held here"},
	{"userspace/fingerprint/", "^(option|scaleMax|sslv2)", "numbers of IANA, RFC 7323 and SSL 2.0, read by a second reader"},
	{"test/dataplane/ja4/", "^optionMD5$", "IANA's number of an option, as packets of tests have it"},
}

// reasonOf returns the row by which a constant may repeat the C, -1 for none.
func reasonOf(c goConstant) int {
	return slices.IndexFunc(mirrorsWithReason, func(r struct{ folder, names, reason string }) bool {
		return strings.HasPrefix(c.file, r.folder) && regexp.MustCompile(r.names).MatchString(c.name)
	})
}

func TestNoGoConstantMirrorsTheC(t *testing.T) {
	inC := constantsOfC(t)
	for name, least := range map[string]string{"RULE_CHAIN_MAX": "8", "MODE_ENFORCE": "1", "PACKET_EVENT": "8",
		"PAWS_IDLE_SECONDS": "2073600"} {
		if inC[name] != least {
			t.Errorf("%s is read as %q of the headers, and is %s", name, inC[name], least)
		}
	}
	used := map[int]bool{}
	for _, c := range constantsOfGo(t, "..") {
		for name, value := range inC {
			if !sameWords(name, c.name) {
				continue
			}
			row := reasonOf(c)
			used[row] = true
			switch {
			case row < 0 && c.value == value:
				t.Errorf("%s: %s = %s repeats %s of bpf/ by hand: take it from package bpf", c.file, c.name, value, name)
			case row >= 0 && c.value != value:
				t.Errorf("%s: %s = %s, and %s is %s in bpf/", c.file, c.name, c.value, name, value)
			}
		}
	}
	for i, r := range mirrorsWithReason {
		if !used[i] {
			t.Errorf("nothing in %s repeats the C (%s): take it out of the exceptions", r.folder, r.reason)
		}
	}
}

// The search itself must be able to fail.
func TestMirrorsAreFound(t *testing.T) {
	dir := t.TempDir()
	source := "package p\nconst ruleChainMax = 8\nconst (\n\tmodeObserve = iota\n\tmodeEnforce\n)\nconst other = bpf.X\n"
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range constantsOf(t, dir, []string{"p.go"}) {
		got = append(got, c.name+"="+c.value)
	}
	if want := []string{"modeEnforce=1", "modeObserve=0", "ruleChainMax=8"}; !slices.Equal(got, want) {
		t.Errorf("constants %v, want %v", got, want)
	}
	if !sameWords("RULE_CHAIN_MAX", "maxRuleChain") || sameWords("RULE_CHAIN_MAX", "ruleMax") {
		t.Error("the words of names are compared wrongly")
	}
}

var (
	defined    = regexp.MustCompile(`(?m)^#define\s+([A-Z][A-Z0-9_]+)\s+([^\n]+)`)
	enumerated = regexp.MustCompile(`(?s)\benum\s*\w*\s*\{(.*?)\}`)
	commented  = regexp.MustCompile(`(?s)/\*.*?\*/`)
	suffixed   = regexp.MustCompile(`\b(0x[0-9a-fA-F]+|[0-9]+)(?:ULL|UL|U|LL|L)\b`)
)

// constantsOfC reads #defines and enums of the headers: each name with its value.
func constantsOfC(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../bpf/*.[ch]")
	if err != nil || len(names) < 40 {
		t.Fatalf("%d headers, %v", len(names), err)
	}
	all, scope := map[string]string{}, types.NewPackage("c", "c")
	add := func(name, expression string) {
		v, err := types.Eval(token.NewFileSet(), scope, token.NoPos, suffixed.ReplaceAllString(expression, "$1"))
		if err != nil || v.Value == nil || v.Value.Kind() != constant.Int {
			return // a macro, or a value of the kernel's headers
		}
		scope.Scope().Insert(types.NewConst(token.NoPos, scope, name, types.Typ[types.UntypedInt], v.Value))
		all[name] = v.Value.ExactString()
	}
	for range 2 { // the second time with what stands in a later file
		for _, file := range names {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			plain := commented.ReplaceAllString(string(text), "")
			for _, m := range defined.FindAllStringSubmatch(plain, -1) {
				add(m[1], m[2])
			}
			for _, m := range enumerated.FindAllStringSubmatch(plain, -1) {
				last := "-1"
				for entry := range strings.SplitSeq(m[1], ",") {
					name, value, ok := strings.Cut(entry, "=")
					if name = strings.TrimSpace(name); name == "" {
						continue
					}
					if !ok {
						value = last + " + 1"
					}
					add(name, value)
					last = name
				}
			}
		}
	}
	return all
}

type goConstant struct{ file, name, value string }

// constantsOfGo returns what is written by hand in the Go files of the tree.
func constantsOfGo(t *testing.T, root string) []goConstant {
	t.Helper()
	out, err := exec.Command("git", "-C", root, "ls-files", "*.go").Output()
	if err != nil {
		t.Fatalf("list the files: %v", err)
	}
	files := strings.Fields(string(out))
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_bpfel.go") })
	return constantsOf(t, root, files)
}

// nobody imports nothing: what is said of another package has no value here, and so is no mirror.
type nobody struct{}

func (nobody) Import(string) (*types.Package, error) { return nil, errors.New("not asked") }

// constantsOf returns the constants of files whose value stands in their own file, sorted.
func constantsOf(t *testing.T, root string, files []string) (all []goConstant) {
	t.Helper()
	config := types.Config{Error: func(error) {}, Importer: nobody{}}
	for _, file := range files {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(root, file), nil, parser.SkipObjectResolution)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		info := types.Info{Defs: map[*ast.Ident]types.Object{}}
		_, _ = config.Check(file, set, []*ast.File{parsed}, &info)
		for id, object := range info.Defs {
			c, ok := object.(*types.Const)
			if !ok || c.Val().Kind() != constant.Int {
				continue
			}
			all = append(all, goConstant{file, id.Name, c.Val().ExactString()})
		}
	}
	slices.SortFunc(all, func(a, b goConstant) int { return strings.Compare(a.file+a.name, b.file+b.name) })
	return all
}

// sameWords reports whether two names are made of the same words, in whatever order: HELLO_MAX and maxHello.
func sameWords(c, name string) bool {
	a, b := strings.Split(strings.ToLower(c), "_"), words(name)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b) || strings.Join(strings.Split(strings.ToLower(c), "_"), "") == strings.ToLower(name)
}

// words splits a Go name.
func words(name string) (all []string) {
	begin := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		if i == len(runes) || unicode.IsUpper(runes[i]) && (!unicode.IsUpper(runes[i-1]) ||
			i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			all = append(all, strings.ToLower(string(runes[begin:i])))
			begin = i
		}
	}
	return all
}
