package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/keyring"
	"github.com/postseal/postseal/keystore/pkcs11"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
	"github.com/postseal/postseal/smime"
)

// explained is every error that a person can meet, with its exit code and a
// word of the hint, "" for none.
var explained = []struct {
	name string
	err  error
	code int
	hint string
}{
	{"usage", usagef("what?"), exitUsage, ""},
	{"usage of cms", &cms.UsageError{Msg: "no"}, exitUsage, ""},
	{"wrong layer", &wrongLayerError{"encrypted", "data", "open"}, exitMalformed, "open"},
	{"changed", &namedError{"x", spool.ErrChanged}, exitFailure, "try again"},
	{"not signed", &notSignedError{"data"}, exitNotSigned, "smimetool open"},
	{"structure of a file", &structureError{errors.New("x")}, exitMalformed, ""},
	{"syntax of BER", &ber.SyntaxError{Msg: "x"}, exitMalformed, ""},
	{"limit of BER", &ber.LimitError{What: "x"}, exitMalformed, ""},

	{"syntax", &cms.SyntaxError{Field: "x"}, exitMalformed, ""},
	{"cut off", &cms.SyntaxError{Field: "x", Err: io.ErrUnexpectedEOF}, exitMalformed, "cut off"},
	{"unsupported", &cms.UnsupportedError{What: "x"}, exitMalformed, ""},
	{"off by default", &cms.UnsupportedError{What: "x", Allow: cms.Allow3DES}, exitMalformed, "--allow 3des"},
	{"limit", &cms.LimitError{Limit: "x"}, exitMalformed, ""},
	{"no match", cms.ErrNoMatch, exitNoKey, ""},
	{"no key", &cms.NoMatchError{}, exitNoKey, "--identity"},
	{"decryption", cms.ErrDecrypt, exitDecrypt, "damaged"},
	{"nobody signed", &cms.VerifyError{Reason: cms.ReasonNoSigners}, exitNotSigned, ""},
	{"content", &cms.VerifyError{Reason: cms.ReasonContent}, exitInvalid, "--content"},
	{"missing digests", &cms.VerifyError{Reason: cms.ReasonContent, Err: &cms.MissingDigestsError{}}, exitInvalid, "--content"},
	{"digest", &cms.VerifyError{Reason: cms.ReasonDigest}, exitInvalid, "changed"},
	{"signature", &cms.VerifyError{Reason: cms.ReasonSignature}, exitInvalid, "changed"},
	{"attributes", &cms.VerifyError{Reason: cms.ReasonAttributes}, exitInvalid, ""},
	{"no certificate", &cms.VerifyError{Reason: cms.ReasonNoCertificate}, exitInvalid, "--certificate"},
	{"weak", &cms.VerifyError{Reason: cms.ReasonWeak, Err: &cms.UnsupportedError{Allow: cms.AllowSHA1}}, exitInvalid, "--allow sha1"},
	{"unsupported signature", &cms.VerifyError{Reason: cms.ReasonUnsupported, Err: &cms.UnsupportedError{}}, exitInvalid, ""},
	{"MAC", &cms.VerifyError{Reason: cms.ReasonMAC}, exitInvalid, "changed"},
	{"untrusted", &cms.VerifyError{Reason: cms.ReasonUntrusted}, exitUntrusted, ""},
	{"no roots", untrusted(errNoRoots), exitUntrusted, "--no-trust"},
	{"unknown issuer", untrusted(&pki.ChainError{Reason: pki.UnknownIssuer}), exitUntrusted, "--trust"},
	{"signed by itself", untrusted(&pki.ChainError{Reason: pki.UnknownIssuer, Certificate: &pki.Certificate{Raw: []byte("x")}}), exitUntrusted, "--save-signer"},
	{"expired", untrusted(&pki.ChainError{Reason: pki.Expired}), exitUntrusted, "--allow expired"},
	{"not yet valid", untrusted(&pki.ChainError{Reason: pki.NotYetValid}), exitUntrusted, "--at"},
	{"wrong usage", untrusted(&pki.ChainError{Reason: pki.WrongUsage}), exitUntrusted, ""},
	{"sender", untrusted(&smime.SenderError{}), exitUntrusted, "--no-sender-check"},

	{"structure of a message", &smime.StructureError{What: "x"}, exitMalformed, ""},
	{"certificate", &pki.ParseError{Field: "x"}, exitMalformed, ""},
	{"key file", keyError(errors.New("x")), exitFailure, ""},
	{"wrong passphrase", keyError(keystore.ErrPassphrase), exitFailure, ""},
	{"passphrase needed", keyError(keystore.ErrPassphraseNeeded), exitUsage, "--passphrase-file"},
	{"no terminal", keyError(errNoTerminal), exitUsage, "--passphrase-file"},
	{"no private key", keyError(keystore.ErrNoKey), exitUsage, "--key"},
	{"no certificate in a file", keyError(keystore.ErrNoCertificate), exitUsage, "--identity"},
	{"no pair", keyError(keystore.ErrNoMatch), exitUsage, "different"},
	{"format", keyError(keystore.ErrFormat), exitMalformed, "PKCS#12"},
	{"unsupported key", keyError(&keystore.UnsupportedError{}), exitMalformed, ""},
	{"limit of a key file", keyError(&keystore.LimitError{}), exitMalformed, ""},
	{"syntax of a key file", keyError(&keystore.SyntaxError{}), exitMalformed, ""},
	{"certificate in a key file", keyError(&pki.ParseError{}), exitMalformed, ""},

	{"no store", &noStoreError{"x"}, exitUsage, "smimetool id new"},
	{"no identity", &store.NoIdentityError{Address: "a@example.org"}, exitUsage, "smimetool id new a@example.org"},
	{"no recipient", &recipients.NoneError{Address: "a@example.org"}, exitNoKey, "cert find a@example.org"},
	{"untrusted recipient", &recipients.UntrustedError{Address: "a@example.org", Found: recipients.Candidate{
		Found: keystore.Found{Certificate: &pki.Certificate{}, Source: storeSource}, Err: &pki.ChainError{Reason: pki.UnknownIssuer}}}, exitUntrusted, "cert trust"},
	{"untrusted recipient from elsewhere", &recipients.UntrustedError{Address: "a@example.org", Found: recipients.Candidate{
		Found: keystore.Found{Certificate: &pki.Certificate{}, Source: "x"}, Err: &pki.ChainError{Reason: pki.UnknownIssuer}}}, exitUntrusted, "cert find -o FILE"},
	{"configuration", &configError{file: "x", line: 1, problem: "y"}, exitUsage, ""},
	{"configuration of others", &configError{file: "x", problem: "y", hint: "chmod go-w x"}, exitUsage, "chmod"},
	{"not built", keyError(pkcs11.ErrNotBuilt), exitUsage, "--identity"},
	{"no module", keyError(pkcs11.ErrNoModule), exitUsage, "module-name"},
	{"no token", keyError(pkcs11.ErrNoToken), exitNoKey, "put in"},
	{"several tokens", keyError(pkcs11.ErrSeveralTokens), exitUsage, "serial"},
	{"locked", keyError(pkcs11.ErrLocked), exitFailure, "unlock"},
	{"PIN in a URI", keyError(pkcs11.ErrPINInURI), exitUsage, "pin-source"},
	{"URI", &pkcs11.SyntaxError{What: "x"}, exitUsage, "pkcs11:token="},
	{"token that is away", &pkcs11.KeyError{Name: "x", Err: pkcs11.ErrNoToken}, exitFailure, "put in"},
	{"untrusted certificate", &untrustedCertificateError{&pki.ChainError{Reason: pki.Expired}}, exitUntrusted, "--at"},
	{"no common cipher", recipients.ErrNoCommonCipher, exitUsage, "--cipher"},
	{"source", &keystore.SourceError{Source: "x", Err: errors.New("y")}, exitFailure, "--source store"},
	{"store", &store.Error{Path: "x", Op: "opening", Err: errors.New("y")}, exitFailure, ""},
	{"store of others", &store.Error{Path: "x", Op: "opening", Err: store.ErrExposed}, exitFailure, "chmod 600 x"},
	{"store in a folder of others", &store.Error{Path: "d/x", Op: "opening", Err: store.ErrFolder}, exitFailure, "chmod o-w d"},
	{"store in a folder for all", &store.Error{Path: "/tmp/x", Op: "opening", Err: store.ErrFolder}, exitFailure, "--store FILE"},
	{"no keyring", &store.Error{Path: "x", Op: "unlocking", Err: keyring.ErrUnavailable}, exitFailure, "logged in"},
	{"key not in the keyring", &store.Error{Path: "x", Op: "unlocking", Err: keyring.ErrNotFound}, exitFailure, "copy"},
	{"damaged store", &store.Error{Path: "x", Op: "opening", Err: store.ErrDamaged}, exitMalformed, ""},
	{"newer store", &store.Error{Path: "x", Op: "opening", Err: &store.NewerError{Version: 9, Known: 2}}, exitMalformed, ""},
	{"not in the store", &store.Error{Path: "x", Op: "removing", Err: store.ErrNotFound}, exitUsage, ""},
	{"CRL", &crlFileError{"x", &pki.RevocationParseError{What: "CRL"}}, exitMalformed, "PEM"},
	{"revoked", untrusted(&pki.RevokedError{Certificate: &pki.Certificate{}}), exitUntrusted, "--at"},
	{"revocation not known", untrusted(&pki.RevocationUnknownError{}), exitUntrusted, "--fetch"},
	{"rejected by hand", untrusted(store.ErrRejected), exitUntrusted, "cert trust"},
	{"issuer not fetched", untrusted(&cms.IssuerError{Err: &pki.ChainError{Reason: pki.UnknownIssuer}}), exitUntrusted, "--trust"},

	{"rule of the CA", &ca.RequestError{Field: "x", Msg: "y"}, exitUsage, ""},
	{"certificate request", &ca.CSRError{Msg: "x"}, exitMalformed, "PEM"},
	{"file of a CA", &caFileError{"x", "y"}, exitMalformed, ""},

	{"no such file", &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, exitFailure, ""},
	{"permission", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, exitFailure, ""},
	{"reading", &readError{&namedError{"x", syscall.EIO}}, exitFailure, ""},
	{"writing", &writeError{&namedError{"x", syscall.ENOSPC}}, exitFailure, ""},
	{"interrupted input", io.ErrUnexpectedEOF, exitFailure, ""},
	{"anything", errors.New("x"), exitFailure, ""},
}

