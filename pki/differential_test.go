package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hierarchies is how many hierarchies are shown to OpenSSL and half of it how
// many to crypto/x509: POSTSEAL_DIFFERENTIAL, with which ./check asks for
// thousands, or hundreds. The first ones are always the same.
func hierarchies(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("POSTSEAL_DIFFERENTIAL"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("POSTSEAL_DIFFERENTIAL=%q is no number of hierarchies", text)
		}
		return n
	}
	return 600
}

// maxLeafs is how many leafs openssl verify gets in one call.
const maxLeafs = 500

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

// judge is our answer.
func (b *verifyBatch) judge(h *hierarchy) ([]*Certificate, error) {
	opts := b.opts
	opts.Time, opts.Intermediates, opts.Purpose = testTime, h.others, b.purpose
	return NewRoots(h.roots).Verify(h.leaf, opts)
}

func TestVerifyAgainstOpenSSL(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed")
	}
	batches := verifyBatches()
	perBatch := (hierarchies(t) + len(batches) - 1) / len(batches)
	cases, accepted, differ := 0, 0, make(map[string]int)
	for n, b := range batches {
		for first := 0; first < perBatch; first += maxLeafs {
			var all []*hierarchy
			for i := first; i < min(perBatch, first+maxLeafs); i++ {
				all = append(all, newHierarchy(t, uint64(n), uint64(i)))
			}
			theirs := opensslVerify(t, openssl, &b, all)
			for _, h := range all {
				cases++
				chain, ours := b.judge(h)
				if ours == nil {
					accepted++
				}
				if code := theirs[h.id]; (code == 0) != (ours == nil) {
					explain(t, opensslDisagreements, &difference{t: t, h: h, b: &b, chain: chain, ours: ours, theirs: code, openssl: openssl}, differ)
				}
			}
		}
	}
	if want := perBatch * len(batches); cases != want || accepted < cases/10 || accepted > cases*9/10 {
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
	t.Logf("%5d  the same answer, of %d cases for %s; %d were accepted by us", cases-sum, cases, peer, accepted)
	// Explanations that cover many cases would hide a fault.
	if sum > cases/8 {
		t.Errorf("%d of %d answers differ", sum, cases)
	}
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
	t.Parallel()
	count := (hierarchies(t) + 1) / 2
	b := &verifyBatch{purpose: ProtectEmail}
	accepted, differ := 0, make(map[string]int)
	for i := range count {
		h := newHierarchy(t, 100, uint64(i))
		chain, ours := b.judge(h)
		if ours == nil {
			accepted++
		}
		if theirs := x509Code(x509Verify(h)); (theirs == 0) != (ours == nil) {
			explain(t, x509Disagreements, &difference{t: t, h: h, b: b, chain: chain, ours: ours, theirs: theirs}, differ)
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
