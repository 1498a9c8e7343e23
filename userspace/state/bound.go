// SPDX-License-Identifier: Apache-2.0

package state

import (
	"reflect"
	"strings"
)

// maxTextBytes bounds each text that is kept: a reason, a name, who. What a person wrote is cut, so that one long
// reason never costs the rest of a file.
const maxTextBytes = 500

// clip cuts a text to at most maxTextBytes.
func clip(text string) string {
	if len(text) <= maxTextBytes {
		return text
	}
	const end = "…"
	return strings.ToValidUTF8(text[:maxTextBytes-len(end)], "") + end
}

// bound clips every text below a pointer. The keys of maps are names: one that is too long is nobody's, and goes. It
// changes maps and slices in place.
func bound(v any) { boundValue(reflect.ValueOf(v)) }

func boundValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			boundValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() && v.Field(i).Type() != reflect.TypeFor[Rest]() {
				boundValue(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			boundValue(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if key.Kind() == reflect.String && key.Len() > maxTextBytes {
				v.SetMapIndex(key, reflect.Value{})
				continue
			}
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			boundValue(value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(clip(v.String()))
	}
}
