// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
)

// A host file that names no guard has those that the engine was measured with.
func TestGuardsOfAHostFileWithoutAnyAreTheDefaults(t *testing.T) {
	if diff := cmp.Diff(Defaults(), GuardsOf(config.DefaultHost())); diff != "" {
		t.Errorf("guards (-engine +host file):\n%s", diff)
	}
}

func TestGuardsOfAHostFile(t *testing.T) {
	h, err := config.ParseHost("spillway.yaml", []byte(`version: 1
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
guards:
  rollout: staged
  evidence: small
  shadow: 1m
  bake: 2m
  lease: 3s
  canary: [{share: 2.5%, for: 4m}, {share: 100%, for: 5m}]
  max_new_blocks: 20%
  max_delta: {rows: 1%, connections: 0.1%}
  time_only_below: 900
health:
  prometheus: http://127.0.0.1:9090
  unwell: back
  queries: [{name: errors, query: "a / b", above: 2%}]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Evidence, want.Health = LevelSmall, HealthBack
	want.Shadow, want.Bake, want.Lease = time.Minute, 2*time.Minute, 3*time.Second
	want.Steps = []CanaryStep{{Share: 25, For: 4 * time.Minute}, {Share: 1000, For: 5 * time.Minute}}
	want.MaxNewBlocks, want.TimeOnlyBelow = 0.2, 900
	want.MaxDelta = MaxDelta{Rows: 0.01, Connections: 0.001}
	if diff := cmp.Diff(want, GuardsOf(h)); diff != "" {
		t.Errorf("guards (-want +got):\n%s", diff)
	}
}
