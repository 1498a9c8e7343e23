// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// local lets a test ask a server on this host.
var local = Options{Allowed: func(netip.Addr) bool { return true }, Timeout: 30 * time.Second}

func TestHead(t *testing.T) {
	const list = "198.51.100.1\n198.51.100.2\n"
	mux := http.NewServeMux()
	mux.HandleFunc("/list", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, list) })
	mux.HandleFunc("/packed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 10 << 10 { // 10 MiB of which a few KiB go over the wire
			fmt.Fprint(z, strings.Repeat("x", 1<<10))
		}
		z.Close()
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, list); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/gone", http.NotFound)
	mux.Handle("/moved", http.RedirectHandler("/list", http.StatusFound))
	mux.Handle("/around", http.RedirectHandler("/around", http.StatusFound))
	mux.Handle("/file", http.RedirectHandler("file:///etc/passwd", http.StatusFound))
	mux.Handle("/ftp", http.RedirectHandler("ftp://example.com/list", http.StatusFound))
	mux.Handle("/password", http.RedirectHandler("http://user:secret@example.com/", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, c := range []struct {
		path  string
		most  int64
		want  int
		whole bool
		err   error
		says  string
	}{
		{path: "/list", most: 1 << 20, want: len(list), whole: true},
		{path: "/list", most: int64(len(list)), want: len(list), whole: true},
		{path: "/list", most: 5, want: 5},
		{path: "/moved", most: 1 << 20, want: len(list), whole: true},
		{path: "/packed", most: 1 << 20, want: 1 << 20},
		{path: "/endless", most: 1 << 20, want: 1 << 20},
		{path: "/gone", says: "404 Not Found"},
		{path: "/around", err: ErrRedirects},
		{path: "/file", err: ErrScheme},
		{path: "/ftp", err: ErrScheme},
		{path: "/password", err: ErrUserinfo},
	} {
		data, whole, err := Head(context.Background(), server.URL+c.path, c.most, local)
		if len(data) != c.want || whole != c.whole || c.err != nil && !errors.Is(err, c.err) ||
			(err != nil) != (c.err != nil || c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d bytes, whole %v, %v; want %d, %v, %v", c.path, len(data), whole, err, c.want, c.whole, c.err)
		}
	}
}

func TestHeadRefusesAddresses(t *testing.T) {
	for address, want := range map[string]error{
		"file:///etc/passwd": ErrScheme, "ftp://example.com/list": ErrScheme, "example.com/list": ErrScheme,
		"https:///x":                ErrScheme,
		"https://user@example.com/": ErrUserinfo,
	} {
		if _, _, err := Head(context.Background(), address, 1, Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", address, err, want)
		}
	}
}

// A name, a redirect or an address that leads inside is not followed: not to this host, and not to one beside it.
func TestHeadAsksPublicAddressesOnly(t *testing.T) {
	asked := false
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer inner.Close()
	port := inner.URL[strings.LastIndexByte(inner.URL, ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		if _, _, err := Head(context.Background(), "http://"+host+port, 1, Options{}); err == nil {
			t.Errorf("%s was asked", host)
		}
	}
	if _, _, err := Head(context.Background(), inner.URL, 1, Options{}); !errors.Is(err, ErrPrivate) {
		t.Errorf("got %v, want %v", err, ErrPrivate)
	}
	if asked {
		t.Error("a server of this host was asked")
	}
	outer := httptest.NewServer(http.RedirectHandler("http://127.0.0.2"+port, http.StatusFound))
	defer outer.Close()
	only := Options{Allowed: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }}
	if _, _, err := Head(context.Background(), outer.URL, 1, only); !errors.Is(err, ErrPrivate) {
		t.Errorf("a redirect inside: %v, want %v", err, ErrPrivate)
	}
}

func TestHeadStaysWithHTTPS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	o := local
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(secure.Certificate())
	if _, _, err := Head(context.Background(), secure.URL, 1, o); !errors.Is(err, ErrDowngrade) {
		t.Errorf("got %v, want %v", err, ErrDowngrade)
	}
	if _, _, err := Head(context.Background(), secure.URL, 1, local); err == nil {
		t.Error("a certificate of nobody is taken")
	}
}

// A server that says nothing, or a byte now and then, is not waited for without an end.
func TestHeadEndsInTime(t *testing.T) {
	for name, write := range map[string]bool{"nothing": false, "a little": true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if write {
				fmt.Fprint(w, "198.51.100.1\n")
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}))
		o := local
		o.Timeout = 50 * time.Millisecond
		if _, _, err := Head(context.Background(), server.URL, 1<<20, o); !errors.Is(err, ErrSlow) {
			t.Errorf("%s: %v, want %v", name, err, ErrSlow)
		}
		server.Close()
	}
}

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"0.0.0.0":    false,
		"100.64.0.1": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "ff02::1": false, "64:ff9b::a00:1": false,
		"2002:a00:1::1": false, "2001::1": false, "::ffff:10.0.0.1": false, "::10.0.0.1": false,
	} {
		if got := Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}
