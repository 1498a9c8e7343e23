// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// Level is how much evidence a host asks for: guards.evidence.
type Level uint8

const (
	LevelNormal Level = iota
	LevelSmall
	LevelLarge
)

var levels = [...]string{"normal", "small", "large"}

// String returns the level as the host file writes it.
func (l Level) String() string { return levels[l] }

// MarshalText writes the level as a word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown word is an error.
func (l *Level) UnmarshalText(text []byte) error { return word(levels[:], text, (*uint8)(l)) }

// size is what a level means. Rates from 0 to 1.
type size struct {
	delta   float64 // undeclared new blocks that shadow must exclude, of all votes
	margin  float64 // failures of the canary's sources, as a multiple of the others', that a step up to 10 % must exclude
	margin2 float64 // the same at a larger step
	votes   int64   // least votes of a stage, and least sources of the canary of a step × 10
}

var sizes = [...]size{
	LevelNormal: {delta: 0.003, margin: 2, margin2: 2, votes: 100},
	LevelSmall:  {delta: 0.01, margin: 4, margin2: 3, votes: 30},
	LevelLarge:  {delta: 0.001, margin: 2, margin2: 1.5, votes: 200},
}

// CanaryStep is one share of the sources for which the candidate decides.
type CanaryStep struct {
	Share uint16        `json:"share"` // in thousandths
	For   time.Duration `json:"for"`   // of traffic, at least
}

// Guards are the limits of the host. No bundle loosens them.
type Guards struct {
	Evidence      Level         `json:"evidence"`
	Shadow        time.Duration `json:"shadow"` // of traffic, at least
	Steps         []CanaryStep  `json:"steps"`  // the shares grow; the last is 1000
	Bake          time.Duration `json:"bake"`   // of traffic, in one piece, in which the bundle decides
	Lease         time.Duration `json:"lease"`  // longer between two looks, nothing counts
	MaxNewBlocks  float64       `json:"max_new_blocks"`
	MaxDelta      MaxDelta      `json:"max_delta"`
	StepMax       time.Duration `json:"step_max"`        // a step without a conclusion is held
	ShadowMax     time.Duration `json:"shadow_max"`      // so is a shadow
	TimeOnlyBelow float64       `json:"time_only_below"` // votes a day below which time alone promotes; 0: never
	TimeOnly      time.Duration `json:"time_only"`       // how long each stage then takes
	Health        HealthRule    `json:"health"`
}

// HealthRule is what an origin that is unwell does to a rollout. No data is never harm, and never health either:
// where the rule is not off, a rollout waits for data.
type HealthRule uint8

const (
	HealthOff  HealthRule = iota
	HealthWait            // a rollout waits while the origin is unwell
	HealthBack            // five minutes of it hold the rollout: back to stable, nothing is condemned
)

// Defaults are the guards of a host file that names none.
func Defaults() Guards {
	m := time.Minute
	return Guards{
		Shadow: 10 * m, Bake: 10 * m, Lease: 5 * time.Second, MaxNewBlocks: 0.5,
		Steps:    []CanaryStep{{10, 10 * m}, {50, 10 * m}, {250, 20 * m}, {1000, 30 * m}},
		MaxDelta: MaxDelta{Rows: 0.02, Connections: 0.005},
		StepMax:  24 * time.Hour, ShadowMax: 14 * 24 * time.Hour, TimeOnly: 24 * time.Hour,
	}
}

const (
	quickShadow   = 10 * time.Second // of fast changes and emergencies
	emergencyMost = time.Hour
	unwellMost    = 5 * time.Minute
	idleAfter     = time.Minute // without a confirmed connection for this long there is no traffic to judge
	backsWithin   = time.Hour   // two rollouts taken back within this time freeze
	slack         = 1.5         // new blocks may be this multiple of what was declared
	tolerated     = 1.25        // failures of the canary's sources, as a multiple of the others', that are no harm
	smallStep     = 100         // thousandths: a step up to here has the margin of a small one
)

// The chances of a false alarm, over all looks. All of a rollout's together stay below 1 %; a test adds them up. Each
// test has its own, and those of the canary are divided by its steps: a look more costs nothing, a test more does.
const (
	alphaShadow   = 0.001
	alphaDeclared = 0.001
	alphaSteps    = 0.002
	alphaArms     = 0.003
	alphaRatio    = 0.001
	alphaBake     = 0.001
	// betaAccept is the chance to accept what is as bad as the bound, a test.
	betaAccept = 0.05
)

// most is how long a stage may take without a conclusion. A small site has the time of shadow for each step.
func (g Guards) most(s Stage, rare bool) time.Duration {
	if s == StageShadow || rare || g.Evidence == LevelSmall {
		return g.ShadowMax
	}
	return g.StepMax
}

func (g Guards) size() size { return sizes[g.Evidence] }

// each is the part of alpha that one step of the canary has.
func (g Guards) each(alpha float64) float64 { return alpha / float64(max(len(g.Steps), 1)) }

// margin is the ratio that a step with this share must exclude; 0 when its share is too small to show one.
func (g Guards) margin(share uint16) float64 {
	switch {
	case share <= 10:
		return 0
	case share <= smallStep:
		return g.size().margin
	}
	return g.size().margin2
}
