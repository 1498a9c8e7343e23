// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A record of any bytes is read or refused; what is read is written and read again as it was. Bytes that are sealed are
// those that a disk kept and another release wrote.
func FuzzRecord(f *testing.F) {
	whole, err := encodeRecord(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, false)
	f.Add(whole[:len(whole)/2], false)
	var s sealed
	if err := json.Unmarshal(whole, &s); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(s.Content), true)
	f.Add([]byte(`{"schema":2,"applied":{"members":[{}]},"bypass":{"":{}},"compiled":[{"number":-1}]}`), true)
	f.Fuzz(func(t *testing.T, data []byte, isSealed bool) {
		if isSealed && json.Valid(data) {
			if data, err = seal(json.RawMessage(data)); err != nil {
				return
			}
		}
		r, err := decodeRecord(data)
		if err != nil {
			if r != nil || !errors.Is(err, errCorrupt) && !errors.Is(err, errNewer) {
				t.Fatalf("refused with %v, and a record %v", err, r)
			}
			return
		}
		again, err := encodeRecord(r)
		if err != nil {
			t.Fatalf("it is read and cannot be written: %v", err)
		}
		back, err := decodeRecord(again)
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if third, err := encodeRecord(back.Clone()); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("it comes back as another (-want +got), %v:\n%s", err, cmp.Diff(string(again), string(third)))
		}
	})
}
