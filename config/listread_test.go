// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"io"
	"testing"

	"github.com/spillway/spillway/config/yaml"
)

// A file that grows while it is read is refused where it would be too long, and not read without an end.
func TestFileThatGrowsEnds(t *testing.T) {
	for _, c := range []struct {
		left int
		want error
	}{{27, nil}, {26, yaml.ErrTooLong}, {5, yaml.ErrTooLong}} {
		f, err := files("feed", "198.51.100.1\n198.51.100.2\n").Open("feed")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(&boundedFile{f, c.left}); !errors.Is(err, c.want) {
			t.Errorf("with room for %d bytes: %v, want %v", c.left, err, c.want)
		}
	}
}