func typeName(err error) string { return fmt.Sprintf("%T", err) }

func untrusted(err error) error { return &cms.VerifyError{Reason: cms.ReasonUntrusted, Err: err} }
func keyError(err error) error  { return &keystore.FileError{Name: "x.p12", Err: err} }

func TestExplain(t *testing.T) {
	for _, e := range explained {
		for _, err := range []error{e.err, inFile("in.eml", e.err), errors.Join(e.err)} {
			got := explain(err)
			if got.code != e.code {
				t.Errorf("%s: exit code %d, want %d", e.name, got.code, e.code)
			}
			hints := strings.Join(got.hints, "\n")
			if (e.hint == "") != (hints == "") || !strings.Contains(hints, e.hint) {
				t.Errorf("%s: hints %q, want %q", e.name, hints, e.hint)
			}
			if strings.ContainsAny(got.message, "\n&{}") || strings.Contains(got.message, "%!") {
				t.Errorf("%s: the message is not for people: %q", e.name, got.message)
			}
		}
	}
}

// observations are on messages and certificates that are read nevertheless.
var observations = []string{
	"smime.ClosedPartError", "smime.OuterSignatureError", "smime.UnauthenticatedError", "smime.DisplayNameError", "smime.FromMismatchError",
	"smime.UncheckedSenderError", "pki.KeyError",
}

