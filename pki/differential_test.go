package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var long = flag.Bool("long", false, "run thousands of hierarchies past OpenSSL and crypto/x509")

// A verifyBatch is what one call of openssl verify is about: settings that are
// the same for all of its hierarchies.
type verifyBatch struct {
	purpose Purpose
	flags   []string // of openssl verify
	opts    ChainOptions
}

func verifyBatches() []verifyBatch {
	var out []verifyBatch
	// OpenSSL takes no policies for the empty set, and not for any-policy.
	any := []string{"-policy", string(anyPolicy)}
	for _, purpose := range []Purpose{Signing, Encrypting} {
		out = append(out,
			verifyBatch{purpose, any, ChainOptions{}},
			verifyBatch{purpose, append(any, "-explicit_policy"), ChainOptions{RequireExplicitPolicy: true}},
			verifyBatch{purpose, append(any, "-inhibit_any"), ChainOptions{InhibitAnyPolicy: true}},
			verifyBatch{purpose, append(any, "-inhibit_map"), ChainOptions{InhibitPolicyMapping: true}},
			verifyBatch{purpose, []string{"-policy", string(policy1), "-explicit_policy"},
				ChainOptions{RequireExplicitPolicy: true, Policies: []string{string(policy1)}}},
			verifyBatch{purpose, []string{"-policy", string(policy2), "-policy", string(policy3)},
				ChainOptions{Policies: []string{string(policy2), string(policy3)}}},
		)
	}
	return out
}

// A disagreement is a kind of case in which another implementation answers
// otherwise, and why ours stays.
type disagreement struct {
	why  string
	code int // what they say, when we accept: OpenSSL's number, or an x509Code
	when func(h *hierarchy, b *verifyBatch, err error) bool
}

func marked(marks ...string) func(*hierarchy, *verifyBatch, error) bool {
	return func(h *hierarchy, _ *verifyBatch, _ error) bool {
		return slices.ContainsFunc(marks, func(m string) bool { return h.marks[m] })
	}
}

func because(reason Reason, next func(*hierarchy, *verifyBatch, error) bool) func(*hierarchy, *verifyBatch, error) bool {
	return func(h *hierarchy, b *verifyBatch, err error) bool {
		var fault *ChainError
		return errors.As(err, &fault) && fault.Reason == reason && next(h, b, err)
	}
}

// opensslDisagreements explains where OpenSSL 3 differs.
var opensslDisagreements = []disagreement{
	{"OpenSSL does not take anyExtendedKeyUsage for the protection of mail; RFC 8550, Section 4.4.4 does", 26, marked("any usage")},
	{"OpenSSL wants key identifiers to match, which RFC 5280, Section 6.1 does not ask for", 20, marked("other key identifier")},
	{"OpenSSL takes the last second of validity for expired, which RFC 5280, Section 4.1.2.5 includes", 10, marked("valid for a second")},
	{"OpenSSL takes a self-issued certificate without key identifiers for a self-signed one", 19, marked("self-issued")},
	{"OpenSSL follows one path only: to a root that is not trusted", 19, marked("other path")},
	{"OpenSSL follows one path only: to where there are no policies", 43, marked("other path")},
	{"OpenSSL follows one path only: to another key of the issuer's name", 7, marked("self-issued")},
	{"OpenSSL's smimeencrypt asks for keyEncipherment, which EC keys do not have (RFC 5753, Section 7.1 has keyAgreement)", 26,
		func(h *hierarchy, b *verifyBatch, _ error) bool {
			return b.purpose == Encrypting && h.marks["one encryption usage"] && !h.marks["RSA leaf"]
		}},
	{"OpenSSL's smimeencrypt takes keyEncipherment for EC keys, which cannot do it", 0,
		because(WrongUsage, func(h *hierarchy, b *verifyBatch, _ error) bool {
			return b.purpose == Encrypting && !h.marks["RSA leaf"]
		})},
	{"OpenSSL takes the key usage keyCertSign for basicConstraints, which RFC 5280, Section 4.2.1.9 does not", 0,
		because(Constraint, marked("no basicConstraints"))},
	{"OpenSSL passes over mappings, also of anyPolicy, where there are no policies (RFC 5280, Section 6.1.4 (a))", 0,
		because(Policy, marked("policy mapping"))},
}

// x509Disagreements explains where crypto/x509 differs.
var x509Disagreements = []disagreement{
	{"crypto/x509 does not know constraints on directoryName, and refuses critical ones", x509Critical, marked("directory constraint")},
	{"crypto/x509 does not know constraints on directoryName, and passes over others", 0, because(Constraint, marked("directory constraint"))},
	{"crypto/x509 does not apply constraints to emailAddress in the subject (RFC 5280, Section 4.2.1.10)", 0,
		because(Constraint, marked("other names"))},
	{"crypto/x509 takes mappings of anyPolicy (RFC 5280, Section 6.1.4 (a))", 0, because(Policy, marked("policy mapping"))},
	{"crypto/x509 does not know constraints on directoryName, and tells what is wrong with another path", x509Other,
		func(h *hierarchy, _ *verifyBatch, _ error) bool {
			return h.marks["directory constraint"] && h.marks["other path"]
		}},
	{"crypto/x509 excludes the hosts below an excluded host of mail, too (RFC 5280, Section 4.2.1.10)", x509Name, marked("email constraint")},
	{"crypto/x509 counts self-issued CAs for the length of the path (RFC 5280, Section 6.1.4 (l))", x509Length, marked("self-issued")},
}

// What crypto/x509 says, as a number.
const (
	x509Other = iota + 1
	x509Critical
	x509Name
	x509Length
)

func x509Code(err error) int {
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(x509.UnhandledCriticalExtension)):
		return x509Critical
	case errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName:
		return x509Name
	case errors.As(err, &invalid) && invalid.Reason == x509.TooManyIntermediates:
		return x509Length
	}
	return x509Other
}

