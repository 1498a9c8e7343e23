// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"os"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

func TestMain(m *testing.M) {
	code := m.Run()
	world.RemoveBinary()
	os.Exit(code)
}
