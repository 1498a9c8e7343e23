// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/test/support/fresh"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
)

// A01: a list as long as the host has room for is taken, and one that is longer is refused, by however much: for any
// size. The base has one row.
func TestA01SizesBeyondTheRoom(t *testing.T) {
	e := on(t)
	seed := fresh.Number(t, "SPILLWAY_SEED", rand.Uint64())
	r := rand.New(rand.NewPCG(seed, 1))
	sizes := []int{1, room - 2, room - 1, room, room + 1, 2 * room, 100 * room}
	for range 12 {
		sizes = append(sizes, 1+r.IntN(3*room))
	}
	for _, n := range sizes {
		p, answer := e.plan(t, e.feed(t, rowsOf(n), ""))
		switch fits := n+1 <= room; {
		case fits && (answer != nil || p.Added < n):
			t.Errorf("seed %d: %d rows: %+v, %s", seed, n, p, tell(answer))
		case !fits:
			faults(t, fmt.Sprintf("seed %d: %d rows", seed, n), answer, yaml.CodeCapacity)
		}
	}
	for _, n := range []int{room, 2 * room, 100 * room} {
		faults(t, fmt.Sprintf("apply of %d rows", n), e.refused(t, e.feed(t, rowsOf(n), "")), yaml.CodeCapacity)
	}
	e.inForceWith(t, e.feed(t, rowsOf(room-1), ""))
}

// A02: any row that stands twice refuses the bundle, each of them is counted, and the fault names the first.
func TestA02RowsTwice(t *testing.T) {
	e := on(t)
	rows := rowsOf(40)
	for i, row := range rows {
		what := fmt.Sprintf("row %d twice", i+1)
		_, answer := e.plan(t, e.feed(t, append(rowsOf(40), row), ""))
		if n := faults(t, what, answer, yaml.CodeDuplicate); n != 1 || !strings.Contains(answer.Faults.List[0].Problem, row) {
			t.Errorf("%s: %d faults: %s", what, n, tell(answer))
		}
	}
	all := e.refused(t, e.feed(t, append(rowsOf(40), rows...), ""))
	if n := faults(t, "every row twice", all, yaml.CodeDuplicate); n != 40 {
		t.Errorf("every row twice: %d faults", n)
	}
}

// A03: an upload that ends early, at any byte, is no bundle.
func TestA03UploadsCutShort(t *testing.T) {
	e := on(t)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	options, err := w.CreateFormField("options")
	world.Must(t, err)
	_, err = io.WriteString(options, "{}")
	world.Must(t, err)
	bundle, err := w.CreateFormFile("bundle", "bundle.tar")
	world.Must(t, err)
	_, err = e.feed(t, rowsOf(9), "").WriteTo(bundle)
	world.Must(t, err)
	world.Must(t, w.Close())
	post := func(body []byte, length int) int {
		conn, err := net.Dial("unix", e.Socket())
		world.Must(t, err)
		defer conn.Close()
		world.Must(t, conn.SetDeadline(time.Now().Add(ahead)))
		_, err = fmt.Fprintf(conn, "POST /v1/plan HTTP/1.1\r\nHost: spillway\r\nConnection: close\r\nContent-Type: %s\r\n"+
			"Content-Length: %d\r\n\r\n%s", w.FormDataContentType(), length, body)
		world.Must(t, err)
		world.Must(t, conn.(*net.UnixConn).CloseWrite())
		return answered(conn)
	}
	whole := body.Bytes()
	if status := post(whole, len(whole)); status != http.StatusOK {
		t.Fatalf("the whole upload: status %d", status)
	}
	stride := len(whole)/150 + 1
	for n := 0; n < len(whole); n += stride {
		// The end of the body as announced, and of one that says that it is all.
		for _, length := range []int{len(whole), n} {
			if status := post(whole[:n], length); status == http.StatusOK {
				t.Errorf("%d of %d bytes, %d announced, are a bundle", n, len(whole), length)
			}
		}
	}
}

// answered is the status of an HTTP answer; 0 is none.
func answered(r io.Reader) (status int) {
	text, _ := io.ReadAll(io.LimitReader(r, 4096))
	_, _ = fmt.Sscanf(string(text), "HTTP/1.1 %d", &status)
	return status
}

