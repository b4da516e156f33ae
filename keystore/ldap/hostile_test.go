package ldap_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/postseal/postseal/keystore/ldap"
)

// element returns an element of BER.
func element(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	n := len(body)
	switch {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x10000:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
	return append([]byte{tag, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// message is an LDAPMessage that answers the first request.
func message(op []byte) []byte { return element(0x30, []byte{2, 1, 1}, op) }

func result(tag, code byte, text string) []byte {
	return element(tag, []byte{0x0a, 1, code}, element(4), element(4, []byte(text)))
}

func searchEntry(attribute string, values ...[]byte) []byte {
	var set [][]byte
	for _, v := range values {
		set = append(set, element(4, v))
	}
	return message(element(0x64, element(4, []byte("uid=x")), element(0x30, element(0x30, element(4, []byte(attribute)), element(0x31, set...)))))
}

var done = message(result(0x65, 0, ""))

// TestHostile has servers that answer what they should not. None of them makes it
// appear that there is no certificate, and none gets much memory.
func TestHostile(t *testing.T) {
	alice := issue(t, mailProfile("alice@example.org"))
	good := searchEntry("userCertificate", alice.Cert.Raw)
	entries := bytes.Repeat(good, ldap.DefaultEntries+1)
	deep := []byte{}
	for range 200 {
		deep = element(0x30, deep)
	}
	var limit *ldap.LimitError
	for name, c := range map[string]struct {
		answer []byte
		found  int
		want   func(error) bool
	}{
		"good":              {append(bytes.Clone(good), done...), 1, func(err error) bool { return err == nil }},
		"none":              {done, 0, func(err error) bool { return err == nil }},
		"nothing":           {nil, 0, func(err error) bool { return errors.Is(err, ldap.ErrClosed) }},
		"entry, no end":     {good, 1, func(err error) bool { return errors.Is(err, ldap.ErrClosed) }},
		"cut off":           {good[:100], 0, func(err error) bool { return errors.Is(err, ldap.ErrClosed) }},
		"text":              {[]byte("220 hello\r\n"), 0, func(err error) bool { return errors.Is(err, ldap.ErrMalformed) }},
		"indefinite":        {[]byte{0x30, 0x80, 2, 1, 1, 0, 0}, 0, func(err error) bool { return errors.Is(err, ldap.ErrMalformed) }},
		"long length":       {[]byte{0x30, 0x85, 1, 1, 1, 1, 1}, 0, func(err error) bool { return errors.Is(err, ldap.ErrMalformed) }},
		"2 GiB announced":   {[]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, 0, func(err error) bool { return errors.As(err, &limit) }},
		"8 MiB announced":   {[]byte{0x30, 0x84, 0, 0x7f, 0, 0, 2, 1, 1}, 0, func(err error) bool { return errors.Is(err, ldap.ErrClosed) }},
		"inner too long":    {element(0x30, []byte{2, 1, 1}, []byte{0x64, 0x84, 0x7f, 0xff, 0xff, 0xff}), 0, func(err error) bool { return errors.Is(err, ldap.ErrMalformed) }},
		"nested":            {message(element(0x64, deep)), 0, func(err error) bool { return errors.As(err, &limit) }},
		"small elements":    {message(element(0x64, bytes.Repeat([]byte{4, 0}, 1<<20))), 0, func(err error) bool { return errors.As(err, &limit) }},
		"many entries":      {append(entries, done...), 1, func(err error) bool { return errors.As(err, &limit) }},
		"busy":              {message(result(0x65, 51, "busy")), 0, func(err error) bool { return errors.As(err, new(*ldap.ResultError)) }},
		"size limit":        {append(bytes.Clone(good), message(result(0x65, 4, ""))...), 1, func(err error) bool { return errors.As(err, &limit) }},
		"referral":          {message(result(0x65, 10, "")), 0, func(err error) bool { return errors.Is(err, ldap.ErrReferral) }},
		"reference":         {append(message(element(0x73, element(4, []byte("ldap://x/")))), done...), 0, func(err error) bool { return errors.Is(err, ldap.ErrReferral) }},
		"no certificate":    {append(searchEntry("userCertificate", []byte("x")), done...), 0, func(err error) bool { return err != nil }},
		"other attribute":   {append(searchEntry("cn", alice.Cert.Raw), done...), 0, func(err error) bool { return err == nil }},
		"entry of nothing":  {append(message(element(0x64)), done...), 0, func(err error) bool { return err != nil }},
		"end of nothing":    {message(element(0x65)), 0, func(err error) bool { return err != nil }},
		"another message":   {element(0x30, []byte{2, 1, 9}, result(0x65, 0, "")), 0, func(err error) bool { return err != nil }},
		"message of nought": {element(0x30), 0, func(err error) bool { return err != nil }},
		"notice":            {element(0x30, []byte{2, 1, 0}, result(0x78, 52, "")), 0, func(err error) bool { return err != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			f := finder(t, fake(t, c.answer, false))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			found, err := f.Find(t.Context(), "alice@example.org")
			runtime.ReadMemStats(&after)
			if len(found) != c.found || !c.want(err) {
				t.Errorf("%d certificates, %v", len(found), err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
				t.Errorf("%d octets of memory", took)
			}
		})
	}
}

// TestSilence has a server that never answers.
func TestSilence(t *testing.T) {
	for name, answer := range map[string][]byte{"nothing": nil, "an entry": searchEntry("cn", []byte("x"))} {
		o := fake(t, answer, true)
		o.Timeout = 100 * time.Millisecond
		start := time.Now()
		found, err := finder(t, o).Find(t.Context(), "alice@example.org")
		if isSourceError(t, found, err); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		o.Timeout = time.Minute
		found, err = finder(t, o).Find(ctx, "alice@example.org")
		if isSourceError(t, found, err); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
