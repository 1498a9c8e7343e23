// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/dataplane/oracle/compare"
)

// corpusCase is a difference that once was, or a frame that deserves a name.
type corpusCase struct {
	Why   string
	Steps []step
}

// TestCorpus replays the named cases: every frame must come to what its case says, in the program and in the model,
// whatever stands in front of the dataplane.
func TestCorpus(t *testing.T) {
	for _, front := range []compare.Front{compare.AsShipped, compare.DecidesMost, compare.NoFront} {
		t.Run(front.String(), func(t *testing.T) { replay(t, compare.OpenFor(t, front)) })
	}
}

// TestCorpusOfTheModel replays them without the program, and needs no kernel.
func TestCorpusOfTheModel(t *testing.T) {
	replay(t, nil)
}

func replay(t *testing.T, p *compare.Plane) {
	files, err := filepath.Glob(filepath.Join("testdata", "corpus", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c corpusCase
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			difference, at, err := play(p, c.Steps)
			if err != nil {
				t.Fatalf("step %d: %v", at, err)
			}
			if difference != "" {
				t.Errorf("%s\nstep %d, frame %x: %s", c.Why, at, c.Steps[at].Frame, difference)
			}
		})
	}
}
