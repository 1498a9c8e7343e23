// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/spillway/spillway/config/words"
)

var update = flag.Bool("update", false, "write the schemas instead of comparing them")

var schemas = []struct {
	file, title string
	value       any
	embedded    func() []byte
}{
	{"schema/host.schema.json", "Spillway host file", Host{}, HostSchema},
	{"schema/bundle.schema.json", "Spillway bundle", bundleFile{}, BundleSchema},
}

// The committed schemas are what the types say.
func TestSchemas(t *testing.T) {
	comments := readComments(t)
	for _, s := range schemas {
		want := makeSchema(t, s.value, s.title, comments)
		if *update {
			if err := os.WriteFile(s.file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(s.file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not made from the types; run go generate ./config (-types +file):\n%s", s.file, diff)
		}
		if !bytes.Equal(s.embedded(), got) {
			t.Errorf("%s is not the file that is embedded", s.file)
		}
	}
}

// makeSchema reflects a type. Scalars with a form of their own get a pattern.
func makeSchema(t *testing.T, value any, title string, comments map[string]string) []byte {
	t.Helper()
	r := jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true,
		Mapper: scalarSchema,
		LookupComment: func(typ reflect.Type, field string) string {
			text := comments[typ.Name()+"."+field]
			if typ.Kind() != reflect.Struct {
				return text
			}
			if f, ok := typ.FieldByName(field); ok { // in the file it has another name than in Go
				if rest, ok := strings.CutPrefix(text, field+" "); ok {
					text = f.Tag.Get("yaml") + " " + rest
				}
			}
			return text
		},
	}
	s := r.Reflect(value)
	s.Title = title
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func scalarSchema(t reflect.Type) *jsonschema.Schema {
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	const duration = `([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+`
	switch v := reflect.Zero(t).Interface().(type) {
	case netip.Prefix, entryText:
		return text(`^[0-9a-fA-F:.]+(/[0-9]+)?$`)
	case entryTexts:
		return &jsonschema.Schema{Type: "array", Items: scalarSchema(reflect.TypeFor[entryText]())}
	case Address:
		return text(`^(any|[0-9a-fA-F:.]+)$`)
	case time.Time:
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case time.Duration:
		return text("^" + duration + "$")
	case Timeout:
		return text("^(never|" + duration + ")$")
	case Percent:
		return text(`^[0-9]+(\.[0-9]+)? *%$`)
	case Frequency:
		return text("^[1-9][0-9]*/[smh]$")
	case words.Former:
		return text(v.Form().Pattern)
	case Threshold:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "1", Maximum: "100"}, {Const: "never"},
		}}
	case Column:
		longest := uint64(255)
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "1", Maximum: json.Number(strconv.Itoa(maxColumn))},
			{Type: "string", MaxLength: &longest},
		}}
	case Separator:
		var texts []any
		for _, one := range separators {
			texts = append(texts, one.text)
		}
		return &jsonschema.Schema{Type: "string", Enum: texts}
	case Limit:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "number"}, {Type: "string", Pattern: "^([0-9]+(\\.[0-9]+)?%|-?" + duration + ")$"},
		}}
	case AllowEntry:
		properties := jsonschema.NewProperties()
		prefix := scalarSchema(reflect.TypeFor[netip.Prefix]())
		properties.Set("prefix", prefix)
		longest := uint64(200)
		properties.Set("note", &jsonschema.Schema{Type: "string", MaxLength: &longest})
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{prefix,
			{Type: "object", Properties: properties, Required: []string{"prefix"},
				AdditionalProperties: jsonschema.FalseSchema}}}
	}
	return nil
}

// readComments returns the comments of this package's types and fields, by "Type." and "Type.Field".
func readComments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			body, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range body.Fields.List {
				for _, ident := range field.Names {
					out[spec.Name.Name+"."+ident.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
			return true
		})
	}
	return out
}

