package main

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

const caRevokeLong = `
Revokes a certificate that this CA has issued, for good. The OCSP responder says
so at once, and the next CRL that is made does: "smimetool ca crl".
`

// caReasons are the reasons for which certificates are revoked (RFC 5280, Section
// 5.3.1). A hold, which can be taken back, is none.
var caReasons = map[string]pki.RevocationReason{
	"unspecified": pki.RevokedUnspecified, "keyCompromise": pki.RevokedKeyCompromise, "cACompromise": pki.RevokedCACompromise,
	"affiliationChanged": pki.RevokedAffiliationChanged, "superseded": pki.RevokedSuperseded,
	"cessationOfOperation": pki.RevokedCessationOfOperation, "privilegeWithdrawn": pki.RevokedPrivilegeWithdrawn,
}

func caReasonNames() []string {
	var names []string
	for name := range caReasons {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

type caRevoke struct{ dir, serial, cert, reason string }

func newCARevoke(a *app) *cobra.Command {
	f := &caRevoke{}
	cmd := a.newCommand("revoke --dir DIR (--serial HEX | --cert FILE) [--reason REASON]", "Revoke a certificate", caRevokeLong, 0,
		func([]string) error { return a.caRevoke(f) })
	flags := cmd.Flags()
	dirFlag(cmd, &f.dir)
	flags.StringVar(&f.serial, "serial", "", "serial number, in hexadecimal digits `HEX`")
	flags.StringVar(&f.cert, "cert", "", "the certificate is the first one in `FILE`")
	flags.StringVar(&f.reason, "reason", "unspecified", "`REASON`: "+strings.Join(caReasonNames(), ", "))
	markFiles(cmd, "cert")
	complete(cmd, "reason", caReasonNames())
	return cmd
}

func (a *app) caRevoke(f *caRevoke) error {
	if (f.serial == "") == (f.cert == "") {
		return usagef("give either --serial or --cert")
	}
	reason, ok := pki.RevokedUnspecified, false
	for name, r := range caReasons {
		if strings.EqualFold(name, f.reason) {
			reason, ok = r, true
		}
	}
	if !ok {
		return &usageError{"--reason: there is no reason " + quote(f.reason), []string{"the reasons are: " + strings.Join(caReasonNames(), ", ")}}
	}
	s, err := a.openCA(f.dir)
	if err != nil {
		return err
	}
	serial := strings.ToLower(strings.ReplaceAll(f.serial, ":", ""))
	var cert *pki.Certificate
	if f.cert != "" {
		certs, readErr := a.readCerts([]string{f.cert})
		if readErr != nil {
			return readErr
		}
		cert = certs[0]
		serial = hex.EncodeToString(cert.Serial)
	}
	err = s.update(func(x *caIndex) ([]caRecord, error) {
		r, findErr := x.find(serial, cert)
		if findErr != nil {
			return nil, findErr
		}
		if _, twice := x.revoked[indexKey(r.Issuer, r.Serial)]; twice {
			return nil, usagef("this certificate is revoked already; nothing was changed")
		}
		return []caRecord{{Op: "revoke", Time: time.Now().UTC().Truncate(time.Second), Issuer: r.Issuer, Serial: r.Serial, Reason: reason}}, nil
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, serial, "revoked:", reason)
	return err
}

// find returns what was issued under a serial number. cert may be nil.
func (x *caIndex) find(serial string, cert *pki.Certificate) (caRecord, error) {
	for _, issuer := range []string{issuingName, rootName} {
		for _, padded := range []string{serial, "0" + serial} {
			r, ok := x.issued[indexKey(issuer, padded)]
			if ok && (cert == nil || string(cert.Raw) == string(r.Certificate)) {
				return r, nil
			}
		}
	}
	return caRecord{}, &usageError{"this CA has not issued a certificate with the serial number " + printable(serial), []string{
		"openssl x509 -serial shows that of a certificate, or give the certificate with --cert FILE"}}
}

const caCRLLong = `
Makes a list of all certificates that were revoked (RFC 5280, Section 5), in DER.
Make one before the one before runs out, and after every revocation. With --root
it is that of the root, which has issuing CAs in it.
`

// The longest time that CRLs are valid, in days: those of people's certificates
// and those of CAs' certificates.
const (
	maxCRLDays     = 10
	maxRootCRLDays = 365
)

type caCRL struct {
	dir, output string
	days        int
	root        bool
}

func newCACRL(a *app) *cobra.Command {
	f := &caCRL{}
	cmd := a.newCommand("crl --dir DIR [--days N] [--root] [-o FILE]", "Make a certificate revocation list", caCRLLong, 0,
		func([]string) error { return a.caCRL(f) })
	flags := cmd.Flags()
	dirFlag(cmd, &f.dir)
	flags.IntVar(&f.days, "days", 0, "valid for `N` days (default 7; at most 10, or 365 with --root)")
	flags.BoolVar(&f.root, "root", false, "make that of the root")
	outputFlag(cmd, &f.output, "the CRL")
	passphraseFlag(a, cmd)
	return cmd
}

func (a *app) caCRL(f *caCRL) error {
	which, days := issuingName, f.days
	limit := maxCRLDays
	if f.root {
		which, limit = rootName, maxRootCRLDays
	}
	if days == 0 {
		days = 7
	}
	if days < 1 || days > limit {
		return usagef("--days is 1 to %d", limit)
	}
	s, err := a.openCA(f.dir)
	if err != nil {
		return err
	}
	authority, err := s.authority(which)
	if err != nil {
		return err
	}
	var crl []byte
	err = s.update(func(x *caIndex) ([]caRecord, error) {
		list, listErr := x.revocations(which)
		if listErr != nil {
			return nil, listErr
		}
		now := time.Now().UTC().Truncate(time.Second)
		number := x.number[which] + 1
		crl, listErr = authority.CRL(list, big.NewInt(number), now, now.AddDate(0, 0, days))
		return []caRecord{{Op: "crl", Time: now, Issuer: which, Number: number}}, listErr
	})
	if err != nil {
		return err
	}
	return a.writeAll(f.output, crl, false)
}

// revocations returns what is revoked, in the order in which it was.
func (x *caIndex) revocations(issuer string) ([]ca.Revoked, error) {
	var list []ca.Revoked
	for _, key := range x.order {
		r := x.revoked[key]
		if r.Issuer != issuer {
			continue
		}
		serial, err := hex.DecodeString(r.Serial)
		if err != nil {
			return nil, &caFileError{caIndexFile, "has a serial number that is none"}
		}
		list = append(list, ca.Revoked{Serial: serial, At: r.Time, Reason: r.Reason})
	}
	return list, nil
}
