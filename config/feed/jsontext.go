// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spillway/spillway/config/yaml"
)

// errDocuments says that no document follows.
var errDocuments = errors.New("no more documents")

// jsonText reads JSON (RFC 8259) mark by mark, and knows the place of each. Token of encoding/json knows no lines,
// keeps texts of any length, takes a comma for the end of a document, and makes 800 bytes of garbage a row; its
// successor, encoding/json/jsontext, is an experiment of Go 1.26.
type jsonText struct {
	r   *bufio.Reader
	at  yaml.Position // of the next byte; the column counts bytes
	buf []byte        // the last text or word
}

func newJSONText(r *bufio.Reader) *jsonText {
	if head, err := r.Peek(len(byteOrderMark)); err == nil && string(head) == string(byteOrderMark) {
		_, _ = r.Discard(len(byteOrderMark))
	}
	return &jsonText{r: r, at: yaml.Position{Line: 1, Column: 1}}
}

func (j *jsonText) misfit(problem, valid string) error {
	return &Misfit{At: j.at, Problem: problem, Valid: valid}
}

func (j *jsonText) wrong(c byte) error {
	if c == 0 {
		return j.misfit("a NUL byte in the JSON", "text")
	}
	return j.misfit(fmt.Sprintf("%q makes no JSON here", c), "JSON documents, one or one a line")
}

func (j *jsonText) peek() (byte, error) {
	head, err := j.r.Peek(1)
	if len(head) == 0 {
		return 0, err
	}
	return head[0], nil
}

func (j *jsonText) next() (byte, error) {
	c, err := j.r.ReadByte()
	if err != nil {
		return 0, err
	}
	j.at.Column++
	if c == '\n' {
		j.at.Line, j.at.Column = j.at.Line+1, 1
	}
	return c, nil
}

// space reads white space. The end of the file is none of its errors.
func (j *jsonText) space() error {
	for {
		c, err := j.peek()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return err
		}
		if _, err := j.next(); err != nil {
			return err
		}
	}
}

// expect reads one mark, and the white space before it.
func (j *jsonText) expect(mark byte) error {
	if err := j.space(); err != nil {
		return err
	}
	c, err := j.peek()
	if err != nil {
		return err
	}
	if c != mark {
		return j.wrong(c)
	}
	_, err = j.next()
	return err
}

// members reads an object or an array from its opening mark to its closing one; each reads one member.
func (j *jsonText) members(closing byte, each func() error) error {
	if _, err := j.next(); err != nil {
		return err
	}
	for first := true; ; first = false {
		if err := j.space(); err != nil {
			return err
		}
		c, err := j.peek()
		if err != nil {
			return err
		}
		if c == closing && first {
			_, err := j.next()
			return err
		}
		if err := each(); err != nil {
			return err
		}
		if err := j.space(); err != nil {
			return err
		}
		if c, err = j.peek(); err != nil {
			return err
		}
		if c != closing && c != ',' {
			return j.wrong(c)
		}
		if _, err := j.next(); err != nil || c == closing {
			return err
		}
	}
}

// text reads a text. What it returns is valid until the next one.
func (j *jsonText) text() ([]byte, error) {
	if err := j.expect('"'); err != nil {
		return nil, err
	}
	j.buf = j.buf[:0]
	for {
		if err := j.plain(); err != nil {
			return nil, err
		}
		c, err := j.next()
		switch {
		case err != nil:
			return nil, err
		case c == '"':
			if !utf8.Valid(j.buf) {
				return nil, j.misfit("a text that is not UTF-8", "UTF-8 text")
			}
			return j.buf, nil
		case c != '\\':
			return nil, j.wrong(c)
		}
		if err := j.escape(); err != nil {
			return nil, err
		}
	}
}

// plain reads what stands in a text up to the next mark that means something.
func (j *jsonText) plain() error {
	for {
		ahead, err := j.r.Peek(max(1, j.r.Buffered()))
		if len(ahead) == 0 {
			return err
		}
		n := 0
		for n < len(ahead) && ahead[n] >= ' ' && ahead[n] != '"' && ahead[n] != '\\' {
			n++
		}
		j.buf = append(j.buf, ahead[:n]...)
		j.at.Column += n
		if _, err := j.r.Discard(n); err != nil {
			return err
		}
		if len(j.buf) > maxLine {
			return j.misfit(fmt.Sprintf("a text of more than %d bytes", maxLine), "addresses")
		}
		if n < len(ahead) {
			return nil
		}
	}
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads what follows a backslash.
func (j *jsonText) escape() error {
	c, err := j.next()
	if err != nil {
		return err
	}
	if plain, ok := escapes[c]; ok {
		j.buf = append(j.buf, plain)
		return nil
	}
	if c != 'u' {
		return j.wrong(c)
	}
	r, err := j.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		j.buf = utf8.AppendRune(j.buf, r)
		return err
	}
	// A surrogate without its other half is U+FFFD, as encoding/json has it.
	if head, err := j.r.Peek(2); err == nil && head[0] == '\\' && head[1] == 'u' {
		if more, err := j.r.Peek(6); err == nil {
			low, bad := strconv.ParseUint(string(more[2:]), 16, 16)
			if pair := utf16.DecodeRune(r, rune(low)); bad == nil && pair != utf8.RuneError {
				j.buf = utf8.AppendRune(j.buf, pair)
				j.at.Column += 6
				_, err := j.r.Discard(6)
				return err
			}
		}
	}
	j.buf = utf8.AppendRune(j.buf, utf8.RuneError)
	return nil
}

// hex reads four digits.
func (j *jsonText) hex() (rune, error) {
	var r rune
	for range 4 {
		c, err := j.next()
		if err != nil {
			return 0, err
		}
		v, bad := strconv.ParseUint(string(c), 16, 8)
		if bad != nil {
			return 0, j.wrong(c)
		}
		r = r<<4 | rune(v)
	}
	return r, nil
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// word reads a number, true, false or null. What it returns is valid until the next text.
func (j *jsonText) word() ([]byte, error) {
	j.buf = j.buf[:0]
	for {
		c, err := j.peek()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
		if err != nil || !letter || len(j.buf) > maxDepth {
			break
		}
		j.buf = append(j.buf, c)
		if _, err := j.next(); err != nil {
			return nil, err
		}
	}
	if text := string(j.buf); text == "true" || text == "false" || text == "null" || number.MatchString(text) {
		return j.buf, nil
	}
	if c, err := j.peek(); len(j.buf) == 0 && err == nil {
		return nil, j.wrong(c)
	}
	return nil, j.misfit(fmt.Sprintf("%q is no value of JSON", j.buf), "JSON documents, one or one a line")
}
