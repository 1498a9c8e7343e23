// SPDX-License-Identifier: Apache-2.0

package rollout

import "github.com/spillway/spillway/config"

// GuardsOf returns the guards that a host file names.
func GuardsOf(h *config.Host) Guards {
	g, from := Defaults(), h.Guards
	g.Evidence = map[config.Evidence]Level{
		config.EvidenceSmall: LevelSmall, config.EvidenceLarge: LevelLarge,
	}[from.Evidence] // normal is zero
	g.Shadow, g.Bake, g.Lease = from.Shadow, from.Bake, from.Lease
	g.Steps = make([]CanaryStep, 0, len(from.Canary))
	for _, s := range from.Canary {
		g.Steps = append(g.Steps, CanaryStep{Share: s.Thousandths(), For: s.For})
	}
	g.MaxNewBlocks = from.MaxNewBlocks.Fraction()
	g.MaxDelta = MaxDelta{Rows: from.MaxDelta.Rows.Fraction(), Connections: from.MaxDelta.Connections.Fraction()}
	g.TimeOnlyBelow = float64(from.TimeOnlyBelow)
	switch {
	case !h.Health.Asks():
		g.Health = HealthOff
	case h.Health.Unwell == config.UnwellBack:
		g.Health = HealthBack
	default:
		g.Health = HealthWait
	}
	return g
}
