// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
)

const (
	stagesFile   = "stages.json"
	stagesSchema = 1
)

// stagesContent is stages.json. What lies in it is the room's that wrote it.
type stagesContent struct {
	Schema int             `json:"schema"`
	Stages json.RawMessage `json:"stages"`
}

// Stages is what a rollout in stages needs to go on after a restart.
type Stages struct{ disk *disk }

// SaveStages replaces it. It refuses what Stages would not read.
func (st *Stages) SaveStages(content any) error {
	if err := st.disk.refusal(); err != nil {
		return fmt.Errorf("save the stages: %w", err)
	}
	body, err := encode(content)
	if err == nil {
		var data []byte
		if data, err = seal(stagesContent{stagesSchema, body}); err == nil {
			if err = readable(data, decodeStages); err == nil {
				return st.disk.replace(filepath.Join(st.disk.dir, stagesFile), data)
			}
		}
	}
	return fmt.Errorf("save the stages: %w", err)
}

// Stages reads what SaveStages wrote; false when there is nothing. What is damaged, and what another release wrote, is
// set aside: nothing is said about a bundle by that. An error says that the file is there and cannot be read now.
func (st *Stages) Stages(into any) (found bool, err error) {
	content, err := load(st.disk, stagesFile, decodeStages)
	if err != nil || content == nil {
		return false, err
	}
	if err := json.Unmarshal(content, into); err != nil {
		st.disk.setAside(filepath.Join(st.disk.dir, stagesFile), fmt.Errorf("%w: %w", errCorrupt, err))
		return false, nil
	}
	return true, nil
}

// PeekStages reads it from a state folder that another process may have locked; false when there is nothing that can be
// read. It changes nothing, whatever it finds.
func PeekStages(dir string, into any) bool {
	data, err := newStore(dir, Options{}).disk.read(filepath.Join(dir, stagesFile), maxRecordBytes)
	if err != nil {
		return false
	}
	content, err := decodeStages(data)
	return err == nil && content != nil && json.Unmarshal(content, into) == nil
}

func decodeStages(data []byte) (json.RawMessage, error) {
	content, err := unseal(data, stagesSchema, stagesSchema)
	if errors.Is(err, errNewer) {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	var c stagesContent
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return c.Stages, nil
}
