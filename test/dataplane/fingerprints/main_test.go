// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/probe"
)

// openLab opens the second instance of the dataplane.
func openLab(t *testing.T) *probe.Probe {
	t.Helper()
	l, err := probe.Open()
	return opened(t, l, err)
}

// opened closes c when the test ends. Without the privilege the test is left out, and in CI it fails.
func opened[C io.Closer](t *testing.T, c C, err error) C {
	t.Helper()
	if errors.Is(err, loader.ErrPermission) && os.Getenv("CI") == "" {
		t.Skipf("left out: loading programs needs privilege: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
