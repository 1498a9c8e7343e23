// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"testing"

	"github.com/spillway/spillway/test/model/reference"
)

// fingerprint is what the bytes of a ClientHello say.
type fingerprint struct {
	ja4, stable string
	raw         string // JA4_r
}

// fingerprintOf computes the fingerprint by the reference of the specifications, and checks it against what a listener
// of the standard library makes of the same bytes.
func fingerprintOf(t *testing.T, conn connection) (fingerprint, bool) {
	t.Helper()
	hello, err := reference.ParseStream(conn.first)
	if err != nil {
		t.Errorf("%s: %v", conn.client, err)
		return fingerprint{}, false
	}
	listener, err := heardByListener(conn.first)
	if err != nil {
		t.Errorf("%s: %v", conn.client, err)
		return fingerprint{}, false
	}
	want := fingerprint{ja4: hello.JA4(), stable: hello.StableJA4(), raw: hello.JA4Raw()}
	if want != listener {
		t.Errorf("%s: the reference says %+v, a listener of crypto/tls %+v", conn.client, want, listener)
	}
	return want, true
}
