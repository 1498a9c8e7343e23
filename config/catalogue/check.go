// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"fmt"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/yaml"
)

func (l *loader) client(path string, c *KnownClient) {
	l.unique(path, "client", c.Name, c.Versions)
	l.obtained(path+".obtained", c.Obtained)
	first := map[signature.JA4]int{}
	for i := range c.Hellos {
		at, h := fmt.Sprintf("%s.hellos[%d]", path, i), &c.Hellos[i]
		l.hello(at, h)
		if l.d.Bad[at+".ja4"] || h.JA4 == (signature.JA4{}) {
			continue
		}
		if earlier, twice := first[h.JA4]; twice {
			l.d.FaultAt(yaml.CodeDuplicate, at+".ja4", h.JA4.String(),
				fmt.Sprintf("this JA4 is here a second time; the first is hello %d", earlier), "each JA4 once a client")
		} else {
			first[h.JA4] = i
		}
	}
}

func (l *loader) stack(path string, s *KnownStack) {
	l.unique(path, "stack", s.Name, s.Versions)
	l.obtained(path+".obtained", s.Obtained)
	if len(s.P0F)+len(s.MuonFP) == 0 && !l.d.Bad[path+".p0f"] && !l.d.Bad[path+".muonfp"] {
		l.d.FaultAt(yaml.CodeMissing, path, "", "this stack has no fingerprint", "p0f or muonfp")
	}
}

// unique refuses a name that was met before with the same versions, in this file or another.
func (l *loader) unique(path, what, name, versions string) {
	if name == "" || versions == "" {
		return
	}
	key := what + "\x00" + name + "\x00" + versions
	if at, twice := l.first[key]; twice {
		l.d.FaultAt(yaml.CodeDuplicate, path+".name", fmt.Sprintf("%q", name),
			fmt.Sprintf("the %s %s %s is here a second time; the first is %s", what, name, versions,
				at), "each name and its versions once")
		return
	}
	l.first[key] = fmt.Sprintf("%s:%d", l.d.Src.Name, l.d.Where(path+".name").Line)
}

func (l *loader) obtained(path string, o Obtained) {
	for _, f := range []struct{ how, name, value, valid string }{
		{"measured", "program", o.Program, "the program that was run, with its version and system"},
		{"measured", "command", o.Command, "the command that made it connect"},
		{"published", "source", o.Source, "who published it, and where"},
	} {
		if o.How == f.how && f.value == "" && !l.d.Bad[path+"."+f.name] {
			l.d.FaultAt(yaml.CodeMissing, path+".how", fmt.Sprintf("%q", o.How),
				fmt.Sprintf("what was %s needs the field %s", f.how, f.name), f.valid)
		}
	}
}

// hello compares the hashes with the lists that they are made of, and derives the stable JA4.
func (l *loader) hello(path string, h *KnownHello) {
	for name, j := range map[string]signature.JA4{"ja4": h.JA4, "stable": h.Stable} {
		if j != (signature.JA4{}) && (j.A == "" || j.B == "" || j.C == "") {
			l.d.FaultAt(yaml.CodeRange, path+"."+name, j.String(), "a client has no open part", "all three parts")
			return
		}
	}
	if h.Raw == "" || l.d.Bad[path+".ja4"] || l.d.Bad[path+".ja4_r"] {
		return
	}
	raw, err := signature.ParseRawJA4(h.Raw)
	if err != nil {
		l.d.FaultAt(yaml.CodeSyntax, path+".ja4_r", h.Raw, "ja4_r is none: "+err.Error(),
			"a_ciphers_extensions_algorithms; the lists sorted but for the last, four hexadecimal digits each")
		return
	}
	if made := raw.JA4(); made != h.JA4 {
		l.d.FaultAt(yaml.CodeRange, path+".ja4", h.JA4.String(), "ja4 is not made of the lists of ja4_r", made.String())
		return
	}
	stable := raw.Stable()
	if h.Stable != (signature.JA4{}) && h.Stable != stable {
		l.d.FaultAt(yaml.CodeRange, path+".stable", h.Stable.String(), "stable is not made of the lists of ja4_r",
			stable.String())
	}
	h.Stable = stable
}
