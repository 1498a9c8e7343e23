// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// The reasons for which nothing is fetched.
var (
	ErrScheme    = errors.New("only https and http are fetched")
	ErrUserinfo  = errors.New("a password in an address is shown to everybody: it is not fetched")
	ErrDowngrade = errors.New("redirected from https to http")
	ErrRedirects = errors.New("redirected too often")
	ErrPrivate   = errors.New("not a public address")
	ErrSlow      = errors.New("the server is too slow")
)

const (
	// Timeout is how long a fetch may take in all, unless Options say otherwise.
	Timeout = 15 * time.Second
	// mostRedirects bounds the servers that are asked for one file.
	mostRedirects = 5
	// mostHeader bounds the header of an answer.
	mostHeader = 64 << 10
)

// Options are how a fetch is done; the zero value asks public addresses, for at most Timeout.
type Options struct {
	// Allowed says which addresses may be asked; nil is Public. A test with a server on this host has its own.
	Allowed func(netip.Addr) bool
	// Roots are the authorities that certificates are of; nil is those of the system.
	Roots *x509.CertPool
	// Timeout in all; 0 is the constant.
	Timeout time.Duration
}

// Head gets at most so many bytes of what a URL names, and whether that is all of it. What is compressed on the way
// counts as what becomes of it. Its errors are those above, a status other than 200, or of the network.
func Head(ctx context.Context, address string, most int64, o Options) (data []byte, whole bool, err error) {
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout,
		fmt.Errorf("%w: nothing is whole after %s", ErrSlow, o.Timeout))
	defer cancel()
	at, err := url.Parse(address)
	if err != nil {
		return nil, false, err
	}
	if err := fit(at); err != nil {
		return nil, false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, false, err
	}
	request.Header.Set("User-Agent", "spillway")
	answer, err := client(o).Do(request)
	if err != nil {
		return nil, false, reason(ctx, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("the server answers %s", answer.Status)
	}
	data, err = io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil {
		return nil, false, reason(ctx, err)
	}
	if int64(len(data)) > most {
		return data[:most], false, nil
	}
	return data, true, nil
}

// reason prefers that the time is over to what that did to a connection.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// fit refuses addresses that no list is fetched from.
func fit(at *url.URL) error {
	switch {
	case at.Scheme != "https" && at.Scheme != "http" || at.Host == "":
		return fmt.Errorf("%w, not %s", ErrScheme, at.Redacted())
	case at.User != nil:
		return ErrUserinfo
	}
	return nil
}

// client is of one fetch. It has no proxy: what one would ask nobody here could check.
func client(o Options) *http.Client {
	allowed := o.Allowed
	if allowed == nil {
		allowed = Public
	}
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address) // resolved: a name is not believed
		if err != nil || !allowed(at.Addr()) {
			return fmt.Errorf("%s is %w", address, ErrPrivate)
		}
		return nil
	}}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: mostHeader, TLSClientConfig: &tls.Config{RootCAs: o.Roots}},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			switch last := before[len(before)-1]; {
			case len(before) > mostRedirects:
				return ErrRedirects
			case last.URL.Scheme == "https" && next.URL.Scheme == "http":
				return ErrDowngrade
			}
			return fit(next.URL)
		},
	}
}
