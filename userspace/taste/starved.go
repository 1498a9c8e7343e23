// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"bytes"
	"fmt"
	"io/fs"
	"time"
)

// hindered says what of the host kept a process from its end when its time was over; "" when nothing did: then it hangs
// by its bundle.
func hindered(proc fs.FS, pid int, wall time.Duration) string {
	switch {
	case blocked(proc, pid):
		return "it waited for a disk or another device when its time was over"
	case starved(proc, pid, wall):
		return fmt.Sprintf("the host was too busy for it to end in %s", wall)
	}
	return ""
}

// blocked reports whether a thread is in uninterruptible sleep: it reads from a disk that does not answer, say. Which
// thread of Go reads is not known.
func blocked(proc fs.FS, pid int) bool {
	all, err := fs.Glob(proc, fmt.Sprintf("%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, name := range all {
		// PID (COMM) STATE …: the command may hold anything, also a bracket (proc(5)).
		text, err := fs.ReadFile(proc, name)
		if end := bytes.LastIndexByte(text, ')'); err == nil && end >= 0 && bytes.HasPrefix(text[end:], []byte(") D")) {
			return true
		}
	}
	return false
}

// starved reports whether a process that did not come to an end in that time had too little of the processors for it:
// its threads were ready to run, and waited, for more than half as long. Then its bundle is not what hangs. What sleeps
// in a deadlock waits for no processor.
func starved(proc fs.FS, pid int, wall time.Duration) bool {
	all, err := fs.Glob(proc, fmt.Sprintf("%d/task/*/schedstat", pid))
	if err != nil {
		return false
	}
	var waited time.Duration
	for _, name := range all {
		text, err := fs.ReadFile(proc, name)
		if err != nil {
			continue // it ended
		}
		var ran, waits int64 // in ns; the third number is how often it ran (Documentation/scheduler/sched-stats.rst)
		if _, err := fmt.Sscan(string(text), &ran, &waits); err == nil {
			waited += time.Duration(waits)
		}
	}
	return waited > wall/2
}
