// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"errors"
	"io"

	"github.com/spillway/spillway/config/yaml"
)

var byteOrderMark = []byte("\ufeff")

// sniffed is how much of a file's beginning is looked at before it is read.
const sniffed = 512

// packed are the files that are no text, by their first bytes.
var packed = []struct{ magic, is, valid string }{
	{"\x1f\x8b", "compressed by gzip", "the file that gunzip makes of it"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd", "the file that unzstd makes of it"},
	{"\xfd7zXZ\x00", "compressed by xz", "the file that unxz makes of it"},
	{"BZh", "compressed by bzip2", "the file that bunzip2 makes of it"},
	{"PK\x03\x04", "a zip archive", "the list that is in it"},
	{"7z\xbc\xaf", "a 7z archive", "the list that is in it"},
	{"%PDF", "a PDF document", "the list as text"},
	{"\xff\xfe", "UTF-16 text", "the file as UTF-8: iconv -f UTF-16 -t UTF-8"},
	{"\xfe\xff", "UTF-16 text", "the file as UTF-8: iconv -f UTF-16 -t UTF-8"},
}

// begin refuses a file whose beginning is that of another kind of file.
func (s *source) begin(as Format) error {
	head, err := s.r.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return sniff(head, as)
}

// sniff says what a file is by its first bytes; nil where it may be of the format.
func sniff(head []byte, as Format) error {
	at := yaml.Position{Line: 1, Column: 1}
	for _, p := range packed {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return &Misfit{At: at, Problem: "the file is " + p.is, Valid: p.valid}
		}
	}
	if wide(head) {
		return &Misfit{At: at, Problem: "the file is UTF-16 text", Valid: "the file as UTF-8: iconv -f UTF-16 -t UTF-8"}
	}
	text := bytes.TrimPrefix(head, byteOrderMark)
	start := len(text) - len(bytes.TrimLeft(text, " \t\r\n"))
	at.Line += bytes.Count(text[:start], []byte("\n"))
	at.Column += start - bytes.LastIndexByte(text[:start], '\n') - 1
	text = text[start:]
	switch {
	case bytes.HasPrefix(text, []byte("<")):
		return &Misfit{At: at, Problem: "this is HTML or XML: mostly an error page, or the page that links to the list",
			Valid: "the list itself, as its server sends it to programs"}
	case as != JSON && beginsJSON(text):
		return &Misfit{At: at, Problem: "this is JSON", Valid: "format: json"}
	case as == JSON && len(text) > 0 && bytes.IndexByte([]byte(`{["`), text[0]) < 0:
		return &Misfit{At: at, Problem: "this is no JSON", Valid: "another format (spillway lists probe FILE says which)"}
	}
	return nil
}

// wide reports whether every other byte of what could be a line is NUL.
func wide(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	odd, even := true, true
	for i, c := range head[:8] {
		if i%2 == 0 {
			even = even && c == 0
		} else {
			odd = odd && c == 0
		}
	}
	return odd != even
}

// beginsJSON tells an object and an array of texts from a section or an address in brackets.
func beginsJSON(text []byte) bool {
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return false
	}
	next := bytes.TrimLeft(text[1:], " \t\r\n")
	return text[0] == '{' || len(next) == 0 || bytes.IndexByte([]byte(`"{[]`), next[0]) >= 0
}
