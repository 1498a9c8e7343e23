// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
)

// The nouns here are the test's own: the reader has never heard of them.
type shelf struct {
	Name  string         `yaml:"name" jsonschema:"required,maxLength=8"`
	Width width          `yaml:"width"`
	Books []book         `yaml:"books" jsonschema:"maxItems=3"`
	Notes notes          `yaml:"notes"`
	Seats map[string]int `yaml:"seats"`
}

type book struct {
	Title string `yaml:"title" jsonschema:"required"`
	Pages int    `yaml:"pages" jsonschema:"minimum=1,maximum=2000"`
}

func (b *book) Short() any   { return &b.Title }
func (b *book) SetDefaults() { b.Pages = 100 }

type width int

func (w *width) ReadScalar(text, _ string, _ *Limits) *Refusal {
	if text != "wide" {
		return &Refusal{Code: CodeSyntax, Problem: "is no width"}
	}
	*w = 120
	return nil
}

func (w *width) Describe(*Limits) string { return "wide" }

type notes []string

func (n *notes) ReadNode(d *Decoder, node ast.Node, path string) {
	if _, ok := node.(*ast.SequenceNode); !ok {
		d.Fault(CodeType, Place(node), path, Written(node), NameOf(path)+" are a list", "[a, b]")
		return
	}
	*n = notes{"read by itself"}
}

func read(text string) (shelf, error) {
	out := NewCollector()
	d := NewDecoder(NewSource("shelf.yaml", []byte(text)), out)
	s := shelf{Name: "before"}
	if n := Document(d.Src, out); n != nil {
		d.Into(n, &s)
	}
	return s, out.Err()
}

func TestTypesSayHowTheyAreRead(t *testing.T) {
	got, err := read("name: oak\nwidth: wide\nbooks: [first, {title: second, pages: 7}]\nnotes: [x]\nseats: {left: 2}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := shelf{"oak", 120, []book{{"first", 100}, {"second", 7}}, notes{"read by itself"}, map[string]int{"left": 2}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Nothing is lost: each thing that is wrong is a fault with its place, and what could not be read keeps its default.
func TestEveryFaultHasItsPlace(t *testing.T) {
	got, err := read(
		"name: 7\nwidth: narrow\ncolour: red\nbooks:\n  - {pages: 0}\n  - title:\nnotes: none\nseats: {a: b}\nname: x\n")
	f, ok := err.(*Faults)
	if !ok {
		t.Fatalf("got %v", err)
	}
	var places []string
	for _, fault := range f.List {
		places = append(places, fmt.Sprintf("%s %d:%d %s", fault.Code, fault.Line, fault.Column, fault.Path))
		if fault.File != "shelf.yaml" || !strings.Contains(fault.Excerpt, "^") {
			t.Errorf("%+v has no place", fault)
		}
	}
	want := []string{"type 1:7 name", "syntax 2:8 width", "unknown_field 3:1 colour", "missing 5:5 books[0].title",
		"range 5:13 books[0].pages", "null 6:11 books[1].title", "type 7:8 notes", "type 8:12 seats.a", "duplicate 9:1 name"}
	if !slices.Equal(places, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(places, "\n  "), strings.Join(want, "\n  "))
	}
	if got.Name != "before" || got.Width != 0 {
		t.Errorf("what could not be read is %+v", got)
	}
}
