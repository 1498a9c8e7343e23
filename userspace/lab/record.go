// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateDir holds one folder per lab: its owner record, its certificate, and
// what its origin writes. Only root can write there.
const stateDir = "/run/spillway-lab"

const ownerFile = "owner"

// record is a lab's folder. The owner holds a lock on the owner file for as
// long as it lives; the kernel drops it however the owner dies, and unlike a
// process id a lock is never reused.
type record struct {
	dir  string
	lock *os.File
}

// newRecord makes the folder of lab id. It appears under its name only when
// the lock is held, so that Sweep cannot take a newborn for a dead one.
func newRecord(id, purpose string) (*record, error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, err
	}
	unborn := filepath.Join(stateDir, "."+id)
	if err := os.Mkdir(unborn, 0o700); err != nil {
		return nil, err
	}
	r, err := lockRecord(unborn, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(unborn))
	}
	_, err = fmt.Fprintf(r.lock, "pid %d\nname %q\n", os.Getpid(), purpose)
	if err == nil {
		r.dir = filepath.Join(stateDir, id)
		err = os.Rename(unborn, r.dir)
	}
	if err != nil {
		return nil, errors.Join(err, r.lock.Close(), os.RemoveAll(unborn))
	}
	return r, nil
}

// lockRecord opens the owner file in dir and locks it. It fails with
// unix.EWOULDBLOCK while another holds the lock.
func lockRecord(dir string, flags int) (*record, error) {
	f, err := os.OpenFile(filepath.Join(dir, ownerFile), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return &record{dir: dir, lock: f}, nil
}

func (r *record) path(name string) string { return filepath.Join(r.dir, name) }

// writeCertificate makes the origin's certificate and returns the pool that
// trusts it.
func (r *record) writeCertificate() (*x509.CertPool, error) {
	certPEM, keyPEM, err := newCertificate()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.path(certFile), certPEM, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.path(keyFile), keyPEM, 0o600); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certPEM) {
		return nil, errors.New("own certificate does not parse")
	}
	return pool, nil
}

// Close removes the folder and then gives up the lock. It may be called again.
func (r *record) Close() error {
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("remove lab folder: %w", err)
	}
	return ignore(r.lock.Close(), os.ErrClosed)
}
