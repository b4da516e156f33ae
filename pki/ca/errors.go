package ca

import "strings"

// A RequestError says that something was asked for that an authority does not
// do. Err, which may be nil, is the cause.
type RequestError struct {
	Field string // what of the request: "address", "key", "validity", …
	Msg   string
	Err   error
}

// Error returns a sentence for people.
func (e *RequestError) Error() string { return join("ca: "+e.Field, e.Msg, e.Err) }

// Unwrap returns e.Err.
func (e *RequestError) Unwrap() error { return e.Err }

// A CSRError says that octets are not a certificate request, or that it is not
// signed with its own key. Err, which may be nil, is the cause.
type CSRError struct {
	Msg string
	Err error
}

// Error returns a sentence for people.
func (e *CSRError) Error() string { return join("ca: certificate request", e.Msg, e.Err) }

// Unwrap returns e.Err.
func (e *CSRError) Unwrap() error { return e.Err }

func join(parts string, msg string, err error) string {
	all := []string{parts, msg}
	if err != nil {
		all = append(all, err.Error())
	}
	return strings.Join(all, ": ")
}

func refuse(field, msg string) error { return &RequestError{Field: field, Msg: msg} }
