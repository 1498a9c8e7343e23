// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spillway/spillway/config"
)

const sound = `version: 1
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
listen: {socket: /tmp/a.sock}
paths: {state: /tmp/state, pins: /tmp/pins}
`

// The places are found as far as the file can be read: whoever needs the bypass may have broken it.
func TestLocate(t *testing.T) {
	d := config.DefaultHost()
	defaults := Places{Socket: d.Listen.Socket, State: d.Paths.State, Pins: d.Paths.Pins}
	own := Places{Socket: "/tmp/a.sock", State: "/tmp/state", Pins: "/tmp/pins"}
	for _, c := range []struct {
		name, text string
		want       Places
		faulty     bool
	}{
		{"missing", "", defaults, false},
		{"sound", sound, own, false},
		{"a fault elsewhere", sound + "max_mode: attack\n", own, true},
		{"an unknown field", sound + "nonsense: 1\n", own, true},
		{"no YAML", "{{{", defaults, true},
		{"a list", "- 1\n", defaults, true},
		{"bytes", "\x00\xff", defaults, true},
		{"paths of another type", "paths: 7\n", defaults, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "spillway.yaml")
			if c.text != "" {
				if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := Locate(path)
			if got.Socket != c.want.Socket || got.State != c.want.State || got.Pins != c.want.Pins {
				t.Errorf("places are %+v, want %+v", got, c.want)
			}
			if (got.Problem != nil) != c.faulty {
				t.Errorf("problem is %v", got.Problem)
			}
			if (got.Host != nil) != (c.name == "sound") {
				t.Errorf("host is %v", got.Host)
			}
		})
	}
}
