// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// storedBundle returns a bundle that the state folder still has.
func (ar *archive) storedBundle(ref string) (*config.Bundle, error) {
	digest, err := ar.storedDigest(ref)
	if err != nil {
		return nil, err
	}
	b, err := ar.disk.Bundle(digest)
	if errors.Is(err, state.ErrNoBundle) {
		return nil, noStored(ref)
	}
	return b, err
}

func noStored(ref string) error {
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("no stored bundle is %q; nothing changed", ref),
		Fix: "`spillway history` shows numbers and digests; at least 6 digits of a digest are enough"}
}

// storedDigest finds a bundle by the number of a generation that had it, or by the beginning of its digest.
func (ar *archive) storedDigest(ref string) (config.Digest, error) {
	if n, err := strconv.ParseUint(ref, 10, 32); err == nil {
		if g, ok := ar.ledger.Record().Numbered(uint32(n)); ok {
			if bundles := len(g.Bundles()); bundles > 1 {
				return config.Digest{}, &api.Error{Code: api.CodeInvalid,
					Message: fmt.Sprintf("generation %d was of %d bundles; nothing changed", n, bundles),
					Fix:     fmt.Sprintf("all of them: spillway rollback --to %d; or one by its digest", n)}
			}
			return g.Bundles()[0], nil
		}
	}
	text := strings.TrimPrefix(ref, "sha256:")
	if len(text) < 6 {
		return config.Digest{}, noStored(ref)
	}
	var found []config.Digest
	for _, d := range ar.disk.Bundles() {
		if strings.HasPrefix(hex.EncodeToString(d[:]), strings.ToLower(text)) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return config.Digest{}, noStored(ref)
	case 1:
		return found[0], nil
	}
	return config.Digest{}, &api.Error{Code: api.CodeInvalid,
		Message: fmt.Sprintf("%q begins %d digests; nothing changed", ref, len(found)), Fix: "say more of it"}
}
