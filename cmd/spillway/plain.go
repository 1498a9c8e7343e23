// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"regexp"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
)

// plainWriter keeps what comes from outside from doing something to the terminal: a reason, a name, a fault's excerpt,
// an error of another program. What is unsafe is printed as \u001b, which JSON reads as the character that it was.
type plainWriter struct {
	to     io.Writer
	colour bool   // the colours of show may pass
	rest   []byte // the beginning of a character whose end was not written yet
}

// ownColours are those that show paints with.
var ownColours = regexp.MustCompile(`^\x1b\[(0|1|32|33|1;31)m`)

// ownColour finds them anywhere, to count columns without them.
var ownColour = regexp.MustCompile(`\x1b\[(0|1|32|33|1;31)m`)

// Write implements io.Writer.
func (p *plainWriter) Write(data []byte) (int, error) {
	text := append(p.rest, data...)
	p.rest = nil
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf && text[i] >= ' ' && text[i] != 0x7f || text[i] == '\n' || text[i] == '\t' {
			out, i = append(out, text[i]), i+1
			continue
		}
		if p.colour && text[i] == 0x1b {
			if own := ownColours.Find(text[i:]); own != nil {
				out, i = append(out, own...), i+len(own)
				continue
			}
		}
		if !utf8.FullRune(text[i:]) {
			p.rest = append([]byte{}, text[i:]...)
			break
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, text[i])
		case api.Unsafe(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	if _, err := p.to.Write(out); err != nil {
		return 0, err
	}
	return len(data), nil
}

// printPlainly puts the writers of a command behind a plainWriter. A running agent writes a log, whose handler quotes
// what it must.
func (a *app) printPlainly(c *cobra.Command) {
	if c.Name() == "run" {
		return
	}
	a.stdout = &plainWriter{to: a.stdout, colour: a.colour()}
	a.stderr = &plainWriter{to: a.stderr}
}

// textFlag is a text that goes into the history: what the agent would refuse is refused before it is sent.
type textFlag struct{ text *string }

func (f textFlag) String() string {
	if f.text == nil {
		return ""
	}
	return *f.text
}

func (textFlag) Type() string { return "string" }

func (f textFlag) Set(s string) error {
	if err := api.CheckText("the text", s); err != nil {
		return err
	}
	*f.text = s
	return nil
}
