// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"fmt"
	"io/fs"
	"time"
)

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
