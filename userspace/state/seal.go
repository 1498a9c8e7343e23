// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

var (
	// errCorrupt says that a file does not hold what was written to it.
	errCorrupt = errors.New("the file is damaged")
	// errNewer says that a newer release wrote a file.
	errNewer = errors.New("a newer release wrote it")
)

// sealed is a file on disk: its content and the SHA-256 of the content's bytes. The content begins with its schema.
type sealed struct {
	Checksum string          `json:"checksum"`
	Content  json.RawMessage `json:"content"`
}

// seal returns the bytes of a file.
func seal(content any) ([]byte, error) {
	body, err := encode(content)
	if err != nil {
		return nil, err
	}
	out, err := encode(sealed{checksum(body), body})
	return append(out, '\n'), err
}

// unseal returns the content of a file, when it is of one of the schemas. It accepts exactly the bytes that seal
// writes: whatever byte is changed, it says errCorrupt.
func unseal(data []byte, oldest, newest int) (json.RawMessage, error) {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if s.Checksum != checksum(s.Content) {
		return nil, fmt.Errorf("%w: its checksum does not fit", errCorrupt)
	}
	again, err := encode(s)
	if err != nil || !bytes.Equal(append(again, '\n'), data) {
		return nil, fmt.Errorf("%w: bytes beside its content changed", errCorrupt)
	}
	return s.Content, checkSchema(s.Content, oldest, newest)
}

func checkSchema(content []byte, oldest, newest int) error {
	var of struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(content, &of); err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	switch {
	case of.Schema > newest:
		return fmt.Errorf("%w: it has schema %d, and this one reads up to %d", errNewer, of.Schema, newest)
	case of.Schema < oldest:
		return fmt.Errorf("%w: it has schema %d", errCorrupt, of.Schema)
	}
	return nil
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// encode is json.Marshal that leaves <, > and & as they are: escaped, each takes six bytes, and a text that fits into
// the API would be six times what the file may hold.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}
