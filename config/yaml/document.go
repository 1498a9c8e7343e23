// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth bounds nesting: the parser recurses, and Go cannot recover from a stack that is used up. The files here
	// are at most five deep.
	maxDepth = 32
	// maxRun bounds the keys of one mapping, the fields without a value and the documents: for each of them the parser
	// needs time by the square of their number (20,000 keys took 0.6 s, 600,000 dashes without a value 53 s).
	maxRun = 1000
)

// Document parses the one YAML document of a file. It returns nil after adding a fault.
func Document(src *Source, out *Collector) ast.Node {
	if !src.checkText(out) {
		return nil
	}
	tokens := lexer.Tokenize(src.text)
	if !checkTokens(src, tokens, out) {
		return nil
	}
	file, err := parse(tokens)
	if err != nil {
		out.Add(syntaxFault(src, err))
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			out.AddAt(src, CodeUnsupported, Place(doc.Body), "", "", "a second document in the file", "one document a file")
			return nil
		}
		body = doc.Body
	}
	if body == nil {
		out.Add(Fault{Code: CodeBlank, File: src.Name, Line: 1, Column: 1, Problem: "the file is empty",
			Valid: "a mapping that begins with version: 1"})
	}
	return body
}

// parse turns a panic of the parser into an error: a file must never stop the agent.
func parse(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the YAML parser gave up: %v", r)
		}
	}()
	// Duplicate keys are found by the decoder, which names both lines.
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func syntaxFault(src *Source, err error) Fault {
	var yerr yaml.Error
	if !errors.As(err, &yerr) || yerr.GetToken() == nil {
		return Fault{Code: CodeSyntax, File: src.Name, Problem: err.Error(), Valid: "YAML"}
	}
	f := src.Fault(CodeSyntax, tokenPlace(yerr.GetToken()), "", "", yerr.GetMessage(), "YAML")
	if strings.Contains(f.Problem, "mapping value is not allowed") {
		f.Valid = "a text that holds colons in quotes; fields of one mapping in one column"
	}
	return f
}

// notWanted names the parts of YAML that these files do without: they hide what a file says, and some are bombs.
var notWanted = map[token.Type]string{
	token.AnchorType:     "an anchor",
	token.AliasType:      "an alias",
	token.MergeKeyType:   "a merge key",
	token.TagType:        "a tag",
	token.MappingKeyType: "a complex key",
	token.DirectiveType:  "a directive",
}

// checkTokens refuses what would be refused later anyhow, before the recursive parser sees it.
func checkTokens(src *Source, tokens token.Tokens, out *Collector) bool {
	before := out.total
	var nest columns
	var depth, dashes, keys, empty, documents, line int
	for _, tk := range tokens {
		at := tokenPlace(tk)
		if what, bad := notWanted[tk.Type]; bad {
			out.AddAt(src, CodeUnsupported, at, "", tk.Value, what+" is not used here",
				"plain values; quote a text that begins with & * ! % ?")
		}
		if tk.Error != "" {
			out.AddAt(src, CodeSyntax, at, "", "", tk.Error, "YAML")
		}
		if at.Line != line {
			line, dashes = at.Line, 0
			if tk.Type != token.CommentType && depth == 0 { // neither closes what is around it
				nest.begin(at.Column)
			}
		} else if tk.Type == token.SequenceEntryType {
			nest.enter(at.Column)
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth, keys = depth+1, 0
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			dashes, keys = dashes+1, 0
		case token.MappingValueType:
			keys++
		case token.DocumentHeaderType, token.DocumentEndType:
			documents++
		}
		if valueless(tk) {
			empty++
		}
		if depth > maxDepth || dashes > maxDepth || len(nest) > maxDepth {
			out.AddAt(src, CodeUnsupported, at, "", "", "too deeply nested", fmt.Sprintf("at most %d levels", maxDepth))
			return false
		}
		if what := tooMany(keys, empty, documents); what != "" {
			out.AddAt(src, CodeUnsupported, at, "", "", "too many "+what, fmt.Sprintf("at most %d", maxRun))
			return false
		}
	}
	return out.total == before
}

// columns are those of the block collections that are open, from the outside in. (The lexer's own IndentLevel grows
// with every return over several levels: thirty blocks of three levels were 32 deep to it.)
type columns []int

// begin closes the collections that a line leaves, whose first token stands in the column.
func (c *columns) begin(column int) {
	for n := len(*c); n > 0 && (*c)[n-1] > column; n-- {
		*c = (*c)[:n-1]
	}
	c.enter(column)
}

// enter opens a collection, unless one stands there.
func (c *columns) enter(column int) {
	if n := len(*c); n == 0 || (*c)[n-1] < column {
		*c = append(*c, column)
	}
}

func tooMany(keys, empty, documents int) string {
	switch {
	case keys > maxRun:
		return "keys in one mapping"
	case empty > maxRun:
		return "fields without a value"
	case documents > maxRun:
		return "documents"
	}
	return ""
}

// valueless reports whether nothing stands behind a dash or a colon. It may take a value for nothing, so it serves to
// count only.
func valueless(tk *token.Token) bool {
	if tk.Type != token.SequenceEntryType && tk.Type != token.MappingValueType {
		return false
	}
	next := tk.Next
	for next != nil && next.Type == token.CommentType {
		next = next.Next
	}
	if next == nil {
		return true
	}
	switch next.Type {
	case token.CollectEntryType, token.MappingEndType, token.SequenceEndType, token.DocumentHeaderType,
		token.DocumentEndType:
		return true
	}
	start := tk
	if tk.Type == token.MappingValueType && tk.Prev != nil {
		start = tk.Prev
	}
	if next.Position.Line == tk.Position.Line {
		return false
	}
	if tk.Type == token.MappingValueType && next.Type == token.SequenceEntryType {
		return next.Position.Column < start.Position.Column
	}
	return next.Position.Column <= start.Position.Column
}

// Place returns where a node begins.
func Place(n ast.Node) Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return Place(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return Place(n.Key)
	}
	return tokenPlace(n.GetToken())
}

func tokenPlace(tk *token.Token) Position {
	if tk == nil || tk.Position == nil {
		return Position{1, 1}
	}
	return Position{max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}
