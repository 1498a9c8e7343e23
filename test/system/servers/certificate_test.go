// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spillway/spillway/test/support/world"
)

// certificate writes a certificate, its key, and both in one file.
func (s *site) certificate() tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	world.Must(s.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.com"},
		DNSNames: []string{"www.example.com"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	world.Must(s.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	world.Must(s.t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for name, text := range map[string][]byte{"cert.pem": certificate, "key.pem": private,
		"both.pem": slices.Concat(certificate, private)} {
		s.write(filepath.Join(s.folder, name), string(text))
	}
	pair, err := tls.X509KeyPair(certificate, private)
	world.Must(s.t, err)
	return pair
}

func (s *site) write(path, text string) {
	s.t.Helper()
	world.Must(s.t, os.WriteFile(path, []byte(text), 0o600))
}
