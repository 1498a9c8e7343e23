// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// File is a host file that was read and found good.
type File struct {
	Host   *config.Host
	Text   []byte
	Digest string // SHA-256 of the text
	// Since is the host file before, as long as the change from that counts only for generations that are compiled for it.
	Since *compile.Since
	// Stands says that the host file before is kept, Before what it says: there is something to compare with, also while
	// the host observes.
	Stands bool
	Before *config.Host
	// Unpublished says that the kernel does not have it yet: what is built is behind, and nothing is compiled for it.
	Unpublished bool
}

// Change is that of Since, zero for none.
func (f *File) Change() config.Digest {
	if f.Since == nil {
		return config.Digest{}
	}
	return f.Since.Change
}

// Read reads a host file; its digest is that of the very bytes that were parsed. Its error is a *yaml.Faults.
func Read(path string) (*File, error) {
	text, err := config.ReadHost(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse makes a File of a text; path is for the faults.
func Parse(path string, text []byte) (*File, error) {
	h, err := config.ParseHost(path, text)
	if err != nil {
		return nil, err
	}
	return &File{Host: h, Text: text, Digest: Digest(text)}, nil
}

// Digest returns the SHA-256 of a text, in hexadecimal digits.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// CodeNotInForce is the problem of a host file on disk that is not the one in force.
const CodeNotInForce = "host_file_not_in_force"

// Compare says what is wrong when the file on disk is not the one whose digest is in force; nil when it is. It needs
// no agent.
func Compare(path, inForce string) *api.Problem {
	text, err := config.ReadHost(path)
	return judge(path, text, err, inForce)
}

func judge(path string, text []byte, err error, inForce string) *api.Problem {
	problem := func(message, fix string) *api.Problem {
		return &api.Problem{Code: CodeNotInForce, Message: message, Fix: fix}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem("the host file "+path+" is gone; the last good one goes on", "put it back, then: spillway reload")
	case err != nil:
		return problem("the host file on disk cannot be read, so the last good one goes on: "+err.Error(),
			"mend it, then: spillway reload")
	case Digest(text) == inForce:
		return nil
	}
	if _, err := config.ParseHost(path, text); err != nil {
		return problem("the host file on disk is refused, so the last good one goes on: "+firstFault(err),
			"`spillway config check` shows every fault; mend it, then: spillway reload")
	}
	return problem("the host file on disk is not in force: it was changed and not reloaded", "spillway reload")
}

func firstFault(err error) string {
	var faults *yaml.Faults
	if errors.As(err, &faults) && len(faults.List) > 0 {
		return faults.List[0].String()
	}
	return err.Error()
}
