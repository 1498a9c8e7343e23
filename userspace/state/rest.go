// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Rest is the fields of an object that this release does not know, as a JSON object; "" for none. A newer release wrote
// them. They go with their object: a new object has none.
type Rest string

// encodeObject encodes a struct, and the fields that it does not have.
func encodeObject(known any, rest Rest) ([]byte, error) {
	body, err := encode(known)
	if err != nil {
		return nil, err
	}
	return join(body, []byte(rest)), nil
}

// decodeObject decodes into a struct, and returns the fields that it does not have.
func decodeObject(data []byte, into any) (Rest, error) {
	if err := json.Unmarshal(data, into); err != nil {
		return "", err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return "", err
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(into).Elem()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(all, name)
	}
	return restOf(all)
}

func restOf(unknown map[string]json.RawMessage) (Rest, error) {
	if len(unknown) == 0 {
		return "", nil
	}
	body, err := encode(unknown)
	return Rest(body), err
}

// join makes one JSON object of two.
func join(a, b []byte) []byte {
	switch {
	case len(b) <= len("{}"):
		return a
	case len(a) <= len("{}"):
		return b
	}
	return append(append(a[:len(a)-1:len(a)-1], ','), b[1:]...)
}
