package fetch_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/fetch"
)

// noCheck is id-pkix-ocsp-nocheck (RFC 6960, Section 4.2.2.2.1).
var noCheck = pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}

// responder makes a template that of an OCSP responder.
func responder(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	c.ExtraExtensions = append(c.ExtraExtensions, noCheck)
}

// faults returns the faults in a RevocationUnknownError.
func faults(err error) []pki.SourceFault {
	var unknown *pki.RevocationUnknownError
	if !errors.As(err, &unknown) {
		return nil
	}
	var out []pki.SourceFault
	for _, e := range unknown.Errs {
		var source *pki.SourceError
		if errors.As(e, &source) {
			out = append(out, source.Fault)
		}
	}
	return out
}

func hasFault(err error, want pki.SourceFault) bool {
	for _, f := range faults(err) {
		if f == want {
			return true
		}
	}
	return false
}

// recorder keeps what a client fetched, and can give it again.
type recorder struct {
	*fetch.Client
	last   []byte
	replay bool
}

func (r *recorder) FetchOCSP(ctx context.Context, url string, request *pki.OCSPRequest) ([]byte, error) {
	if r.replay {
		return r.last, nil
	}
	var err error
	r.last, err = r.Client.FetchOCSP(ctx, url, request)
	return r.last, err
}

// TestOpenSSLResponder asks "openssl ocsp", which answers in the CA's own name
// and by two delegated responders, one named by its key.
func TestOpenSSLResponder(t *testing.T) {
	o := newOpenSSL(t)
	good := o.issue("good", false, nil)
	bad := o.issue("bad", false, nil)
	held := o.issue("held", false, nil)
	stranger := o.issue("stranger", true, nil)
	o.issue("responder", false, responder)
	before := time.Now().Add(-time.Minute)
	o.revoke("bad", "-crl_reason", "keyCompromise")
	o.revoke("held", "-crl_reason", "certificateHold")

	for _, r := range []struct {
		name string
		args []string
	}{
		{"the CA", []string{"-rsigner", "ca.pem", "-rkey", "ca.key"}},
		{"delegated", []string{"-rsigner", "responder.pem", "-rkey", "responder.key"}},
		{"by key hash", []string{"-rsigner", "responder.pem", "-rkey", "responder.key", "-resp_key_id", "-rmd", "sha384"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			c, _ := client(t, o.serve(r.args...), nil)
			check := &pki.Revocation{Fetcher: c, Nonce: pki.NonceRequired}
			statuses, err := check.Check(t.Context(), good)
			if err != nil || len(statuses) != 1 || statuses[0].Status != pki.RevocationGood || statuses[0].OCSP == nil {
				t.Errorf("good: %v, %+v", err, statuses)
			}
			var revoked *pki.RevokedError
			_, err = check.Check(t.Context(), bad)
			if !errors.As(err, &revoked) || revoked.Reason != pki.RevokedKeyCompromise ||
				revoked.RevokedAt.Before(before) || revoked.RevokedAt.After(time.Now()) {
				t.Errorf("bad: %v", err)
			}
			_, err = check.Check(t.Context(), held)
			if !errors.As(err, &revoked) || revoked.Reason != pki.RevokedCertificateHold {
				t.Errorf("held: %v", err)
			}
			if _, err = check.Check(t.Context(), stranger); !hasFault(err, pki.SourceNoAnswer) {
				t.Errorf("unknown to the responder: %v", err)
			}
			soft := *check
			soft.SoftFail = true
			statuses, err = soft.Check(t.Context(), stranger)
			if err != nil || len(statuses) != 1 || statuses[0].Status != pki.RevocationUnknown || statuses[0].Err == nil {
				t.Errorf("unknown, soft: %v, %+v", err, statuses)
			}
			if statuses, err = soft.Check(t.Context(), bad); !errors.As(err, &revoked) {
				t.Errorf("bad, soft: %v, %+v", err, statuses)
			}
		})
	}
}

