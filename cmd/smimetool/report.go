package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// A report is what is told about a message, as JSON.
type report struct {
	File      string         `json:"file"`
	Status    smime.Status   `json:"status"`
	Encrypted bool           `json:"encrypted"`
	Signed    bool           `json:"signed"`
	Trusted   bool           `json:"trusted"`
	Trust     string         `json:"trust"` // "checked" or "not checked"
	Layers    []*layerReport `json:"layers"`
	Error     *string        `json:"error"`
	Problems  []string       `json:"problems"`
}

// A layerReport is about one layer of protection.
type layerReport struct {
	Type          string          `json:"type"`
	Authenticated *bool           `json:"authenticated,omitempty"` // of encryption alone
	Cipher        string          `json:"cipher,omitempty"`
	Recipients    []string        `json:"recipients,omitzero"` // of encryption alone
	Signers       []*signerReport `json:"signers,omitzero"`    // of signatures alone
	Certificates  []string        `json:"certificates,omitempty"`
	Error         *string         `json:"error"`
	Warnings      []string        `json:"warnings"`
}

// A signerReport is about one signer.
type signerReport struct {
	Subject            string          `json:"subject"`
	Emails             []string        `json:"emails"`
	Issuer             string          `json:"issuer"`
	Serial             string          `json:"serial"`
	Digest             string          `json:"digest"`
	SignatureAlgorithm string          `json:"signature_algorithm"`
	SigningTime        *string         `json:"signing_time"`
	Valid              bool            `json:"valid"`
	Trusted            bool            `json:"trusted"`
	Error              *string         `json:"error"`
	Countersigners     []*signerReport `json:"countersigners,omitempty"`
}

func newReport(name string, noTrust bool, err error) *report {
	r := &report{File: name, Status: smime.StatusUnknown, Trust: "checked", Layers: []*layerReport{}, Problems: []string{}, Error: errorText(err)}
	if noTrust {
		r.Trust = "not checked"
	}
	return r
}

// write prints r as one JSON object.
func (r *report) write(w io.Writer) error { return writeJSON(w, r) }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func errorText(err error) *string {
	if err == nil {
		return nil
	}
	text := printable(err.Error())
	return &text
}

func errorTexts(errs []error) []string {
	out := make([]string, len(errs))
	for i, err := range errs {
		out[i] = printable(err.Error())
	}
	return out
}

func reportSigners(results []*cms.SignerResult) []*signerReport {
	out := make([]*signerReport, len(results))
	for i, s := range results {
		r := &signerReport{
			Emails: []string{}, Digest: s.Digest, SignatureAlgorithm: s.SignatureAlgorithm,
			Valid: s.Valid, Trusted: s.Trusted, Error: errorText(s.Err), Subject: s.ID.String(),
		}
		if c := s.Certificate; c != nil {
			r.Subject, r.Issuer, r.Serial = c.Subject(), c.Issuer(), fmt.Sprintf("%x", c.Serial)
			r.Emails = append(r.Emails, c.Emails...)
		}
		if !s.SigningTime.IsZero() {
			text := s.SigningTime.UTC().Format(time.RFC3339)
			r.SigningTime = &text
		}
		if len(s.Countersigners) > 0 {
			r.Countersigners = reportSigners(s.Countersigners)
		}
		out[i] = r
	}
	return out
}

// person names the holder of a certificate.
func person(c *pki.Certificate) string {
	name := c.CommonName()
	if name == "" {
		name = c.Subject()
	}
	switch {
	case len(c.Emails) == 0:
		return name
	case name == "" || name == c.Emails[0]:
		return c.Emails[0]
	}
	return name + " <" + c.Emails[0] + ">"
}

// signerLine tells about a signer in a line for people.
func (a *app) signerLine(w io.Writer, s *cms.SignerResult, checked bool) string {
	who := s.ID.String()
	if s.Certificate != nil {
		who = person(s.Certificate)
	}
	var line string
	switch {
	case s.Err == nil && !checked:
		line = a.paint(w, yellow, "valid signature") + " of " + who + ", whose certificate was not checked"
	case s.Err == nil:
		line = a.paint(w, green, "good signature") + " of " + who
	case s.Valid:
		line = a.paint(w, red, "valid signature, not trusted") + ", of " + who
	default:
		line = a.paint(w, red, "BAD signature") + " of " + who
	}
	line += " (" + s.SignatureAlgorithm
	if !strings.Contains(s.SignatureAlgorithm, s.Digest) {
		line += ", " + s.Digest
	}
	line += ")"
	if !s.SigningTime.IsZero() {
		line += ", dated " + s.SigningTime.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if s.Err != nil {
		line += ": " + s.Err.Error()
	}
	return printableLine(line)
}

// printableLine is printable, but leaves the colours of paint.
func printableLine(s string) string {
	const escape = "\x1b["
	parts := strings.Split(s, escape)
	for i, p := range parts {
		parts[i] = printable(p)
	}
	return strings.Join(parts, escape)
}

// summary returns where a verdict is printed: on the standard output, unless
// content goes there.
func (a *app) summary(contentPath string) io.Writer {
	if contentPath == "-" {
		return a.stderr
	}
	return a.stdout
}
