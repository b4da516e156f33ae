package ldap

import (
	"context"
	"errors"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/postseal/postseal/tls"
)

// The attributes that have certificates.
const (
	attrCertificate = "userCertificate"
	attrSMIME       = "userSMIMECertificate"
	optionBinary    = ";binary"
)

// maxText bounds what is repeated of a directory's own words, in octets.
const maxText = 200

// search asks the directory until the context ends. Entries and an error may both be there: then the
// entries are not all.
func (f *Finder) search(ctx context.Context, filter string) ([]*goldap.Entry, error) {
	o := &f.opts
	w, err := f.connect(ctx)
	if err != nil {
		return nil, orTimeout(ctx, err)
	}
	// The library's own waiting knows no context; it ends with the connection.
	defer context.AfterFunc(ctx, func() { _ = w.Conn.Close() })()
	c := goldap.NewConn(w, o.Mode != tls.InsecurePlaintext)
	c.Start()
	defer func() {
		_ = w.Conn.Close() // all was said
		_ = c.Close()
	}()
	if err = f.bind(c); err != nil {
		return nil, f.cause(ctx, w, err)
	}
	result, err := c.Search(&goldap.SearchRequest{
		BaseDN: o.Base, Scope: o.Scope.ldap(), DerefAliases: goldap.NeverDerefAliases, SizeLimit: o.Entries,
		TimeLimit: int(o.Timeout.Seconds() + 1), Filter: filter,
		Attributes: []string{attrSMIME + optionBinary, attrSMIME, attrCertificate + optionBinary, attrCertificate},
	})
	if result == nil {
		result = &goldap.SearchResult{}
	}
	if err != nil {
		return result.Entries, f.cause(ctx, w, err)
	}
	// RFC 4511, Section 4.5.3: the search goes on elsewhere.
	if len(result.Referrals) > 0 && !hasValues(result.Entries) {
		return nil, ErrReferral
	}
	return result.Entries, nil
}

func (s Scope) ldap() int {
	return map[Scope]int{Subtree: goldap.ScopeWholeSubtree, OneLevel: goldap.ScopeSingleLevel, BaseOnly: goldap.ScopeBaseObject}[s]
}

func hasValues(entries []*goldap.Entry) bool {
	for _, e := range entries {
		for _, a := range e.Attributes {
			if len(a.ByteValues) > 0 {
				return true
			}
		}
	}
	return false
}

// connect comes to TLS, unless there is to be none.
func (f *Finder) connect(ctx context.Context) (*wire, error) {
	conn, err := f.opts.Dial(ctx, "tcp", f.opts.Address)
	if err != nil {
		return nil, err
	}
	s, err := tls.Client(ctx, conn, &tls.ClientConfig{Protocol: tls.LDAP, Mode: f.opts.Mode, TLS: f.opts.TLS, Timeout: f.opts.Timeout})
	if err != nil {
		return nil, err
	}
	return newWire(s.Conn, &f.opts), nil
}

// bind says who asks (RFC 4511, Section 4.2). Without a name nothing is to be
// said: a connection begins anonymous (RFC 4513, Section 4).
func (f *Finder) bind(c *goldap.Conn) error {
	if f.opts.BindDN == "" {
		return nil
	}
	password, err := f.opts.Password()
	if err != nil {
		return err
	}
	if len(password) == 0 {
		return errNoPassword
	}
	_, err = c.SimpleBind(goldap.NewSimpleBindRequest(f.opts.BindDN, string(password), nil))
	if result := new(goldap.Error); errors.As(err, &result) && isResult(result.ResultCode) {
		if result.ResultCode == goldap.LDAPResultInvalidCredentials {
			return ErrCredentials
		}
		// What the directory says here may repeat what it was told.
		return &ResultError{Code: result.ResultCode, Name: goldap.LDAPResultCodeMap[result.ResultCode]}
	}
	return err
}

// isResult tells the directory's codes from those of the library.
func isResult(code uint16) bool { return code < goldap.ErrorNetwork }

// cause finds what an error of the library is about.
func (f *Finder) cause(ctx context.Context, w *wire, err error) error {
	result := new(goldap.Error)
	if errors.As(err, &result) && isResult(result.ResultCode) {
		return resultError(result)
	}
	if errors.As(err, new(*ResultError)) || errors.Is(err, ErrCredentials) || errors.Is(err, errNoPassword) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failure := w.failure(); failure != nil {
		return failure
	}
	if result.ResultCode == goldap.ErrorMalformedPacket {
		return ErrMalformed
	}
	return err
}

func resultError(e *goldap.Error) error {
	switch e.ResultCode {
	case goldap.LDAPResultReferral:
		return ErrReferral
	case goldap.LDAPResultSizeLimitExceeded:
		return &LimitError{"entries"}
	case goldap.LDAPResultTimeLimitExceeded, goldap.LDAPResultAdminLimitExceeded:
		return &LimitError{"the directory's time or work"}
	}
	text := e.Err.Error()
	return &ResultError{Code: e.ResultCode, Name: goldap.LDAPResultCodeMap[e.ResultCode], Text: text[:min(len(text), maxText)]}
}

// orTimeout prefers that the time is up to what came of it.
func orTimeout(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
