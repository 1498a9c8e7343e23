// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

func (s *Server) rollout(r *http.Request) (*Rollout, error) {
	all, err := s.backend.Release.Rollouts(r.Context())
	if err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	for i := range all.Rollouts {
		if all.Rollouts[i].ID == id {
			return &all.Rollouts[i], nil
		}
	}
	return nil, NoRollout(id)
}

// NoRollout says that there is no rollout of that id.
func NoRollout(id string) error {
	return &Error{Code: CodeNotFound, Message: fmt.Sprintf("there is no rollout %q", id),
		Fix: "`spillway rollout` lists them; older ones are in the history: `spillway history`"}
}

// followInterval is how often a rollout that is followed is looked at: the engine turns once a second.
const followInterval = time.Second

// followAtLeast is how often it is told although nothing is another: whoever looks at a clock beside it sees it go on.
const followAtLeast = 5 * time.Second

// followRollout answers with one rollout, and with follow streams it, one JSON object a line, each time that something
// of it is not as it was told, and every few seconds, until it is over.
func (s *Server) followRollout(w http.ResponseWriter, r *http.Request) {
	ro, err := s.rollout(r)
	if err == nil {
		err = onlyAsks(r, "follow")
	}
	follow := r.URL.Query().Get("follow") == "true"
	if err != nil || !follow {
		s.answer(w, ro, err)
		return
	}
	if !s.streams.take() {
		s.answer(w, nil, &Error{Code: CodeBusy,
			Message: fmt.Sprintf("%d readers of streams are on this socket already", cap(s.streams)), Fix: "end one of them"})
		return
	}
	defer s.streams.give()
	w.Header().Set("Content-Type", "application/x-ndjson")
	control, enc := http.NewResponseController(w), newEncoder(w)
	look := time.NewTicker(s.follow)
	defer look.Stop()
	told, at := []byte(nil), time.Time{}
	for {
		now, err := json.Marshal(ro)
		if err != nil {
			return
		}
		if !bytes.Equal(now, told) || time.Since(at) > followAtLeast {
			_ = control.SetWriteDeadline(time.Now().Add(s.patient))
			if enc.Encode(ro) != nil || control.Flush() != nil || ro.Over() {
				return
			}
			told, at = now, time.Now()
		}
		select {
		case <-look.C:
		case <-r.Context().Done():
			return
		case <-s.stopping.Done():
			return
		}
		if ro, err = s.rollout(r); err != nil {
			return // it is older than what is kept: whoever follows asks the history
		}
	}
}