// TestOpenSSLResponderMisuse has the responder, or someone between, do wrong.
func TestOpenSSLResponderMisuse(t *testing.T) {
	o := newOpenSSL(t)
	good := o.issue("good", false, nil)
	o.issue("responder", false, responder)
	o.issue("outsider", false, func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, noCheck) })
	o.issue("late", false, func(c *x509.Certificate) {
		responder(c)
		c.NotBefore, c.NotAfter = time.Now().AddDate(0, -2, 0), time.Now().AddDate(0, -1, 0)
	})
	delegated, _ := client(t, o.serve("-rsigner", "responder.pem", "-rkey", "responder.key"), nil)

	t.Run("replay", func(t *testing.T) {
		r := &recorder{Client: delegated}
		check := &pki.Revocation{Fetcher: r}
		if _, err := check.Check(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		r.replay = true
		if _, err := check.Check(t.Context(), good); !hasFault(err, pki.SourceNonce) {
			t.Errorf("another nonce: %v", err)
		}
		// Without a nonce of our own, a response to someone else will do.
		check.Nonce = pki.NonceNone
		if _, err := check.Check(t.Context(), good); err != nil {
			t.Errorf("no nonce: %v", err)
		}
		resp, err := pki.ParseOCSPResponse(r.last)
		if err != nil {
			t.Fatal(err)
		}
		stapled := &pki.Revocation{OCSP: []*pki.OCSPResponse{resp}}
		if _, err = stapled.Check(t.Context(), good); err != nil {
			t.Errorf("stapled: %v", err)
		}
		for _, at := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(-20 * 24 * time.Hour)} {
			stapled.Time = at
			_, err = stapled.Check(t.Context(), good)
			// What is good later was good before; that it is still good is not known.
			if before := at.Before(time.Now()); before && err != nil || !before && !hasFault(err, pki.SourceStale) {
				t.Errorf("at %v: %v", at, err)
			}
		}
		stapled.Time, stapled.Grace = time.Now().Add(time.Hour), 2*time.Hour
		if _, err = stapled.Check(t.Context(), good); err != nil {
			t.Errorf("with grace: %v", err)
		}
		stapled.MaxAge = time.Minute
		if _, err = stapled.Check(t.Context(), good); !hasFault(err, pki.SourceStale) {
			t.Errorf("too old: %v", err)
		}
	})
	for _, r := range []struct {
		name string
		args []string
		want pki.SourceFault
	}{
		{"no OCSPSigning", []string{"-rsigner", "outsider.pem", "-rkey", "outsider.key"}, pki.SourceUntrusted},
		{"expired responder", []string{"-rsigner", "late.pem", "-rkey", "late.key"}, pki.SourceUntrusted},
		{"bad signature", []string{"-rsigner", "ca.pem", "-rkey", "ca.key", "-badsig"}, pki.SourceBadSignature},
		{"SHA-1", []string{"-rsigner", "ca.pem", "-rkey", "ca.key", "-rmd", "sha1"}, pki.SourceWeak},
	} {
		t.Run(r.name, func(t *testing.T) {
			c, _ := client(t, o.serve(r.args...), nil)
			_, err := (&pki.Revocation{Fetcher: c}).Check(t.Context(), good)
			if !hasFault(err, r.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestOpenSSLReadsRequests asks with either digest, and finds its own answer.
func TestOpenSSLReadsRequests(t *testing.T) {
	o := newOpenSSL(t)
	good := o.issue("good", false, nil)
	c, _ := client(t, o.serve("-rsigner", "ca.pem", "-rkey", "ca.key"), nil)
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		request, err := pki.NewOCSPRequest(good[0], good[1], pki.OCSPRequestOptions{Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.FetchOCSP(t.Context(), ocspURL, request)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := pki.ParseOCSPResponse(raw)
		if err != nil {
			t.Fatal(err)
		}
		single, found := resp.Find(good[0], good[1])
		if !found || single.Status != pki.RevocationGood || string(resp.Nonce) != string(request.Nonce) {
			t.Errorf("%v: %+v", hash, resp)
		}
	}
}

// TestOpenSSLCache keeps responses for requests without a nonce.
func TestOpenSSLCache(t *testing.T) {
	o := newOpenSSL(t)
	first, second := o.issue("first", false, nil), o.issue("second", false, nil)
	o.revoke("second")
	cache, err := fetch.OpenCache(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, dials := client(t, o.serve("-rsigner", "ca.pem", "-rkey", "ca.key"), cache)
	check := &pki.Revocation{Fetcher: c, Nonce: pki.NonceNone}
	for range 3 {
		if _, err = check.Check(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		var revoked *pki.RevokedError
		if _, err = check.Check(t.Context(), second); !errors.As(err, &revoked) {
			t.Fatal(err)
		}
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d requests for two certificates", n)
	}
	check.Nonce = pki.NonceRequired
	if _, err = check.Check(t.Context(), first); err != nil || dials.Load() != 3 {
		t.Errorf("with a nonce: %v, %d requests", err, dials.Load())
	}
}
