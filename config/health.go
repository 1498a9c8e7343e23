// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/spillway/spillway/config/yaml"
)

// Health says how a rollout learns that the origin is well: answers of a Prometheus server. Without queries nobody is
// asked. What no answer means is fixed: it is neither health nor harm, and a rollout waits.
type Health struct {
	// Prometheus is the URL of the server, http or https.
	Prometheus string `yaml:"prometheus" jsonschema:"required,maxLength=255"`
	// Unwell is what five minutes beyond a limit do to a rollout: it waits, or goes back to stable and is held.
	Unwell Unwell `yaml:"unwell" jsonschema:"enum=wait,enum=back,default=wait"`
	// Every is the time between two questions.
	Every time.Duration `yaml:"every" jsonschema:"default=15s" limit:"1s..10m"`
	// Stale is the age from which a sample is no data.
	Stale time.Duration `yaml:"stale" jsonschema:"default=2m" limit:"5s..1h"`
	// Queries to ask; the origin is unwell when one is beyond its limit.
	Queries []HealthQuery `yaml:"queries" jsonschema:"required,minItems=1,maxItems=16"`
}

// Asks reports whether the host file asks somebody.
func (h Health) Asks() bool { return len(h.Queries) > 0 }

// Unwell is what an origin that is unwell does to a rollout.
type Unwell string

// UnwellWait lets a rollout wait; UnwellBack takes it back after five minutes, and condemns nothing.
const (
	UnwellWait Unwell = "wait"
	UnwellBack Unwell = "back"
)

// HealthQuery is one question. Its answer is a number: of several series each is looked at.
type HealthQuery struct {
	// Name of the question, for people.
	Name string `yaml:"name" jsonschema:"required,maxLength=63,pattern=^[a-z0-9][a-z0-9._-]*$" valid:"lower-case letters, digits, dots, dashes and underscores; at most 63"`
	// Query in PromQL, such as a ratio of rates.
	Query string `yaml:"query" jsonschema:"required,maxLength=4096"`
	// Above is the limit: the origin is unwell when an answer is larger. A number, a share (2%), or a time (300ms).
	Above *Limit `yaml:"above"`
	// Below is the limit: the origin is unwell when an answer is smaller.
	Below *Limit `yaml:"below"`
}

// Limit is a number of a metric. In YAML it may be a share, 2% for 0.02, or a time, 300ms for 0.3: Prometheus counts
// ratios and seconds.
type Limit float64

// ReadScalar reads a number, a share or a time.
func (l *Limit) ReadScalar(text, _ string, _ *yaml.Limits) *yaml.Refusal {
	if digits, share := strings.CutSuffix(text, "%"); share && plainNumber(digits) {
		v, err := strconv.ParseFloat(digits, 64)
		*l = Limit(v / 100)
		return outOfRange(err)
	}
	if plainNumber(strings.TrimPrefix(text, "-")) {
		v, err := strconv.ParseFloat(text, 64)
		*l = Limit(v)
		return outOfRange(err)
	}
	if d, err := time.ParseDuration(text); err == nil {
		*l = Limit(d.Seconds())
		return nil
	}
	return &yaml.Refusal{Code: yaml.CodeType, Problem: "is no limit"}
}

func outOfRange(err error) *yaml.Refusal {
	if err == nil {
		return nil
	}
	return &yaml.Refusal{Code: yaml.CodeRange, Problem: "is out of range"}
}

// plainNumber reports whether a text is decimal digits with at most one point inside.
func plainNumber(text string) bool {
	whole, part, point := strings.Cut(text, ".")
	return whole != "" && len(text) <= 20 && strings.Trim(whole+part, "0123456789") == "" && (!point || part != "")
}

// Describe says what would be right.
func (l *Limit) Describe(*yaml.Limits) string {
	return "a number (0.02), a share (2%) or a time (300ms)"
}

func defaultHealth() Health {
	return Health{Unwell: UnwellWait, Every: 15 * time.Second, Stale: 2 * time.Minute}
}
