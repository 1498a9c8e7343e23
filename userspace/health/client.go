// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spillway/spillway/config"
)

const (
	// patience is how long a server may take for all questions of a round together.
	patience = 5 * time.Second
	// maxBody bounds an answer: a few thousand series, and far less than the agent's memory.
	maxBody = 1 << 20
	// maxHeader bounds what stands before it.
	maxHeader = 64 << 10
	// maxRedirects within one server.
	maxRedirects = 3
)

var (
	errTooLong   = fmt.Errorf("the answer has more than %d bytes", maxBody)
	errElsewhere = errors.New("the server sends to another host, and nobody else is asked")
)

// newClient asks nobody but the server that the host file names: no proxy of the environment, no redirect elsewhere.
func newClient() *http.Client {
	return &http.Client{
		Timeout: patience,
		Transport: &http.Transport{MaxResponseHeaderBytes: maxHeader, MaxIdleConns: 2, MaxConnsPerHost: 16,
			IdleConnTimeout: time.Minute, ForceAttemptHTTP2: false},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if first := via[0].URL; r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
				return errElsewhere
			}
			if len(via) > maxRedirects {
				return errors.New("the server redirects without end")
			}
			return nil
		},
	}
}

// ask puts one question.
func ask(ctx context.Context, client *http.Client, h config.Health, q config.HealthQuery,
	now func() time.Time) ([]float64, error) {
	at, err := url.Parse(h.Prometheus)
	if err != nil {
		return nil, err
	}
	at = at.JoinPath("api/v1/query")
	at.RawQuery = url.Values{"query": {q.Query}, "timeout": {"4s"},
		// how far back an instant selector looks; a server that does not know the word looks five minutes back
		"lookback_delta": {strconv.FormatFloat(h.Stale.Seconds(), 'f', -1, 64) + "s"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxBody:
		return nil, errTooLong
	}
	numbers, err := parse(body, now(), h.Stale)
	if err != nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %w", answer.Status, err)
	}
	return numbers, err
}

// withoutURL leaves the address out of an error: the query in it is long, and the name of the question is told.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