// causes are met inside other errors alone, such as a pki.ChainError, which
// decide the exit code; or by callers of functions that this program does not
// call.
var causes = []string{
	"smime.HeaderPolicyError",
	"pki.WeakError", "pki.SourceError", "pki.OCSPStatusError", "keystore.UnusableError", "store.NewerError",
}

// TestExplainNames checks that no error type of the packages below is forgotten.
// The types are found in their source.
func TestExplainNames(t *testing.T) {
	known := make(map[string]bool)
	for _, e := range explained {
		for err := e.err; err != nil; err = errors.Unwrap(err) {
			known[strings.TrimPrefix(typeName(err), "*")] = true
		}
	}
	for _, name := range append(observations, causes...) {
		known[name] = true
	}
	found := 0
	for _, pkg := range []string{"cms", "smime", "keystore", "keystore/store", "pki", "pki/ca"} {
		for _, name := range errorTypes(t, pkg) {
			found++
			if !known[path.Base(pkg)+"."+name] {
				t.Errorf("%s.%s is not explained: it belongs into the table, or into one of the lists", pkg, name)
			}
		}
	}
	if found < 18 {
		t.Errorf("there are %d types of errors", found)
	}
}

// errorTypes returns the exported types of a package that end in Error.
func errorTypes(t *testing.T, pkg string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no source of %s: %v", pkg, err)
	}
	var out []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, readErr := os.ReadFile(name)
		if readErr != nil {
			t.Fatal(readErr)
		}
		for line := range strings.Lines(string(source)) {
			fields := strings.Fields(line)
			if len(fields) > 2 && fields[0] == "type" && strings.HasSuffix(fields[1], "Error") && fields[1][0] >= 'A' && fields[1][0] <= 'Z' {
				out = append(out, fields[1])
			}
		}
	}
	return out
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":               "plain",
		"a\nb\tc":             "a b c",
		"\x1b[31mred\x07":     "�[31mred�",
		"bidi \u202e reverse": "bidi � reverse",
		"zoë €":               "zoë €",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
