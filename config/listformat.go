// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/spillway/spillway/config/feed"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// ListFormat says how the file of a list is written.
type ListFormat struct {
	// Format of the file: plain (one address or prefix a line), csv (one column), json (documents, or one a line) or
	// ranges (first and last address a line).
	Format feed.Format `yaml:"format" jsonschema:"enum=plain,enum=csv,enum=json,enum=ranges,default=plain"`
	// Column of the addresses in csv: its name in the header, or its number from 1.
	Column Column `yaml:"column"`
	// Separator of the columns in csv: a comma, a semicolon, a bar, tab, or space for any number of blanks.
	Separator Separator `yaml:"separator"`
	// Fields that hold addresses in json, at any depth; those of large publishers are known. An array of texts needs none.
	Fields []string `yaml:"fields" jsonschema:"minItems=1,maxItems=64"`
}

// Column is a column of a list file.
type Column feed.Column

// maxColumn is the highest number of a column.
const maxColumn = 1000

// ReadScalar reads a number from 1 on, or a name.
func (c *Column) ReadScalar(text, kind string, _ *yaml.Limits) *yaml.Refusal {
	switch n, err := strconv.Atoi(text); {
	case kind == yaml.KindInteger && (err != nil || n < 1 || n > maxColumn):
		return &yaml.Refusal{Code: yaml.CodeRange, Problem: "is out of range"}
	case kind == yaml.KindInteger:
		*c = Column{Number: n}
	case kind != yaml.KindText:
		return &yaml.Refusal{Code: yaml.CodeType, Problem: "is " + kind + ", and a name or a whole number is needed"}
	case len(text) > 255 || strings.ContainsFunc(text, unicode.IsControl):
		return &yaml.Refusal{Code: yaml.CodeSyntax, Problem: "is no name of a column"}
	default:
		*c = Column{Name: strings.TrimSpace(text)}
	}
	return nil
}

// Describe says what would be right.
func (c *Column) Describe(*yaml.Limits) string {
	return fmt.Sprintf("a name of the header, or a number of 1 to %d", maxColumn)
}

// Separator is what stands between the columns of a list file.
type Separator byte

// separators are the texts that files may have.
var separators = []struct {
	text string
	is   byte
}{{",", ','}, {";", ';'}, {"|", '|'}, {"tab", '\t'}, {"space", ' '}}

// ReadScalar reads one of the separators.
func (s *Separator) ReadScalar(text, _ string, _ *yaml.Limits) *yaml.Refusal {
	for _, one := range separators {
		if text == one.text {
			*s = Separator(one.is)
			return nil
		}
	}
	return &yaml.Refusal{Code: yaml.CodeRange, Problem: "is none of its values"}
}

// Describe says what would be right.
func (s *Separator) Describe(*yaml.Limits) string {
	var texts []string
	for _, one := range separators {
		if len(one.text) == 1 {
			texts = append(texts, strconv.Quote(one.text))
		} else {
			texts = append(texts, one.text)
		}
	}
	return words.List(texts, "or")
}

// options returns how a file of the format is read.
func (f ListFormat) options() feed.Options {
	return feed.Options{Format: f.Format, Column: feed.Column(f.Column), Separator: byte(f.Separator), Fields: f.Fields}
}

// formatKeys are those that one format alone has.
var formatKeys = []struct {
	key    string
	format feed.Format
}{{"column", feed.CSV}, {"separator", feed.CSV}, {"fields", feed.JSON}}

// checkFormat refuses keys that the file of a block does not need, and those that it lacks. It reports whether the file
// can be read.
func (l *bundleLoader) checkFormat(at string, b *prefixesFile) bool {
	if b.File == "" && !l.d.Bad[at+".file"] && l.d.IsSet(at+".format") {
		l.d.FaultAt(yaml.CodeMissing, at+".format", "", "format is for a list file, and there is none",
			"file: lists/name.csv")
	}
	for _, k := range formatKeys {
		if l.d.IsSet(at+"."+k.key) && b.Format != k.format && !l.d.Bad[at+".format"] {
			l.d.FaultAt(yaml.CodeMissing, at+"."+k.key, "", fmt.Sprintf("%s is for format: %s", k.key, k.format),
				fmt.Sprintf("format: %s, or leave %s out", k.format, k.key))
		}
	}
	if b.Format == feed.CSV && !l.d.IsSet(at+".column") {
		l.d.FaultAt(yaml.CodeMissing, at+".column", "", "format: csv without a column: nothing says where the addresses are",
			"column: and a name of the header, or the column's number from 1")
	}
	for _, key := range []string{"format", "column", "separator", "fields"} {
		if l.d.Bad[at+"."+key] {
			return false
		}
	}
	return true
}
