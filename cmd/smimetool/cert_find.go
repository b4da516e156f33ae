package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/keystore/store"
)

const certFindLong = `
Looks for the certificates of a mail address in all sources, and says of each where
it comes from and whether it would be encrypted to, or why not. The first that can
be used is the one that "smimetool encrypt --to ADDRESS" takes.

With -o they are written to a file, as PEM, whether they are used or not. One that
you have compared with its holder can be trusted then: smimetool cert import --trust.
`

type certFind struct {
	sources sourceFlags
	trust   trustFlags
	json    bool
	output  string
}

func newCertFind(a *app) *cobra.Command {
	f := &certFind{}
	f.sources.all = true
	cmd := a.newCommand("find [--source SOURCE] [--json] ADDRESS", "Look for the certificates of a mail address", certFindLong, 1,
		func(args []string) error { return a.certFind(f, args) })
	f.sources.register(a, cmd)
	f.trust.register(a, cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "print a JSON object")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "write the certificates to `FILE`")
	markFiles(cmd, "output")
	return cmd
}

// A findReport tells what was found, for programs.
type findReport struct {
	Address string             `json:"address"`
	Found   []*candidateReport `json:"found"`
	Errors  []string           `json:"errors"` // of the sources
}

// A candidateReport is about one certificate.
type candidateReport struct {
	Fingerprint string  `json:"fingerprint"`
	Subject     string  `json:"subject"`
	Issuer      string  `json:"issuer"`
	Source      string  `json:"source"`
	Detail      string  `json:"detail"`
	Vouched     bool    `json:"vouched"`
	Used        bool    `json:"used"`
	Error       *string `json:"error"` // why it is not used
}

func (a *app) certFind(f *certFind, args []string) error {
	if len(args) == 0 {
		return usagef("of which mail address?")
	}
	if f.trust.none {
		return usagef("--no-trust is for signatures: whose a certificate is matters here")
	}
	if err := f.trust.check(); err != nil {
		return err
	}
	found, err := a.find(&f.sources, &f.trust, args[0])
	if ue := new(usageError); errors.As(err, &ue) {
		return err
	}
	best := recipients.Choose(found)
	report := &findReport{Address: args[0], Found: []*candidateReport{}, Errors: []string{}}
	for i := range found {
		c := &found[i]
		report.Found = append(report.Found, &candidateReport{Fingerprint: store.FingerprintOf(c.Certificate).String(), Subject: c.Certificate.Subject(),
			Issuer: c.Certificate.Issuer(), Source: c.Source, Detail: c.Detail, Vouched: c.Vouched, Used: c == best, Error: errorText(c.Err)})
		if !f.json {
			a.tellCandidate(a.stdout, c, c == best)
		}
	}
	for _, one := range split(err) {
		report.Errors = append(report.Errors, printable(one.Error()))
		if !f.json && best != nil {
			a.warn("%s", printable(one.Error()))
		}
	}
	if f.json {
		if writeErr := writeJSON(a.stdout, report); writeErr != nil {
			return writeErr
		}
	}
	if f.output != "" && len(found) > 0 {
		var out bytes.Buffer
		for i := range found {
			out.Write(pemBlock("CERTIFICATE", found[i].Certificate.Raw))
		}
		if writeErr := a.writeAll(f.output, out.Bytes(), false); writeErr != nil {
			return writeErr
		}
	}
	switch {
	case best != nil:
		return nil
	case err != nil:
		return err
	}
	return recipients.None(args[0], found)
}

// split returns the errors that were joined into one.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// tellCandidate tells about a certificate in a few lines for people.
func (a *app) tellCandidate(w io.Writer, c *recipients.Candidate, best bool) {
	verdict := a.paint(w, green, "can be used")
	switch {
	case best:
		verdict = a.paint(w, green, "is used")
	case c.Untrusted:
		verdict = a.paint(w, yellow, "is not used") + ": nobody whom you trust says whose it is: " + printable(c.Err.Error())
	case c.Err != nil:
		verdict = a.paint(w, red, "is not used") + ": it " + printable(c.Err.Error())
	}
	from := []string{"from " + c.Source}
	if c.Detail != "" {
		from = append(from, c.Detail)
	}
	if c.Vouched {
		from = append(from, "which vouches for it")
	}
	if c.Preferred {
		from = append(from, "preferred by its holder")
	}
	_, _ = fmt.Fprintf(w, "%s  %s %s\n  %s\n  %s, %s, issued by %s\n", short(store.FingerprintOf(c.Certificate)), printable(person(c.Certificate)), verdict,
		printable(strings.Join(from, ", ")), usage(c.Certificate), validity(c.Certificate), printable(issuerOf(c.Certificate)))
}
