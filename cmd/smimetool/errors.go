package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// Exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitMalformed
	exitInvalid
	exitUntrusted
	exitNoKey
	exitDecrypt
	exitNotSigned
)

// A usageError is a mistake in the command line.
type usageError struct {
	msg   string
	hints []string
}

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) *usageError {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

// A namedError says in which file something is wrong.
type namedError struct {
	name string
	err  error
}

func (e *namedError) Error() string { return e.name + ": " + e.err.Error() }
func (e *namedError) Unwrap() error { return e.err }

// inFile names the file of an error that does not name it yet.
func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	for _, knows := range []bool{
		errors.As(err, new(*namedError)), errors.As(err, new(*keystore.FileError)),
		errors.As(err, new(*fs.PathError)), errors.As(err, new(*usageError)),
	} {
		if knows {
			return err
		}
	}
	return &namedError{name, err}
}

// A notSignedError says that a message, whose signature was asked for, has none.
type notSignedError struct {
	found string // what it is instead
}

func (e *notSignedError) Error() string { return "not signed: this is " + e.found }

// A wrongLayerError says that a command is not for this kind of input.
type wrongLayerError struct {
	wanted string // "encrypted"
	found  string // what it is instead
	hint   string
}

func (e *wrongLayerError) Error() string { return "not " + e.wanted + ": this is " + e.found }

// An explanation is what a person is told about an error.
type explanation struct {
	code    int
	message string
	hints   []string
}

// explain translates every error into an exit code and words. It is the only
// place that does.
func explain(err error) explanation {
	e := explanation{code: exitFailure, message: printable(err.Error())}
	for _, try := range []func(error, *explanation) bool{
		explainOwn, explainConfig, explainCA, explainStore, explainToken, explainKeystore, explainMessage, explainVerify, explainTLS, explainFiles,
	} {
		if try(err, &e) {
			break
		}
	}
	return e
}

func explainOwn(err error, e *explanation) bool {
	if ue, ok := errors.AsType[*usageError](err); ok {
		e.code, e.hints = exitUsage, ue.hints
		return true
	}
	if ue, ok := errors.AsType[*cms.UsageError](err); ok {
		e.code, e.message = exitUsage, printable(strings.TrimPrefix(ue.Error(), "cms: "))
		return true
	}
	if errors.Is(err, spool.ErrChanged) {
		e.message = fileOf(err) + "the file was changed while it was read"
		e.hints = []string{"try again when nobody writes to it"}
		return true
	}
	if errors.As(err, new(*notSignedError)) {
		e.code, e.hints = exitNotSigned, []string{"smimetool open shows such a message"}
		return true
	}
	if isStructural(err) {
		e.code = exitMalformed
		return true
	}
	if we, ok := errors.AsType[*wrongLayerError](err); ok {
		e.code = exitMalformed
		if we.hint != "" {
			e.hints = []string{we.hint}
		}
		return true
	}
	return false
}

const passphraseHint = "give the passphrase with --passphrase-file FILE, or in the environment variable SMIMETOOL_PASSPHRASE"

func explainKeystore(err error, e *explanation) bool {
	fe, ok := errors.AsType[*keystore.FileError](err)
	if !ok {
		return false
	}
	e.message = printable(fe.Error())
	switch {
	case errors.Is(fe, keystore.ErrPassphrase):
		// And nothing else.
	case errors.Is(fe, errNoTerminal), errors.Is(fe, keystore.ErrPassphraseNeeded):
		e.code, e.message = exitUsage, "a passphrase is needed for "+fe.Name
		e.hints = []string{passphraseHint}
	case errors.Is(fe, keystore.ErrNoKey):
		e.code = exitUsage
		e.hints = []string{"give the private key that belongs to the certificate with --key FILE, or a file that has both"}
	case errors.Is(fe, keystore.ErrNoCertificate) && fe.What == keystore.WhatCertificates:
		e.code = exitUsage
		e.hints = []string{"a PKCS#12 file (.p12, .pfx) is an identity, and smimetool id import takes it in; smimetool id export --certificate writes its certificate"}
	case errors.Is(fe, keystore.ErrFormat) && fe.What != "":
		e.code = exitMalformed // it says what is read
	case errors.Is(fe, keystore.ErrNoCertificate):
		e.code = exitUsage
		e.hints = []string{"an identity is a certificate with its private key: --identity CERTIFICATE --key KEY, or one file with both"}
	case errors.Is(fe, keystore.ErrNoMatch):
		e.code = exitUsage
		e.hints = []string{"the files belong to different people, or to different certificates of one person"}
	case errors.Is(fe, keystore.ErrFormat):
		e.code = exitMalformed
		e.hints = []string{"PEM, DER and PKCS#12 (.p12, .pfx) are read"}
	case errors.As(fe, new(*keystore.UnsupportedError)), errors.As(fe, new(*keystore.LimitError)),
		errors.As(fe, new(*keystore.SyntaxError)), errors.As(fe, new(*pki.ParseError)):
		e.code = exitMalformed
	}
	return true
}

