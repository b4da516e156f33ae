package keystore

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// A Passphrase is asked for the passphrase of an encrypted file or of an
// object in it, which what names: at most once for each. An error ends the
// reading and is returned, wrapped. The slice is not changed nor kept.
type Passphrase func(what string) ([]byte, error)

// asker asks for the passphrase of one object, when it is needed, once.
type asker struct {
	name   string
	ask    Passphrase
	asked  bool
	answer []byte
	err    error
}

func (a *asker) passphrase() ([]byte, error) {
	if a.asked {
		return a.answer, a.err
	}
	a.asked = true
	if a.ask == nil {
		a.err = &FileError{Name: a.name, Err: ErrPassphraseNeeded}
		return nil, a.err
	}
	answer, err := a.ask(a.name)
	if err != nil {
		a.err = &FileError{Name: a.name, What: "asking for the passphrase", Err: err}
		return nil, a.err
	}
	a.answer = bytes.Clone(answer)
	return a.answer, nil
}

// bmpForms returns the forms in which a passphrase may have gone into the key
// derivation of PKCS#12, the right one first.
//
// RFC 7292, Appendix B.1: a BMPString, in big-endian order, with two zero
// octets at its end.
func bmpForms(passphrase []byte) [][]byte {
	if len(passphrase) == 0 {
		return [][]byte{{0, 0}, nil} // QUIRK: both are in use for the empty one
	}
	var forms [][]byte
	if utf8.Valid(passphrase) {
		var form []byte
		for _, u := range utf16.Encode([]rune(string(passphrase))) {
			form = append(form, byte(u>>8), byte(u))
		}
		forms = append(forms, append(form, 0, 0))
	}
	if bytes.ContainsFunc(passphrase, func(r rune) bool { return r >= 0x80 }) {
		// QUIRK(OpenSSL before 1.1.0): every octet of the passphrase, in whatever
		// character set, became a character.
		var form []byte
		for _, c := range passphrase {
			form = append(form, 0, c)
		}
		forms = append(forms, append(form, 0, 0))
	}
	return forms
}

// rawForms returns the forms in which a passphrase may have gone into the key
// derivations of RFC 8018.
func rawForms(passphrase []byte, inPKCS12 bool) [][]byte {
	forms := [][]byte{passphrase}
	if inPKCS12 {
		// RFC 9579, Section 5: UTF-8 without a terminator.
		// QUIRK(NSS): old versions used the BMPString here, too.
		forms = append(forms, bmpForms(passphrase)...)
	}
	return forms
}

// tryForms calls f with one form of a passphrase after the other until the
// error is another one than ErrPassphrase.
func tryForms[T any](forms [][]byte, f func(form []byte) (T, error)) (T, error) {
	var zero T
	for i, form := range forms {
		out, err := f(form)
		if err == nil {
			return out, nil
		}
		if errors.As(err, new(*LimitError)) && i > 0 {
			break // there is no work left for the less likely forms
		}
		if !errors.Is(err, ErrPassphrase) {
			return zero, err
		}
	}
	return zero, ErrPassphrase
}
