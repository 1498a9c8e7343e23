// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A machine that does other work, too, may need long for an answer; who has none after this hangs.
const answerTime = time.Minute

// answers waits until the agent answers; one that ended will do when it may. Of one that hangs, it tells where.
func (s *site) answers(t *testing.T, what string, mayEnd bool) {
	t.Helper()
	if !within(answerTime, func() bool { return s.Answers() || mayEnd && s.Ended() }) {
		t.Fatalf("%s: not within %s%s", what, answerTime, s.doing())
	}
}

// doing says what every goroutine of the agent was doing, and ends it.
func (s *site) doing() string {
	if s.Ended() {
		return "; it had ended"
	}
	said := len(s.Log())
	if err := unix.Kill(s.Pid(), unix.SIGQUIT); err != nil {
		return "; ask what it is doing: " + err.Error()
	}
	within(10*time.Second, s.Ended)
	return "; what it was doing:\n" + strings.TrimSpace(s.Log()[said:])
}

// asked completes the error of a request: who does not answer in time is asked otherwise.
func (s *site) asked(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w%s", err, s.doing())
	}
	return err
}

// What is told of an agent that hangs is what its goroutines do.
func TestHangsAreTold(t *testing.T) {
	s := newSite(t)
	s.start(t, nil)
	if told := s.doing(); !strings.Contains(told, "goroutine 1 ") || !s.Ended() {
		t.Errorf("ended %t, told: %s", s.Ended(), told)
	}
}
