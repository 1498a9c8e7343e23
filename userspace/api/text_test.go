// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// unsafeTexts may do something to a terminal, a log or the record.
var unsafeTexts = map[string]string{
	"escape": "\x1b[2J", "bell": "a\a", "newline": "a\nb", "carriage return": "fine\rbad", "tab": "a\tb", "null": "a\x00b",
	"delete": "a\x7f", "CSI of C1": "\u009b31m",
	"NEL": "a\u0085b", "override": "\u202egnp.exe", "isolate": "\u2066x", "mark": "a\u200fb", "line separator": "a\u2028b",
	"long": strings.Repeat("é", 251),
}

var safeTexts = []string{"", "shop lost orders", "Größe <b>&amp;</b> \\u001b \"quoted\"", "日本語",
	strings.Repeat("x", MaxText), "👩‍💻"}

// Every text of every request is checked, whatever the door: the fields are found by reflection.
func TestF9EveryDoorRefusesUnsafeTexts(t *testing.T) {
	b := &backend{}
	c, s, _ := serve(t, b)
	doors := map[string]any{
		"POST /v1/rollouts": RolloutRequest{Remove: "x"}, "POST /v1/rollouts/{id}/confirm": Reasoned{},
		"POST /v1/rollouts/{id}/pause": Reasoned{}, "POST /v1/rollouts/{id}/resume": Reasoned{},
		"POST /v1/rollouts/{id}/abort": Reasoned{}, "POST /v1/rollouts/{id}/promote": Reasoned{},
		"POST /v1/rollouts/{id}/accept": AcceptRequest{NewBlocks: 0.1}, "POST /v1/freeze": Reasoned{},
		"POST /v1/thaw":             ThawRequest{},
		"DELETE /v1/rollouts/{id}":  Reasoned{},
		"DELETE /v1/bundles/{name}": RolloutRequest{}, "POST /v1/rollback": RollbackRequest{},
		"POST /v1/reload": ReloadRequest{},
		"POST /v1/bypass": BypassRequest{}, "POST /v1/bans": BanRequest{}, "DELETE /v1/bans/{prefix...}": Reasoned{},
		"POST /v1/plan": PlanRequest{Remove: "x"},
	}
	tried := 0
	for _, r := range s.routes() {
		if r.needs == RoleRead {
			continue
		}
		request, ok := doors[r.pattern]
		if !ok {
			t.Errorf("%s has no request in this test", r.pattern)
			continue
		}
		method, path := example(r)
		kind := reflect.TypeOf(request)
		for i := range kind.NumField() {
			if kind.Field(i).Type.Kind() != reflect.String {
				continue
			}
			for name, text := range unsafeTexts {
				if name == "long" && kind.Field(i).Tag.Get("text") == "path" {
					text = strings.Repeat("x", maxPath+1)
				}
				v := reflect.New(kind).Elem()
				v.Set(reflect.ValueOf(request))
				v.Field(i).SetString(text)
				body, err := json.Marshal(v.Interface())
				if err != nil {
					t.Fatal(err)
				}
				b.call, b.files = "", nil
				status, refusal := ask(t, c, method, path, string(body))
				if status != http.StatusBadRequest || refusal.Code != CodeInvalid || b.call != "" ||
					strings.ContainsFunc(refusal.Message, Unsafe) {
					t.Errorf("%s, %s, %s: status %d, %+v, backend %q", r.pattern, kind.Field(i).Name, name, status, refusal, b.call)
				}
				tried++
			}
		}
	}
	if tried < 200 {
		t.Errorf("only %d texts were tried", tried)
	}
	for _, text := range safeTexts {
		if _, err := c.Rollback(context.Background(), text); err != nil || b.call != "rollback "+text {
			t.Errorf("%q: %v, backend %q", text, err, b.call)
		}
	}
	for _, raw := range []string{"{\"reason\":\"\xff\xfe\"}", `{"reason":"\ud800"}`} {
		if status, _ := ask(t, c, "POST", "/v1/rollback", raw); status != http.StatusBadRequest && raw[11] != '\\' {
			t.Errorf("%q: status %d", raw, status)
		}
	}
	if _, err := c.Unban(context.Background(), "\x1b[2J", ""); !errors.As(err, new(*Error)) {
		t.Errorf("an escape in a path: %v", err)
	}
}

// F9: JSON is written as it is read: nobody shows it as HTML.
func TestF9NoHTMLEscapes(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	req, err := http.NewRequest("POST", "http://spillway/v1/rollback", strings.NewReader(`{"reason":"a<b>&c"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	buf := make([]byte, 4096)
	for n, err := resp.Body.Read(buf); n > 0 || err == nil; n, err = resp.Body.Read(buf) {
		text.Write(buf[:n])
	}
	if !strings.Contains(text.String(), "rollback a<b>&c") {
		t.Errorf("reply %s", text.String())
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 日本": "plain é 日本", "\x1b[31m": `\u001b[31m`, "a\u202eb": `a\u202eb`, "\xff": `\xff`, "a\n": `a\u000a`,
		"\u009b": `\u009b`, "\ufffd": "\ufffd",
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
