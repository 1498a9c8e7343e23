// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"errors"
	"os"
	"testing"

	"github.com/spillway/spillway/loader"
)

// openLab opens the second instance of the dataplane; without the privilege the test is left out, and in CI it fails.
func openLab(t *testing.T) *loader.Lab {
	t.Helper()
	l, err := loader.OpenLab()
	if errors.Is(err, loader.ErrPermission) && os.Getenv("CI") == "" {
		t.Skipf("left out: loading programs needs privilege: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
