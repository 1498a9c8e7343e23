// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// stallTime is how long a body may go without progress, and stallBytes how much of it is progress: a body that drips
	// hangs too. The sender is on this host.
	stallTime  = 10 * time.Second
	stallBytes = 64 << 10
	// bodyTime bounds the whole body, however steady it is.
	bodyTime = 5 * time.Minute
)

// errStalled says that a body hung.
var errStalled = &Error{Code: CodeInvalid,
	Message: fmt.Sprintf("the request hung: less than %d KiB of it came in %s, and it was not over", stallBytes>>10,
		stallTime), Fix: "send it again"}

// progress is a body that must go on: each window of time has its bytes, or the body ends.
type progress struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
	left    int
	end     time.Time
}

func newProgress(body io.ReadCloser, c *http.ResponseController, stall time.Duration) *progress {
	return &progress{ReadCloser: body, control: c, stall: stall, end: time.Now().Add(bodyTime)}
}

// Read implements io.Reader.
func (p *progress) Read(b []byte) (int, error) {
	if p.left <= 0 {
		until := time.Now().Add(p.stall)
		if p.end.Before(until) {
			until = p.end
		}
		p.left = stallBytes
		_ = p.control.SetReadDeadline(until) // a recorder of tests has none
	}
	n, err := p.ReadCloser.Read(b)
	p.left -= n
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, errStalled
	}
	if errors.Is(err, io.EOF) {
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