// explain counts a disagreement under its explanation, or fails.
func explain(t *testing.T, list []disagreement, h *hierarchy, b *verifyBatch, ours error, theirs int, counts map[string]int) {
	t.Helper()
	for _, d := range list {
		if d.code == theirs && d.when(h, b, ours) {
			counts[d.why]++
			return
		}
	}
	t.Errorf("hierarchy %s %v %v, %v: ours: %v; theirs: %d", h.id, slices.Sorted(maps.Keys(h.marks)), b.purpose, b.flags, ours, theirs)
}

// judge is our answer.
func (b *verifyBatch) judge(h *hierarchy) error {
	opts := b.opts
	opts.Time, opts.Intermediates, opts.Purpose = testTime, h.others, b.purpose
	_, err := NewRoots(h.roots).Verify(h.leaf, opts)
	return err
}

func TestVerifyAgainstOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed")
	}
	perBatch := 100
	if *long {
		perBatch = 1000
	}
	cases, accepted, differ := 0, 0, make(map[string]int)
	for n, b := range verifyBatches() {
		var all []*hierarchy
		for i := range perBatch {
			all = append(all, newHierarchy(t, uint64(n), uint64(i)))
		}
		theirs := opensslVerify(t, openssl, &b, all)
		for _, h := range all {
			cases++
			ours := b.judge(h)
			if ours == nil {
				accepted++
			}
			if code := theirs[h.id]; (code == 0) != (ours == nil) {
				explain(t, opensslDisagreements, h, &b, ours, code, differ)
			}
		}
	}
	if want := perBatch * len(verifyBatches()); cases != want || accepted < cases/10 || accepted > cases*9/10 {
		t.Errorf("%d cases, %d accepted", cases, accepted)
	}
	report(t, "openssl verify", cases, accepted, differ)
}

func report(t *testing.T, peer string, cases, accepted int, differ map[string]int) {
	t.Helper()
	sum := 0
	for _, why := range slices.Sorted(maps.Keys(differ)) {
		t.Logf("%5d  %s", differ[why], why)
		sum += differ[why]
	}
	t.Logf("%s: %d cases, %d accepted by us, the same answer in %d", peer, cases, accepted, cases-sum)
}

// opensslVerify returns the number of the error, 0 for none, that openssl verify
// has for each leaf.
func opensslVerify(t *testing.T, openssl string, b *verifyBatch, all []*hierarchy) map[string]int {
	t.Helper()
	dir := t.TempDir()
	var roots, others bytes.Buffer
	args := []string{
		"verify", "-CAfile", filepath.Join(dir, "roots"), "-untrusted", filepath.Join(dir, "others"), "-no-CApath", "-no-CAstore",
		"-attime", strconv.FormatInt(testTime.Unix(), 10), "-purpose", map[Purpose]string{Signing: "smimesign", Encrypting: "smimeencrypt"}[b.purpose],
	}
	args = append(args, b.flags...)
	names := make(map[string]string)
	for _, h := range all {
		for _, c := range h.roots {
			roots.Write(certPEM(c))
		}
		for _, c := range h.others {
			others.Write(certPEM(c))
		}
		name := filepath.Join(dir, h.id)
		names[name] = h.id
		writeFile(t, name, certPEM(h.leaf))
		args = append(args, name)
	}
	writeFile(t, filepath.Join(dir, "roots"), roots.Bytes())
	writeFile(t, filepath.Join(dir, "others"), others.Bytes())
	cmd := exec.Command(openssl, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	codes, good := make(map[string]int), make(map[string]bool)
	for line := range strings.Lines(stdout.String()) {
		name, isGood := strings.CutSuffix(strings.TrimSpace(line), ": OK")
		if id := names[name]; isGood && id != "" {
			good[id] = true
		}
	}
	last := 0
	for raw := range strings.Lines(stderr.String()) {
		line, isError := strings.CutPrefix(strings.TrimSpace(raw), "error ")
		if name, isVerdict := strings.CutSuffix(line, ": verification failed"); isVerdict && isError {
			codes[names[name]] = last
		} else if number, _, found := strings.Cut(line, " at "); found && isError {
			if last, err = strconv.Atoi(number); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, h := range all {
		if (codes[h.id] == 0) != good[h.id] {
			t.Fatalf("openssl verify said nothing, or two things, about %s: %s", h.id, stderr.String()[:min(500, stderr.Len())])
		}
	}
	return codes
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func certPEM(c *Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// TestVerifyAgainstX509 asks crypto/x509, which has no key usages of leaves and
// no policies but those of the chain.
func TestVerifyAgainstX509(t *testing.T) {
	count := 1000
	if *long {
		count = 10_000
	}
	b := &verifyBatch{purpose: ProtectEmail}
	accepted, differ := 0, make(map[string]int)
	for i := range count {
		h := newHierarchy(t, 100, uint64(i))
		ours := b.judge(h)
		if ours == nil {
			accepted++
		}
		if theirs := x509Code(x509Verify(h)); (theirs == 0) != (ours == nil) {
			explain(t, x509Disagreements, h, b, ours, theirs, differ)
		}
	}
	report(t, "crypto/x509", count, accepted, differ)
}

func x509Verify(h *hierarchy) error {
	if h.leaf.X509 == nil {
		return h.leaf.X509Err
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: testTime,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
	}
	for _, c := range h.roots {
		if c.X509 != nil {
			opts.Roots.AddCert(c.X509)
		}
	}
	for _, c := range h.others {
		if c.X509 != nil {
			opts.Intermediates.AddCert(c.X509)
		}
	}
	_, err := h.leaf.X509.Verify(opts)
	return err
}
