// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// buildingPoll is how often the demo looks for a map that is being built. A slot takes its maps one by one, and waits
// some ten times as long for each.
const buildingPoll = time.Millisecond

// parseMapID reads the id of an open BPF map in an fdinfo file; ok is false for what is no map.
func parseMapID(data []byte) (id ebpf.MapID, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), ":"); name == "map_id" {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
			return ebpf.MapID(n), err == nil
		}
	}
	return 0, false
}

// openMaps returns the maps that a process has open. A process that is gone has none.
func openMaps(pid int) (maps []ebpf.MapID) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		if id, ok := parseMapID(data); ok {
			maps = append(maps, id)
		}
	}
	return maps
}

// newestMap is the highest id of a map of the kernel, which gives them in order.
func newestMap() (newest ebpf.MapID, err error) {
	for {
		next, err := ebpf.MapGetNextID(newest)
		if errors.Is(err, os.ErrNotExist) {
			return newest, nil
		}
		if err != nil {
			return 0, fmt.Errorf("list the kernel's maps: %w", err)
		}
		newest = next
	}
}

// untilBuilding waits until the agent has a map open that is newer than all from before: a table of the next
// generation, which is filled, read back, frozen, and put into its slot, and nothing of it counts yet. It reports false
// when the apply ended first, with its error.
func untilBuilding(pid int, before ebpf.MapID, ended <-chan error) (bool, error) {
	for {
		if slices.ContainsFunc(openMaps(pid), func(id ebpf.MapID) bool { return id > before }) {
			return true, nil
		}
		select {
		case err := <-ended:
			return false, err
		case <-time.After(buildingPoll):
		}
	}
}
