// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := house.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	world.RemoveBinary()
	os.Exit(code)
}

// house owns what all rows share. To the edge it is a test: the one that runs now, but for what a test does at its end.
var house = &keeper{}

type keeper struct {
	testing.TB
	edge     *edge
	endings  []func()
	failures []error // while nothing runs
}

func (k *keeper) Context() context.Context { return context.Background() }

func (k *keeper) Cleanup(f func()) { k.endings = append(k.endings, f) }

func (k *keeper) Helper() {}

func (k *keeper) TempDir() string {
	folder, err := os.MkdirTemp("", "spillway-rows-")
	world.Must(k.TB, err)
	k.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			k.Errorf("%v", err)
		}
	})
	return folder
}

func (k *keeper) Errorf(format string, args ...any) {
	if k.TB != nil {
		k.TB.Errorf(format, args...)
		return
	}
	k.failures = append(k.failures, fmt.Errorf(format, args...))
}

func (k *keeper) Logf(format string, args ...any) {
	if k.TB != nil {
		k.TB.Logf(format, args...)
	}
}

func (k *keeper) Failed() bool { return k.TB != nil && k.TB.Failed() }

// close takes away what the rows shared, the last first.
func (k *keeper) close() error {
	k.TB = nil
	for i := len(k.endings) - 1; i >= 0; i-- {
		k.endings[i]()
	}
	return errors.Join(k.failures...)
}
