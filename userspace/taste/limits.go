// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// descriptors is more than the maps, programs and files that a child has open.
const descriptors = 1024

// limit gives this process its limits. Memory is what it may write to (RLIMIT_DATA): the address space that Go only
// reserves is more than any useful limit. It writes no file, and the kernel takes it before the agent when memory is
// short.
func limit(memory uint64) error {
	for _, l := range []struct {
		what  int
		value uint64
	}{
		{unix.RLIMIT_DATA, memory}, {unix.RLIMIT_NOFILE, descriptors}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, 0},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("limit a taste: %w", err)
		}
		now.Max = min(now.Max, l.value)
		now.Cur = now.Max
		if err := unix.Setrlimit(l.what, &now); err != nil {
			return fmt.Errorf("limit a taste: %w", err)
		}
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // a container may not show it
	return nil
}
