// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"sync"
	"time"
)

// The parts of a request with a bundle, in this order.
const (
	partOptions = "options"
	partBundle  = "bundle"
)

// uploadSlack is what a tar stream and its envelope may have beside the files.
const uploadSlack = maxUploadFiles*1024 + 1<<20

// uploads bounds the bundles that are in memory on one socket: how many arrive at once, and how many bytes all of them
// have, those included that arrived and wait for their turn. An upload that hangs so takes a place of several, and
// holds nobody's change.
type uploads struct {
	arriving slots
	mu       sync.Mutex
	bytes    int64
}

func newUploads(receptions int) *uploads { return &uploads{arriving: make(slots, receptions)} }

var errFull = &Error{Code: CodeBusy,
	Message: fmt.Sprintf("bundles of %d MiB are being received or wait already", MaxUpload>>20),
	Fix:     "try again when they are done"}

// reserve takes room for a file before it is read.
func (u *uploads) reserve(n int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes+n > MaxUpload {
		return errFull
	}
	u.bytes += n
	return nil
}

func (u *uploads) release(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes -= n
}

var errBundleTooLarge = &Error{Code: CodeTooLarge,
	Message: fmt.Sprintf("the bundle has more than %d MiB", MaxUpload>>20), Fix: "split it, or aggregate its prefixes"}

// receive reads the options of a request and its bundle; files is nil when there is none. done gives the memory back.
func (s *Server) receive(r *http.Request, options any) (files Files, done func(), err error) {
	if r.ContentLength > MaxUpload+uploadSlack {
		return nil, nil, errBundleTooLarge // before a byte is read
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		if err := decode(r.Body, options, strict); err != nil {
			return nil, nil, invalid(err)
		}
		return nil, func() {}, nil
	}
	if !s.uploads.arriving.take() {
		return nil, nil, &Error{Code: CodeBusy,
			Message: fmt.Sprintf("%d bundles are being received", cap(s.uploads.arriving)), Fix: "try again when one is done"}
	}
	defer s.uploads.arriving.give()
	held := int64(0)
	files, err = readParts(io.LimitReader(r.Body, MaxUpload+uploadSlack), params["boundary"],
		options, func(n int64) error {
			err := s.uploads.reserve(n)
			if err == nil {
				held += n
			}
			return err
		})
	if err != nil {
		s.uploads.release(held)
		return nil, nil, uploadError(err)
	}
	return files, func() { s.uploads.release(held) }, nil
}

func uploadError(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, errUploadTooLarge):
		return errBundleTooLarge
	}
	return &Error{Code: CodeInvalid, Message: err.Error()}
}

func readParts(body io.Reader, boundary string, options any, reserve func(int64) error) (Files, error) {
	parts := multipart.NewReader(body, boundary)
	first, err := parts.NextRawPart()
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if first.FormName() != partOptions {
		return nil, fmt.Errorf("read request: the first part is %q, not %q", first.FormName(), partOptions)
	}
	if err := decode(first, options, strict); err != nil {
		return nil, invalid(err)
	}
	second, err := parts.NextRawPart()
	if err != nil {
		return nil, fmt.Errorf("read request: there is no part %q: %w", partBundle, err)
	}
	if second.FormName() != partBundle {
		return nil, fmt.Errorf("read request: the second part is %q, not %q", second.FormName(), partBundle)
	}
	files, err := readUpload(second, MaxUpload, reserve)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, second); err != nil { // padding behind the archive
		return nil, fmt.Errorf("read request: %w", err)
	}
	if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("there is a third part")
		}
		return nil, fmt.Errorf("read request: %w", err)
	}
	return files, nil
}

func (s *Server) plan(r *http.Request) (any, error) {
	var q PlanRequest
	files, done, err := s.receive(r, &q)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := oneOf(files, q.Remove, ""); err != nil {
		return nil, err
	}
	return result(s.backend.Release.Plan(withDeadline(r.Context(), r), q, files))
}

func (s *Server) startRollout(ctx context.Context, by Caller, r *http.Request) (any, error) {
	var q RolloutRequest
	files, done, err := s.receive(r, &q)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := oneOf(files, q.Remove, q.Stored); err != nil {
		return nil, err
	}
	if c := q.ConfirmSeconds; c != 0 && (c < 1 || c > maxConfirm.Seconds()) {
		return nil, &Error{Code: CodeInvalid,
			Message: fmt.Sprintf("confirmSeconds %v is no time from 1 second to 168 hours", q.ConfirmSeconds),
			Fix:     "use for example 300"}
	}
	if err := s.stagesOnly(&q); err != nil {
		return nil, err
	}
	return result(s.backend.Release.StartRollout(ctx, by, q, files))
}

// maxConfirm is the longest time for a confirmation.
const maxConfirm = 7 * 24 * time.Hour

// oneOf refuses a request that has no bundle and names none, or one that has a bundle and names a stored one. What it
// removes may go as another comes.
func oneOf(files Files, remove, stored string) error {
	switch {
	case files == nil && remove == "" && stored == "":
		return &Error{Code: CodeInvalid, Message: "the request has to have a bundle, or to name one that is removed",
			Fix: "send the parts options and bundle, or JSON with remove"}
	case files != nil && stored != "":
		return &Error{Code: CodeInvalid, Message: "the request has a bundle, and names a stored one", Fix: "send one of them"}
	}
	return nil
}
