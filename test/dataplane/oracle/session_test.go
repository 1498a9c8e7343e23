// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/spillway/spillway/test/dataplane/oracle/compare"
	"github.com/spillway/spillway/test/model/oracle"
)

// step is one thing that happens: a world is published, its words are set, time passes, or a frame comes.
type step struct {
	Publish *oracle.World `json:",omitempty"`
	Set     *oracle.World `json:",omitempty"` // generations, services and allowlist stay those that are published
	Wait    time.Duration `json:",omitempty"`
	Frame   hexBytes      `json:",omitempty"`
	Want    string        `json:",omitempty"` // of the model, in a committed case
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// session compares program and model over the steps of one round. Without a plane there is only the model.
type session struct {
	plane *compare.Plane
	model *oracle.Model
	steps []step
}

func newSession(p *compare.Plane) (*session, error) {
	s := &session{plane: p, model: oracle.NewModel(oracle.World{})}
	if p == nil {
		return s, nil
	}
	return s, p.Reset()
}

// complete stands in for the kernel: slots and numbers.
func complete(w *oracle.World, number uint32) {
	compare.Begin(w)
	for i, g := range []*oracle.Generation{w.Stable, w.Candidate, w.Previous} {
		if g != nil {
			g.Slot, g.Number = uint8(i+1), number
		}
	}
}

// clone copies a world deeply: the round goes on to change it.
func clone(w oracle.World) (*oracle.World, error) {
	text, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	var copied oracle.World
	return &copied, json.Unmarshal(text, &copied)
}

func (s *session) publish(w oracle.World) error {
	if len(s.steps) > 0 {
		w.SynKey = s.model.World.SynKey // drawn once in the life of a dataplane
		w.Clock = s.model.World.Clock
	}
	kept, err := clone(w)
	if err != nil {
		return err
	}
	s.steps = append(s.steps, step{Publish: kept})
	s.model.World = w
	if s.plane == nil {
		complete(&s.model.World, uint32(len(s.steps)))
		return nil
	}
	return s.plane.Publish(&s.model.World)
}

func (s *session) set(w oracle.World) error {
	kept, err := clone(w)
	if err != nil {
		return err
	}
	s.steps = append(s.steps, step{Set: kept})
	now := &s.model.World
	w.Services, w.Allowlist, w.AgentTimeout, w.SynKey = now.Services, now.Allowlist, now.AgentTimeout, now.SynKey
	w.AcceptReasons, w.Before = now.AcceptReasons, now.Before
	w.Stable, w.Candidate, w.Canary = now.Stable, now.Candidate, now.Canary
	w.Previous, w.Pair, w.Budget = now.Previous, now.Pair, now.Budget
	w.Now, w.Clock, w.SynPlaces = now.Now, now.Clock, now.SynPlaces
	s.model.World = w
	if s.plane == nil {
		return nil
	}
	return s.plane.Set(&s.model.World)
}

// wait lets time pass.
func (s *session) wait(d time.Duration) {
	s.steps = append(s.steps, step{Wait: d})
	w := &s.model.World
	w.Now, w.Clock = w.Now.Add(d), w.Clock+uint64(d)
	if s.plane != nil {
		s.plane.SetClock(w.Clock)
	}
}

// frame runs one; the answer is how program and model differ, or "".
func (s *session) frame(b []byte) (difference string, want oracle.Result, err error) {
	s.steps = append(s.steps, step{Frame: b})
	want = s.model.Decide(b)
	if s.plane == nil {
		return "", want, nil
	}
	_, difference, err = s.plane.Check(b, want)
	return difference, want, err
}

// play takes steps from a fresh start; the answer is the first difference, with the number of the step.
func play(p *compare.Plane, steps []step) (difference string, at int, err error) {
	s, err := newSession(p)
	if err != nil {
		return "", 0, err
	}
	for i, st := range steps {
		switch {
		case st.Publish != nil:
			w, err := clone(*st.Publish)
			if err == nil {
				err = s.publish(*w)
			}
			if err != nil {
				return "", i, err
			}
		case st.Set != nil:
			if err := s.set(*st.Set); err != nil {
				return "", i, err
			}
		case st.Wait != 0:
			s.wait(st.Wait)
		default:
			difference, want, err := s.frame(st.Frame)
			if err != nil {
				return "", i, err
			}
			if difference == "" && st.Want != "" && st.Want != want.String() {
				difference = fmt.Sprintf("%s; the case wants %s", want, st.Want)
			}
			if difference != "" {
				return difference, i, nil
			}
		}
	}
	return "", len(steps), nil
}

// end checks what a single frame cannot show: that no counter moved beside those expected, that as many connections
// are remembered as should be, and that the sights were ended that should be.
func (s *session) end() ([]string, error) {
	wrong, err := s.plane.CheckCounters()
	if err != nil {
		return nil, err
	}
	for i := range wrong {
		wrong[i] = "counters: " + wrong[i]
	}
	all, blocked, err := s.plane.Connections()
	if err != nil {
		return nil, err
	}
	if blocked != 0 {
		wrong = append(wrong, fmt.Sprintf("%d blocked connections are remembered without a socket", blocked))
	}
	if want := s.model.Connections(); all != want {
		wrong = append(wrong, fmt.Sprintf("%d connections are remembered, want %d", all, want))
	}
	lost, evicted, err := s.plane.Unlimited()
	if err != nil {
		return nil, err
	}
	if lost+evicted > 0 {
		wrong = append(wrong, fmt.Sprintf("%d connections are lost to limits, %d keys evicted", lost, evicted))
	}
	unread, err := s.plane.Unread()
	if err != nil {
		return nil, err
	}
	if want := s.model.Unread(); !maps.Equal(unread, want) {
		wrong = append(wrong, fmt.Sprintf("sights were ended by %v packets, by place, want %v", unread, want))
	}
	return wrong, nil
}

// shrink returns fewer steps that still differ, as far as leaving out halves, quarters and so on finds them.
func shrink(p *compare.Plane, steps []step) []step {
	differs := func(steps []step) (int, bool) {
		if steps[0].Publish == nil {
			return 0, false // a case begins with a whole world
		}
		difference, at, err := play(p, steps)
		return at, err == nil && difference != ""
	}
	at, ok := differs(steps)
	if !ok {
		return steps
	}
	steps = steps[:at+1]
	for chunk := len(steps) / 2; chunk > 0; chunk /= 2 {
		for from := 0; from+chunk < len(steps); {
			fewer := append(append([]step(nil), steps[:from]...), steps[from+chunk:]...)
			if at, ok := differs(fewer); ok {
				steps = fewer[:at+1]
			} else {
				from += chunk
			}
		}
	}
	return steps
}