// A04: a list that grows or shrinks by more than guards.max_change waits for a person, one that does not and one of few
// rows do not.
func TestA04SuddenGrowthAndShrinkage(t *testing.T) {
	e := on(t)
	held(t, "a list out of nothing", e.refused(t, e.feed(t, rowsOf(100), "")), "growth")
	if p, answer := e.plan(t, e.feed(t, rowsOf(9), "")); answer != nil || len(p.Holds) > 0 {
		t.Errorf("a list of few rows: %+v, %s", p, tell(answer))
	}
	e.inForceWith(t, e.feed(t, rowsOf(100), ""))
	with := e.word(t)
	for _, c := range []struct {
		rows int
		hold string
	}{{129, ""}, {130, ""}, {131, "growth"}, {71, ""}, {70, ""}, {69, "shrink"}, {1, "shrink"}} {
		p, answer := e.plan(t, e.feed(t, rowsOf(c.rows), ""))
		if answer != nil || (len(p.Holds) > 0) != (c.hold != "") || c.hold != "" && p.Holds[0].Code != c.hold {
			t.Errorf("100 to %d rows: %+v, %s, want %q", c.rows, p, tell(answer), c.hold)
		}
		if c.hold != "" {
			held(t, fmt.Sprintf("apply of 100 to %d rows", c.rows), e.refused(t, e.feed(t, rowsOf(c.rows), "")), c.hold)
		}
	}
	if e.word(t) != with {
		t.Error("what was held is in force")
	}
}

// everyField is a bundle with each kind of field.
const everyField = `version: 1
name: edge
rules:
  - id: one
    label: first
    score: 60
    note: a note
    expires: 2037-01-01T00:00:00Z
  - id: two
    label: second
    score: 50
  - id: three
    label: third
    verdict: tag
features:
  prefixes:
    - list: own
      rule: one
      third_party: true
      entries: [198.19.0.0/24]
  tcp:
    - rule: two
      muonfp: "1024:2:1461:"
  ja4:
    - rule: two
      match: "*_85036bcba153_c9e58cc61e36"
      stable: true
  p0f:
    - rule: two
      signature: "4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"
  reasons:
    - rule: one
      reason: fragment
  pairs:
    - rule: three
      tcp: windows
      tls: safari
policy:
  default:
    drop: 80
    fragments: pass
  services:
    web:
      drop: 90
      reset: 95
      tag: 30
      limit: 70
      rate:
        connections: 30/m
        burst: 20
        by: source
        over: drop
        shared: 4
intent:
  expects:
    new_blocks: 6%
    by: [first]
`

// A07: whatever stands in any field instead of its value, the agent takes the bundle or says where it is wrong.
func TestA07EveryFieldBlankMissingAndExtreme(t *testing.T) {
	e := on(t)
	if _, answer := e.plan(t, e.file(t, everyField)); answer != nil {
		t.Fatalf("the bundle itself: %s", tell(answer))
	}
	lines := strings.SplitAfter(everyField, "\n")
	tried, refused := 0, 0
	for i, line := range lines {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(value) == "" {
			continue
		}
		broken := []string{""} // the line is missing
		for _, v := range []string{"", `""`, "null", "-1", ".nan", "0", "99999999999999999999", "[]", "{}"} {
			broken = append(broken, key+": "+v+"\n")
		}
		for _, b := range broken {
			text := strings.Join(lines[:i], "") + b + strings.Join(lines[i+1:], "")
			tried++
			_, answer := e.plan(t, e.file(t, text))
			if answer == nil {
				continue
			}
			refused++
			if answer.Code != api.CodeRefused || answer.Faults == nil || answer.Faults.Total == 0 ||
				answer.Faults.List[0].Line == 0 && answer.Faults.List[0].Path == "" {
				t.Errorf("line %d as %q: %s", i+1, b, tell(answer))
			}
		}
	}
	if refused < tried/2 {
		t.Errorf("of %d bundles with a broken field %d are refused", tried, refused)
	}
	blank := e.file(t, strings.Replace(everyField, "score: 60", "score:", 1))
	if answer := e.refused(t, blank); answer.Code != api.CodeRefused {
		t.Errorf("an apply: %s", tell(answer))
	}
}

// A08: what a later release may write is refused by its name, and nothing of it is used.
func TestA08WhatALaterReleaseWrites(t *testing.T) {
	e := on(t)
	faults(t, "a later version", e.refused(t, e.file(t, strings.Replace(everyField, "version: 1", "version: 2", 1))),
		yaml.CodeVersion)
	for _, c := range []struct{ what, old, new, field, code string }{
		{"a kind of feature", "features:\n", "features:\n  http3: [{rule: one, match: x}]\n", "http3", yaml.CodeUnknownField},
		{"a field of a rule", "    score: 60\n", "    score: 60\n    weight: 3\n", "weight", yaml.CodeUnknownField},
		{"a field of a policy", "    drop: 80\n", "    drop: 80\n    challenge: 90\n", "challenge", yaml.CodeUnknownField},
		{"a field of the bundle", "name: edge\n", "name: edge\naudience: [edge]\n", "audience", yaml.CodeUnknownField},
	} {
		answer := e.refused(t, e.file(t, strings.Replace(everyField, c.old, c.new, 1)))
		if faults(t, c.what, answer, c.code) != 1 || !strings.Contains(answer.Faults.List[0].Path, c.field) {
			t.Errorf("%s: %s", c.what, tell(answer))
		}
	}
}
