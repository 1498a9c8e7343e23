// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONBytes bounds the JSON of a request. Its longest texts are reasons and paths.
const maxJSONBytes = 64 << 10

// changer carries out a change for a caller. Its context outlives the connection: a change that has begun is carried
// out whole. One that has not begun asks Late.
type changer func(ctx context.Context, by Caller, r *http.Request) (any, error)

// reasoned reads a body that has at most a reason.
func reasoned[R any](f func(context.Context, Caller, string) (*R, error)) changer {
	return maybe(func(ctx context.Context, by Caller, r Reasoned) (*R, error) { return f(ctx, by, r.Reason) })
}

// maybe reads a body that may be empty.
func maybe[T, R any](f func(context.Context, Caller, T) (*R, error)) changer {
	return func(ctx context.Context, by Caller, r *http.Request) (any, error) {
		var v T
		if err := decode(r.Body, &v, strict); err != nil && !errors.Is(err, io.EOF) {
			return nil, invalid(err)
		}
		return result(f(ctx, by, v))
	}
}

func body[T, R any](how strictness, f func(context.Context, Caller, T) (*R, error)) changer {
	return func(ctx context.Context, by Caller, r *http.Request) (any, error) {
		var v T
		if err := decode(r.Body, &v, how); err != nil {
			return nil, invalid(err)
		}
		return result(f(ctx, by, v))
	}
}

// result keeps a nil pointer from becoming an answer.
func result[R any](v *R, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// strictness says what is done with a field that nobody knows.
type strictness bool

const (
	strict  strictness = true  // a misspelt field is an error, not a default
	lenient strictness = false // a newer command can stop an older agent
)

// errTooMuch says that the JSON of a request is longer than any sensible one.
var errTooMuch = fmt.Errorf("it has more than %d KiB", maxJSONBytes>>10)

func decode(r io.Reader, into any, how strictness) error {
	data, err := io.ReadAll(io.LimitReader(r, maxJSONBytes+1))
	switch {
	case err != nil:
		return err
	case len(data) > maxJSONBytes:
		return errTooMuch
	case len(bytes.TrimSpace(data)) == 0:
		return io.EOF
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if how == strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("there is something behind it")
	}
	if !utf8.Valid(data) {
		return errors.New("it is no UTF-8") // the decoder would put U+FFFD instead
	}
	return checkTexts(into)
}

func invalid(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, errTooMuch):
		return &Error{Code: CodeTooLarge, Message: "the request is too long: " + err.Error()}
	case errors.Is(err, io.EOF):
		return &Error{Code: CodeInvalid, Message: "the request has no body"}
	}
	return &Error{Code: CodeInvalid, Message: "the request is no valid JSON: " + err.Error()}
}

func number(r *http.Request, name string) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s %q is no whole number from 0 on", name, text)}
	}
	return n, nil
}

// onlyAsks refuses a query that the resource does not have: options of a change are in its body.
func onlyAsks(r *http.Request, names ...string) error {
	for name := range r.URL.Query() {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			e := &Error{Code: CodeInvalid, Message: fmt.Sprintf("the query has %q, which is not asked here", name),
				Fix: "the options of a change are in its body"}
			if len(names) > 0 {
				e.Fix = "ask " + strings.Join(names, ", ")
			}
			return e
		}
	}
	return nil
}
