package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/keyring"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// explainStore is for the store, and for what is looked for in it and
// elsewhere.
func explainStore(err error, e *explanation) bool {
	if errors.As(err, new(*noStoreError)) {
		e.code, e.hints = exitUsage, []string{"smimetool id new ADDRESS makes an identity and a store, and id import FILE takes in one that you have"}
		return true
	}
	if ne, ok := errors.AsType[*store.NoIdentityError](err); ok {
		e.code, e.message = exitUsage, printable(ne.Error())
		e.hints = []string{"smimetool id list shows your identities, and smimetool id new " + printable(ne.Address) + " makes one"}
		return true
	}
	if ne, ok := errors.AsType[*recipients.NoneError](err); ok {
		e.code, e.hints = exitNoKey, []string{
			"smimetool cert import FILE takes in a certificate that somebody gave you; who signs mail to you gives it, too: open it",
			"smimetool cert find " + printable(ne.Address) + " tells what was found, and --source names more places to look in",
		}
		return true
	}
	if ue, ok := errors.AsType[*recipients.UntrustedError](err); ok {
		then := "smimetool cert trust " + short(store.FingerprintOf(ue.Found.Certificate))
		if ue.Found.Source != storeSource {
			then = "smimetool cert find -o FILE " + printable(ue.Address) + ", and smimetool cert import --trust FILE"
		}
		e.code, e.hints = exitUntrusted, []string{
			"its fingerprint is " + grouped(store.FingerprintOf(ue.Found.Certificate)) + "; if its holder says the same: " + then,
			"or trust the authority that issued it: smimetool cert import --trust FILE",
		}
		return true
	}
	if ue, ok := errors.AsType[*untrustedCertificateError](err); ok && !errors.As(err, new(*store.Error)) {
		e.code, e.hints = exitUntrusted, trustHints(&cms.VerifyError{Reason: cms.ReasonUntrusted, Err: ue.err})
		return true
	}
	if errors.Is(err, recipients.ErrNoCommonCipher) {
		e.code, e.hints = exitUsage, []string{"name one with --cipher, or send a message to each of them"}
		return true
	}
	if explainStoreFile(err, e) {
		return true
	}
	if errors.As(err, new(*crlFileError)) {
		e.code, e.hints = exitMalformed, []string{"revocation lists are read in PEM and DER (RFC 5280)"}
		return true
	}
	// A source that could not be asked: exitFailure, as it is.
	if !errors.As(err, new(*keystore.SourceError)) {
		return false
	}
	e.hints = []string{"whether there is a certificate is not known; --source " + storeSource + " asks your store alone"}
	return true
}

// explainStoreFile is for the file itself.
func explainStoreFile(err error, e *explanation) bool {
	se, ok := errors.AsType[*store.Error](err)
	if !ok {
		return false
	}
	e.message = printable(se.Error())
	switch {
	case errors.Is(se, store.ErrExposed):
		e.hints = []string{"chmod 600 " + printable(se.Path)}
	case errors.Is(se, store.ErrFolder):
		folder := filepath.Dir(se.Path)
		e.hints = []string{"chmod o-w " + printable(folder)}
		if info, statErr := os.Stat(folder); statErr == nil && info.Mode()&os.ModeSticky != 0 { // such as /tmp
			e.hints = []string{"put it into a folder of your own: --store FILE"}
		}
	case errors.Is(se, keyring.ErrUnavailable):
		e.hints = []string{"the keyring that keeps the key of the store is there when you are logged in at the desktop"}
	case errors.Is(se, keyring.ErrNotFound):
		e.hints = []string{"without it the private keys cannot be read; a copy of the keyring, or of the identities (.p12), can be restored"}
	case errors.Is(se, store.ErrNotStore), errors.Is(se, store.ErrDamaged), errors.As(se, new(*store.NewerError)):
		e.code = exitMalformed
	case errors.Is(se, store.ErrNotFound), errors.As(se, new(*keystore.SyntaxError)), errors.As(se, new(*keystore.UnsupportedError)):
		e.code = exitUsage
	case errors.Is(se, errNoTerminal), errors.Is(se, keystore.ErrPassphraseNeeded):
		e.code = exitUsage
	}
	return true
}

// explainConfig is for the configuration.
func explainConfig(err error, e *explanation) bool {
	ce, ok := errors.AsType[*configError](err)
	if !ok {
		return false
	}
	e.code, e.message = exitUsage, printable(ce.Error())
	if ce.hint != "" {
		e.hints = []string{printable(ce.hint)}
	}
	return true
}

// storePassphraseHint says how the store is opened without a terminal.
const storePassphraseHint = "give the passphrase of the store with --store-passphrase-file FILE, or in the environment variable " + storePassphraseEnv

// explainPassphrase corrects the hints where the passphrase is that of the
// store.
func (h *home) explainPassphrase(err error, e *explanation) {
	fe, ok := errors.AsType[*keystore.FileError](err)
	if ok && h.isStore(fe) && len(e.hints) > 0 {
		e.hints = []string{storePassphraseHint}
		return
	}
	se, ok := errors.AsType[*store.Error](err)
	if ok && (errors.Is(err, errNoTerminal) || errors.Is(err, keystore.ErrPassphraseNeeded)) {
		e.message, e.hints = "a passphrase is needed for "+printable(se.Path), []string{storePassphraseHint}
	}
}

// revocationHints are for certificates that are revoked, or may be.
func revocationHints(err error) []string {
	switch {
	case errors.As(err, new(*pki.RevokedError)):
		return []string{"do not rely on this certificate; --at TIME judges by an earlier time"}
	case errors.As(err, new(*pki.RevocationUnknownError)):
		return []string{"--fetch asks the authority, and --crl FILE reads its list", "--revocation soft accepts what nothing is known of"}
	case errors.Is(err, store.ErrRejected):
		return []string{"smimetool cert trust takes that back"}
	}
	return nil
}
