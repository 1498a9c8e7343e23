// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"testing"

	"github.com/spillway/spillway/loader/kernel"
)

func TestRehearse(t *testing.T) {
	needKernel(t)
	if err := Rehearse(); err != nil {
		t.Error(err)
	}
}

func TestA36PinnedRoot(t *testing.T) {
	folder := testPins(t)
	if _, err := PinnedRoot(folder); !errors.Is(err, kernel.ErrNotPinned) {
		t.Errorf("nothing pinned: %v", err)
	}
	d := openTest(t, Options{Pins: folder, Capacity: testHost().Capacity})
	want, err := kernel.ProgramID(d.Program())
	must(t, err)
	if got, err := PinnedRoot(folder); err != nil || got != want {
		t.Errorf("root program %d, %v; want %d", got, err, want)
	}
}
