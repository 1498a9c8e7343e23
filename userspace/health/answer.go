// SPDX-License-Identifier: Apache-2.0

package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/words"
)

// What is no data, and why.
var (
	errEmpty = errors.New("the answer has no series")
	errNaN   = errors.New("the answer is no number (NaN)")
)

// response is what /api/v1/query of a Prometheus server answers
// (https://prometheus.io/docs/prometheus/latest/querying/api/).
type response struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

// sample is a moment in seconds, and a number as a text.
type sample struct {
	at    time.Time
	value float64
}

func (s *sample) UnmarshalJSON(data []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	var seconds float64
	var text string
	if err := errors.Join(json.Unmarshal(pair[0], &seconds), json.Unmarshal(pair[1], &text)); err != nil {
		return err
	}
	if math.IsNaN(seconds) || math.Abs(seconds) > math.MaxInt32*1000 {
		return fmt.Errorf("a sample at %g seconds", seconds)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("a sample of %q", words.Shorten(text))
	}
	s.at, s.value = time.UnixMilli(int64(seconds*1000)), v
	return nil
}

// parse returns the numbers of an answer. Those that are no number are left out; one that has no other is errNaN.
func parse(body []byte, now time.Time, stale time.Duration) ([]float64, error) {
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the answer is no JSON of a Prometheus server: %w", err)
	}
	if r.Status != "success" {
		return nil, fmt.Errorf("the server says %s: %s", words.Shorten(r.Status), words.Shorten(r.Error))
	}
	var samples []sample
	switch r.Data.ResultType {
	case "vector":
		var series []struct{ Value *sample }
		if err := json.Unmarshal(r.Data.Result, &series); err != nil {
			return nil, fmt.Errorf("read the series of the answer: %w", err)
		}
		for _, s := range series {
			if s.Value == nil {
				return nil, errors.New("a series of the answer has no number, but perhaps a histogram")
			}
			samples = append(samples, *s.Value)
		}
	case "scalar":
		samples = make([]sample, 1)
		if err := json.Unmarshal(r.Data.Result, &samples[0]); err != nil {
			return nil, fmt.Errorf("read the number of the answer: %w", err)
		}
	default:
		return nil, fmt.Errorf("the answer is a %s; a query must give a number, or numbers of now",
			words.Shorten(r.Data.ResultType))
	}
	if len(samples) == 0 {
		return nil, errEmpty
	}
	var out []float64
	for _, s := range samples {
		if age := now.Sub(s.at); age > stale || age < -stale {
			return nil, fmt.Errorf("the answer is of %s, and it is %s: %s apart", s.at.UTC().Format(time.RFC3339),
				now.UTC().Format(time.RFC3339), age.Abs().Round(time.Second))
		}
		if !math.IsNaN(s.value) {
			out = append(out, s.value)
		}
	}
	if len(out) == 0 {
		return nil, errNaN
	}
	return out, nil
}

// limitOf returns the limit of a query.
func limitOf(q config.HealthQuery) float64 {
	if q.Above != nil {
		return float64(*q.Above)
	}
	if q.Below != nil {
		return float64(*q.Below)
	}
	return math.Inf(1)
}

// worst returns the number that is farthest to the side of harm, and whether it is beyond the limit. Infinity is a
// number: a quantile beyond the last bucket is it.
func worst(q config.HealthQuery, numbers []float64) (value float64, beyond bool) {
	value = numbers[0]
	for _, n := range numbers {
		if q.Above != nil && n > value || q.Above == nil && n < value {
			value = n
		}
	}
	if q.Above != nil {
		return value, value > float64(*q.Above)
	}
	return value, q.Below != nil && value < float64(*q.Below)
}