func compileSchema(t *testing.T, data []byte) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON turns YAML into what a JSON validator reads.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchemasAcceptWhatTheParserAccepts(t *testing.T) {
	host, bundle := compileSchema(t, HostSchema()), compileSchema(t, BundleSchema())
	for _, c := range []struct {
		file   string
		schema *validator.Schema
	}{{"examples/spillway.yaml", host}, {"examples/bundle.yaml", bundle}, {"examples/pairs.yaml", bundle}} {
		text, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
	}
	if err := host.Validate(asJSON(t, HostTemplate(testFacts()))); err != nil {
		t.Errorf("host template: %v", err)
	}
}

func TestSchemasRefuseWhatTheParserRefuses(t *testing.T) {
	host, bundle := compileSchema(t, HostSchema()), compileSchema(t, BundleSchema())
	for _, c := range []struct {
		text   string
		schema *validator.Schema
	}{
		{minimalHost + "extra: 1\n", host},
		{strings.Replace(minimalHost, "443", "0", 1), host},
		{strings.Replace(minimalHost, "tls", "ftp", 1), host},
		{strings.Replace(minimalHost, "version: 1", "version: 2", 1), host},
		{minimalHost + "guards: {bake: 10}\n", host},
		{minimalHost + "guards: {max_change: 30}\n", host},
		{minimalBundle + "policy: {default: {drop: 101}}\n", bundle},
		{minimalBundle + "policy: {default: {tag: 50}}\n", bundle},
		{minimalBundle + "policy: {default: {drop: 80, limit: 50, rate: {connections: 30}}}\n", bundle},
		{minimalBundle + "policy: {default: {drop: 80, limit: 50, rate: {connections: 30/d}}}\n", bundle},
		{minimalBundle + "policy: {default: {drop: 80, limit: 50, rate: {burst: 30}}}\n", bundle},
		{minimalBundle + "policy: {default: {drop: 80, limit: 50, rate: {connections: 30/m, by: fingerprint}}}\n", bundle},
		{minimalBundle + "  pairs: [{rule: bad, tcp: windows}]\n", bundle},
		{minimalBundle + "  pairs: [{rule: bad, tcp: windows, tls: windows}]\n", bundle},
		{strings.Replace(minimalBundle, "score: 100", "verdict: drop", 1), bundle},
		{strings.Replace(minimalBundle, "score: 100", "verdict: allow, score: 1", 1), bundle},
		{strings.Replace(minimalBundle, ", score: 100", "", 1), bundle},
		{strings.Replace(minimalHost, "tls}", "tls, max_verdict: ban}", 1), host},
		{strings.Replace(minimalBundle, "score: 100", "score: 101", 1), bundle},
		{strings.Replace(minimalBundle, "score: 100", "score: null", 1), bundle},
	} {
		if err := c.schema.Validate(asJSON(t, []byte(c.text))); err == nil {
			t.Errorf("the schema accepts\n%s", c.text)
		}
	}
}

// Defaults in the tags are for the schema; the ones that count are in DefaultHost.
func TestTaggedDefaultsAreTheDefaults(t *testing.T) {
	seen := 0
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Type.Kind() == reflect.Struct && (f.Tag.Get("yaml") != "" || f.Anonymous) {
				walk(v.Field(i), path+f.Name+".")
				continue
			}
			for part := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
				want, ok := strings.CutPrefix(part, "default=")
				if !ok {
					continue
				}
				seen++
				got := fmt.Sprint(v.Field(i).Interface())
				if d, ok := v.Field(i).Interface().(time.Duration); ok {
					got = shortDuration(d)
				}
				if got != want {
					t.Errorf("%s%s: default in the tag %s, in DefaultHost %s", path, f.Name, want, got)
				}
			}
		}
	}
	walk(reflect.ValueOf(*DefaultHost()), "")
	if seen < 20 {
		t.Errorf("found %d defaults in the tags, want at least 20", seen)
	}
}
