// SPDX-License-Identifier: Apache-2.0

package show

import (
	"reflect"
	"strings"

	"github.com/spillway/spillway/userspace/api"
)

// Clean makes every text of a reply visible, in place, before it is put into columns: what was read from a file, an
// interface or a visitor's packet may have been made to do something to a terminal.
func Clean(reply any) { clean(reflect.ValueOf(reply)) }

func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			clean(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				clean(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			clean(v.Index(i))
		}
	case reflect.Map:
		cleanMap(v)
	case reflect.String:
		if v.CanSet() {
			v.SetString(api.Visible(strings.ReplaceAll(v.String(), "\n", "; "))) // a row stays a row
		}
	}
}

// cleanMap puts keys and values again: those of a map cannot be set.
func cleanMap(v reflect.Value) {
	again := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.Set(it.Key())
		value.Set(it.Value())
		clean(key)
		clean(value)
		again.SetMapIndex(key, value)
	}
	if v.CanSet() {
		v.Set(again)
	}
}