// explainMessage is for messages that cannot be read or opened.
func explainMessage(err error, e *explanation) bool {
	if errors.As(err, new(*cms.VerifyError)) {
		return false
	}
	if nm, ok := errors.AsType[*cms.NoMatchError](err); ok {
		e.code, e.message, e.hints = exitNoKey, fileOf(err)+"no key for this message", recipientHints(nm.Recipients)
		return true
	}
	if ue, ok := errors.AsType[*cms.UnsupportedError](err); ok {
		e.code = exitMalformed
		if ue.Allow != "" {
			e.hints = []string{"if you must read it: --allow " + string(ue.Allow)}
		}
		return true
	}
	switch {
	case errors.Is(err, cms.ErrNoMatch):
		e.code = exitNoKey
	case errors.Is(err, cms.ErrDecrypt):
		e.code = exitDecrypt
		e.hints = []string{"the message was damaged or changed on its way, or the key is not the one it was encrypted to"}
	case errors.As(err, new(*cms.SyntaxError)):
		e.code = exitMalformed
		if errors.Is(err, io.ErrUnexpectedEOF) {
			e.hints = []string{"the input ends too early: it may have been cut off"}
		}
	case errors.As(err, new(*cms.LimitError)), errors.As(err, new(*pki.ParseError)):
		e.code = exitMalformed
	case errors.As(err, new(*smime.StructureError)):
		e.code = exitMalformed
	default:
		return false
	}
	return true
}

// isSystem reports whether an error is about the system, and not about the
// message that was being read.
func isSystem(err error) bool {
	return err != nil && explain(err).code <= exitUsage
}

// fileOf returns what an error says of the file, to put before other words.
func fileOf(err error) string {
	if ne, ok := errors.AsType[*namedError](err); ok {
		return printable(ne.name) + ": "
	}
	return ""
}

// maxHints bounds the recipients that are named.
const maxHints = 5

func recipientHints(infos []cms.RecipientInfo) []string {
	var out []string
	for i, info := range infos {
		if i == maxHints {
			out = append(out, fmt.Sprintf("and for %d more", len(infos)-i))
			break
		}
		out = append(out, "the message is for: "+printable(info.String()))
	}
	return append(out, "give the private key of one of them with --identity FILE")
}

// explainVerify is for signatures, digests and authentication codes.
func explainVerify(err error, e *explanation) bool {
	ve, ok := errors.AsType[*cms.VerifyError](err)
	if !ok {
		return false
	}
	e.code = exitInvalid
	switch ve.Reason {
	case cms.ReasonUntrusted:
		e.code, e.hints = exitUntrusted, trustHints(ve)
	case cms.ReasonNoSigners:
		e.code = exitNotSigned
	case cms.ReasonWeak:
		if ue, isWeak := errors.AsType[*cms.UnsupportedError](ve.Err); isWeak && ue.Allow != "" {
			e.hints = []string{"such signatures can be forged; if you must accept it: --allow " + string(ue.Allow)}
		}
	case cms.ReasonContent:
		e.hints = []string{"a detached signature is checked together with its content: --content FILE"}
	case cms.ReasonNoCertificate:
		e.hints = []string{"give the signer's certificate with --certificate FILE"}
	case cms.ReasonDigest, cms.ReasonSignature, cms.ReasonMAC:
		e.hints = []string{"it was changed after it was signed; do not rely on it"}
	}
	return true
}

// gravest returns the error that matters most to a person. Where one signer is
// not trusted and the signature of another is bad, that is the latter.
func gravest(err error, signers []*cms.SignerResult) error {
	ve, ok := errors.AsType[*cms.VerifyError](err)
	if !ok || ve.Reason != cms.ReasonUntrusted {
		return err
	}
	for _, s := range signers {
		bad, isVerify := s.Err.(*cms.VerifyError)
		if isVerify && !s.Valid && bad.Reason != cms.ReasonUnsupported {
			return bad
		}
	}
	return err
}

func trustHints(ve *cms.VerifyError) []string {
	if errors.As(ve, new(*smime.SenderError)) {
		return []string{"somebody else may have put the sender's name on this message; --no-sender-check accepts it"}
	}
	if errors.Is(ve, errNoRoots) {
		return []string{"give the certificates of the authorities that you trust with --trust FILE",
			"smimetool cert import --trust FILE trusts them from now on",
			"--no-trust checks the signature alone, whoever made it"}
	}
	if hints := revocationHints(ve); hints != nil {
		return hints
	}
	ce, ok := errors.AsType[*pki.ChainError](ve.Err)
	if !ok {
		return nil
	}
	if we, ok := errors.AsType[*pki.WeakError](ce); ok {
		return []string{"if you must accept it: --allow " + we.Allow}
	}
	switch ce.Reason {
	case pki.UnknownIssuer:
		if c := ce.Certificate; c != nil && len(c.Raw) > 0 && !c.IsCA && pki.NamesEqual(c.RawIssuer, c.RawSubject) {
			return []string{"nobody vouches for this certificate but its holder, who can tell you its fingerprint: " + grouped(store.FingerprintOf(c)),
				"if it is the same: smimetool cert import --trust FILE; smimetool open --save-signer FILE writes the certificate of a signer"}
		}
		return []string{"if you trust this issuer, add its certificate: --trust FILE; smimetool cert import --trust FILE does so for good",
			"if it only stands between the signer and an authority that you trust: --certificate FILE"}
	case pki.Expired:
		return []string{"--at TIME judges by an earlier time; --allow expired accepts it"}
	case pki.NotYetValid:
		return []string{"--at TIME judges by another time; is this computer's clock right?"}
	}
	return nil
}

// explainFiles says what the system said, without the name of the call.
func explainFiles(err error, e *explanation) bool {
	pe, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return false
	}
	e.message = printable(pe.Path + ": " + pe.Err.Error())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.message = printable(pe.Path) + ": there is no such file or folder"
	case errors.Is(err, fs.ErrPermission):
		e.message = printable(pe.Path) + ": permission denied"
	}
	return true
}

// printable makes text from files harmless on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func quote(s string) string { return `"` + printable(s) + `"` }
