// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fillingPoll is how often the demo looks for a map that is being filled. Filling takes some ten times as long.
const fillingPoll = time.Millisecond

// mapInfo is what /proc/<pid>/fdinfo says about an open BPF map.
type mapInfo struct {
	id, entries int
	frozen      bool
}

// parseMapInfo reads an fdinfo file; ok is false for what is no BPF map.
func parseMapInfo(data []byte) (m mapInfo, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			continue
		}
		switch name {
		case "map_id":
			m.id, ok = n, true
		case "max_entries":
			m.entries = n
		case "frozen":
			m.frozen = n != 0
		}
	}
	return m, ok
}

// unfrozenMaps returns the maps that a process has open and that can still be written, by id. A process that is gone
// has none.
func unfrozenMaps(pid int) map[int]mapInfo {
	maps := map[int]mapInfo{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		if m, ok := parseMapInfo(data); ok && !m.frozen {
			maps[m.id] = m
		}
	}
	return maps
}

// untilFilling waits until the agent has a large map open that is neither frozen nor one of those from before: a table
// of the next generation that is being filled, or read back. It reports false when the apply ended first, with its
// error.
func untilFilling(pid int, before map[int]mapInfo, ended <-chan error) (bool, error) {
	for {
		for id, m := range unfrozenMaps(pid) {
			if _, old := before[id]; !old && m.entries >= feedRows {
				return true, nil
			}
		}
		select {
		case err := <-ended:
			return false, err
		case <-time.After(fillingPoll):
		}
	}
}
