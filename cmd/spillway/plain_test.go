// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
)

// hostile does things to a terminal: it clears the screen, colours, conceals, sets the title, and turns the direction.
const hostile = "\x1b[2J\x1b[31mX\x1b[8m\x1b]0;t\x07\u009b31m\u202e\x7f\x00\r"

// poison puts hostile behind every text of a value, and fills what is empty.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		poison(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(now.Add(time.Hour)))
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != reflect.TypeFor[*api.Error]() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		poison(key)
		poison(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(v.String() + hostile)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Uint16:
		v.SetUint(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

func poisoned[T any](v *T) *T {
	poison(reflect.ValueOf(v))
	return v
}

// safeOutput fails for anything in an output that could do something.
func safeOutput(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: no UTF-8: %q", what, text)
	}
	for _, r := range text {
		if api.Unsafe(r) && r != '\n' && r != '\t' {
			t.Errorf("%s: %U is printed raw: %q", what, r, text)
			return
		}
	}
}

// F9: whatever text of whatever reply has an escape in it, none reaches the terminal; and the JSON says what it was.
func TestF9NothingFromOutsideIsPrintedRaw(t *testing.T) {
	s := newShell(t)
	bundle := s.write("bundle.yaml", soundBundle)
	a := startAgent(s)
	rollout := poisoned(&api.Rollout{State: "done"})
	replies := map[string]any{
		"GET /v1/status": poisoned(healthy()), "GET /v1/verify": poisoned(&api.Verification{}),
		"GET /v1/history": poisoned(&api.History{}), "GET /v1/bans": poisoned(&api.BanList{}),
		"GET /v1/rollouts": &api.RolloutList{Rollouts: []api.Rollout{{ID: "7", State: api.RolloutWaiting}}},
		"POST /v1/plan":    poisoned(samplePlan()), "POST /v1/rollouts": rollout,
		"POST /v1/rollouts/7/confirm": poisoned(&api.Change{}), "POST /v1/rollback": poisoned(&api.Change{}),
		"POST /v1/reload": poisoned(&api.Change{}),
		"POST /v1/bypass": poisoned(&api.Change{}), "POST /v1/bans": poisoned(&api.Change{}),
		"DELETE /v1/bans/203.0.113.7": poisoned(&api.Change{}),
		"GET /v1/events":              []api.Event{*poisoned(&api.Event{})},
	}
	commands := [][]string{{"status"}, {"verify"}, {"history"}, {"bans"}, {"plan", bundle}, {"apply", bundle, "--yes"},
		{"confirm"}, {"rollback"}, {"reload"},
		{"bypass", "on"}, {"ban", "203.0.113.7"}, {"unban", "203.0.113.7"}, {"events"}}
	run := func(what string) {
		for _, args := range commands {
			for _, format := range []string{"table", "json"} {
				s.run(append(args, "-o", format)...)
				safeOutput(t, what+" "+strings.Join(args, " ")+", stdout", s.stdout)
				safeOutput(t, what+" "+strings.Join(args, " ")+", stderr", s.stderr)
				if s.stdout+s.stderr == "" {
					t.Errorf("%s %v printed nothing", what, args)
				}
			}
		}
	}
	for key, reply := range replies {
		a.answer(key, reply)
	}
	run("replies")
	var st api.Status
	s.run("status", "-o", "json")
	if err := json.Unmarshal([]byte(s.stdout), &st); err != nil ||
		!reflect.DeepEqual(st.Services, replies["GET /v1/status"].(*api.Status).Services) {
		t.Errorf("the JSON does not say what it was: %v, %+v", err, st.Services)
	}
	refusal := poisoned(&api.Error{})
	refusal.Status, refusal.Code = 409, api.CodeHeld
	for key := range replies {
		a.answer(key, refusal)
	}
	run("refusals")
	refusal.Faults = poisoned(&api.FaultReport{List: []yaml.Fault{{File: "bundle.yaml", Line: 1}}})
	refusal.Code = api.CodeRefused
	run("faults")
}

// Files and arguments come from outside too.
func TestF9FilesAndArgumentsAreNotPrintedRaw(t *testing.T) {
	s := newShell(t)
	name := "bundle\x1b[31m\u202e.yaml"
	path := s.write(name, strings.Replace(soundBundle, "name: edge", "name: \"ed\x1b[31mge\"", 1))
	for _, args := range [][]string{{"config", "check", path}, {"plan", path}, {"apply", path},
		{"config", "check", path + "\x1b[2J"}, {"ban", hostile[1:]}, {hostile[:4]}, {"ban", "x", hostile[:6]},
		{"bypass", hostile[:5]}, {"status", "-o", "\x1b[2J"}, {"unban", "\x1b[2J"},
		{"history", "-n", "\x1b[2J"}, {"--\x1b[2J"}} {
		s.run(args...)
		safeOutput(t, strings.Join(args, " "), s.stdout)
		safeOutput(t, strings.Join(args, " "), s.stderr)
		if s.stdout+s.stderr == "" {
			t.Errorf("%q printed nothing", args)
		}
	}
}

// F9: a reason that the agent would refuse is not sent, and no emergency command works with one.
func TestF9ReasonsOfTheCommandLine(t *testing.T) {
	s := newShell(t)
	bundle := s.write("bundle.yaml", soundBundle)
	a := startAgent(s)
	for _, reason := range []string{"\x1b[2J", "two\nlines", strings.Repeat("x", 501), "\xff", "\u202ex"} {
		for _, args := range [][]string{{"apply", bundle, "--yes", "--reason"}, {"apply", bundle, "--yes", "--accept"},
			{"confirm", "--reason"}, {"rollback", "--reason"}, {"reload", "--reason"},
			{"bypass", "on", "--reason"}, {"ban", "203.0.113.7", "--reason"}, {"unban", "203.0.113.7", "--reason"},
			{"detach", "--yes", "--reason"}} {
			s.want(exitUsage, append(args, reason)...)
			safeOutput(t, strings.Join(args, " "), s.stderr)
		}
	}
	if len(a.asked) > 0 {
		t.Errorf("the agent was asked %v", a.asked)
	}
}

// The writer changes nothing that is plain, wherever a write ends, and keeps the colours of show.
func TestPlainWriter(t *testing.T) {
	for _, c := range []struct {
		colour   bool
		in, want string
	}{
		{false, "plain\ttext\né 日本 ✓\n", "plain\ttext\né 日本 ✓\n"},
		{true, "\x1b[1;31mbad\x1b[0m", "\x1b[1;31mbad\x1b[0m"},
		{false, "\x1b[1;31mbad\x1b[0m", `\u001b[1;31mbad\u001b[0m`},
		{true, "\x1b[8mhidden\x1b]0;t\a", `\u001b[8mhidden\u001b]0;t\u0007`},
		{true, "\xff\u202e\u009b", `\xff\u202e\u009b`},
	} {
		for split := range len(c.in) + 1 {
			if c.colour && split > 0 {
				break // a colour is written in one piece
			}
			var out bytes.Buffer
			w := &plainWriter{to: &out, colour: c.colour}
			for _, part := range []string{c.in[:split], c.in[split:]} {
				if _, err := w.Write([]byte(part)); err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != c.want {
				t.Errorf("%q at %d: got %q, want %q", c.in, split, out.String(), c.want)
			}
		}
	}
	broken := &plainWriter{to: failing{}}
	if _, err := broken.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("an error of the writer behind it: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }
