// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What was written is read again; what is torn, and what another release wrote, is set aside and said.
func TestStagesSurviveAndDamageIsSetAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"whole":   func(b []byte) []byte { return b },
		"torn":    func(b []byte) []byte { return b[:len(b)/2] },
		"a byte":  func(b []byte) []byte { return bytes.Replace(b, []byte("shadow"), []byte("canary"), 1) },
		"unknown": func([]byte) []byte { return newerStages(t) },
	} {
		dir := t.TempDir()
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stages().SaveStages(map[string]string{"stage": "shadow"}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, stagesFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(data), 0o600); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		found, err := s.Stages().Stages(&got)
		whole := name == "whole"
		if err != nil || found != whole || whole && got["stage"] != "shadow" || !whole && len(s.Damaged()) != 1 {
			t.Errorf("%s: %v, found %t, %v, damaged %v", name, got, found, err, s.Damaged())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func newerStages(t *testing.T) []byte {
	t.Helper()
	data, err := seal(stagesContent{stagesSchema + 1, []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
