// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
)

// spread is what is told of many rounds: the median, and the tenth and ninetieth percentile around it.
type spread struct{ median, p10, p90 float64 }

func spreadOf(values []float64) spread {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return spread{}
	}
	at := func(q float64) float64 { return s[int(q*float64(len(s)-1)+0.5)] }
	return spread{at(0.5), at(0.1), at(0.9)}
}

// each combines two series round by round: what disturbs a round disturbs both.
func each(a, b []float64, f func(a, b float64) float64) []float64 {
	out := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		out = append(out, f(a[i], b[i]))
	}
	return out
}

func minus(a, b float64) float64 { return a - b }

func over(a, b float64) float64 { return a / b }

// nanoseconds formats a spread: the median, then the tenth and ninetieth percentile.
func (s spread) nanoseconds() string { return s.format("%.1f") }

func (s spread) format(verb string) string {
	return fmt.Sprintf(verb+" ("+verb+"–"+verb+")", s.median, s.p10, s.p90)
}
