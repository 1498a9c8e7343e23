// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// What a client sends with its deadline is refused after it, and carried out before.
func TestLate(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://spillway/v1/bypass", nil)
	if err != nil {
		t.Fatal(err)
	}
	sendDeadline(ctx, r)
	if r.Header.Get(deadlineHeader) == "" || Late(withDeadline(context.Background(), r)) != nil {
		t.Error("a change in time is refused, or has no deadline")
	}
	r.Header.Set(deadlineHeader, strconv.FormatInt(monotonic()-1, 10))
	if Late(withDeadline(context.Background(), r)) == nil {
		t.Error("a change that its client gave up is carried out")
	}
}
