// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"fmt"
	"slices"
)

// finding is what a schedule showed. Only a fault is wrong; the rest is counted.
type finding struct {
	fault   string // its kind, "" for none
	detail  string
	class   string // of what was served
	late    bool   // a listed client's hello was served, and no request
	reason  string // why a listed client was served, that a policy may act on
	reading string // how what is kept of the connection that nobody blocked differs from what was served
}

func (f finding) String() string {
	s := "served " + f.class
	for _, word := range []string{f.fault, f.reason, f.reading, f.detail} {
		if word != "" {
			s += "; " + word
		}
	}
	return s
}

// Kinds of faults.
const (
	served  = "served"  // a listed client's hello reached the application, and so did its requests
	blocked = "blocked" // a block is stored of a connection that sent nothing listed
	harmed  = "harmed"  // its bytes did not reach the application, and nothing in them contradicts the rest
)

// judge plays a schedule before the service that looks on, which shows what Linux takes, and before those that block.
func (r *rig) judge(s *schedule) finding {
	r.t.Helper()
	watched := r.play(s, watchPort)
	guilty := slices.ContainsFunc(watched.lives, func(l *life) bool { return slices.Contains(r.listed, ja4Of(l.served)) })
	f := finding{class: "harmless", reading: watched.reading()}
	if guilty {
		f.class = "listed"
	} else if watched.last() == "" {
		f.class = "no hello"
	}
	for _, port := range r.guards {
		guarded := r.play(s, port)
		if guilty {
			f = r.judgeGuilty(f, s, guarded, port == strictPort)
		} else {
			f = r.judgeInnocent(f, s, watched, guarded, port == strictPort)
		}
		if f.fault != "" {
			break
		}
	}
	return f
}

// last is the fingerprint of what was served on the last connection.
func (p play) last() string {
	if n := len(p.lives); n > 0 {
		return ja4Of(p.lives[n-1].served)
	}
	return ""
}

// reading compares what is kept with what was served. What blocks nobody need not be right: whether a segment is one
// that the socket takes is asked before a block.
func (p play) reading() string {
	switch want, got := p.last(), p.ja4(); {
	case want == got:
		return ""
	case want == "":
		return "read what was not served"
	case got != "":
		return "read something else"
	}
	return "not read"
}

// judgeGuilty looks at what the application had of a listed client. That it had the hello is no harm where it had no
// more than a packet after it: the first packets finish the handshake, and no request is answered.
func (r *rig) judgeGuilty(f finding, s *schedule, guarded play, strict bool) finding {
	for _, l := range guarded.lives {
		ja4, end := helloOf(l.served)
		if !slices.Contains(r.listed, ja4) {
			continue
		}
		if len(l.served) <= end+len(request) {
			f.late = true
			continue
		}
		reason := r.reasonOf(guarded)
		if reason != "" && guarded.ja4() == "" && s.excuses(reason) && !(strict && slices.Contains(strongReasons, reason)) {
			f.reason = reason
			continue
		}
		f.fault, f.detail = served, fmt.Sprintf("%s, and %d bytes behind it; reason %q; %s", ja4,
			len(l.served)-end, reason, guarded)
	}
	return f
}

// judgeInnocent looks at what became of somebody who sent nothing listed. A strong reason may stop only who gave it.
func (r *rig) judgeInnocent(f finding, s *schedule, watched, guarded play, strict bool) finding {
	reason := r.reasonOf(guarded)
	malformed := f.class == "no hello" && ja4Of(s.stream) == ""
	if strict &&
		(malformed || reason == "hello_malformed" && f.class == "no hello" || reason == "hello_overlap" && s.contradicts() ||
			reason == "hello_hidden" && (!s.ordinary() || s.finals() > 0)) {
		return f
	}
	switch same := slices.EqualFunc(watched.lives, guarded.lives,
		func(a, b *life) bool { return bytes.Equal(a.served, b.served) }); {
	case guarded.blocked():
		f.fault, f.detail = blocked, fmt.Sprintf("reason %q; %s", reason, guarded)
	case !same && !s.contradicts(): // what contradicts itself may be dropped, as long as nothing is stored
		f.fault = harmed
		for _, p := range []play{watched, guarded} {
			for _, l := range p.lives {
				f.detail += fmt.Sprintf("[%d bytes, %v] ", len(l.served), l.ended)
			}
			f.detail += "; "
		}
		f.detail += guarded.String()
	}
	return f
}
